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
    summaries: bool = setting(
        "SUMMARIES",
        False,
        "Have the model summarise, after an answer, descriptions that were too long for its prompt: at most one more "
        "LLM call per question, none where they are kept. Without it the sentences that fit the question are shown.",
    )
    force_llm_summary_on_merge: int = setting(
        "FORCE_LLM_SUMMARY_ON_MERGE", 8, "Parts of a description from which on a summary is made of it.", ge=2
    )
    summary_max_tokens: int = setting(
        "SUMMARY_MAX_TOKENS", 1200, "Length from which on a description is summarised in any case.", unit="tokens", ge=1
    )
    summary_context_tokens: int = setting(
        "SUMMARY_CONTEXT_SIZE", 12000, "Descriptions that one call may hold.", unit="tokens", ge=1
    )
    summary_length: int = setting(
        "SUMMARY_LENGTH_RECOMMENDED", 100, "Length asked of a summary; prompts show 200.", unit="tokens", ge=10
    )
    response_type: str = setting("RESPONSE_TYPE", "Multiple Paragraphs", "Form of answers.")
    enable_llm_cache: bool = setting(
        "ENABLE_LLM_CACHE", True, "Keep answers; a kept one is used only for the same prompt, evidence included."
    )
