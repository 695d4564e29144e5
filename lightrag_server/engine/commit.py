"""Fold and write: the only code that changes the shared stores of a workspace. Inserting and deleting are one path.

A commit runs alone in its workspace (the queue's lock). It works in slices of a bounded number of chunks; each slice
is planned from what is stored and written in one transaction, so a crash leaves whole slices only and running
again finds nothing left to do for them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from itertools import accumulate

from lightrag_server.core.edits import Edit, Edited, Mend
from lightrag_server.core.encoding import chunked_from_bytes
from lightrag_server.core.metrics import STAGE_SECONDS
from lightrag_server.core.records import DocStatus, Document, Stage
from lightrag_server.engine import blob_keys, job_kinds, parts
from lightrag_server.engine.clock import Clock
from lightrag_server.engine.costs import trace_ended, trace_key, with_usage
from lightrag_server.engine.curate import Curate
from lightrag_server.engine.doctor.mending import Mending
from lightrag_server.engine.edits import Edits
from lightrag_server.engine.plan import Changes, NewChunk, Planner, Slice
from lightrag_server.engine.sources import source_of
from lightrag_server.engine.stores import Stores
from lightrag_server.engine.texts import Vectorizer
from lightrag_server.engine.versions import committed, forget, key_of
from lightrag_server.errors import DimensionMismatch, JobLost, LightRAGError, RetryableError, StorageCorrupt
from lightrag_server.ports.bills import Bill, billed
from lightrag_server.ports.doc_status import Filter
from lightrag_server.ports.jobs import JobQueue, JobState
from lightrag_server.ports.kv import Row
from lightrag_server.ports.telemetry import Telemetry

log = logging.getLogger(__name__)

SLICE_CHUNKS = 500
DOCUMENTS_AT_ONCE = 200
SECONDS_BETWEEN_COMMITS = 0.3
SECONDS_FOR_COMPANY = 10.0
"""Documents that others follow are committed with them: what they share, the entities that are told of everywhere and
the pages of tables and indexes, is then folded and written once for all of them."""
LOOK_S = 0.2
WAIT_FOR_PREPARE_S = 0.2
EMBEDDING_KEY = "embedding"


class Commit:
    def __init__(
        self,
        stores: Stores,
        queue: JobQueue,
        vectorizer: Vectorizer,
        embedding_identity: str,
        clock: Clock,
        *,
        notes_names: bool = False,
        telemetry: Telemetry | None = None,
    ) -> None:
        """`notes_names`: keep a note of entities whose names are new, for whoever looks for duplicates."""
        self._stores = stores
        self._queue = queue
        self._planner = Planner(stores, vectorizer)
        self._curate = Curate(stores, clock)
        self._mending = Mending(stores, vectorizer)
        self._edits = Edits(stores, queue)
        self._embedding_identity = embedding_identity
        self._clock = clock
        self._notes_names = notes_names
        self._telemetry = telemetry or Telemetry()
        self._last_end = -SECONDS_FOR_COMPANY

    async def run(self, fence: int) -> int:
        """Carry out all edits, commit all prepared documents and removals; return how many documents. Raises `JobLost`
        when superseded."""
        await self._stores.raise_fence(fence)
        held_up = await self._edit(fence)
        total = 0
        while documents := await self._gathered():
            held_up = held_up or await self._edit(fence)
            async for piece in self._slices(documents):
                await self._write(piece, fence)
                await self._clean(piece, fence)
                await self._tell(piece)
                held_up = held_up or await self._edit(fence)
            total += len(documents)
            self._last_end = time.monotonic()
        if held_up:
            raise held_up
        return total

    async def _gathered(self) -> list[Document]:
        """What is due, at most a slice of it, after a wait for the company of others that are on their way."""
        documents = await self._due()
        while documents and await self._is_company_expected(documents):
            await asyncio.sleep(LOOK_S)
            documents = await self._due()
        totals = accumulate(len(document.chunk_ids) for document in documents)
        return documents[: max(1, sum(total <= SLICE_CHUNKS for total in totals))]

    async def _is_company_expected(self, documents: Sequence[Document]) -> bool:
        """Not beside an edit or a removal: somebody waits for those."""
        since = time.monotonic() - self._last_end
        if since >= SECONDS_FOR_COMPANY or sum(len(d.chunk_ids) for d in documents) >= SLICE_CHUNKS:
            return False
        if documents[0].stage is Stage.DELETING or await self._stores.edits.count():
            return False
        return since < SECONDS_BETWEEN_COMMITS or await self._is_any(Stage.ACCEPTED)

    async def _is_any(self, stage: Stage) -> bool:
        return bool(await self._stores.documents.find(Filter(stages=frozenset({stage})), 1))

    async def _due(self) -> list[Document]:
        """Removals first: they free names and make room."""
        deleting = await self._stores.documents.find(Filter(stages=frozenset({Stage.DELETING})), DOCUMENTS_AT_ONCE)
        if deleting and (idle := await self._without_work(deleting)):
            return idle
        return await self._stores.documents.find(Filter(stages=frozenset({Stage.PREPARED})), SLICE_CHUNKS)

    async def _without_work(self, deleting: Sequence[Document]) -> list[Document]:
        """Those that nobody is preparing any more: work under way would leave blobs behind, or hit the next document
        of this name. The others are asked to stop, and removed by a later commit."""
        jobs = await self._queue.open_jobs(self._stores.workspace)
        busy = {j.subject for j in jobs if j.kind == job_kinds.PREPARE and j.state is JobState.DOING}
        idle = [d for d in deleting if d.id not in busy]
        if len(idle) < len(deleting):
            await self._queue.enqueue([job_kinds.commit(self._stores.workspace, WAIT_FOR_PREPARE_S)])
        return idle

    async def _slices(self, documents: Sequence[Document]) -> AsyncIterator[Slice]:
        """Many small documents share a slice; a large one spans several and is finished with its last. One that is
        replaced is never divided: no answer rests on half of each version."""
        piece = Slice()
        for document in documents:
            try:
                added, removed = await self._load(document)
            except StorageCorrupt as error:
                if document.stage is not Stage.PREPARED:
                    raise
                await self._prepare_again(document, error)
                continue
            size = len(added) + len(removed)
            step = max(size, 1) if document.serving else SLICE_CHUNKS
            for start in range(0, size, step):
                if piece.size and piece.size + size - start > SLICE_CHUNKS:
                    yield piece
                    piece = Slice()
                piece.added += added[start : start + step]
                piece.removed += removed[start : start + step]
            (piece.gone if document.stage is Stage.DELETING else piece.finished).append(document)
        yield piece

    async def _load(self, document: Document) -> tuple[list[NewChunk], list[str]]:
        """The chunks a document brings and the ids of those it loses."""
        if document.stage is Stage.DELETING:
            return [], await self._stored_chunks(document)
        workspace, original = self._stores.workspace, key_of(document)
        key = blob_keys.parsed(document.id, original, self._embedding_identity)
        kept = await self._stores.blobs.get(workspace, key)
        if kept is None:
            raise StorageCorrupt(f"the prepared text of {document.file_path!r} is gone")
        _, chunks = await asyncio.to_thread(chunked_from_bytes, kept)
        prepared: dict[int, parts.PreparedChunk] = {}
        for name in await self._stores.blobs.list(workspace, blob_keys.parts(document.id, original)):
            data = await self._stores.blobs.get(workspace, name)
            prepared |= {p.index: p for p in await asyncio.to_thread(parts.decode, data or b"")}
        if missing := [c.index for c in chunks if c.index not in prepared]:
            raise StorageCorrupt(f"the prepared chunks {missing[:5]} of {document.file_path!r} are gone")
        stale = sorted(set(await self._stored_chunks(document)) - {c.id for c in chunks})
        return [NewChunk(c, source_of(c, document), prepared[c.index]) for c in chunks], stale

    async def _prepare_again(self, document: Document, reason: StorageCorrupt) -> None:
        """One document whose prepared work is gone, or was made with another embedding model, holds up no other."""
        now = self._clock().isoformat()

        def change(row: Document) -> Document | None:
            if row.stage is not Stage.PREPARED or row.blob_key != document.blob_key:
                return None
            return row.with_(stage=Stage.ACCEPTED, status=DocStatus.PENDING, updated_at=now, chunk_ids=())

        if await self._stores.documents.update(document.id, change):
            await self._queue.enqueue([job_kinds.prepare(self._stores.workspace, document.id)])
            await self._queue.note(self._stores.workspace, f"Preparing {document.file_path} again: {reason}")

    async def _stored_chunks(self, document: Document) -> list[str]:
        """Also a document that was deleted or replaced while it was being committed has chunks; their ids begin with
        its own."""
        return [key async for key, _ in self._stores.contributions.scan(f"{document.id}-chunk-")]

    async def _edit(self, fence: int) -> RetryableError | None:
        """Edits by hand, in their order; somebody waits for them, so they go between documents. Returns what makes them
        wait, such as an embedder that is away: documents need not."""
        for edit_id, edit in await self._edits.pending():
            try:
                await self._carry_out(edit_id, edit, fence)
            except JobLost:
                raise
            except Exception as error:
                if isinstance(error, RetryableError) and error.retryable:
                    return error
                await self._refuse(edit_id, error, fence)
            await self._edits.forget_outcomes()
        return None

    async def _carry_out(self, edit_id: str, edit: Edit | Mend, fence: int) -> None:
        if isinstance(edit, Mend):
            await self._mend(edit_id, edit, fence)
            return
        change = await self._curate.change_for(edit)
        changes = await self._planner.plan_change(change)
        async with self._stores.transaction(fence):
            await self._put(changes)
            await self._stores.curated.delete([key for key, row in change.rows.items() if row is None])
            await self._stores.curated.put({key: row for key, row in change.rows.items() if row is not None})
            await self._edits.end(edit_id, change.edited)

    async def _mend(self, edit_id: str, mend: Mend, fence: int) -> None:
        changes = await self._mending.changes_for(mend)
        async with self._stores.transaction(fence):
            if mend.storage:
                await self._mending.storage()
            await self._put(changes)
            await self._edits.end(edit_id, Edited(()))

    async def _refuse(self, edit_id: str, error: Exception, fence: int) -> None:
        """An edit that cannot be carried out ends: it must not hold up those behind it."""
        if not isinstance(error, LightRAGError):
            log.exception("edit failed unexpectedly edit=%s", edit_id)
        async with self._stores.transaction(fence):
            await self._edits.end(edit_id, error)

    async def _write(self, piece: Slice, fence: int) -> None:
        began = time.time()
        with billed() as bill, self._telemetry.stage(STAGE_SECONDS, "commit"):
            changes = await self._planner.plan(piece)
            async with self._stores.transaction(fence):
                await self._put(changes)
                bill.take("commit", time.time() - began)
                await self._finish_documents(piece, bill)
        self._trace(piece, began)

    def _trace(self, piece: Slice, began: float) -> None:
        """Many documents share a slice, and each has a trace of its own."""
        tracer, workspace = self._telemetry.tracer, self._stores.workspace
        for document in piece.finished:
            shared = {"lightrag.documents": len(piece.finished), "lightrag.chunks": piece.size}
            tracer.told(trace_key(workspace, document), "commit", began, shared, is_root=False)
            trace_ended(tracer, workspace, document)

    async def _put(self, changes: Changes) -> None:
        stores = self._stores
        await self._check_dimension(changes)
        await stores.graph.delete(changes.stale_entities, changes.stale_relations, changes.stale_chunks)
        await stores.entities.delete(changes.stale_entity_vectors)
        await stores.facts.delete(changes.stale_fact_vectors)
        await stores.windows.delete(changes.stale_windows)
        await stores.lexical.delete(changes.stale_windows)
        await stores.chunks.delete(changes.stale_chunks)
        await stores.contributions.delete(changes.stale_chunks)
        await stores.chunks.put(changes.chunks)
        await stores.contributions.put(changes.contributions)
        await stores.windows.put(changes.windows)
        await stores.entities.put(list(changes.entity_vectors.values()))
        await stores.facts.put(list(changes.fact_vectors.values()))
        await stores.lexical.put(changes.lexical)
        await stores.graph.put(changes.entities, changes.relations, changes.evidence)
        if self._notes_names:
            at = self._clock().isoformat()
            await stores.unresolved.put({key: {"at": at} for key in (*changes.renamed, *changes.stale_entities)})

    async def _finish_documents(self, piece: Slice, bill: Bill) -> None:
        """Last of all. A document that was withdrawn meanwhile is removed next; one that was replaced is served.
        What the slice took is noted with each of its documents, the embedding of what they share with none."""
        now, shared = self._clock(), Bill(seconds=bill.seconds)
        for prepared in piece.finished:
            document = prepared.with_(metadata=with_usage(prepared.metadata, shared))
            await self._stores.documents.update(document.id, partial(committed, document=document, now=now))

    async def _clean(self, piece: Slice, fence: int) -> None:
        """Prepared parts and the version before have served; reconcile removes what a crash leaves. Of a removed
        document the row goes last: until then its name is not free, so nothing of a new document can be hit."""
        stores = self._stores
        for document in piece.finished:
            await stores.blobs.delete(stores.workspace, blob_keys.parts(document.id, key_of(document)))
            if document.serving:
                await forget(stores, document.id, document.serving.blob_key)
        for document in piece.gone:
            await stores.blobs.delete(stores.workspace, blob_keys.all_parts(document.id))
            await stores.blobs.delete(stores.workspace, blob_keys.all_parsed(document.id))
            await stores.blobs.delete(stores.workspace, blob_keys.originals(document.id))
        if piece.gone:
            async with stores.transaction(fence):
                await stores.documents.delete([d.id for d in piece.gone])

    async def _tell(self, piece: Slice) -> None:
        for documents, word in ((piece.finished, "Indexed"), (piece.gone, "Deleted")):
            for document in documents:
                await self._queue.note(
                    self._stores.workspace, f"{word} {document.file_path} ({len(document.chunk_ids)} chunks)"
                )

    async def _check_dimension(self, changes: Changes) -> None:
        """Record which model made the vectors; refuse another one, for its vectors cannot be compared."""
        if not changes.windows:
            return
        made_by = {"identity": self._embedding_identity, "dimension": len(changes.windows[0].vector)}
        known = (await self._stores.meta.get([EMBEDDING_KEY])).get(EMBEDDING_KEY)
        if known is None:
            await self._stores.meta.put({EMBEDDING_KEY: made_by})
        elif known != made_by:
            raise DimensionMismatch(mismatch_sentence(known, made_by))


def mismatch_sentence(known: Row, configured: Row) -> str:
    return (
        f"the data was embedded with {known['identity']} ({known['dimension']} dimensions) but "
        f"{configured['identity']} ({configured['dimension']}) is configured: set EMBEDDING_BINDING, EMBEDDING_MODEL "
        "and EMBEDDING_DIM back, or use another WORKSPACE or WORKING_DIR"
    )
