"""Deleting a workspace: everything under its key, and at last its name."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from lightrag_server.engine import job_kinds
from lightrag_server.engine.clear import remove_files
from lightrag_server.engine.register import KEPT_S, Register
from lightrag_server.engine.stores import Stores
from lightrag_server.errors import StorageUnavailable
from lightrag_server.ports.jobs import JobQueue

POLL_S = 0.1
LIVE_OWNER_S = 30.0


class Drop:
    """The register says that the workspace is left before a job for this is queued, so nothing new comes in."""

    def __init__(self, stores: Stores, queue: JobQueue, register: Register, input_dir: Path) -> None:
        self._stores = stores
        self._queue = queue
        self._register = register
        self._input_dir = input_dir

    async def submit(self) -> int:
        """Queue it; the job's id."""
        [job] = await self._queue.enqueue([job_kinds.drop(self._stores.workspace)])
        return job

    async def run(self, fence: int) -> None:
        """Remove everything; the row last, so that whoever finds it runs this again. Raises `JobLost` when
        superseded."""
        key = self._stores.workspace
        if not await self._register.is_leaving(key):
            return  # done before: what is stored under the key by now is another workspace's
        await self._left_alone()
        for backend in self._stores.backends.distinct():
            await self._stores.raise_fence(fence)
            await backend.drop(key)
        await self._stores.blobs.delete(key, "")
        await asyncio.to_thread(_remove_input, self._input_dir, is_own=bool(key))
        await self._queue.forget(key)
        await self._register.remove(key)

    async def _left_alone(self) -> None:
        """Stop all other work, and wait until other processes have heard that nobody may enter."""
        if len(await self._queue.live_owners(LIVE_OWNER_S)) > 1:
            await asyncio.sleep(KEPT_S)
        key = self._stores.workspace
        while kinds := {job.kind for job in await self._queue.open_jobs(key)} - {job_kinds.DROP}:
            await self._queue.cancel(key, kinds)
            await asyncio.sleep(POLL_S)


def _remove_input(folder: Path, *, is_own: bool) -> None:
    """The folder of the unnamed workspace holds those of the others, so only its files go."""
    try:
        if not is_own:
            remove_files(folder)
        elif folder.is_symlink():
            folder.unlink()
        elif folder.is_dir():
            shutil.rmtree(folder)
    except OSError as error:
        raise StorageUnavailable(f"the input folder cannot be removed: {error.strerror or error}") from error
