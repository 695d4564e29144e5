"""Variables of LightRAG that this server knowingly does without: name or pattern → what holds instead.

Names that other programs use too (vendors' keys, databases' addresses) are left out: a warning would be noise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase

_LOG = "all log lines, those of requests too, go to standard error and to LOG_DIR"
_QUEUES = "stages have no queues of their own; MAX_PARALLEL_INSERT and MAX_ASYNC_LLM bound the work"
_SOURCES = "sources of an entity are kept whole and bounded where they are read"
_PARSERS = "one set of built-in parsers reads all supported formats"
_MARKDOWN = "images that a document links to are never fetched"
_BUSY = "no request is refused because of other running work, so nothing has to be counted or reserved"
_SCHEDULING = "the job queue schedules documents by itself"
_EVALUATION = "`lightrag-server eval` has options, and uses the models that are configured"
_CHUNKER = "CHUNK_SIZE and CHUNK_OVERLAP_SIZE hold for every strategy"
_ARCHIVE = "PARSE_MEMORY_LIMIT and MAX_EXPANDED_SIZE bound what a file may unpack to"
_WORKSPACE = "WORKSPACE and the header LIGHTRAG-WORKSPACE choose the workspace for all storages alike"
_ROLES = "one model serves all tasks; LLM_BINDING and LLM_MODEL name it"

UNSUPPORTED: dict[str, str] = {
    "LIGHTRAG_RUNTIME_TARGET": "the server runs the same on a host and in a container",
    "LIGHTRAG_GUNICORN_MODE": "processes are equal and need no mode",
    "LIGHTRAG_MAIN_PROCESS": "processes are equal and need no mode",
    "LIGHTRAG_PERFORMANCE_TIMING_LOGS": "LOG_LEVEL=DEBUG logs timings",
    "ACCESS_LOG": _LOG,
    "ERROR_LOG": _LOG,
    "UI_TEMPLATES_DIR": "pages are not customised with a bundle; WEBUI_TITLE and WEBUI_DESCRIPTION are used",
    "ENABLE_AI_CONTENT_NOTICE": "no notice is added to answers",
    "MAX_PENDING_DOCUMENTS": _BUSY,
    "MAX_UNACKED_MANUAL_RETRIES": _BUSY,
    "SCAN_ENQUEUE_BATCH_SIZE": _BUSY,
    "SCAN_SPOOL_DIR": _BUSY,
    "PIPELINE_SCHEDULING_PAGE_SIZE": _SCHEDULING,
    "PIPELINE_REQUIRE_STRICT_STORAGE_READS": "every storage reads strictly",
    "EMBEDDING_TOKEN_LIMIT": "WINDOW_SIZE bounds what is embedded",
    "EMBEDDING_CHUNK_OVERLAP_TOKEN_SIZE": "WINDOW_OVERLAP_SIZE is the overlap of what is embedded",
    "EMBEDDING_USE_BASE64": "the vendor's client chooses the encoding",
    "EMBEDDING_ASYMMETRIC": "EMBEDDING_QUERY_PREFIX and EMBEDDING_DOCUMENT_PREFIX are used whenever they are set",
    "EXTRACT_*": _ROLES,
    "KEYWORD_LLM_*": _ROLES,
    "KEYWORD_MAX_ASYNC_LLM": _ROLES,
    "QUERY_LLM_*": _ROLES,
    "QUERY_MAX_ASYNC_LLM": _ROLES,
    "VLM_PROCESS_ENABLE": "images in documents are not analysed",
    "VLM_M*_IMAGE_*": "images in documents are not analysed",
    "VLM_AWS_*": "VLM_LLM_BINDING is ollama or openai",
    "VLM_OLLAMA_*": "a request's own options reach the model",
    "VLM_OPENAI_*": "a request's own options reach the model",
    "VLM_MAX_ASYNC_LLM": "MAX_ASYNC_LLM bounds the calls of both models together",
    "VLM_LLM_TIMEOUT": "LLM_TIMEOUT holds for both models",
    "MAX_EXTRACT_INPUT_TOKENS": "MAX_TOKENS bounds every prompt",
    "ENTITY_TYPE_PROMPT_FILE": "ENTITY_TYPES_HINT names the types",
    "PROMPT_DIR": "prompts are part of the package",
    "USER_PROMPT_PREFIX": "the request's user_prompt is used as it is",
    "USER_PROMPT_PREFIX_FILE": "the request's user_prompt is used as it is",
    "MAX_SOURCE_IDS_PER_ENTITY": _SOURCES,
    "MAX_SOURCE_IDS_PER_RELATION": _SOURCES,
    "SOURCE_IDS_LIMIT_METHOD": _SOURCES,
    "MAX_FILE_PATHS": _SOURCES,
    "RELATED_CHUNK_NUMBER": "chunks are ranked by all evidence together; CHUNK_TOP_K bounds them",
    "KG_CHUNK_PICK_METHOD": "chunks are ranked by all evidence together",
    "ENABLE_CONTENT_HEADINGS": "headings always stand beside the passages they belong to",
    "MAX_PARALLEL_PARSE_*": _QUEUES,
    "MAX_PARALLEL_ANALYZE": _QUEUES,
    "QUEUE_SIZE_*": _QUEUES,
    "CHUNK_F_*": _CHUNKER,
    "CHUNK_R_*": _CHUNKER,
    "CHUNK_V_*": _CHUNKER,
    "CHUNK_P_*": _CHUNKER,
    "LIGHTRAG_PARSER": _PARSERS,
    "LIGHTRAG_FORCE_REPARSE_*": _PARSERS,
    "MINERU_*": _PARSERS,
    "DOCLING_*": _PARSERS,
    "PARSER_RESULT_BUNDLE_*": _PARSERS,
    "PDF_DECRYPT_PASSWORD": "encrypted files are refused; decrypt them before the upload",
    "SURROUNDING_*_MAX_TOKENS": "images are not analysed",
    "MM_EXTRACT_CONTENT_MIN_TOKENS": "images are not analysed",
    "DOCX_MAX_*": _ARCHIVE,
    "DOCX_RATIO_FLOOR_BYTES": _ARCHIVE,
    "DOCX_SMART_*": "headings are those that the document declares",
    "NATIVE_DOCX_IMAGE_*": "images are not analysed",
    "NATIVE_MD_IMAGE_*": _MARKDOWN,
    "TIKTOKEN_CACHE_DIR": "token ranks come from an installed wheel; nothing is downloaded",
    "POSTGRES_WORKSPACE": _WORKSPACE,
    "NEO4J_WORKSPACE": _WORKSPACE,
    "MONGODB_WORKSPACE": _WORKSPACE,
    "REDIS_WORKSPACE": _WORKSPACE,
    "MILVUS_WORKSPACE": _WORKSPACE,
    "QDRANT_WORKSPACE": _WORKSPACE,
    "MEMGRAPH_*": "Memgraph is not among the storages",
    "OPENSEARCH_*": "OpenSearch is not among the storages",
    "EVAL_*": _EVALUATION,
    "LIGHTRAG_API_URL": _EVALUATION,
}


def warnings_for(names: Collection[str]) -> Iterator[str]:
    """One sentence for each given variable that is known and without effect."""
    for name in sorted(names):
        for pattern, instead in UNSUPPORTED.items():
            if fnmatchcase(name, pattern):
                yield f"{name} is set but has no effect: {instead}."
                break
