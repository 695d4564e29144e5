"""Vectors in SQLite. The truth is half-precision rows; `vector_cache` makes searching them fast.

Ids are rows of `vector_items`, the vectors themselves lie in the blocks of `vector_blocks`, and `vectors` is a view of
both (`schema.VECTORS_IN_BLOCKS`). The vector of a free slot stays until another takes its place.

A search scans the cache for candidates and scores those exactly. Rows that the cache does not hold yet, such as those
of the transaction it runs in, are all scored exactly, so what is found never depends on the state of the cache.
"""

from __future__ import annotations

import functools
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightrag_server.core.ids import md5_hex
from lightrag_server.errors import DimensionMismatch, StorageCorrupt
from lightrag_server.ports.vectors import Vector, VectorHit, VectorItem
from lightrag_server.storages.sqlite.arrays import check_ids, id_array, text_array
from lightrag_server.storages.sqlite.database import Database
from lightrag_server.storages.sqlite.row_cache import RowCache
from lightrag_server.storages.sqlite.vector_cache import NOTHING, Changes, Mark, Matrix, best, cache_at

VECTOR_SCHEMA = """
CREATE TABLE vector_spaces (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL UNIQUE,
    epoch BLOB NOT NULL,
    dimension INTEGER NOT NULL,
    slots INTEGER NOT NULL,
    change INTEGER NOT NULL
);
-- place is space << 32 | slot; a row without an id is a slot to be used again
CREATE TABLE vectors (
    place INTEGER PRIMARY KEY,
    space INTEGER NOT NULL,
    change INTEGER NOT NULL,
    id TEXT,
    ref TEXT,
    vector BLOB
);
CREATE UNIQUE INDEX vectors_by_id ON vectors (space, id);
CREATE INDEX vectors_by_change ON vectors (space, change);
CREATE INDEX vectors_free ON vectors (space) WHERE id IS NULL;
"""

_BATCH = 1024

BLOCK_SHIFT = 3
BLOCK_VECTORS = 1 << BLOCK_SHIFT
_PUT_ITEM = "INSERT OR REPLACE INTO vector_items (place, space, change, id, ref) VALUES (?, ?, ?, ?, ?)"
_BLOCKS = "SELECT block, halves FROM vector_blocks WHERE block IN (SELECT value FROM json_each(?))"
_PUT_BLOCK = "INSERT OR REPLACE INTO vector_blocks (block, halves) VALUES (?, ?)"
_ALIKE = (
    "SELECT id, {columns} FROM vectors"
    " WHERE space = ? AND substr(id, 5, 6) || substr(id, -6) IN (SELECT value FROM json_each(?))"
)
"""By what `vectors_by_id` keeps of ids: other ids may look alike there."""

_AT = "SELECT place, id, ref, vector FROM vectors WHERE place IN (SELECT value FROM json_each(?)) AND id IS NOT NULL"
OBJECT_BYTES = 100

log = logging.getLogger(__name__)
Row = tuple[str, str, bytes]


@dataclass(frozen=True, slots=True)
class _Space:
    """A namespace as one snapshot sees it."""

    number: int
    mark: Mark

    def place(self, slot: int) -> int:
        return self.number << 32 | slot


