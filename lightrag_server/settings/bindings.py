"""Which models are asked, and how hard."""

from __future__ import annotations

from typing import Literal

from pydantic import SecretStr

from lightrag_server.settings._fields import setting
from lightrag_server.settings._group import Group

LLMBinding = Literal["ollama", "openai", "local", "fake"]
VisionBinding = Literal["ollama", "openai", "fake"]
EmbeddingBinding = Literal["ollama", "openai", "local", "fake"]


UNLIMITED_S = 365 * 86_400.0
"""A timeout of None: a year, which every clock and event loop can count."""


class LLMSettings(Group):
    heading = "LLM"

    binding: LLMBinding | None = setting(
        "LLM_BINDING",
        None,
        "ollama, openai (any compatible host) or local. "
        "Unset: Ollama when it answers at its default address, else local.",
        flag="--llm-binding",
    )
    model: str | None = setting(
        "LLM_MODEL",
        None,
        "Model name; for binding local the path of a GGUF file. "
        "Unset: mistral-nemo:latest (ollama), gpt-4o-mini (openai).",
    )
    host: str | None = setting(
        "LLM_BINDING_HOST",
        None,
        "Base URL. Unset: http://localhost:11434 (ollama), https://api.openai.com/v1 (openai).",
    )
    api_key: SecretStr | None = setting(
        "LLM_BINDING_API_KEY", None, "Key sent to the vendor.", old_names=("OPENAI_API_KEY",)
    )
    max_async: int = setting(
        "MAX_ASYNC_LLM",
        4,
        "LLM calls of all processes of a host that run at once at most.",
        flag="--max-async",
        old_names=("MAX_ASYNC",),
        ge=1,
        le=1024,
    )
    adaptive_concurrency: bool = setting(
        "ADAPTIVE_CONCURRENCY",
        True,
        "Make fewer calls at once while a vendor refuses them (429) or gets no more done with more, and then more "
        "again; also for embedding and reranking. Off: always up to the configured number.",
    )
    timeout_s: float = setting(
        "LLM_TIMEOUT",
        150.0,
        "Longest wait for one LLM call.",
        unit="seconds",
        flag="--timeout",
        old_names=("TIMEOUT",),
        gt=0,
        none=UNLIMITED_S,
    )
    max_context_tokens: int = setting(
        "MAX_TOKENS",
        32768,
        "Context size of the model; no prompt is longer.",
        unit="tokens",
        flag="--max-tokens",
        ge=512,
    )
    temperature: float | None = setting(
        "TEMPERATURE", None, "Sampling temperature. Unset: the vendor's default.", ge=0, le=2
    )
    max_retries: int = setting("LLM_MAX_RETRIES", 3, "Further tries of a call whose failure may pass.", ge=0, le=20)
    local_answer: Literal["extractive", "generative"] | None = setting(
        "LOCAL_ANSWER",
        None,
        "Binding local: extractive quotes sentences, generative writes with LLM_MODEL. "
        "Unset: generative when LLM_MODEL is set.",
    )


class VisionSettings(Group):
    heading = "Vision"

    binding: VisionBinding | None = setting("VLM_LLM_BINDING", None, "ollama or openai. Unset: as LLM_BINDING.")
    model: str | None = setting(
        "VLM_LLM_MODEL", None, "Model that answers questions with images. Unset: such questions are refused."
    )
    host: str | None = setting(
        "VLM_LLM_BINDING_HOST", None, "Base URL. Unset: LLM_BINDING_HOST where the binding is the same."
    )
    api_key: SecretStr | None = setting(
        "VLM_LLM_BINDING_API_KEY", None, "Key sent to the vendor. Unset: LLM_BINDING_API_KEY likewise."
    )

    def beside(self, llm: LLMSettings) -> LLMSettings | None:
        """The model that sees, with everything left open as for `llm`; a host and its key are for one vendor only.
        None where there is no such model."""
        if self.model is None:
            return None
        binding = self.binding or llm.binding
        is_same = binding == llm.binding
        host = self.host or (llm.host if is_same else None)
        key = self.api_key or (llm.api_key if is_same and host == llm.host else None)
        return llm.model_copy(update={"binding": binding, "model": self.model, "host": host, "api_key": key})


class EmbeddingSettings(Group):
    heading = "Embedding"

    binding: EmbeddingBinding | None = setting(
        "EMBEDDING_BINDING",
        None,
        "ollama, openai (any compatible host) or local. Unset: as LLM_BINDING's rule.",
        flag="--embedding-binding",
    )
    model: str | None = setting(
        "EMBEDDING_MODEL",
        None,
        "Model name. Unset: bge-m3:latest (ollama), text-embedding-3-small (openai), multilingual-e5-small (local).",
    )
    dimension: int | None = setting(
        "EMBEDDING_DIM", None, "Length of the vectors. Unset: what the model returns.", ge=1, le=65536
    )
    send_dimension: bool = setting("EMBEDDING_SEND_DIM", False, "Ask the vendor for EMBEDDING_DIM.")
    host: str | None = setting("EMBEDDING_BINDING_HOST", None, "Base URL. Unset: as LLM_BINDING_HOST's.")
    api_key: SecretStr | None = setting(
        "EMBEDDING_BINDING_API_KEY", None, "Key sent to the vendor.", old_names=("OPENAI_API_KEY",)
    )
    batch_size: int = setting(
        "EMBEDDING_BATCH_NUM",
        32,
        "Texts per embedding call. Documents that are indexed at the same time share calls.",
        ge=1,
        le=2048,
    )
    max_async: int = setting(
        "EMBEDDING_FUNC_MAX_ASYNC",
        8,
        "Embedding calls of all processes of a host that run at once at most; of local models, calls of one process.",
        ge=1,
        le=1024,
    )
    timeout_s: float = setting(
        "EMBEDDING_TIMEOUT", 60.0, "Longest wait for one embedding call.", unit="seconds", gt=0, none=UNLIMITED_S
    )
    max_retries: int = setting(
        "EMBEDDING_MAX_RETRIES", 3, "Further tries of a call whose failure may pass.", ge=0, le=20
    )
    query_prefix: str = setting("EMBEDDING_QUERY_PREFIX", "", "Put before questions (asymmetric models).")
    document_prefix: str = setting("EMBEDDING_DOCUMENT_PREFIX", "", "Put before passages (asymmetric models).")
