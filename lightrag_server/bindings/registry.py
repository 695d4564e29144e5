"""Which class serves which binding, and how it is opened. Vendors' modules are imported only when they are chosen."""

from __future__ import annotations

import asyncio
import importlib
from dataclasses import dataclass
from typing import Any

import httpx

from lightrag_server.bindings.batching import BatchedEmbedder
from lightrag_server.bindings.limiter import Limiter
from lightrag_server.bindings.limits import IN_PROCESS
from lightrag_server.bindings.local.rerank import SentenceReranker
from lightrag_server.bindings.rerank.steady import SteadyReranker
from lightrag_server.bindings.rerank.vendors import VendorReranker
from lightrag_server.bindings.stopping import Stopping
from lightrag_server.bindings.wrappers import Backoff, Cached, Counting, Limited, Retrying
from lightrag_server.compute import Compute
from lightrag_server.errors import ConfigError
from lightrag_server.ports.embedding import Embedder
from lightrag_server.ports.kv import KVStore
from lightrag_server.ports.llm import LLM
from lightrag_server.ports.rerank import Reranker
from lightrag_server.settings.bindings import EmbeddingSettings, LLMSettings
from lightrag_server.settings.rerank import RerankSettings

OLLAMA_ADDRESS = "http://localhost:11434"
PROBE_TIMEOUT_S = 0.5
LONGEST_RERANK_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True)
class Entry:
    """`install` is what to give to pip where the module or what it imports is missing."""

    path: str
    install: str = "lightrag-server"


_HERE = "lightrag_server.bindings"
LLMS = {
    "openai": Entry(f"{_HERE}.openai:OpenAIChat"),
    "ollama": Entry(f"{_HERE}.ollama:OllamaChat"),
    "local": Entry(f"{_HERE}.local.llama:LlamaChat", "lightrag-server[llama]"),
    "fake": Entry(f"{_HERE}.local.fake:FakeChat"),
}
EMBEDDERS = {
    "openai": Entry(f"{_HERE}.openai:OpenAIEmbedder"),
    "ollama": Entry(f"{_HERE}.ollama:OllamaEmbedder"),
    "fake": Entry(f"{_HERE}.local.fake:FakeEmbedder"),
}
LOCAL_EMBEDDERS = {
    "multilingual-e5-small": Entry(f"{_HERE}.local.e5:E5Embedder", "lightrag-server[local]"),
    "universal-sentence-encoder-multilingual": Entry(f"{_HERE}.local.use:USEEmbedder", "lightrag-server[local]"),
}
QUICK = LOCAL_EMBEDDERS["universal-sentence-encoder-multilingual"]
"""Embeds the sentences of twenty passages in a quarter of a second, so that it can also rerank."""


def open_llm(
    settings: LLMSettings, cache: KVStore | None, compute: Compute, limiter: Limiter | None = None
) -> Counting | None:
    """The chosen model, limited, retried, cached and counted; None where answers are extracted, not written.

    Opens no connection. Give one `limiter` to models that share a vendor's quota. Closing closes the vendor's client.
    """
    if settings.binding is None:
        raise ConfigError("LLM_BINDING is not chosen")
    if settings.binding == "local" and not writes_locally(settings):
        return None
    limiter = limiter or Limiter(settings.max_async)
    llm: LLM = Stopping(load(settings.binding, LLMS[settings.binding], settings, compute))
    llm = Retrying(Limited(llm, limiter), Backoff(settings.max_retries))
    return Counting(Cached(llm, cache) if cache else llm, limiter)


def open_vision(settings: LLMSettings | None, compute: Compute, limiter: Limiter) -> Counting | None:
    """The model for questions with images, as `open_llm` opens one; None without settings."""
    if settings is not None and settings.binding == "local":
        raise ConfigError("VLM_LLM_MODEL needs VLM_LLM_BINDING=ollama or openai: local models see no images")
    return open_llm(settings, None, compute, limiter) if settings else None


def open_embedder(settings: EmbeddingSettings, compute: Compute, limiter: Limiter | None = None) -> BatchedEmbedder:
    """The chosen embedder, batched, limited, retried and checked. Opens no connection and loads no model."""
    if settings.binding is None:
        raise ConfigError("EMBEDDING_BINDING is not chosen")
    entry = _local_embedder(settings.model) if settings.binding == "local" else EMBEDDERS[settings.binding]
    inner: Embedder = load(settings.binding, entry, settings, compute)
    if inner.dimension and settings.dimension and inner.dimension != settings.dimension:
        raise ConfigError(f"EMBEDDING_DIM is {settings.dimension}, but {inner.identity} gives {inner.dimension}")
    return BatchedEmbedder(
        inner,
        batch_size=settings.batch_size,
        limiter=limiter or Limiter(settings.max_async),
        backoff=Backoff(settings.max_retries),
        shares=settings.binding not in IN_PROCESS,
        dimension=settings.dimension,
        prefixes={"query": settings.query_prefix, "document": settings.document_prefix},
    )