class SQLiteVectorStore:
    """`cache_folder` is shared by the processes of one host; everything in it may be deleted at any time."""

    def __init__(self, database: Database, namespace: str, cache_folder: Path, rows: RowCache) -> None:
        self._database = database
        self._rows = rows
        self._namespace = namespace
        self._cache = cache_at(cache_folder / f"{md5_hex(namespace)}.int8")

    async def search(self, query: Vector, top_k: int, threshold: float = -1.0) -> list[VectorHit]:
        asked, rows = np.asarray(query, np.float32), self._rows.outside(self._database.in_transaction)
        find = functools.partial(self._find, query=asked, top_k=top_k, threshold=threshold, kept=rows)
        if not self._database.in_transaction:
            hits = await self._database.read(functools.partial(find, needs_current_cache=True))
            if hits is not None:
                return hits
            await self._database.read(self._catch_up)
        return await self._database.read(find) or []

    async def put(self, items: Sequence[VectorItem]) -> None:
        latest = {item.id: item for item in items}
        check_ids(latest)
        if latest:
            await self._database.write(lambda connection: self._put(connection, latest))

    async def get(self, ids: Collection[str]) -> dict[str, VectorItem]:
        return await self._database.read(lambda connection: self._get(connection, ids))

    async def similarities(self, ids: Collection[str], queries: NDArray[np.float32]) -> dict[str, float]:
        rows = self._rows.outside(self._database.in_transaction)
        return await self._database.read(lambda connection: self._similarities(connection, ids, queries, rows))

    async def missing(self, ids: Collection[str]) -> set[str]:
        return set(ids) - await self._database.read(lambda connection: self._slots_of(connection, ids).keys())

    async def delete(self, ids: Collection[str]) -> None:
        await self._database.write(lambda connection: self._delete(connection, ids))

    async def count(self) -> int:
        return await self._database.read(self._count)

    async def scan(self) -> AsyncIterator[list[VectorItem]]:
        batch, last = await self._database.read(lambda c: self._next(c, -1))
        while batch:
            yield batch
            batch, last = await self._database.read(lambda c, last=last: self._next(c, last))

    async def clear(self) -> None:
        await self._database.write(self._clear)
        self._cache.discard()

    async def cache_is_torn(self) -> bool:
        """Whether the cache holds something else than the rows that it was made of. Reads all of both."""
        return await self._database.read(self._cache_is_torn)

    def forget_cache(self) -> None:
        self._cache.discard()

    # -- searching, in threads

    def _cache_is_torn(self, connection: sqlite3.Connection) -> bool:
        with self._cache.shared() as matrix:
            space = self._space(connection)
            if space is None or not matrix.mark.slots:
                return False
            if matrix.mark.epoch != space.mark.epoch or matrix.mark.change > space.mark.change:
                return False
            sql = "SELECT place, vector FROM vectors WHERE space = ? AND change > 0 AND change <= ?"
            cursor = connection.execute(sql, (space.number, matrix.mark.change))
            return not all(matrix.holds(changes) for changes in _changes_from(cursor, space))

    def _find(
        self,
        connection: sqlite3.Connection,
        query: Vector,
        top_k: int,
        threshold: float,
        kept: RowCache,
        needs_current_cache: bool = False,
    ) -> list[VectorHit] | None:
        """None when the cache should be brought up to date first."""
        with self._cache.shared() as matrix:
            # the snapshot begins here, after the lock: no other process can have taken the cache beyond it
            space = self._space(connection)
            if space is None or top_k <= 0 or not self._accepts(connection, space, len(query)):
                return []
            if needs_current_cache and matrix.mark != space.mark:
                return None
            if matrix.mark.epoch != space.mark.epoch or matrix.mark.change > space.mark.change:
                matrix = Matrix(NOTHING, None)
            scores, margin = matrix.scores(query) if matrix.mark.slots else (np.empty(0, np.float32), 0.0)
        since = matrix.mark.change
        changed = _changed_slots(connection, space, since)
        scores[changed[changed < len(scores)]] = -np.inf
        slots = best(scores, top_k, margin, threshold)
        rows = self._rows_at(connection, space, slots.tolist(), kept)
        if len(changed):
            rows = [*rows, *_ranked_rows(_rows_since(connection, space, since), query, top_k)]
        return _hits(rows, query, top_k, threshold)

    def _rows_at(
        self, connection: sqlite3.Connection, space: _Space, slots: Sequence[int], kept: RowCache
    ) -> list[Row]:
        def read(wanted: Collection[int]) -> dict[int, Row]:
            rows = connection.execute(_AT, (id_array(map(space.place, wanted)),)).fetchall()
            return {place & 0xFFFFFFFF: (id, ref, vector) for place, id, ref, vector in rows}

        return list(kept.read(self._named("by slot", space), slots, _size_of_row, read).values())

    def _catch_up(self, connection: sqlite3.Connection) -> None:
        """Write what the cache lacks: by number of changed rows, not by size. Without a cache searches are slow but
        right, so a full or read-only disk is no reason to fail."""
        try:
            with self._cache.exclusive() as writer:
                space = self._space(connection)
                if space is None or writer.mark == space.mark:
                    return
                since = writer.begin(space.mark)
                for changes in _changes_since(connection, space, since):
                    writer.apply(space.mark.dimension, changes)
                writer.finish(space.mark)
        except OSError as error:
            log.warning("vector cache of %r cannot be written, searching without it: %s", self._namespace, error)

    # -- reading and writing, in threads

    def _space(self, connection: sqlite3.Connection) -> _Space | None:
        sql = "SELECT number, epoch, dimension, slots, change FROM vector_spaces WHERE namespace = ?"
        row = connection.execute(sql, (self._namespace,)).fetchone()
        return _Space(row[0], Mark(*row[1:])) if row else None

    def _put(self, connection: sqlite3.Connection, items: dict[str, VectorItem]) -> None:
        dimensions = {item.vector.shape for item in items.values()}
        if len(dimensions) > 1 or any(len(shape) != 1 for shape in dimensions):
            raise DimensionMismatch(f"vectors for {self._namespace!r} differ in their length")
        space = self._space_for(connection, dimensions.pop()[0])
        halves = np.stack([item.vector for item in items.values()]).astype(np.float16)
        vectors = {id: half.tobytes() for id, half in zip(items, halves, strict=True)}
        stored = _stored(connection, space, items)
        changed = [id for id, item in items.items() if id not in stored or stored[id][1:] != (item.ref, vectors[id])]
        if not changed:
            return
        new = [id for id in changed if id not in stored]
        slots = {id: slot for id, (slot, _, _) in stored.items()}
        slots.update(zip(new, _free_slots(connection, space, len(new)), strict=True))
        change = space.mark.change + 1
        rows = ((space.place(slots[id]), space.number, change, id, items[id].ref) for id in changed)
        connection.executemany(_PUT_ITEM, rows)
        _put_in_blocks(connection, {space.place(slots[id]): vectors[id] for id in changed})
        _advance(connection, space, max(slots.values()) + 1)

    def _space_for(self, connection: sqlite3.Connection, dimension: int) -> _Space:
        space = self._space(connection)
        if space is not None and not self._accepts(connection, space, dimension):
            self._clear(connection)
            space = None
        if space is None:
            connection.execute(
                "INSERT INTO vector_spaces (namespace, epoch, dimension, slots, change) VALUES (?, ?, ?, 0, 0)",
                (self._namespace, os.urandom(16), dimension),
            )
            space = self._space(connection)
            assert space is not None
        return space

    def _slots_of(self, connection: sqlite3.Connection, ids: Collection[str]) -> dict[str, int]:
        """Slots of the ids that are known."""
        space = self._space(connection)
        if space is None:
            return {}
        return {id: place & 0xFFFFFFFF for id, place in _with_ids(connection, space, ids, "place")}

    def _get(self, connection: sqlite3.Connection, ids: Collection[str]) -> dict[str, VectorItem]:
        space = self._space(connection)
        rows = _with_ids(connection, space, ids, "ref, vector") if space is not None and ids else []
        vectors = _matrix([vector for _, _, vector in rows]) if rows else ()
        return {id: VectorItem(id, ref, vector) for (id, ref, _), vector in zip(rows, vectors, strict=True)}

    def _similarities(
        self,
        connection: sqlite3.Connection,
        ids: Collection[str],
        queries: NDArray[np.float32],
        kept: RowCache,
    ) -> dict[str, float]:
        space = self._space(connection)
        if space is None or not ids:
            return {}

        def read(wanted: Collection[str]) -> dict[str, bytes]:
            known: dict[str, bytes] = dict(_with_ids(connection, space, wanted, "vector"))
            return {id: known.get(id, b"") for id in wanted}

        vectors = kept.read(self._named("by id", space), ids, _size, read)
        found = {id: vector for id, vector in vectors.items() if vector}
        if not found:
            return {}
        nearest = (_matrix(list(found.values())) @ queries.T).max(axis=1)
        return dict(zip(found, nearest.clip(-1.0, 1.0).tolist(), strict=True))

    def _named(self, kind: str, space: _Space) -> Hashable:
        return self._database.path, self._namespace, space.mark, kind

    def _next(self, connection: sqlite3.Connection, above: int) -> tuple[list[VectorItem], int]:
        """A batch behind this place, and the last one's place."""
        space = self._space(connection)
        if space is None:
            return [], above
        sql = (
            "SELECT place, id, ref, vector FROM vectors"
            " WHERE place > ? AND place < ? AND id IS NOT NULL ORDER BY place LIMIT ?"
        )
        rows = connection.execute(sql, (max(above, space.place(0) - 1), (space.number + 1) << 32, _BATCH)).fetchall()
        if not rows:
            return [], above
        vectors = _matrix([vector for *_, vector in rows])
        return [VectorItem(id, ref, v) for (_, id, ref, _), v in zip(rows, vectors, strict=True)], rows[-1][0]

    def _delete(self, connection: sqlite3.Connection, ids: Collection[str]) -> None:
        space = self._space(connection)
        slots = self._slots_of(connection, ids)
        if space is None or not slots:
            return
        connection.executemany(
            "UPDATE vector_items SET change = ?, id = NULL, ref = NULL WHERE place = ?",
            ((space.mark.change + 1, space.place(slot)) for slot in slots.values()),
        )
        _advance(connection, space)

    def _count(self, connection: sqlite3.Connection) -> int:
        space = self._space(connection)
        if space is None:
            return 0
        sql = "SELECT count(*) FROM vector_items WHERE space = ? AND id IS NULL"
        return space.mark.slots - connection.execute(sql, (space.number,)).fetchone()[0]

    def _clear(self, connection: sqlite3.Connection) -> None:
        if space := self._space(connection):
            first, end = space.place(0), (space.number + 1) << 32
            blocks = (first >> BLOCK_SHIFT, end >> BLOCK_SHIFT)
            connection.execute("DELETE FROM vector_blocks WHERE block >= ? AND block < ?", blocks)
            connection.execute("DELETE FROM vector_items WHERE place >= ? AND place < ?", (first, end))
            connection.execute("DELETE FROM vector_spaces WHERE number = ?", (space.number,))

    def _accepts(self, connection: sqlite3.Connection, space: _Space, dimension: int) -> bool:
        """Whether vectors are of the length stored; False also when all vectors of another length are gone."""
        if dimension == space.mark.dimension:
            return True
        if self._count(connection) == 0:
            return False
        raise DimensionMismatch(
            f"{self._namespace!r} holds vectors of {space.mark.dimension} dimensions, not of {dimension}: "
            "the embedding model has changed"
        )


