from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from typing import Any

from lightrag_server.core.encoding import document_from_row, document_to_row, from_bytes, to_bytes
from lightrag_server.core.records import DocStatus, Document
from lightrag_server.ports.doc_status import Change, Filter, Page, SortField
from lightrag_server.storages.sqlite.arrays import check_ids, text_array
from lightrag_server.storages.sqlite.database import Database

_COLUMNS = (
    "id",
    "file_path",
    "status",
    "stage",
    "track_id",
    "content_hash",
    "created_at",
    "updated_at",
    "enabled",
    "data",
)
_ROW = f"({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
_ADD = f"INSERT INTO documents {_ROW} ON CONFLICT DO NOTHING"
_PUT = f"INSERT OR REPLACE INTO documents {_ROW}"
_GET_ONE = "SELECT data FROM documents WHERE id = ?"
_GET = "SELECT data FROM documents WHERE id IN (SELECT value FROM json_each(?))"
_DELETE = "DELETE FROM documents WHERE id IN (SELECT value FROM json_each(?))"
_BEHIND = "(created_at, id) > (SELECT created_at, id FROM documents WHERE id = ?)"
_HAS_TAGS = (
    "(SELECT count(DISTINCT value) FROM json_each(CAST(data AS TEXT), '$.tags')"
    " WHERE value IN (SELECT value FROM json_each(?))) >= ?"
)
MAX_OFFSET = 2**62
"""Well within SQLite's numbers; anybody may ask for any page."""
_ORDERS: dict[SortField, str] = {
    "updated_at": "updated_at {way}, id {way}",
    "created_at": "created_at {way}, id {way}",
    "id": "id {way}",
    "file_path": "file_path {way}, id {way}",
}


class SQLiteDocStatusStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, documents: Sequence[Document]) -> set[str]:
        check_ids(d.id for d in documents)

        def write(connection: sqlite3.Connection) -> set[str]:
            return {d.id for d in documents if connection.execute(_ADD, _row(d)).rowcount == 0}

        return await self._database.write(write) if documents else set()

    async def put(self, documents: Sequence[Document]) -> None:
        check_ids(d.id for d in documents)
        if documents:
            await self._database.write(lambda c: c.executemany(_PUT, map(_row, documents)))

    async def update(self, id: str, change: Change) -> Document | None:
        def write(connection: sqlite3.Connection) -> Document | None:
            found = _documents(connection.execute(_GET_ONE, (id,)))
            changed = change(found[0]) if found else None
            if changed is not None:
                _rewrite(connection, found[0], changed)
            return changed

        return await self._database.write(write)

    async def get(self, ids: Collection[str]) -> dict[str, Document]:
        if not ids:
            return {}
        wanted = text_array(ids)
        return await self._database.read(lambda c: {d.id: d for d in _documents(c.execute(_GET, (wanted,)))})

    async def find(self, where: Filter, limit: int | None = None, after: str | None = None) -> list[Document]:
        conditions, values = _conditions(where)
        if after is not None:
            conditions, values = [*conditions, _BEHIND], [*values, after]
        statement = f"SELECT data FROM documents {_where(conditions)} ORDER BY created_at, id LIMIT ?"
        values = [*values, -1 if limit is None else limit]
        return await self._database.read(lambda c: _documents(c.execute(statement, values)))

    async def page(self, where: Filter, page: Page) -> tuple[list[Document], int]:
        conditions, values = _conditions(where)
        order = _ORDERS[page.sort].format(way="DESC" if page.descending else "ASC")
        rows = f"SELECT data FROM documents {_where(conditions)} ORDER BY {order} LIMIT ? OFFSET ?"
        total = f"SELECT count(*) FROM documents {_where(conditions)}"
        window = (page.size, min((page.number - 1) * page.size, MAX_OFFSET))

        def read(connection: sqlite3.Connection) -> tuple[list[Document], int]:
            found = _documents(connection.execute(rows, (*values, *window)))
            return found, int(connection.execute(total, values).fetchone()[0])

        return await self._database.read(read)

    async def counts(self) -> dict[DocStatus, int]:
        statement = "SELECT status, count(*) FROM documents GROUP BY status"
        found = await self._database.read(lambda c: dict(c.execute(statement).fetchall()))
        return {status: found.get(status.value, 0) for status in DocStatus}

    async def delete(self, ids: Collection[str]) -> None:
        if ids:
            wanted = text_array(ids)
            await self._database.write(lambda c: c.execute(_DELETE, (wanted,)))

    async def clear(self) -> None:
        await self._database.write(lambda c: c.execute("DELETE FROM documents"))


def _rewrite(connection: sqlite3.Connection, before: Document, after: Document) -> None:
    """Name only the columns that change: SQLite writes the index of each that is named."""
    columns = zip(_COLUMNS, _row(before), _row(after), strict=True)
    changed = {name: value for name, old, value in columns if value != old}
    if changed:
        assignments = ", ".join(f"{name} = ?" for name in changed)
        connection.execute(f"UPDATE documents SET {assignments} WHERE id = ?", (*changed.values(), before.id))


def _row(document: Document) -> tuple[Any, ...]:
    return (
        document.id,
        document.file_path,
        document.status.value,
        document.stage.value,
        document.track_id,
        document.content_hash,
        document.created_at,
        document.updated_at,
        int(document.is_enabled),
        to_bytes(document_to_row(document)),
    )


def _documents(cursor: sqlite3.Cursor) -> list[Document]:
    return [document_from_row(from_bytes(data)) for (data,) in cursor.fetchall()]


def _conditions(where: Filter) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    for column, allowed in (("status", where.statuses), ("stage", where.stages)):
        if allowed is not None:
            conditions.append(f"{column} IN (SELECT value FROM json_each(?))")
            values.append(text_array(allowed))
    equal = (("track_id", where.track_id), ("content_hash", where.content_hash), ("file_path", where.file_path))
    for column, value in equal:
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
    if where.is_enabled is not None:
        # spelled out, since an index with a condition is only used where the statement has the same one
        conditions.append(f"enabled = {int(where.is_enabled)}")
    if where.updated_from is not None:
        # few are: else the planner walks through all rows in the order that is asked for
        conditions.append("unlikely(updated_at >= ?)")
        values.append(where.updated_from)
    if where.name_part:
        conditions.append("instr(casefold(file_path), ?)")
        values.append(where.name_part.casefold())
    for tags, least in ((where.tags, len(where.tags)), (where.any_tags, 1)):
        if tags:
            conditions.append(_HAS_TAGS)
            values += [text_array(tags), least]
    return conditions, values


def _where(conditions: Sequence[str]) -> str:
    return "WHERE " + " AND ".join(conditions) if conditions else ""
