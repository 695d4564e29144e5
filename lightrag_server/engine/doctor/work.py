"""Jobs against the documents and edits that wait for them, and kept files that nobody needs.

None of this is covered by a transaction: what looks wrong may only be under way, and is looked at again a moment later.
"""

from __future__ import annotations

from lightrag_server.core.records import Stage
from lightrag_server.engine import job_kinds
from lightrag_server.engine.clock import Clock
from lightrag_server.engine.doctor.faults import Fault, Kind
from lightrag_server.engine.leftovers import left_parts, orphans
from lightrag_server.engine.stores import Stores
from lightrag_server.ports.doc_status import Filter
from lightrag_server.ports.jobs import JobQueue, JobState

LIVE_S = 20.0
"""Without a heartbeat for so long a process is taken for dead."""


class Work:
    def __init__(self, stores: Stores, queue: JobQueue, clock: Clock) -> None:
        self._stores = stores
        self._queue = queue
        self._clock = clock

    async def examine(self) -> list[Fault]:
        return [*await self._jobs(), *await self._blobs()]

    async def _jobs(self) -> list[Fault]:
        stores = self._stores
        waiting = await stores.documents.find(
            Filter(stages=frozenset({Stage.ACCEPTED, Stage.PREPARED, Stage.DELETING}))
        )
        edits = [key async for key, _ in stores.edits.scan()]
        jobs = await self._queue.open_jobs(stores.workspace)
        prepared = {job.subject for job in jobs if job.kind == job_kinds.PREPARE}
        writes = any(job.kind in (job_kinds.COMMIT, job_kinds.CLEAR, job_kinds.DROP) for job in jobs)
        live = await self._queue.live_owners(LIVE_S)
        return [
            *(Fault(Kind.NO_JOB, d.id) for d in waiting if d.stage is Stage.ACCEPTED and d.id not in prepared),
            *(Fault(Kind.NO_JOB, d.id) for d in waiting if d.stage is not Stage.ACCEPTED and not writes),
            *(Fault(Kind.NO_JOB, f"edit {key}") for key in edits if not writes),
            *(
                Fault(Kind.DEAD_JOB, f"{job.kind} {job.subject}".strip(), job.owner or "")
                for job in jobs
                if job.state is JobState.DOING and job.owner not in live
            ),
        ]

    async def _blobs(self) -> list[Fault]:
        parts = await left_parts(self._stores)
        others = await orphans(self._stores, int(self._clock().timestamp()))
        return [Fault(Kind.LEFT_BLOB, key) for key in sorted({*parts, *others})]
