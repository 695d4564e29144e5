"""Heals what a crash left between stores: documents without a job, blobs without a document."""

from __future__ import annotations

from lightrag_server.core.records import Document, Stage
from lightrag_server.engine import blob_keys, job_kinds
from lightrag_server.engine.stores import Stores
from lightrag_server.engine.workspace import Workspaces
from lightrag_server.ports.doc_status import Filter
from lightrag_server.ports.jobs import JobQueue, NewJob

_UNFINISHED = frozenset({Stage.ACCEPTED, Stage.PREPARED, Stage.DELETING})
_MAY_HAVE_PARTS = (Stage.ACCEPTED, Stage.PREPARED, Stage.FAILED, Stage.DELETING)


async def reconcile(workspaces: Workspaces, queue: JobQueue) -> int:
    """Queue what is missing and remove what is left over, in all workspaces; return how many jobs were added."""
    added = 0
    for name in await workspaces.names():
        stores = (await workspaces.get(name)).stores
        await _remove_left_over(stores)
        documents = await stores.documents.find(Filter(stages=_UNFINISHED))
        open_jobs = {(j.kind, j.subject) for j in await queue.open_jobs(name)}
        missing = [job for job in _jobs_for(name, documents) if (job.kind, job.subject) not in open_jobs]
        await queue.enqueue(missing)
        added += len(missing)
    return added


def _jobs_for(workspace: str, documents: list[Document]) -> list[NewJob]:
    jobs = [job_kinds.prepare(workspace, d.id) for d in documents if d.stage is Stage.ACCEPTED]
    if any(d.stage in (Stage.PREPARED, Stage.DELETING) for d in documents):
        jobs.append(job_kinds.commit(workspace))
    return jobs


async def _remove_left_over(stores: Stores) -> None:
    """Parts of documents that are committed or gone. Originals are left to their documents: an upload under way
    keeps its bytes before its row."""
    names = await stores.blobs.list(stores.workspace, blob_keys.PREPARED)
    ids = list({name.split("/")[1] for name in names})
    documents = await stores.documents.get(ids)
    for document_id in ids:
        document = documents.get(document_id)
        if document is None or document.stage not in _MAY_HAVE_PARTS:
            await stores.blobs.delete(stores.workspace, blob_keys.parts(document_id))
