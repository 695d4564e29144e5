"""Removing everything of a workspace at once: much cheaper than document by document, and as safe."""

from __future__ import annotations

import asyncio
from pathlib import Path

from lightrag_server.core.records import Document, Stage
from lightrag_server.engine import blob_keys, job_kinds
from lightrag_server.engine.stores import Stores
from lightrag_server.ports.doc_status import Filter
from lightrag_server.ports.jobs import JobQueue, JobState

POLL_S = 0.1


class Clear:
    """Everything but the LLM cache goes. Documents accepted meanwhile are not touched: their rows are not marked."""

    def __init__(self, stores: Stores, queue: JobQueue, input_dir: Path) -> None:
        self._stores = stores
        self._queue = queue
        self._input_dir = input_dir

    async def run(self, fence: int) -> None:
        """Mark, empty, and only then free the names, as a removal does: stopped anywhere, a commit ends it. Raises
        `JobLost` when superseded."""
        await self._stores.raise_fence(fence)
        documents = await self._marked(fence)
        await self._prepared_no_more({d.id for d in documents})
        async with self._stores.transaction(fence):
            await self._stores.clear_knowledge()
        for document in documents:
            await self._remove_blobs(document)
        await asyncio.to_thread(remove_files, self._input_dir)
        async with self._stores.transaction(fence):
            await self._stores.documents.delete([d.id for d in documents])
        await self._queue.note(self._stores.workspace, "Cleared all documents")

    async def _marked(self, fence: int) -> list[Document]:
        async with self._stores.transaction(fence):
            documents = [d.with_(stage=Stage.DELETING) for d in await self._stores.documents.find(Filter())]
            await self._stores.documents.put(documents)
        return documents

    async def _prepared_no_more(self, document_ids: set[str]) -> None:
        """Work under way would leave blobs behind."""
        for document_id in document_ids & await self._at_work():
            await self._queue.cancel(self._stores.workspace, (job_kinds.PREPARE,), document_id)
        while True:
            if not document_ids & await self._at_work():
                return
            await asyncio.sleep(POLL_S)

    async def _at_work(self) -> set[str]:
        jobs = await self._queue.open_jobs(self._stores.workspace)
        return {j.subject for j in jobs if j.kind == job_kinds.PREPARE and j.state is JobState.DOING}

    async def _remove_blobs(self, document: Document) -> None:
        for key in (
            blob_keys.all_parts(document.id),
            blob_keys.all_parsed(document.id),
            blob_keys.originals(document.id),
        ):
            await self._stores.blobs.delete(self._stores.workspace, key)


def remove_files(folder: Path) -> None:
    if folder.is_dir():
        for path in folder.iterdir():
            if path.is_file() and not path.is_symlink():
                path.unlink()
