"""Heals what a crash left between stores: documents without a job, blobs without a document."""

from __future__ import annotations

from collections.abc import Collection

from lightrag_server.core.records import Document, Stage
from lightrag_server.engine import job_kinds
from lightrag_server.engine.clock import Clock
from lightrag_server.engine.leftovers import left_parts, orphans
from lightrag_server.engine.stores import Stores
from lightrag_server.engine.workspace import Workspace, Workspaces
from lightrag_server.ports.doc_status import Filter
from lightrag_server.ports.jobs import JobQueue, NewJob

SWEEP_EVERY = 60
"""Looking at every document is for the second round, a minute after the start, and then for one in so many."""

_UNFINISHED = frozenset({Stage.ACCEPTED, Stage.PREPARED, Stage.DELETING})


class Reconcile:
    """Called at start and every minute."""

    def __init__(self, workspaces: Workspaces, queue: JobQueue, clock: Clock) -> None:
        self._workspaces = workspaces
        self._queue = queue
        self._clock = clock
        self._rounds = 0

    async def __call__(self) -> int:
        """Queue what is missing and remove what is left over, in all workspaces; return how many jobs were added."""
        added = 0
        for key in await self._workspaces.register.keys():
            workspace = await self._workspaces.get(key)
            if await self._workspaces.register.is_leaving(key):
                added += await self._deleted(workspace)
                continue
            added += await self._workspace(workspace.stores)
            if not await self._workspaces.register.has_row(key):
                await _forget_answers(workspace.stores)
        self._rounds += 1
        return added

    async def _deleted(self, workspace: Workspace) -> int:
        """A deletion that nobody works on any more goes on."""
        if any(job.kind == job_kinds.DROP for job in await self._queue.open_jobs(workspace.key)):
            return 0
        await workspace.drop.submit()
        return 1

    async def _workspace(self, stores: Stores) -> int:
        await remove_parts(stores)
        documents = await stores.documents.find(Filter(stages=_UNFINISHED))
        open_jobs = {(j.kind, j.subject) for j in await self._queue.open_jobs(stores.workspace)}
        due = _jobs_for(stores.workspace, documents, has_edits=bool(await stores.edits.count()))
        if await stores.unresolved.count():
            due.append(job_kinds.resolve(stores.workspace))
        missing = [job for job in due if (job.kind, job.subject) not in open_jobs]
        await self._queue.enqueue(missing)
        await self._forget_progress(stores.workspace, {d.id for d in documents if d.stage is Stage.ACCEPTED})
        if self._rounds % SWEEP_EVERY == 1:
            await remove_orphans(stores, int(self._clock().timestamp()))
        return len(missing)

    async def _forget_progress(self, workspace: str, accepted: Collection[str]) -> None:
        """A killed process leaves the progress of what it worked on; the next try of an accepted one replaces it."""
        for progress in await self._queue.progress(workspace):
            if progress.subject not in accepted:
                await self._queue.clear_progress(workspace, progress.subject)


async def _forget_answers(stores: Stores) -> None:
    """An answer that was still being written when its workspace was deleted may have been kept after that."""
    if not sum((await stores.documents.counts()).values()):
        await stores.cache.clear()


def _jobs_for(workspace: str, documents: list[Document], *, has_edits: bool) -> list[NewJob]:
    jobs = [job_kinds.prepare(workspace, d.id) for d in documents if d.stage is Stage.ACCEPTED]
    if has_edits or any(d.stage in (Stage.PREPARED, Stage.DELETING) for d in documents):
        jobs.append(job_kinds.commit(workspace))
    return jobs


async def remove_parts(stores: Stores) -> None:
    await _remove(stores, await left_parts(stores))


async def remove_orphans(stores: Stores, now: int) -> None:
    await _remove(stores, await orphans(stores, now))


async def _remove(stores: Stores, keys: Collection[str]) -> None:
    for key in keys:
        await stores.blobs.delete(stores.workspace, key)