def open_reranker(
    settings: RerankSettings, embedder: Embedder, limiter: Limiter | None = None
) -> SteadyReranker | None:
    """The reranker that `choose_reranker` settled on; None where there is none. Opens no connection."""
    if settings.binding is None or settings.max_async is None:
        raise ConfigError("RERANK_BINDING is not chosen")
    if settings.binding == "null":
        return None
    is_local = settings.binding == "local"
    inner: Reranker = SentenceReranker(embedder) if is_local else VendorReranker.from_settings(settings)
    return SteadyReranker(
        inner,
        limiter=limiter or Limiter(settings.max_async),
        # an embedder tries again by itself; somebody waits, so a vendor that asks for long is not waited for
        backoff=Backoff(0 if is_local else settings.max_retries, longest_asked_s=LONGEST_RERANK_PAUSE_S),
        piece_tokens=settings.max_tokens_per_doc if settings.enable_chunking and not is_local else None,
    )


def modules(llm: LLMSettings, embedding: EmbeddingSettings) -> set[str]:
    """What opening the vendors' models will import, as far as the settings name them; local ones are loaded by
    processes of their own."""
    chosen = (LLMS.get(llm.binding or ""), EMBEDDERS.get(embedding.binding or ""))
    return {entry.path.partition(":")[0] for entry in chosen if entry is not None and entry is not LLMS["local"]}


def choose_reranker(rerank: RerankSettings, embedding: EmbeddingSettings, llm: LLMSettings) -> RerankSettings:
    """With a binding, and with what it takes from the groups of the models that were chosen before."""
    by_embedder = "local" if embedding.binding == "local" and _local_embedder(embedding.model) is QUICK else "null"
    return rerank.model_copy(
        update={"binding": rerank.binding or by_embedder, "max_async": rerank.max_async or llm.max_async}
    )


def writes_locally(settings: LLMSettings) -> bool:
    """Whether binding `local` writes answers with a model instead of quoting sentences."""
    return (settings.local_answer or ("generative" if settings.model else "extractive")) == "generative"


async def choose_bindings(
    llm: LLMSettings, embedding: EmbeddingSettings, address: str = OLLAMA_ADDRESS
) -> tuple[LLMSettings, EmbeddingSettings, list[str]]:
    """Both groups with a binding, and a sentence for the start banner on each that was chosen here.

    An unset binding becomes Ollama where a host is given for it or one answers at `address`, else local.
    """
    is_probed = any(group.binding is None and group.host is None for group in (llm, embedding))
    answers = is_probed and await ollama_answers(address)
    sentences: list[str] = []
    if llm.binding is None:
        llm = llm.model_copy(update={"binding": _chosen("LLM_BINDING", llm.host, answers, address, sentences)})
    if embedding.binding is None:
        chosen = _chosen("EMBEDDING_BINDING", embedding.host, answers, address, sentences)
        embedding = embedding.model_copy(update={"binding": chosen})
    return llm, embedding, sentences


async def ollama_answers(address: str = OLLAMA_ADDRESS) -> bool:
    """Asks for Ollama's version; no longer than half a second."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S), httpx.AsyncClient(trust_env=False, verify=False) as client:
            reply = await client.get(f"{address}/api/version")
            return reply.status_code == 200 and "version" in reply.json()
    except (httpx.HTTPError, TimeoutError, ValueError):
        return False


def _chosen(name: str, host: str | None, answers: bool, address: str, sentences: list[str]) -> str:
    if host is not None:
        sentences.append(f"{name} is not set; ollama is used at {host}, the host that is given for it.")
        return "ollama"
    if answers:
        sentences.append(f"{name} is not set; ollama answers at {address} and is used.")
        return "ollama"
    sentences.append(
        f"{name} is not set and no ollama answers at {address}; local is used. "
        f"Set {name}=openai or {name}=ollama to use a server."
    )
    return "local"


def _local_embedder(model: str | None) -> Entry:
    """e5 where its engine loads, else the faster and weaker encoder; a model that is named is never replaced."""
    if model is None:
        from lightrag_server.bindings.local.e5 import engine_loads

        model = next(iter(LOCAL_EMBEDDERS)) if engine_loads() else "universal-sentence-encoder-multilingual"
    if model not in LOCAL_EMBEDDERS:
        raise ConfigError(f"EMBEDDING_MODEL={model!r} is no local model; there are {', '.join(LOCAL_EMBEDDERS)}")
    return LOCAL_EMBEDDERS[model]


def load(binding: str, entry: Entry, settings: LLMSettings | EmbeddingSettings, compute: Compute) -> Any:
    module, _, name = entry.path.partition(":")
    try:
        return getattr(importlib.import_module(module), name).from_settings(settings, compute)
    except ModuleNotFoundError as error:
        instead = ", or set LLM_BINDING and EMBEDDING_BINDING to openai or ollama" if binding == "local" else ""
        raise ConfigError(
            f"binding {binding!r} needs the package {error.name!r}: pip install '{entry.install}'{instead}"
        ) from error
