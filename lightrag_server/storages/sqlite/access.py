"""Keys, revoked tokens, login attempts and the audit trail in a database file of their own, for all processes of a
host."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lightrag_server.core.access import ApiKey, AuditEntry, Scope, admitted, renamed_in
from lightrag_server.errors import Conflict
from lightrag_server.ports.access import Attempt, AuditFilter, Known
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.sqlite.database import Database

ACCESS_SCHEMA = """
CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    scope TEXT NOT NULL,
    workspaces TEXT,
    created_at REAL NOT NULL,
    expires_at REAL,
    last_used_at REAL,
    revoked_at REAL
);
CREATE TABLE revoked_tokens (id TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE revision (value INTEGER NOT NULL);
INSERT INTO revision VALUES (0);
CREATE TABLE attempts (attempt INTEGER NOT NULL, subject TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX attempts_by_subject ON attempts (subject, at);
CREATE INDEX attempts_by_time ON attempts (at);
CREATE TABLE last_attempt (value INTEGER NOT NULL);
INSERT INTO last_attempt VALUES (0);
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    caller TEXT NOT NULL,
    kind TEXT NOT NULL,
    key_id TEXT,
    address TEXT NOT NULL,
    workspace TEXT,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    status INTEGER NOT NULL,
    request_id TEXT NOT NULL
);
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_by_caller ON audit (caller, id);
CREATE INDEX audit_by_workspace ON audit (workspace, id);
"""

RATES_SCHEMA = """
CREATE TABLE requests (subject TEXT PRIMARY KEY, due REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX requests_by_time ON requests (due);
"""

_KEY = "id, name, scope, workspaces, created_at, expires_at, last_used_at, revoked_at"
_ENTRY = "at, caller, kind, key_id, address, workspace, method, path, status, request_id"


class SQLiteAccessStore:
    """The file is for its owner alone. Nothing is opened or made before the first call."""

    def __init__(self, path: Path, settings: SQLiteSettings) -> None:
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="access")
        self._database = self._open(path, settings)
        # a count of this minute need not survive a power cut: without waiting for the disk it costs a tenth
        self._counting = self._open(path, settings.model_copy(update={"synchronous": "NORMAL"}))
        self._is_open = True

    def _open(self, path: Path, settings: SQLiteSettings) -> Database:
        return Database(path, [ACCESS_SCHEMA, RATES_SCHEMA], settings, self._threads, is_private=True)

    async def add_key(self, key: ApiKey, digest: str) -> None:
        sql = f"INSERT INTO keys (digest, {_KEY}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        workspaces = None if key.workspaces is None else json.dumps(key.workspaces)
        times = (key.created_at, key.expires_at, key.last_used_at, key.revoked_at)

        def insert(connection: sqlite3.Connection) -> None:
            try:
                connection.execute(sql, (digest, key.id, key.name, key.scope.value, workspaces, *times))
            except sqlite3.IntegrityError as error:
                raise Conflict(f"a key {key.id!r} exists") from error
            _move_revision(connection)

        await self._database.write(insert)

    async def revoke_key(self, id: str, at: float) -> ApiKey | None:
        def revoke(connection: sqlite3.Connection) -> ApiKey | None:
            changed = connection.execute("UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (at, id))
            if changed.rowcount:
                _move_revision(connection)
            row = connection.execute(f"SELECT {_KEY} FROM keys WHERE id = ?", (id,)).fetchone()
            return _key(row) if row else None

        return await self._database.write(revoke)

    async def rename_workspace(self, old: str, new: str) -> None:
        def rename(connection: sqlite3.Connection) -> None:
            rows = connection.execute(f"SELECT {_KEY} FROM keys WHERE workspaces IS NOT NULL").fetchall()
            changed = [renamed_in(key, old, new) for key in map(_key, rows) if old in (key.workspaces or ())]
            sql = "UPDATE keys SET workspaces = ? WHERE id = ?"
            connection.executemany(sql, [(json.dumps(key.workspaces), key.id) for key in changed])
            if changed:
                _move_revision(connection)

        await self._database.write(rename)

    async def mark_used(self, uses: Mapping[str, float]) -> None:
        sql = "UPDATE keys SET last_used_at = max(coalesce(last_used_at, 0), ?) WHERE id = ?"
        await self._database.write(
            lambda connection: connection.executemany(sql, [(at, id) for id, at in uses.items()])
        )

    async def keys(self) -> list[ApiKey]:
        sql = f"SELECT {_KEY} FROM keys ORDER BY created_at, rowid"
        return [_key(row) for row in await self._database.read(lambda connection: connection.execute(sql).fetchall())]

    async def revoke_token(self, id: str, at: float, until: float) -> None:
        def revoke(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM revoked_tokens WHERE until <= ?", (at,))
            connection.execute("INSERT OR REPLACE INTO revoked_tokens VALUES (?, ?)", (id, until))
            _move_revision(connection)

        await self._database.write(revoke)

    async def known(self, revision: int = -1) -> Known | None:
        def read(connection: sqlite3.Connection) -> Known | None:
            current = int(connection.execute("SELECT value FROM revision").fetchone()[0])
            if current == revision:
                return None
            rows = connection.execute(f"SELECT digest, {_KEY} FROM keys")
            keys = {row[0]: _key(row[1:]) for row in rows}
            return Known(current, keys, dict(connection.execute("SELECT id, until FROM revoked_tokens").fetchall()))

        return await self._database.read(read)

    async def attempt(self, limits: Mapping[str, int], at: float, window_s: float) -> Attempt:
        def count(connection: sqlite3.Connection) -> Attempt:
            connection.execute("DELETE FROM attempts WHERE at <= ?", (at - window_s,))
            waits = [_wait(connection, subject, limit, at, window_s) for subject, limit in limits.items()]
            if any(waits):
                return Attempt(None, max(waits))
            [id] = connection.execute("UPDATE last_attempt SET value = value + 1 RETURNING value").fetchone()
            connection.executemany("INSERT INTO attempts VALUES (?, ?, ?)", [(id, subject, at) for subject in limits])
            return Attempt(id)

        return await self._database.write(count)

    async def forgive(self, id: int, subjects: Sequence[str]) -> None:
        def remove(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM attempts WHERE attempt = ?", (id,))
            connection.executemany("DELETE FROM attempts WHERE subject = ?", [(subject,) for subject in subjects])

        await self._database.write(remove)

    async def admit(self, subject: str, every_s: float, burst: int, at: float) -> float:
        def count(connection: sqlite3.Connection) -> float:
            connection.execute("DELETE FROM requests WHERE due <= ?", (at,))
            row = connection.execute("SELECT due FROM requests WHERE subject = ?", (subject,)).fetchone()
            wait_s, due = admitted(row[0] if row else at, every_s, burst, at)
            if not wait_s:
                connection.execute("INSERT OR REPLACE INTO requests VALUES (?, ?)", (subject, due))
            return wait_s

        return await self._counting.write(count)

    async def append_audit(self, entries: Sequence[AuditEntry]) -> None:
        sql = f"INSERT INTO audit ({_ENTRY}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        await self._database.write(
            lambda connection: connection.executemany(sql, [_entry_row(entry) for entry in entries])
        )

    async def audit(self, which: AuditFilter, offset: int, limit: int) -> tuple[list[AuditEntry], int]:
        where, values = _conditions(which)

        def read(connection: sqlite3.Connection) -> tuple[list[AuditEntry], int]:
            page = f"SELECT {_ENTRY} FROM audit {where} ORDER BY id DESC LIMIT ? OFFSET ?"
            rows = connection.execute(page, (*values, limit, offset)).fetchall()
            [total] = connection.execute(f"SELECT count(*) FROM audit {where}", values).fetchone()
            return [AuditEntry(*row) for row in rows], total

        return await self._database.read(read)

    async def prune_audit(self, before: float) -> None:
        await self._database.write(lambda connection: connection.execute("DELETE FROM audit WHERE at < ?", (before,)))

    async def close(self) -> None:
        if self._is_open:
            self._is_open = False
            await self._database.close()
            await self._counting.close()
            self._threads.shutdown()


def _move_revision(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE revision SET value = value + 1")


def _wait(connection: sqlite3.Connection, subject: str, limit: int, at: float, window_s: float) -> float:
    """Seconds until the oldest of the last `limit` tries leaves the window; 0 when there are fewer."""
    sql = "SELECT at FROM attempts WHERE subject = ? ORDER BY at DESC LIMIT 1 OFFSET ?"
    row = connection.execute(sql, (subject, limit - 1)).fetchone()
    return row[0] + window_s - at if row else 0.0


def _key(row: Sequence[Any]) -> ApiKey:
    id, name, scope, workspaces, *times = row
    return ApiKey(id, name, Scope(scope), None if workspaces is None else tuple(json.loads(workspaces)), *times)


def _entry_row(entry: AuditEntry) -> tuple[Any, ...]:
    return tuple(getattr(entry, name) for name in _ENTRY.split(", "))


def _conditions(which: AuditFilter) -> tuple[str, list[Any]]:
    given = (("caller = ?", which.caller), ("workspace = ?", which.workspace), ("at >= ?", which.since))
    conditions = [(text, value) for text, value in given if value is not None]
    where = "WHERE " + " AND ".join(text for text, _ in conditions) if conditions else ""
    return where, [value for _, value in conditions]
