from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import sqlite3
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from lightrag_server.errors import InvalidInput, JobLost, StorageCorrupt, StorageUnavailable
from lightrag_server.ports.storage import Capabilities, Flaw
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.sqlite import checks, lexical, schema
from lightrag_server.storages.sqlite.database import Database, refuse_newer, version_in_file
from lightrag_server.storages.sqlite.doc_status import SQLiteDocStatusStore
from lightrag_server.storages.sqlite.graph import SQLiteGraphStore
from lightrag_server.storages.sqlite.graph_writes import TABLES as GRAPH_TABLES
from lightrag_server.storages.sqlite.kv import SQLiteKVStore
from lightrag_server.storages.sqlite.lexical import SQLiteLexicalStore
from lightrag_server.storages.sqlite.row_cache import RowCache
from lightrag_server.storages.sqlite.vectors import VECTOR_SCHEMA, SQLiteVectorStore, namespaces_of

MIGRATIONS = (
    schema.ROWS,
    schema.GRAPH,
    schema.LEXICAL,
    VECTOR_SCHEMA,
    schema.DOCUMENT_CONDITIONS,
    schema.ENTITY_TYPES,
    schema.KV_IN_ORDER,
    schema.VECTORS_IN_BLOCKS,
    schema.DOCUMENTS_IN_ORDER,
    schema.TOLD_WITH_CHUNKS,
)
SUFFIX = ".sqlite"
MB = 1_000_000
MAX_WORKSPACE_CHARS = 100
_WORKSPACE = re.compile(r"[A-Za-z0-9_-]*")
_DEFAULT_STEM = "default"
_NAMED = "w-"
_CAPITAL = "+"

_TABLES = ("kv", "documents", *GRAPH_TABLES, "vector_blocks", "vector_items", "vector_spaces")
_CONTENT = ("kv", "documents", "nodes", "chunks", "lexical_items", "vector_items WHERE id IS NOT NULL")

_RAISE_FENCE = (
    "INSERT INTO fence (only, value) VALUES (0, ?)"
    " ON CONFLICT DO UPDATE SET value = excluded.value WHERE excluded.value > fence.value"
)
_FENCE = "SELECT value FROM fence"


log = logging.getLogger(__name__)


