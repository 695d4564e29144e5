"""Heals what a crash left between stores: documents without a job, blobs without a document."""

from __future__ import annotations

from collections.abc import Collection

from lightrag_server.core.records import Document, Stage
from lightrag_server.engine import blob_keys, job_kinds
from lightrag_server.engine.clock import Clock
from lightrag_server.engine.stores import Stores
from lightrag_server.engine.workspace import Workspace, Workspaces
from lightrag_server.ports.doc_status import Filter
from lightrag_server.ports.jobs import JobQueue, NewJob

ORPHAN_AFTER_S = 60
"""An upload under way keeps its bytes before its row; after this long no row is coming."""
SWEEP_EVERY = 60
"""Looking at every document is for the second round, a minute after the start, and then for one in so many."""

_UNFINISHED = frozenset({Stage.ACCEPTED, Stage.PREPARED, Stage.DELETING})
_MAY_HAVE_PARTS = (Stage.ACCEPTED, Stage.PREPARED, Stage.FAILED, Stage.DELETING)


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
    """Parts of documents that are committed or gone, and of acceptances that were given up."""
    names = await stores.blobs.list(stores.workspace, blob_keys.PREPARED)
    documents = await stores.documents.get({blob_keys.document_of(name) for name in names})
    due = {
        blob_keys.parts(document.id, document.blob_key)
        for document in documents.values()
        if document.stage in _MAY_HAVE_PARTS and document.blob_key
    }
    await _remove(stores, {folder for name in names if (folder := name.rpartition("/")[0] + "/") not in due})


async def remove_orphans(stores: Stores, now: int) -> None:
    """Originals and parsed texts that no document names, the former once they are old enough. Of a document that is
    worked on nothing is removed: a commit under way may be about to name it."""
    originals = await stores.blobs.list(stores.workspace, blob_keys.ORIGINALS)
    old = [key for key in originals if blob_keys.stamp_of(key) <= now - ORPHAN_AFTER_S]
    parsed = await stores.blobs.list(stores.workspace, blob_keys.PARSED)
    documents = await stores.documents.get({blob_keys.document_of(key) for key in (*old, *parsed)})
    named = {blob_keys.acceptance_of(d.blob_key) for d in documents.values() if d.blob_key}
    at_work = {d.id for d in documents.values() if d.stage in _UNFINISHED}
    orphans = [key for key in (*old, *parsed) if blob_keys.acceptance_of(key) not in named]
    await _remove(stores, [key for key in orphans if blob_keys.document_of(key) not in at_work])


async def _remove(stores: Stores, keys: Collection[str]) -> None:
    for key in keys:
        await stores.blobs.delete(stores.workspace, key)
