"""What lies in WORKING_DIR, opened without any model and without anybody who works."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from lightrag_server.engine.clock import Clock, utc_now
from lightrag_server.engine.register import Register
from lightrag_server.engine.stores import Backends
from lightrag_server.ports.blobs import BlobStore
from lightrag_server.ports.jobs import JobQueue
from lightrag_server.settings import Settings
from lightrag_server.storages.local_blobs import LocalBlobStore
from lightrag_server.storages.registry import open_backends
from lightrag_server.storages.sqlite.directory import SQLiteDirectory
from lightrag_server.storages.sqlite.jobs import SQLiteJobQueue

COORDINATION_FILE = "coordination.sqlite"
DIRECTORY_FILE = "directory.sqlite"
BLOBS_FOLDER = "blobs"
PROCESSES_FOLDER = "processes"


@dataclass(frozen=True, slots=True)
class Kept:
    backends: Backends
    blobs: BlobStore
    queue: JobQueue
    register: Register


@asynccontextmanager
async def open_kept(settings: Settings, clock: Clock = utc_now) -> AsyncGenerator[Kept]:
    """For commands that look after the data, whether a server runs or not."""
    async with AsyncExitStack() as stack:
        backends = await stack.enter_async_context(open_backends(settings))
        queue = open_queue(settings)
        stack.push_async_callback(queue.close)
        directory = SQLiteDirectory(settings.server.working_dir / DIRECTORY_FILE, settings.sqlite)
        stack.push_async_callback(directory.close)
        register = Register(
            directory,
            backends.doc_status.workspaces,
            clock,
            default=settings.server.workspace,
            auto_create=settings.server.workspace_auto_create,
        )
        yield Kept(backends, LocalBlobStore(settings.server.working_dir / BLOBS_FOLDER), queue, register)


def open_queue(settings: Settings) -> JobQueue:
    return SQLiteJobQueue(settings.server.working_dir / COORDINATION_FILE, settings.sqlite)