class SQLiteBackend:
    """One file per workspace in `folder`, opened on first use; its transactions span all roles."""

    name = "sqlite"
    capabilities = Capabilities(transactions=True, shared_writes=True, persistent=True)

    def __init__(self, folder: Path, settings: SQLiteSettings) -> None:
        self._folder = folder
        self._settings = settings
        self._threads = ThreadPoolExecutor((os.cpu_count() or 1) + 1, thread_name_prefix="sqlite")
        self._databases: dict[str, Database] = {}
        self._rows = RowCache(settings.row_cache_mb * MB)

    async def open(self) -> None:
        """Raises `StorageError` when any workspace was written by a later version, whether or not it is used."""
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread(self._refuse_newer)

    async def close(self) -> None:
        for database in self._databases.values():
            await database.close()
        self._databases.clear()
        await asyncio.to_thread(self._threads.shutdown)

    def kv(self, workspace: str, namespace: str) -> SQLiteKVStore:
        return SQLiteKVStore(self._database(workspace), namespace)

    def vectors(self, workspace: str, namespace: str) -> SQLiteVectorStore:
        return SQLiteVectorStore(self._database(workspace), namespace, self._cache_folder(workspace), self._rows)

    def graph(self, workspace: str) -> SQLiteGraphStore:
        return SQLiteGraphStore(self._database(workspace), self._rows)

    def doc_status(self, workspace: str) -> SQLiteDocStatusStore:
        return SQLiteDocStatusStore(self._database(workspace))

    def lexical(self, workspace: str, namespace: str) -> SQLiteLexicalStore:
        return SQLiteLexicalStore(self._database(workspace), namespace)

    @asynccontextmanager
    async def transaction(self, workspace: str, fence: int | None = None) -> AsyncIterator[None]:
        database = self._database(workspace)
        if database.in_transaction:
            raise RuntimeError(f"the workspace {workspace!r} is in a transaction already")
        async with database.transaction():
            if fence is not None:
                await database.write(lambda c: _raise_fence(c, workspace, fence))
            yield

    async def raise_fence(self, workspace: str, fence: int) -> None:
        await self._database(workspace).write(lambda c: _raise_fence(c, workspace, fence))

    async def workspaces(self) -> list[str]:
        stems = await asyncio.to_thread(lambda: [path.stem for path in self._folder.glob("*" + SUFFIX)])
        names = sorted(name for name in map(workspace_of, stems) if name is not None)
        return [name for name in names if await self._holds_anything(name)]

    async def _holds_anything(self, workspace: str) -> bool:
        """A file that cannot be read held something: one that is torn hides no other."""
        try:
            return await self._database(workspace).read(_holds_anything)
        except StorageCorrupt as error:
            log.warning("%s", error)
            return True

    async def drop(self, workspace: str) -> None:
        """The file stays, for others may have it open, and so does the fence; the rest of its pages are given back."""
        database = self._database(workspace)
        await database.write(_empty)
        await asyncio.to_thread(shutil.rmtree, self._cache_folder(workspace), ignore_errors=True)
        if not database.in_transaction:
            await self._compact(database)

    async def flaws(self, workspace: str) -> list[Flaw]:
        database = self._database(workspace)
        if not await asyncio.to_thread(database.path.exists):
            return []
        self._rows.forget()
        found = await database.read(checks.flaws)
        if all(flaw.can_mend for flaw in found):
            found += await self._flaws_of_searches(workspace)
        return found

    async def _flaws_of_searches(self, workspace: str) -> list[Flaw]:
        """Of the lexical index as FTS5 sees it, and of the vector caches, which are no data."""
        found: list[Flaw] = []
        if not await self._database(workspace).write(lexical.index_is_sound):
            found.append(Flaw("torn-lexical", "lexical indexes that are damaged", 1, (), "they are made anew"))
        database = self._database(workspace)
        is_readable = not await database.read(checks.torn_vectors)
        namespaces = await database.read(namespaces_of) if is_readable else []
        if torn := [name for name in namespaces if await self.vectors(workspace, name).cache_is_torn()]:
            what, remedy = "caches of vectors that are damaged", "they are made anew by the next search"
            found.append(Flaw("torn-caches", what, len(torn), tuple(torn), remedy))
        return found

    async def mend(self, workspace: str) -> None:
        database = self._database(workspace)
        for namespace, ids in (await database.read(checks.torn_vectors)).items():
            await self.vectors(workspace, namespace).delete(ids)
        await database.write(checks.mend)
        for namespace in await database.read(namespaces_of):
            store = self.vectors(workspace, namespace)
            if await store.cache_is_torn():
                store.forget_cache()

    def _refuse_newer(self) -> None:
        for path in self._folder.glob("*" + SUFFIX):
            if workspace_of(path.stem) is not None:
                refuse_newer(path, version_in_file(path), len(MIGRATIONS))

    async def _compact(self, database: Database) -> None:
        try:
            await database.compact()
        except StorageUnavailable as error:
            log.info("the space of %s is given back later: %s", database.path.name, error)

    def _cache_folder(self, workspace: str) -> Path:
        return self._folder / "cache" / file_stem(workspace)

    def _database(self, workspace: str) -> Database:
        if workspace not in self._databases:
            path = self._folder / (file_stem(workspace) + SUFFIX)
            self._databases[workspace] = Database(path, MIGRATIONS, self._settings, self._threads)
        return self._databases[workspace]


def file_stem(workspace: str) -> str:
    """The name of a workspace's file without suffix: different for different workspaces, also where the file system
    ignores case. Anything but [A-Za-z0-9_-] raises `InvalidInput`."""
    if not _WORKSPACE.fullmatch(workspace) or len(workspace) > MAX_WORKSPACE_CHARS:
        raise InvalidInput(
            f"the workspace {workspace[:MAX_WORKSPACE_CHARS]!r} must be at most {MAX_WORKSPACE_CHARS} "
            "of the characters A-Z, a-z, 0-9, _ and -"
        )
    if not workspace:
        return _DEFAULT_STEM
    return _NAMED + re.sub("[A-Z]", lambda match: _CAPITAL + match.group().lower(), workspace)


def workspace_of(stem: str) -> str | None:
    """The workspace whose `file_stem` this is; None for other files."""
    if stem == _DEFAULT_STEM:
        return ""
    name = re.sub(r"\+([a-z])", lambda match: match.group(1).upper(), stem.removeprefix(_NAMED))
    is_ours = _WORKSPACE.fullmatch(name) and name and file_stem(name) == stem
    return name if is_ours else None


def _raise_fence(connection: sqlite3.Connection, workspace: str, fence: int) -> None:
    connection.execute(_RAISE_FENCE, (fence,))
    highest = connection.execute(_FENCE).fetchone()[0]
    if highest > fence:
        raise JobLost(f"the job {fence} on the workspace {workspace!r} was superseded by {highest}")


def _holds_anything(connection: sqlite3.Connection) -> bool:
    return any(connection.execute(f"SELECT EXISTS (SELECT 1 FROM {rows})").fetchone()[0] for rows in _CONTENT)


def _empty(connection: sqlite3.Connection) -> None:
    lexical.clear_all(connection)
    for table in _TABLES:
        connection.execute(f"DELETE FROM {table}")
