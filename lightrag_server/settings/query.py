"""How questions are answered."""

from __future__ import annotations

from typing import Literal

from lightrag_server.settings._fields import setting
from lightrag_server.settings._group import Group


class QuerySettings(Group):
    heading = "Questions"

    top_k: int = setting("TOP_K", 50, "Entities or relations to retrieve.", flag="--top-k", ge=1, le=1000)
    chunk_top_k: int = setting("CHUNK_TOP_K", 20, "Places of text to retrieve.", ge=1, le=1000)
    max_entity_tokens: int = setting("MAX_ENTITY_TOKENS", 1000, "Prompt share of entities.", unit="tokens", ge=1)
    max_relation_tokens: int = setting("MAX_RELATION_TOKENS", 1500, "Prompt share of relations.", unit="tokens", ge=1)
    max_total_tokens: int = setting(
        "MAX_TOTAL_TOKENS", 8000, "Whole prompt: instructions, evidence and question.", unit="tokens", ge=1
    )
    cosine_threshold: float | None = setting(
        "COSINE_THRESHOLD",
        None,
        "Least similarity of an entity or relation. Unset: the embedder's own, since scales differ between models.",
        flag="--cosine-threshold",
        ge=-1,
        le=1,
    )
    keyword_extraction: Literal["local", "llm"] = setting(
        "KEYWORD_EXTRACTION", "local", "llm spends one more LLM call per question on keywords."
    )
    rerank_by_default: bool = setting(
        "RERANK_BY_DEFAULT", True, "Rerank for questions that do not say whether; without effect where nothing reranks."
    )
    follow_up: Literal["rule", "llm", "off"] = setting(
        "FOLLOW_UP",
        "rule",
        "How a question that rests on the conversation (why?, and his partner?) is completed for the search; "
        "llm spends a call on those alone.",
    )
    response_type: str = setting("RESPONSE_TYPE", "Multiple Paragraphs", "Form of answers.")
    enable_llm_cache: bool = setting(
        "ENABLE_LLM_CACHE", True, "Keep answers; a kept one is used only for the same prompt, evidence included."
    )
