"""The directory of workspaces in a database file of its own, for any number of processes of one host."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightrag_server.core.encoding import from_bytes, to_bytes
from lightrag_server.errors import Conflict
from lightrag_server.ports.directory import WorkspaceRow
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.sqlite.database import Database

DIRECTORY_SCHEMA = """
CREATE TABLE workspaces (
    key TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at TEXT,
    description TEXT NOT NULL,
    settings BLOB NOT NULL,
    is_leaving INTEGER NOT NULL
) WITHOUT ROWID;
"""

_COLUMNS = "key, name, created_at, description, settings, is_leaving"
_ADD = f"INSERT INTO workspaces ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_GET = f"SELECT {_COLUMNS} FROM workspaces WHERE key = ?"
_ALL = f"SELECT {_COLUMNS} FROM workspaces ORDER BY name"
_NAMED = "SELECT 1 FROM workspaces WHERE name = ? AND key != ?"
_CHANGE = """
UPDATE workspaces SET name = ?, created_at = ?, description = ?, settings = ?, is_leaving = ? WHERE key = ?
"""


class SQLiteDirectory:
    def __init__(self, path: Path, settings: SQLiteSettings) -> None:
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="directory")
        self._database = Database(path, [DIRECTORY_SCHEMA], settings, self._threads)
        self._is_open = True

    async def rows(self) -> list[WorkspaceRow]:
        return await self._database.read(lambda c: [_row(values) for values in c.execute(_ALL)])

    async def add(self, row: WorkspaceRow) -> bool:
        values = (row.key, *_values(row))
        return await self._database.write(lambda c: c.execute(_ADD, values).rowcount == 1)

    async def change(self, key: str, edit: Callable[[WorkspaceRow], WorkspaceRow]) -> WorkspaceRow | None:
        return await self._database.write(lambda c: _change(c, key, edit))

    async def remove(self, key: str) -> None:
        await self._database.write(lambda c: c.execute("DELETE FROM workspaces WHERE key = ?", (key,)))

    async def close(self) -> None:
        if self._is_open:
            self._is_open = False
            await self._database.close()
            self._threads.shutdown()


def _change(
    connection: sqlite3.Connection, key: str, edit: Callable[[WorkspaceRow], WorkspaceRow]
) -> WorkspaceRow | None:
    found = connection.execute(_GET, (key,)).fetchone()
    if found is None:
        return None
    changed = replace(edit(_row(found)), key=key)
    if connection.execute(_NAMED, (changed.name, key)).fetchone():
        raise Conflict(f"there is a workspace {changed.name!r} already")
    connection.execute(_CHANGE, (*_values(changed), key))
    return changed


def _values(row: WorkspaceRow) -> tuple[Any, ...]:
    return row.name, row.created_at, row.description, to_bytes(row.settings), row.is_leaving


def _row(values: Sequence[Any]) -> WorkspaceRow:
    key, name, created_at, description, settings, is_leaving = values
    return WorkspaceRow(key, name, created_at, description, from_bytes(settings), bool(is_leaving))
