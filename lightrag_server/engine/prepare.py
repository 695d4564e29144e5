"""One document: parse → chunk → extract → embed. Writes blobs and its own status row, nothing that is shared.

Every step can run again: what is already kept (the parsed text, finished parts) is not done twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lightrag_server.core import ids
from lightrag_server.core.chunking import ChunkSpec, chunk_document
from lightrag_server.core.encoding import chunked_from_bytes, chunked_to_bytes
from lightrag_server.core.folding import Contributions, contributions_of
from lightrag_server.core.records import Chunk, DocStatus, Document, Extraction, ParsedDocument, Profile, Stage
from lightrag_server.core.tokens import Tokenizer
from lightrag_server.engine import blob_keys, job_kinds, parts
from lightrag_server.engine.clock import Clock
from lightrag_server.engine.intake import CHUNKING, FAILURE_METADATA, SUMMARY_CHARS
from lightrag_server.engine.sources import source_of
from lightrag_server.engine.stores import Stores
from lightrag_server.engine.texts import Vectorizer, Wanted, entity_texts, fact_texts, window_texts
from lightrag_server.errors import ExtractionFailed, JobLost, StorageCorrupt
from lightrag_server.ports.doc_status import Filter
from lightrag_server.ports.extraction import Extractor
from lightrag_server.ports.jobs import JobQueue, Progress
from lightrag_server.ports.parsing import Parser
from lightrag_server.ports.vectors import VectorItem, VectorStore

PART_CHUNKS = 8
PART_SECONDS = 3.0
PARTS_IN_FLIGHT = 3
PROGRESS_SECONDS = 0.5
INSTANT_LENGTH = 100_000
"""Documents up to this length are parsed before anybody could see that they are."""


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


class Prepare:
    def __init__(self, stores: Stores, queue: JobQueue, tools: PrepareTools) -> None:
        self._stores = stores
        self._queue = queue
        self._tools = tools

    async def run(self, document_id: str) -> None:
        """Bring an accepted document to `PREPARED` and queue the commit. Raises what stopped it; parts stay."""
        document = (await self._stores.documents.get([document_id])).get(document_id)
        if document is None or document.stage is not Stage.ACCEPTED:
            return
        document = await self._begun(document)
        parsed, chunks = await self._chunked(document)
        document = await self._described(document, parsed, chunks)
        if twin := await self._twin(document):
            await self._refuse_twin(document, twin)
            return
        work = _ChunkWork(self._stores, self._queue, self._tools, document)
        await work.run(chunks)
        await self._prepared(document, chunks, work.repairs)

    # -- steps

    async def _begun(self, document: Document) -> Document:
        profile = document.profile or self._tools.profile
        metadata = document.metadata | {"parse_start_time": int(self._tools.clock().timestamp())}
        document = document.with_(status=DocStatus.PARSING, profile=profile, metadata=metadata)
        return await self._update(document) if document.content_length > INSTANT_LENGTH else document

    async def _chunked(self, document: Document) -> tuple[ParsedDocument, list[Chunk]]:
        """The parsed text and its chunks: kept ones when there are any, for parts refer to their numbers. Without
        them whatever is there was made from other bytes under the same name, or with another embedding model."""
        workspace = self._stores.workspace
        key = blob_keys.parsed(document.id, document.blob_key or "", self._tools.vectorizer.identity)
        if kept := await self._stores.blobs.get(workspace, key):
            return await asyncio.to_thread(chunked_from_bytes, kept)
        await self._stores.blobs.delete(workspace, blob_keys.parts(document.id))
        await self._stores.blobs.delete(workspace, blob_keys.all_parsed(document.id))
        parsed = await self._parse(document)
        chunks = await asyncio.to_thread(
            chunk_document, document.id, document.file_path, parsed, self._spec(document), self._tools.tokenizer()
        )
        await self._stores.blobs.put(workspace, key, await asyncio.to_thread(chunked_to_bytes, parsed, chunks))
        return parsed, chunks

    def _spec(self, document: Document) -> ChunkSpec:
        return replace(self._tools.spec, **document.metadata.get(CHUNKING, {}))

    async def _parse(self, document: Document) -> ParsedDocument:
        data = await self._stores.blobs.get(self._stores.workspace, document.blob_key or "")
        if data is None:
            raise StorageCorrupt(f"the original of {document.file_path!r} is gone")
        if document.track_id and document.track_id.startswith("insert"):
            return ParsedDocument(data.decode("utf-8"))
        return await self._tools.parser.parse(document.file_path, data)

    async def _described(self, document: Document, parsed: ParsedDocument, chunks: Sequence[Chunk]) -> Document:
        now = int(self._tools.clock().timestamp())
        metadata = document.metadata | {
            "parse_end_time": now,
            "process_start_time": now,
            "parse_format": parsed.format,
            "chunks_total": len(chunks),
        }
        if parsed.warnings:
            metadata["parse_warnings"] = list(parsed.warnings)
        return await self._update(
            document.with_(
                status=DocStatus.PROCESSING,
                content_hash=ids.md5_hex(parsed.text),
                content_summary=parsed.text.strip()[:SUMMARY_CHARS],
                content_length=len(parsed.text),
                metadata=metadata,
            )
        )

    async def _twin(self, document: Document) -> Document | None:
        """An older document with the same text, unless it failed or is on its way out."""
        same = await self._stores.documents.find(Filter(content_hash=document.content_hash))
        own = (document.created_at, document.id)
        return next(
            (d for d in same if (d.created_at, d.id) < own and d.stage not in (Stage.FAILED, Stage.DELETING)), None
        )

    async def _refuse_twin(self, document: Document, twin: Document) -> None:
        await self._update(
            document.with_(
                stage=Stage.FAILED,
                status=DocStatus.FAILED,
                error=f"[DUPLICATE:content_hash] Original document: {twin.id}",
                metadata=document.metadata
                | {
                    "is_duplicate": True,
                    "duplicate_kind": "content_hash",
                    "original_doc_id": twin.id,
                    "original_track_id": twin.track_id,
                },
            )
        )
        await self._queue.note(
            self._stores.workspace,
            f"{document.file_path} has the same text as {twin.file_path}; it is not indexed again",
        )

    async def _prepared(self, document: Document, chunks: Sequence[Chunk], repairs: int) -> None:
        metadata = {name: value for name, value in document.metadata.items() if name not in FAILURE_METADATA}
        if repairs:
            metadata["extraction_repairs"] = repairs
        await self._update(
            document.with_(stage=Stage.PREPARED, chunk_ids=tuple(c.id for c in chunks), metadata=metadata)
        )
        await self._queue.enqueue([job_kinds.commit(self._stores.workspace)])

    async def _update(self, document: Document) -> Document:
        """Write the row unless the document was cancelled or deleted meanwhile."""
        document = document.with_(updated_at=self._tools.clock().isoformat())
        if not await self._stores.documents.update(document, {Stage.ACCEPTED}):
            raise JobLost(f"{document.file_path!r} was withdrawn while it was prepared")
        return document


@dataclass(slots=True)
class _ChunkWork:
    """Extraction and embedding of a document's chunks, written to parts as they come in."""

    stores: Stores
    queue: JobQueue
    tools: PrepareTools
    document: Document
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
        self._since = self._flushed_at = time.time()
        extractor = self.tools.extractors[self.document.profile or self.tools.profile]
        failure: ExtractionFailed | None = None
        try:
            await self._tell()
            try:
                async with self.tools.extracting:
                    await extractor.extract(waiting, self._extracted)
            except ExtractionFailed as error:
                failure = error
            await self._flush()
            await self._settle()
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
        names = await self.stores.blobs.list(self.stores.workspace, blob_keys.parts(self.document.id))
        return {int(n) for name in names for n in name.rsplit("/", 1)[1].split("-")}

    async def _extracted(self, chunk: Chunk, extraction: Extraction) -> None:
        self._ready.append((chunk, extraction))
        self.repairs += extraction.repairs
        if len(self._ready) >= PART_CHUNKS or time.time() - self._flushed_at > PART_SECONDS:
            await self._flush()

    async def _flush(self) -> None:
        """Start writing what is ready, keeping at most `PARTS_IN_FLIGHT` parts under way."""
        batch, self._ready = self._ready, []
        self._flushed_at = time.time()
        if not batch:
            return
        while len(self._flushes) >= PARTS_IN_FLIGHT:
            await self._settle(asyncio.FIRST_COMPLETED)
        self._flushes.add(asyncio.create_task(self._write_part(batch)))

    async def _settle(self, when: str = asyncio.ALL_COMPLETED) -> None:
        if not self._flushes:
            return
        done, self._flushes = await asyncio.wait(self._flushes, return_when=when)
        for task in done:
            task.result()

    async def _write_part(self, batch: Sequence[tuple[Chunk, Extraction]]) -> None:
        told = {c.id: contributions_of(source_of(c, self.document), e) for c, e in batch}
        windows, entities, facts = await asyncio.gather(
            self.tools.vectorizer.items(_joined(window_texts(c) for c, _ in batch), remember=False),
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
        await self.stores.blobs.put(self.stores.workspace, blob_keys.part(self.document.id, name), data)
        self._done += len(batch)
        await self._tell()

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
