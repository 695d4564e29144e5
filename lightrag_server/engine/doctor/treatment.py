"""From what a look found to what puts it right: edits for the next commit, documents to be prepared again, jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from lightrag_server.core.edits import Mend
from lightrag_server.core.records import DocStatus, Document, Stage
from lightrag_server.engine import blob_keys, job_kinds
from lightrag_server.engine.clock import Clock
from lightrag_server.engine.doctor.checkup import Report
from lightrag_server.engine.doctor.documents import chunks_cut
from lightrag_server.engine.doctor.faults import Fault, Kind
from lightrag_server.engine.incoming import FAILURE_METADATA
from lightrag_server.engine.stores import Stores
from lightrag_server.engine.versions import served
from lightrag_server.ports.jobs import JobQueue

T = TypeVar("T")

AT_ONCE = 200
_CHUNKS = frozenset(
    (Kind.ORPHAN_CHUNK, Kind.STRAY_EVIDENCE, Kind.EVIDENCE, Kind.NO_VECTOR, Kind.NO_TERMS, Kind.CHUNK_ROW, Kind.BAD_ROW)
)
_WINDOWS = frozenset((Kind.EXTRA_WINDOW, Kind.EXTRA_TERMS, Kind.BAD_WINDOW))
_NAMES = frozenset((Kind.EXTRA_NAME, Kind.BAD_NAME))
_FACTS = frozenset((Kind.EXTRA_FACT, Kind.BAD_FACT))
_AGAIN = frozenset((Kind.LOST_CHUNK, Kind.LOST_TEXT))


def mends_for(report: Report) -> Iterator[Mend]:
    """In the order in which they have to be carried out: subjects are folded by the evidence of chunks."""
    if any(flaw.can_mend for flaw in report.flaws if flaw.kind not in {kind.word for kind in Kind}):
        yield Mend(storage=True)
        return  # what cannot be read yet is looked at again
    faults = report.faults
    for batch in _batches(_ids(faults, _CHUNKS)):
        yield Mend(chunk_ids=batch)
    for batch in _batches(_ids(faults, _WINDOWS)):
        yield Mend(windows=batch)
    for batch in _batches(list(dict.fromkeys(s for fault in faults for s in fault.subjects))):
        yield Mend(subjects=batch)
    for batch in _batches([(f.id, f.ref) for f in faults if f.kind in _NAMES]):
        yield Mend(names=batch)
    for batch in _batches([(f.id, f.ref) for f in faults if f.kind in _FACTS]):
        yield Mend(facts=batch)


@dataclass(frozen=True, slots=True)
class Treatment:
    """All but the edits."""

    stores: Stores
    queue: JobQueue
    clock: Clock

    async def give(self, faults: Sequence[Fault]) -> int:
        """How many documents are prepared again."""
        for key in _ids(faults, {Kind.LEFT_BLOB}):
            await self.stores.blobs.delete(self.stores.workspace, key)
        for owner in {fault.ref for fault in faults if fault.kind is Kind.DEAD_JOB}:
            await self.queue.release(owner)
        if any(fault.kind is Kind.NO_JOB for fault in faults):
            await self._queue_work(_ids(faults, {Kind.NO_JOB}))
        again = list(dict.fromkeys(fault.ref for fault in faults if fault.kind in _AGAIN))
        return sum([await self._prepare_again(document_id) for document_id in again])

    async def _queue_work(self, ids: Sequence[str]) -> None:
        documents = await self.stores.documents.get(ids)
        accepted = [i for i in ids if i in documents and documents[i].stage is Stage.ACCEPTED]
        jobs = [job_kinds.prepare(self.stores.workspace, i) for i in accepted]
        await self.queue.enqueue([*jobs, job_kinds.commit(self.stores.workspace)])

    async def _prepare_again(self, document_id: str) -> bool:
        """From the parsed text, or where that is torn from the original. One that is being replaced gets whole by
        that."""
        document = (await self.stores.documents.get([document_id])).get(document_id)
        version = served(document) if document else None
        if document is None or version is None or version.blob_key is None or document.serving:
            return False
        if await chunks_cut(self.stores, document.id, version.blob_key) is None:
            if await self.stores.blobs.get(self.stores.workspace, version.blob_key) is None:
                return False
            await self.stores.blobs.delete(self.stores.workspace, blob_keys.parsed_of(document.id, version.blob_key))
        if not await self.stores.documents.update(document.id, partial(_accepted, document, self.clock)):
            return False
        await self.queue.enqueue([job_kinds.prepare(self.stores.workspace, document.id)])
        return True


def _accepted(document: Document, clock: Clock, row: Document) -> Document | None:
    if row.stage is not Stage.COMMITTED or row.blob_key != document.blob_key:
        return None
    metadata = {name: value for name, value in row.metadata.items() if name not in FAILURE_METADATA}
    return row.with_(
        stage=Stage.ACCEPTED,
        status=DocStatus.PENDING,
        error=None,
        updated_at=clock().isoformat(),
        chunk_ids=(),
        metadata=metadata,
    )


def _ids(faults: Sequence[Fault], kinds: frozenset[Kind] | set[Kind]) -> list[str]:
    return list(dict.fromkeys(fault.id for fault in faults if fault.kind in kinds))


def _batches(items: Sequence[T]) -> Iterator[tuple[T, ...]]:
    return (tuple(items[start : start + AT_ONCE]) for start in range(0, len(items), AT_ONCE))
