"""A workspace on real stores with a scripted extractor: a document's text is what its extraction says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lightrag_server.core import ids
from lightrag_server.core.chunking import ChunkSpec
from lightrag_server.core.extraction import read_reply
from lightrag_server.core.records import Chunk, Extraction, ParsedDocument, Profile, Stage
from lightrag_server.core.tokens import EstimatingTokenizer
from lightrag_server.engine import commit
from lightrag_server.engine.chunk_work import PrepareTools
from lightrag_server.engine.commit import Commit
from lightrag_server.engine.intake import Intake
from lightrag_server.engine.prepare import Prepare
from lightrag_server.engine.stores import Backends, Stores, open_stores
from lightrag_server.engine.texts import Vectorizer
from lightrag_server.ports.doc_status import Filter
from lightrag_server.ports.embedding import Purpose
from lightrag_server.ports.storage import Backend
from lightrag_server.storages.memory import MemoryBackend
from lightrag_server.storages.memory_blobs import MemoryBlobStore
from lightrag_server.storages.memory_jobs import MemoryJobQueue

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LINES = ChunkSpec(strategy="fixed_token", size=60, overlap=0, window_size=30, window_overlap=0)


@pytest.fixture(autouse=True, scope="session")
def no_pause_between_commits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit, "SECONDS_BETWEEN_COMMITS", 0.0)
        yield


class HashEmbedder:
    """Each text has a vector of its own."""

    identity = "hash"
    dimension: int | None = 16
    threshold = 0.0
    passage_tokens = 400

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> NDArray[np.float32]:
        self.texts += texts
        rows = [np.random.default_rng(abs(hash(t)) % 2**32).standard_normal(16) for t in texts]
        return np.asarray([r / np.linalg.norm(r) for r in rows], dtype=np.float32)

    async def close(self) -> None: ...


class RowsInText:
    """Reads the extraction straight from the chunk."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def extract(self, chunks: Sequence[Chunk], done: Callable[[Chunk, Extraction], Awaitable[None]]) -> None:
        for chunk in chunks:
            self.calls.append(chunk.id)
            await done(chunk, read_reply(chunk.text))


class PlainText:
    async def parse(self, name: str, data: bytes) -> ParsedDocument:
        return ParsedDocument(data.decode())

    def extensions(self) -> list[str]:
        return [".txt"]


@dataclass(slots=True)
class Bench:
    """A workspace whose jobs the test runs itself."""

    stores: Stores
    queue: MemoryJobQueue
    intake: Intake
    prepare: Prepare
    commit: Commit
    extractor: RowsInText
    embedder: HashEmbedder
    time: list[datetime]
    """One moment, which tests may move."""
    fence: int = 0

    async def insert(self, *texts: tuple[str, str]) -> list[str]:
        """Accept, prepare and commit (source, text) pairs together."""
        accepted = await self.intake.accept_texts([(text, source) for source, text in texts])
        for document in accepted.documents:
            await self.prepare.run(document.id)
        await self.write()
        return [d.id for d in accepted.documents]

    async def delete(self, *document_ids: str) -> None:
        await self.intake.delete(document_ids)
        await self.write()

    async def write(self) -> None:
        self.fence += 1
        await self.commit.run(self.fence)

    async def knowledge(self) -> dict[str, Any]:
        """Everything the shared stores hold, comparable."""
        keys = {ids.entity_key(name) for name in await self.stores.graph.labels()}
        around = await self.stores.graph.expand(keys, 10_000)
        relations = {r.pair: r for e in around.values() for r in e.relations}
        subjects = [*keys, *(ids.subject_of(p) for p in relations)]
        return {
            "entities": await self.stores.graph.entities(keys),
            "relations": relations,
            "evidence": await self.stores.graph.chunks_of(subjects),
            "counts": await self.stores.graph.counts(),
            "chunks": [row async for row in self.stores.chunks.scan()],
            "contributions": [row async for row in self.stores.contributions.scan()],
            "vectors": [await s.count() for s in (self.stores.windows, self.stores.entities, self.stores.facts)],
            "lexical": await self.stores.lexical.count(),
            "documents": [(d.id, d.chunk_ids, d.status) for d in await self.committed()],
        }

    async def committed(self) -> list[Any]:
        return sorted(await self.stores.documents.find(Filter(stages=frozenset({Stage.COMMITTED}))), key=lambda d: d.id)


@asynccontextmanager
async def opened_bench(
    backend: Backend | None = None, folder: Path | None = None, spec: ChunkSpec = LINES
) -> AsyncIterator[Bench]:
    backend, time = backend or MemoryBackend(), [NOW]
    await backend.open()
    stores = open_stores("", Backends(backend, backend, backend, backend, backend), MemoryBlobStore())
    queue, embedder, extractor = MemoryJobQueue(), HashEmbedder(), RowsInText()
    vectorizer, parsers = Vectorizer(embedder), PlainText()
    tools = PrepareTools(
        parser=parsers,
        tokenizer=EstimatingTokenizer,
        spec=spec,
        extractors={Profile.FULL: extractor},
        vectorizer=vectorizer,
        profile=Profile.FULL,
        clock=lambda: time[0],
        extracting=asyncio.Semaphore(4),
    )
    intake = Intake(
        stores,
        queue,
        parsers,
        max_upload_bytes=10**6,
        input_dir=folder or Path("nowhere"),
        wake=lambda: None,
        clock=lambda: time[0],
    )
    commit = Commit(stores, queue, vectorizer, embedder.identity, lambda: time[0])
    try:
        yield Bench(stores, queue, intake, Prepare(stores, queue, tools), commit, extractor, embedder, time)
    finally:
        await backend.close()
