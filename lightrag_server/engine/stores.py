"""The stores of one workspace, under the names the engine uses."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from lightrag_server.ports.blobs import BlobStore
from lightrag_server.ports.doc_status import DocStatusStore
from lightrag_server.ports.graph import GraphStore
from lightrag_server.ports.kv import KVStore
from lightrag_server.ports.lexical import LexicalStore
from lightrag_server.ports.storage import Backends
from lightrag_server.ports.vectors import VectorStore


@dataclass(frozen=True, slots=True)
class Stores:
    workspace: str
    backends: Backends
    blobs: BlobStore
    documents: DocStatusStore
    chunks: KVStore
    contributions: KVStore
    curated: KVStore
    edits: KVStore
    edit_outcomes: KVStore
    unresolved: KVStore
    name_blocks: KVStore
    duplicates: KVStore
    cache: KVStore
    meta: KVStore
    windows: VectorStore
    entities: VectorStore
    facts: VectorStore
    lexical: LexicalStore
    graph: GraphStore

    @asynccontextmanager
    async def transaction(self, fence: int | None = None) -> AsyncGenerator[None]:
        """One atomic write over all stores of each backend; reads in it see no other's writes. Raises `JobLost` when a
        later holder of the fence was seen."""
        async with AsyncExitStack() as stack:
            for backend in reversed(self.backends.distinct()):
                await stack.enter_async_context(backend.transaction(self.workspace, fence))
            yield

    async def raise_fence(self, fence: int) -> None:
        for backend in self.backends.distinct():
            await backend.raise_fence(self.workspace, fence)

    async def clear_knowledge(self) -> None:
        """Empty everything but the documents' rows and the LLM cache."""
        for store in (self.chunks, self.contributions, self.curated, self.meta):
            await store.clear()
        for store in (self.unresolved, self.name_blocks, self.duplicates):
            await store.clear()
        for store in (self.windows, self.entities, self.facts, self.lexical, self.graph):
            await store.clear()


def open_stores(workspace: str, backends: Backends, blobs: BlobStore) -> Stores:
    """Namespaces carry LightRAG's names where it has them."""
    kv, vectors = backends.kv, backends.vectors
    return Stores(
        workspace=workspace,
        backends=backends,
        blobs=blobs,
        documents=backends.doc_status.doc_status(workspace),
        chunks=kv.kv(workspace, "text_chunks"),
        contributions=kv.kv(workspace, "contributions"),
        curated=kv.kv(workspace, "curated"),
        edits=kv.kv(workspace, "edits"),
        edit_outcomes=kv.kv(workspace, "edit_outcomes"),
        unresolved=kv.kv(workspace, "unresolved"),
        name_blocks=kv.kv(workspace, "name_blocks"),
        duplicates=kv.kv(workspace, "duplicates"),
        cache=kv.kv(workspace, "llm_response_cache"),
        meta=kv.kv(workspace, "meta"),
        windows=vectors.vectors(workspace, "chunks"),
        entities=vectors.vectors(workspace, "entities"),
        facts=vectors.vectors(workspace, "relationships"),
        lexical=backends.lexical.lexical(workspace, "chunks"),
        graph=backends.graph.graph(workspace),
    )
