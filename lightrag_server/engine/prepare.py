"""One document: parse → chunk → extract → embed. Writes blobs and its own status row, nothing that is shared.

Every step can run again: what is already kept (the parsed text, finished parts) is not done twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from lightrag_server.core import ids
from lightrag_server.core.chunking import ChunkSpec, chunk_document
from lightrag_server.core.encoding import chunked_from_bytes, chunked_to_bytes
from lightrag_server.core.metrics import STAGE_SECONDS
from lightrag_server.core.records import Chunk, DocStatus, Document, ParsedDocument, Stage
from lightrag_server.engine import blob_keys, job_kinds
from lightrag_server.engine.chunk_work import ChunkWork, PrepareTools
from lightrag_server.engine.costs import trace_key, with_usage
from lightrag_server.engine.former import Former
from lightrag_server.engine.incoming import CHUNKING, FAILURE_METADATA, IS_TEXT, SUMMARY_CHARS
from lightrag_server.engine.stores import Stores
from lightrag_server.engine.subjects import with_breaks
from lightrag_server.engine.versions import carried_on, forget, give_up, key_of
from lightrag_server.errors import InvalidInput, JobLost, StorageCorrupt, StorageError
from lightrag_server.ports.bills import Bill, billed
from lightrag_server.ports.doc_status import Filter
from lightrag_server.ports.jobs import JobQueue

INSTANT_LENGTH = 100_000
"""Documents up to this length are parsed before anybody could see that they are."""


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
        tracer = self._tools.telemetry.tracer
        with billed() as bill, tracer.within(trace_key(self._stores.workspace, document)), tracer.span("prepare", {}):
            try:
                await self._run(document, bill)
            except BaseException:
                await asyncio.shield(self._stopped(document, bill))
                raise

    async def _run(self, document: Document, bill: Bill) -> None:
        document = await self._begun(document)
        before = await Former.of(self._stores, document, self._tools.vectorizer.identity)
        parsed, chunks = await self._chunked(document, before)
        document = await self._described(document, parsed, chunks)
        if twin := await self._twin(document):
            await self._refuse_twin(document, twin)
            return
        work = ChunkWork(self._stores, self._queue, self._tools, document, before)
        await work.run(chunks)
        await self._prepared(document, chunks, work.repairs, bill)

    async def _stopped(self, document: Document, bill: Bill) -> None:
        await self._forget_withdrawn(document)
        with suppress(StorageError):
            await self._noted(document, bill)

    async def _noted(self, document: Document, bill: Bill) -> None:
        """What a try that came to nothing took; later ones add to it."""

        def change(row: Document) -> Document | None:
            is_own = row.stage is Stage.ACCEPTED and row.blob_key == document.blob_key
            return row.with_(metadata=with_usage(row.metadata, bill)) if is_own else None

        if not bill.is_empty:
            await self._stores.documents.update(document.id, change)

    async def _forget_withdrawn(self, document: Document) -> None:
        """Blobs written after their acceptance was withdrawn. What is missed here, reconcile removes."""
        with suppress(StorageError):
            row = (await self._stores.documents.get([document.id])).get(document.id)
            serving = row.serving if row else None
            named = {row.blob_key if row else None, serving.blob_key if serving else None}
            if document.blob_key not in named:
                await forget(self._stores, document.id, document.blob_key)

    # -- steps

    async def _begun(self, document: Document) -> Document:
        profile = document.profile or self._tools.profile
        if profile not in self._tools.extractors:
            raise InvalidInput(f"the index profile {profile.value!r} needs a language model, and none is configured")
        metadata = document.metadata | {"parse_start_time": int(self._tools.clock().timestamp())}
        document = document.with_(status=DocStatus.PARSING, profile=profile, metadata=metadata)
        return await self._update(document) if document.content_length > INSTANT_LENGTH else document

    async def _chunked(self, document: Document, before: Former | None) -> tuple[ParsedDocument, list[Chunk]]:
        """The parsed text and its chunks: kept ones when there are any, for parts refer to their numbers. Without
        them whatever is there was made with another embedding model."""
        workspace, original = self._stores.workspace, key_of(document)
        key = blob_keys.parsed(document.id, original, self._tools.vectorizer.identity)
        if kept := await self._stores.blobs.get(workspace, key):
            return await asyncio.to_thread(chunked_from_bytes, kept)
        await self._stores.blobs.delete(workspace, blob_keys.parts(document.id, original))
        await self._stores.blobs.delete(workspace, blob_keys.parsed_of(document.id, original))
        parsed = before.parsed if before and before.is_same_file else await self._parse(document)
        chunks = await self._cut(document, parsed, before.chunks if before and not before.is_same_file else ())
        await self._stores.blobs.put(workspace, key, await asyncio.to_thread(chunked_to_bytes, parsed, chunks))
        return parsed, chunks

    async def _cut(self, document: Document, parsed: ParsedDocument, former: Sequence[Chunk]) -> list[Chunk]:
        with self._tools.telemetry.stage(STAGE_SECONDS, "chunk"):
            spec = await with_breaks(parsed, self._spec(document), self._tools.vectorizer)
            return await asyncio.to_thread(
                chunk_document, document.id, document.file_path, parsed, spec, self._tools.tokenizer(), former
            )

    def _spec(self, document: Document) -> ChunkSpec:
        return replace(self._tools.spec, **document.metadata.get(CHUNKING, {}))

    async def _parse(self, document: Document) -> ParsedDocument:
        data = await self._stores.blobs.get(self._stores.workspace, key_of(document))
        if data is None:
            raise StorageCorrupt(f"the original of {document.file_path!r} is gone")
        if document.metadata.get(IS_TEXT):
            return ParsedDocument(data.decode("utf-8"))
        with self._tools.telemetry.stage(STAGE_SECONDS, "parse"):
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
        """Another document with the same text, unless it failed or is on its way out: an older one, and for a
        replacement one that is indexed already."""
        same = await self._stores.documents.find(Filter(content_hash=document.content_hash))
        own = (document.created_at, document.id)
        settled = {Stage.PREPARED, Stage.COMMITTED} if document.serving else set[Stage]()
        return next(
            (
                d
                for d in same
                if d.id != document.id
                and ((d.created_at, d.id) < own or d.stage in settled)
                and d.stage not in (Stage.FAILED, Stage.DELETING)
            ),
            None,
        )

    async def _refuse_twin(self, document: Document, twin: Document) -> None:
        noted = {
            "is_duplicate": True,
            "duplicate_kind": "content_hash",
            "original_doc_id": twin.id,
            "original_track_id": twin.track_id,
        }
        error = f"[DUPLICATE:content_hash] Original document: {twin.id}"
        if not await give_up(self._stores, document, error, self._tools.clock(), noted):
            raise _withdrawn(document)
        await self._queue.note(
            self._stores.workspace,
            f"{document.file_path} has the same text as {twin.file_path}; it is not indexed again",
        )

    async def _prepared(self, document: Document, chunks: Sequence[Chunk], repairs: int, bill: Bill) -> None:
        metadata = {name: value for name, value in document.metadata.items() if name not in FAILURE_METADATA}
        if repairs:
            metadata["extraction_repairs"] = repairs
        await self._update(
            document.with_(
                stage=Stage.PREPARED, chunk_ids=tuple(c.id for c in chunks), metadata=with_usage(metadata, bill)
            )
        )
        await self._queue.enqueue([job_kinds.commit(self._stores.workspace)])

    async def _update(self, document: Document) -> Document:
        """Write the row unless the document was cancelled, replaced or deleted meanwhile."""
        document = document.with_(updated_at=self._tools.clock().isoformat())
        if row := await self._stores.documents.update(document.id, partial(carried_on, document=document)):
            return row
        raise _withdrawn(document)


def _withdrawn(document: Document) -> JobLost:
    return JobLost(f"{document.file_path!r} was withdrawn while it was prepared")