def namespaces_of(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT namespace FROM vector_spaces ORDER BY number")]


def _advance(connection: sqlite3.Connection, space: _Space, slots: int = 0) -> None:
    connection.execute(
        "UPDATE vector_spaces SET change = change + 1, slots = max(slots, ?) WHERE number = ?", (slots, space.number)
    )


def _free_slots(connection: sqlite3.Connection, space: _Space, wanted: int) -> list[int]:
    sql = "SELECT place FROM vector_items WHERE space = ? AND id IS NULL LIMIT ?"
    free = [place & 0xFFFFFFFF for (place,) in connection.execute(sql, (space.number, wanted))]
    return [*free, *range(space.mark.slots, space.mark.slots + wanted - len(free))]


def _with_ids(
    connection: sqlite3.Connection, space: _Space, ids: Collection[str], columns: str
) -> list[tuple[Any, ...]]:
    """The id and the columns of those that are known."""
    wanted = set(ids)
    kept = text_array(id[4:10] + id[-6:] for id in wanted)
    rows = connection.execute(_ALIKE.format(columns=columns), (space.number, kept)).fetchall()
    return [row for row in rows if row[0] in wanted]


def _stored(connection: sqlite3.Connection, space: _Space, ids: Collection[str]) -> dict[str, tuple[int, str, bytes]]:
    """Slots, refs and vectors of the ids that are known."""
    rows = _with_ids(connection, space, ids, "place, ref, vector")
    return {id: (place & 0xFFFFFFFF, ref, vector) for id, place, ref, vector in rows}


def _put_in_blocks(connection: sqlite3.Connection, vectors: dict[int, bytes]) -> None:
    """By place."""
    blocks = {place >> BLOCK_SHIFT for place in vectors}
    size = len(next(iter(vectors.values())))
    whole = BLOCK_VECTORS * size
    kept = dict(connection.execute(_BLOCKS, (id_array(blocks),)).fetchall())
    halves = {block: bytearray(kept.get(block, b"")[:whole].ljust(whole, b"\0")) for block in blocks}
    for place, vector in vectors.items():
        start = place % BLOCK_VECTORS * size
        halves[place >> BLOCK_SHIFT][start : start + size] = vector
    connection.executemany(_PUT_BLOCK, sorted(halves.items()))


def _changed_slots(connection: sqlite3.Connection, space: _Space, since: int) -> NDArray[np.int64]:
    if since >= space.mark.change:
        return np.empty(0, np.int64)
    sql = "SELECT place FROM vector_items WHERE space = ? AND change > ?"
    places = [place for (place,) in connection.execute(sql, (space.number, since))]
    return np.array(places, np.int64) & 0xFFFFFFFF


def _changes_since(connection: sqlite3.Connection, space: _Space, since: int) -> Iterator[Changes]:
    sql = "SELECT place, vector FROM vectors WHERE space = ? AND change > ?"
    return _changes_from(connection.execute(sql, (space.number, since)), space)


def _changes_from(cursor: sqlite3.Cursor, space: _Space) -> Iterator[Changes]:
    nothing = bytes(2 * space.mark.dimension)
    while batch := sorted(cursor.fetchmany(_BATCH)):
        slots = np.array([place for place, _ in batch], np.int64) & 0xFFFFFFFF
        is_free = np.array([vector is None for _, vector in batch])
        yield Changes(slots, _matrix([vector or nothing for _, vector in batch]), is_free)


def _rows_since(connection: sqlite3.Connection, space: _Space, since: int) -> Iterator[Row]:
    sql = "SELECT id, ref, vector FROM vectors WHERE space = ? AND change > ? AND id IS NOT NULL"
    return connection.execute(sql, (space.number, since))


def _ranked_rows(rows: Iterator[Row], query: Vector, top_k: int) -> list[Row]:
    """The `top_k` best of any number of rows, holding few of them at a time."""
    kept: list[Row] = []
    while batch := list(islice(rows, _BATCH)):
        kept = [row for _, row in _scored([*kept, *batch], query)[:top_k]]
    return kept


def _size(vector: bytes) -> int:
    return OBJECT_BYTES + len(vector)


def _size_of_row(row: Row) -> int:
    return 4 * OBJECT_BYTES + len(row[2])


def _hits(rows: Sequence[Row], query: Vector, top_k: int, threshold: float) -> list[VectorHit]:
    ranked = _scored(rows, query)[:top_k]
    return [VectorHit(id, ref, score) for score, (id, ref, _) in ranked if score >= threshold]


def _scored(rows: Sequence[Row], query: Vector) -> list[tuple[float, Row]]:
    """Best first, ties by id. Summed row by row, so that equal vectors score equal wherever they stand."""
    if not rows:
        return []
    scores = (_matrix([vector for _, _, vector in rows]) * query).sum(axis=1).clip(-1.0, 1.0).tolist()
    return sorted(zip(scores, rows, strict=True), key=lambda scored: (-scored[0], scored[1][0]))


def _matrix(vectors: Sequence[bytes]) -> NDArray[np.float32]:
    try:
        return np.frombuffer(b"".join(vectors), np.float16).reshape(len(vectors), -1).astype(np.float32)
    except ValueError as error:
        raise StorageCorrupt(f"stored vectors differ in their length: {error}") from error
