from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Collection, Mapping

from lightrag_server.core.encoding import from_bytes, packed, to_bytes, unpacked
from lightrag_server.ports.kv import Row
from lightrag_server.storages.sqlite.arrays import check_ids, text_array
from lightrag_server.storages.sqlite.database import Database

SCAN_ROWS = 500

_GET = "SELECT key, value FROM kv WHERE namespace = ? AND key IN (SELECT value FROM json_each(?))"
_PRESENT = "SELECT key FROM kv WHERE namespace = ? AND key IN (SELECT value FROM json_each(?))"
_PUT = (
    "INSERT INTO kv (namespace, key, value) VALUES (?, ?, ?)"
    " ON CONFLICT DO UPDATE SET value = excluded.value WHERE value <> excluded.value"
)
_DELETE = "DELETE FROM kv WHERE namespace = ? AND key IN (SELECT value FROM json_each(?))"
_SCAN = "SELECT key, value FROM kv WHERE namespace = ? AND key {above} ? AND key < ? ORDER BY key LIMIT ?"
_COUNT = "SELECT count(*) FROM kv WHERE namespace = ?"
_CLEAR = "DELETE FROM kv WHERE namespace = ?"

_BEHIND_ALL = b"\xff"
"""Sorts behind every text: SQLite orders blobs after texts."""


class SQLiteKVStore:
    def __init__(self, database: Database, namespace: str) -> None:
        self._database = database
        self._namespace = namespace

    async def get(self, keys: Collection[str]) -> dict[str, Row]:
        if not keys:
            return {}
        wanted = text_array(keys)
        return await self._database.read(
            lambda c: {key: _row(value) for key, value in c.execute(_GET, (self._namespace, wanted)).fetchall()}
        )

    async def put(self, rows: Mapping[str, Row]) -> None:
        if not rows:
            return

        check_ids(rows)

        def write(connection: sqlite3.Connection) -> None:
            values = ((self._namespace, key, packed(to_bytes(rows[key]))) for key in sorted(rows))
            connection.executemany(_PUT, values)

        await self._database.write(write)

    async def delete(self, keys: Collection[str]) -> None:
        if not keys:
            return
        wanted = text_array(keys)
        await self._database.write(lambda c: c.execute(_DELETE, (self._namespace, wanted)))

    async def missing(self, keys: Collection[str]) -> set[str]:
        if not keys:
            return set()
        wanted = text_array(keys)
        present = await self._database.read(
            lambda c: {key for (key,) in c.execute(_PRESENT, (self._namespace, wanted))}
        )
        return set(keys) - present

    async def scan(self, prefix: str = "") -> AsyncIterator[tuple[str, Row]]:
        above, start = ">=", prefix
        while page := await self._page(above, start, prefix):
            for key, value in page:
                yield key, value
            above, start = ">", page[-1][0]

    async def _page(self, above: str, start: str, prefix: str) -> list[tuple[str, Row]]:
        statement, values = _SCAN.format(above=above), (self._namespace, start, _end_of(prefix), SCAN_ROWS)
        return await self._database.read(
            lambda c: [(key, _row(value)) for key, value in c.execute(statement, values).fetchall()]
        )

    async def count(self) -> int:
        return await self._database.read(lambda c: int(c.execute(_COUNT, (self._namespace,)).fetchone()[0]))

    async def clear(self) -> None:
        await self._database.write(lambda c: c.execute(_CLEAR, (self._namespace,)))


def _row(value: bytes) -> Row:
    return from_bytes(unpacked(value))


def _end_of(prefix: str) -> str | bytes:
    """The least value that sorts behind every key with this prefix."""
    trimmed = prefix.rstrip("\U0010ffff")
    return trimmed[:-1] + _after(trimmed[-1]) if trimmed else _BEHIND_ALL


def _after(character: str) -> str:
    code = ord(character) + 1
    return chr(0xE000 if 0xD800 <= code <= 0xDFFF else code)
