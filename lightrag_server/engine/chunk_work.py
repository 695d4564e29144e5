"""The chunks of one document: what they say and their vectors, kept as parts until a commit takes them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from lightrag_server.core.chunking import ChunkSpec
from lightrag_server.core.folding import Contributions, contributions_of
from lightrag_server.core.metrics import STAGE_SECONDS
from lightrag_server.core.records import Chunk, Document, Extraction, Profile
from lightrag_server.core.tokens import Tokenizer
from lightrag_server.engine import blob_keys, parts
from lightrag_server.engine.clock import Clock
from lightrag_server.engine.former import Former
from lightrag_server.engine.sources import source_of
from lightrag_server.engine.stores import Stores
from lightrag_server.engine.texts import Vectorizer, Wanted, entity_texts, fact_texts, window_texts
from lightrag_server.engine.versions import key_of
from lightrag_server.errors import ExtractionFailed, LightRAGError
from lightrag_server.ports.extraction import Extractor
from lightrag_server.ports.jobs import JobQueue, Progress
from lightrag_server.ports.parsing import Parser
from lightrag_server.ports.telemetry import Telemetry
from lightrag_server.ports.vectors import VectorItem, VectorStore

PART_CHUNKS = 8
PART_SECONDS = 3.0
PARTS_IN_FLIGHT = 3
PROGRESS_SECONDS = 0.5
KEEP_READY_S = 3.0


@dataclass(frozen=True, slots=True)
class PrepareTools:
    """What preparing needs besides the stores; the same for all workspaces of a process."""

    parser: Parser
    tokenizer: Callable[[], Tokenizer]
    spec: ChunkSpec
    extractors: Mapping[Profile, Extractor]
    vectorizer: Vectorizer
    profile: Profile
    clock: Clock
    extracting: asyncio.Semaphore
    """Documents in extraction at once. Others may be parsed, embedded and written meanwhile, so that the model that
    extracts never waits for that."""
    is_stopping: Callable[[], bool] = lambda: False
    """Whether this process hands back what it works on, to be taken up again."""
    telemetry: Telemetry = field(default_factory=Telemetry)


@dataclass(slots=True)
class ChunkWork:
    """Extraction and embedding of a document's chunks, written to parts as they come in."""

    stores: Stores
    queue: JobQueue
    tools: PrepareTools
    document: Document
    before: Former | None
    _ready: list[tuple[Chunk, Extraction]] = field(default_factory=list[tuple[Chunk, Extraction]])
    _flushes: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    _done: int = 0
    _total: int = 0
    _since: float = 0.0
    _flushed_at: float = 0.0
    _told_at: float = 0.0
    repairs: int = 0

    async def run(self, chunks: Sequence[Chunk]) -> None:
        finished = await self._finished_indexes()
        waiting = [c for c in chunks if c.index not in finished]
        self._done, self._total = len(finished), len(chunks)
        self._since, self._flushed_at = time.time(), time.monotonic()
        extractor = self.tools.extractors[self.document.profile or self.tools.profile]
        failure: ExtractionFailed | None = None
        try:
            await self._tell()
            waiting = await self._not_told_before(waiting)
            try:
                async with self.tools.extracting:
                    with self.tools.telemetry.stage(STAGE_SECONDS, "extract"):
                        await extractor.extract(waiting, self._extracted)
            except ExtractionFailed as error:
                failure = error
            await self._flush()
            await self._settle()
        except asyncio.CancelledError:
            if self.tools.is_stopping():
                await self._keep_ready()
            raise
        finally:
            for task in self._flushes:
                task.cancel()
            await asyncio.gather(*self._flushes, return_exceptions=True)
            if self._told_at:
                await self.queue.clear_progress(self.stores.workspace, self.document.id)
        if failure:
            raise failure

    async def _finished_indexes(self) -> set[int]:
        """Numbers of the chunks in kept parts; a part's name lists them, so none has to be read."""
        names = await self.stores.blobs.list(self.stores.workspace, self._folder)
        return {int(n) for name in names for n in name.rsplit("/", 1)[1].split("-")}

    async def _not_told_before(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        """The chunks that the version before did not have; what it says of the others is taken over."""
        if self.before is None:
            return list(chunks)
        left: list[Chunk] = []
        for start in range(0, len(chunks), PART_CHUNKS):
            batch = chunks[start : start + PART_CHUNKS]
            told = await self.before.extractions(batch)
            for chunk in batch:
                if chunk.id in told:
                    await self._extracted(chunk, told[chunk.id])
                else:
                    left.append(chunk)
        return left

    @property
    def _folder(self) -> str:
        return blob_keys.parts(self.document.id, key_of(self.document))

    async def _extracted(self, chunk: Chunk, extraction: Extraction) -> None:
        self._ready.append((chunk, extraction))
        self.repairs += extraction.repairs
        if len(self._ready) >= PART_CHUNKS or time.monotonic() - self._flushed_at > PART_SECONDS:
            await self._flush()

    async def _flush(self) -> None:
        """Start writing what is ready, keeping at most `PARTS_IN_FLIGHT` parts under way."""
        batch, self._ready = self._ready, []
        self._flushed_at = time.monotonic()
        if not batch:
            return
        while len(self._flushes) >= PARTS_IN_FLIGHT:
            await self._settle(asyncio.FIRST_COMPLETED)
        self._flushes.add(asyncio.create_task(self._write_part(batch)))

    async def _keep_ready(self) -> None:
        """What was extracted before a stop is not asked for again."""
        with suppress(TimeoutError, LightRAGError):
            async with asyncio.timeout(KEEP_READY_S):
                await self._flush()
                await self._settle()

    async def _settle(self, when: str = asyncio.ALL_COMPLETED) -> None:
        if not self._flushes:
            return
        done, self._flushes = await asyncio.wait(self._flushes, return_when=when)
        for task in done:
            task.result()

    async def _write_part(self, batch: Sequence[tuple[Chunk, Extraction]]) -> None:
        told = {c.id: contributions_of(source_of(c, self.document), e) for c, e in batch}
        with self.tools.telemetry.stage(STAGE_SECONDS, "embed"):
            windows, entities, facts = await asyncio.gather(
                self._window_items(_joined(window_texts(c) for c, _ in batch)),
                self._new_items(self.stores.entities, told, entity_texts),
                self._new_items(self.stores.facts, told, fact_texts),
            )
        prepared = [
            parts.PreparedChunk(
                chunk.index,
                extraction,
                windows=_present(window_texts(chunk), windows),
                entities=_present(entity_texts(told[chunk.id]), entities),
                facts=_present(fact_texts(told[chunk.id]), facts),
            )
            for chunk, extraction in batch
        ]
        name = "-".join(str(c.index) for c in prepared)
        data = await asyncio.to_thread(parts.encode, prepared)
        await self.stores.blobs.put(self.stores.workspace, self._folder + name, data)
        self._done += len(batch)
        await self._tell()

    async def _window_items(self, wanted: Wanted) -> dict[str, VectorItem]:
        known = await self.before.windows(wanted) if self.before else {}
        fresh = {id_: text for id_, text in wanted.items() if id_ not in known}
        return known | await self.tools.vectorizer.items(fresh, remember=False)

    async def _new_items(
        self, store: VectorStore, told: Mapping[str, Contributions], texts: Callable[[Contributions], Wanted]
    ) -> dict[str, VectorItem]:
        wanted = _joined(texts(c) for c in told.values())
        missing = await store.missing(list(wanted))
        return await self.tools.vectorizer.items({i: wanted[i] for i in wanted if i in missing}, remember=True)

    async def _tell(self) -> None:
        """Now and then, and only of documents of more than one part: of others there is no progress to see."""
        now = time.time()
        if self._total <= PART_CHUNKS or now - self._told_at < PROGRESS_SECONDS:
            return
        self._told_at = now
        await self.queue.set_progress(
            self.stores.workspace,
            Progress(
                self.document.id, self.document.file_path, "extracting", self._done, self._total, self._since, now
            ),
        )


def _joined(groups: Iterable[Wanted]) -> Wanted:
    return {id_: wanted for group in groups for id_, wanted in group.items()}


def _present(wanted: Wanted, items: Mapping[str, VectorItem]) -> tuple[VectorItem, ...]:
    return tuple(items[i] for i in wanted if i in items)
