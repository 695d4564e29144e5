"""Which model puts the passages that were found in a better order."""

from __future__ import annotations

from typing import Literal

from pydantic import SecretStr

from lightrag_server.settings._fields import setting
from lightrag_server.settings._group import Group
from lightrag_server.settings.bindings import UNLIMITED_S

RerankBinding = Literal["cohere", "jina", "aliyun", "local", "null"]


class RerankSettings(Group):
    heading = "Reranking"

    binding: RerankBinding | None = setting(
        "RERANK_BINDING",
        None,
        "cohere, jina, aliyun, local (sentences against the question, with the embedder) or null (no reranking). "
        "Unset: local with the embedder universal-sentence-encoder-multilingual, which is quick enough; else null.",
        flag="--rerank-binding",
        none="null",
    )
    model: str | None = setting(
        "RERANK_MODEL",
        None,
        "Model name. Unset: rerank-v3.5 (cohere), jina-reranker-v2-base-multilingual (jina), gte-rerank-v2 (aliyun).",
    )
    host: str | None = setting(
        "RERANK_BINDING_HOST",
        None,
        "Address of another server that speaks the vendor's interface, such as http://localhost:8000/v1/rerank (vLLM, "
        "Xinference, LocalAI and others: cohere or jina). Unset: the vendor.",
    )
    api_key: SecretStr | None = setting("RERANK_BINDING_API_KEY", None, "Key sent to the rerank server.")
    cohere_key: SecretStr | None = setting(
        "COHERE_API_KEY", None, "For binding cohere where RERANK_BINDING_API_KEY is unset; sent to Cohere only."
    )
    jina_key: SecretStr | None = setting(
        "JINA_API_KEY", None, "For binding jina where RERANK_BINDING_API_KEY is unset; sent to Jina only."
    )
    dashscope_key: SecretStr | None = setting(
        "DASHSCOPE_API_KEY",
        None,
        "For binding aliyun where RERANK_BINDING_API_KEY is unset; sent to Alibaba Cloud only.",
    )
    min_score: float = setting(
        "MIN_RERANK_SCORE", 0.0, "Passages that a vendor scores lower are left out; 0 keeps all."
    )
    max_async: int | None = setting(
        "MAX_ASYNC_RERANK",
        None,
        "Rerank calls of all processes of a host that run at once at most. Unset: as MAX_ASYNC_LLM.",
        ge=1,
        le=1024,
    )
    timeout_s: float = setting(
        "RERANK_TIMEOUT", 30.0, "Longest wait for one rerank call.", unit="seconds", gt=0, none=UNLIMITED_S
    )
    max_retries: int = setting("RERANK_MAX_RETRIES", 1, "Further tries of a call whose failure may pass.", ge=0, le=20)
    enable_chunking: bool = setting(
        "RERANK_ENABLE_CHUNKING",
        False,
        "Vendors score long passages in pieces, the best of which counts. Off: how much is read is up to the vendor.",
    )
    max_tokens_per_doc: int = setting("RERANK_MAX_TOKENS_PER_DOC", 4096, "Size of such a piece.", unit="tokens", ge=16)
