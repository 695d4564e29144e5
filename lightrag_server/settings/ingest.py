"""How documents become chunks and contributions."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from lightrag_server.core.records import Profile
from lightrag_server.settings._fields import setting
from lightrag_server.settings._group import Group

ChunkStrategy = Literal["fixed_token", "recursive_character", "paragraph_semantic", "semantic_vector"]


ResolutionMode = Literal["off", "suggest", "auto"]


class IngestSettings(Group):
    heading = "Document indexing"

    profile: Profile | None = setting(
        "INDEX_PROFILE",
        None,
        "full (LLM extraction), light (local extraction, no LLM) or vector (chunks only). "
        "Unset: full when an LLM binding is configured, else light.",
    )
    chunk_strategy: ChunkStrategy | None = setting(
        "CHUNK_STRATEGY",
        None,
        "fixed_token, recursive_character, paragraph_semantic (along headings) or semantic_vector (where the meaning "
        "turns; embeds every sentence). "
        "Unset: paragraph_semantic for documents with headings, else recursive_character.",
    )
    chunk_size: int = setting("CHUNK_SIZE", 1200, "Size of a chunk.", unit="tokens", flag="--chunk-size", ge=20)
    chunk_overlap: int = setting(
        "CHUNK_OVERLAP_SIZE",
        100,
        "Overlap of neighbouring chunks; never above a quarter of CHUNK_SIZE unless set.",
        unit="tokens",
        ge=0,
    )
    window_size: int | None = setting(
        "WINDOW_SIZE",
        None,
        "Size of the places inside a chunk that are embedded and cited. "
        "Unset: what the embedder represents well (400, local models 140 to 180).",
        unit="tokens",
        ge=20,
    )
    window_overlap: int = setting(
        "WINDOW_OVERLAP_SIZE",
        20,
        "Overlap of neighbouring windows; never above a quarter of WINDOW_SIZE unless set.",
        unit="tokens",
        ge=0,
    )
    tokenizer: Literal["auto", "o200k_base", "estimate"] = setting(
        "TOKENIZER", "auto", "How tokens are counted; auto takes o200k_base where the extra `tiktoken` is installed."
    )
    max_gleaning: int = setting(
        "MAX_GLEANING", 0, "Further LLM calls per chunk that ask for what the first one missed.", ge=0, le=5
    )
    extract_as_json: bool = setting(
        "ENTITY_EXTRACTION_USE_JSON",
        False,
        "Ask the LLM for JSON by a schema rather than for rows; replies are read in both forms either way.",
    )
    entity_types: str = setting(
        "ENTITY_TYPES_HINT",
        "Person,Organization,Location,Event,Concept,Method,Content,Data,Artifact,NaturalObject,Creature,Other",
        "Types offered to the LLM, comma separated or a JSON list.",
        old_names=("ENTITY_TYPES",),
    )
    max_entities_per_chunk: int = setting(
        "MAX_EXTRACTION_ENTITIES", 40, "Most entities the LLM is asked for per chunk.", ge=1
    )
    max_relations_per_chunk: int = setting(
        "MAX_EXTRACTION_RECORDS", 100, "Most entities and relations the LLM is asked for per chunk.", ge=1
    )
    summary_language: str = setting("SUMMARY_LANGUAGE", "English", "Language of extracted descriptions.")
    entity_resolution: ResolutionMode = setting(
        "ENTITY_RESOLUTION",
        "suggest",
        "Whether entities that may be one are looked for after indexing: off, suggest (list them for people to decide) "
        "or auto (merge those whose names are surely one; every merge can be taken back).",
    )
    entity_resolution_llm: bool = setting(
        "ENTITY_RESOLUTION_LLM",
        False,
        "Ask the LLM about pairs that rules leave open, up to 20 with one call; with ENTITY_RESOLUTION=auto act on it.",
    )
    max_parallel_documents: int = setting(
        "MAX_PARALLEL_INSERT", 4, "Documents of one process that are prepared at once.", ge=1, le=256
    )
    max_attempts: int = setting(
        "MAX_ATTEMPTS",
        5,
        "Tries of a document whose failure may pass; while the model host serves nobody, none is used up.",
        ge=1,
    )
    retry_delay_s: float = setting(
        "RETRY_DELAY", 2.0, "Wait before the second try; doubles with each further one.", unit="seconds", ge=0
    )
    cpu_workers: int | None = setting(
        "CPU_WORKERS", None, "Processes for local models and text analysis. Unset: one per core.", ge=1
    )
    parse_timeout_s: float = setting("PARSE_TIMEOUT", 300.0, "Longest time to parse one file.", unit="seconds", gt=0)
    parse_memory_bytes: int = setting(
        "PARSE_MEMORY_LIMIT", 4 * 1024**3, "Most memory a parser may use.", unit="bytes", ge=64 * 1024**2
    )
    max_expanded_bytes: int = setting(
        "MAX_EXPANDED_SIZE", 512 * 1024**2, "Largest unpacked size of an archive such as docx.", unit="bytes", ge=1
    )
    max_pages: int = setting("MAX_PAGES", 10_000, "Most pages of one document.", ge=1)
    enable_llm_cache_for_extract: bool = setting(
        "ENABLE_LLM_CACHE_FOR_EXTRACT", True, "Keep extraction replies, so that a repeated chunk costs nothing."
    )

    @field_validator("entity_types", mode="before")
    @classmethod
    def _from_json_list(cls, value: str) -> str:
        if not value.lstrip().startswith("["):
            return value
        return ",".join(item.strip(" \"'") for item in value.strip("[] ").split(","))
