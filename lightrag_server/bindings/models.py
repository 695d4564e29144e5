"""The models as one workspace uses them: with its own cache of replies, and on its own account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lightrag_server.bindings.batching import BatchedEmbedder
from lightrag_server.bindings.metered import Account, MeteredEmbedder, MeteredLLM, MeteredReranker
from lightrag_server.bindings.rerank.steady import SteadyReranker
from lightrag_server.bindings.wrappers import Cached, Counting
from lightrag_server.core.metrics import ModelKind
from lightrag_server.core.prices import Price
from lightrag_server.ports.kv import KVStore
from lightrag_server.ports.telemetry import Telemetry
from lightrag_server.settings import Settings


@dataclass(frozen=True, slots=True)
class Models:
    """What a process has opened, for one workspace. Replies of one tenant never serve another."""

    workspace: str
    cache: KVStore
    settings: Settings
    telemetry: Telemetry
    prices: Mapping[str, Price]
    chat: Counting | None
    seeing: Counting | None
    embedding: BatchedEmbedder
    reranking: SteadyReranker | None

    def llm(self, kind: ModelKind, *, kept_as: str | None = None) -> MeteredLLM | None:
        """For one task, with replies kept under `kept_as`; None where no model writes."""
        if self.chat is None:
            return None
        inner = Cached(self.chat, self.cache, kept_as) if kept_as else self.chat
        account = self._account(kind, self.settings.llm.binding, self.settings.llm.model, self.chat.identity)
        return MeteredLLM(inner, account, is_kept=kept_as is not None)

    def vision(self) -> MeteredLLM | None:
        """Without a cache: a key over megabytes of images costs more than it saves."""
        settings = self.settings.vision.beside(self.settings.llm)
        if self.seeing is None or settings is None:
            return None
        account = self._account("query", settings.binding, settings.model, self.seeing.identity)
        return MeteredLLM(self.seeing, account, is_kept=False)

    def embedder(self) -> MeteredEmbedder:
        settings = self.settings.embedding
        account = self._account("embedding", settings.binding, settings.model, self.embedding.identity)
        return MeteredEmbedder(self.embedding, account)

    def reranker(self) -> MeteredReranker | None:
        if self.reranking is None:
            return None
        settings = self.settings.rerank
        account = self._account("rerank", settings.binding, settings.model, self.reranking.identity)
        return MeteredReranker(self.reranking, account)

    def _account(self, kind: ModelKind, binding: str | None, model: str | None, identity: str) -> Account:
        name = model or identity.rpartition("/")[2]
        return Account(self.telemetry, self.workspace, kind, binding or "", name, self.prices.get(name))
