"""The graph as lists: pages for people, batches for copies of the whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Literal

from lightrag_server.core.encoding import entity_from_row, from_bytes, relation_from_row
from lightrag_server.core.ids import entity_key
from lightrag_server.core.records import Entity, Relation
from lightrag_server.ports.graph import EntityFilter, Extent, Listed
from lightrag_server.storages.sqlite.arrays import id_array

SCAN_ROWS = 500

_ORDERS = {"name": "name", "degree": "degree DESC, name"}
_CHOSEN = "SELECT id FROM {rows} ORDER BY {order} LIMIT :limit OFFSET :offset"
_COUNT = "SELECT count(*) FROM {rows}"
_ENTITIES = "SELECT id, data, degree FROM entities WHERE id IN (SELECT value FROM json_each(?))"
_RELATIONS = "SELECT id, data FROM relations WHERE id IN (SELECT value FROM json_each(?))"
_EDGES = (
    "SELECT pairs.id FROM pairs JOIN nodes AS one ON one.id = a JOIN nodes AS two ON two.id = b"
    " WHERE weight IS NOT NULL ORDER BY weight DESC, one.key, two.key LIMIT :limit OFFSET :offset"
)
_EDGE_COUNT = "SELECT count(*) FROM relations"
_NODE = "SELECT id, degree FROM nodes JOIN entities USING (id) WHERE key = ?"
_EDGES_OF = (
    "SELECT pair, weight, key FROM ("
    "SELECT id AS pair, weight, b AS other FROM pairs WHERE a = :node AND weight IS NOT NULL ORDER BY b LIMIT :among"
    ") CROSS JOIN nodes ON nodes.id = other"
    " UNION ALL SELECT pair, weight, key FROM ("
    "SELECT id AS pair, weight, a AS other FROM pairs WHERE b = :node AND a <> b AND weight IS NOT NULL LIMIT :among"
    ") CROSS JOIN nodes ON nodes.id = other"
    " ORDER BY weight DESC, key LIMIT :limit OFFSET :offset"
)
_ALL = -1
_NEXT_ENTITIES = "SELECT data FROM nodes JOIN entities USING (id) WHERE key > ? ORDER BY key LIMIT ?"
_NEXT_CHUNK_IDS = "SELECT chunk_id FROM chunks WHERE chunk_id > ? ORDER BY chunk_id LIMIT ?"
_NEXT_RELATIONS = "SELECT id, data FROM relations WHERE id > ? ORDER BY id LIMIT ?"


def strongest(connection: sqlite3.Connection, node: int, extent: Extent, among: int | None = None) -> list[int]:
    """Edges of one node, for which the order of the other ends' keys is the order of the pairs. `among` so many that
    end and so many that begin here, those with the nodes that came first: what is told all over is among them."""
    values = {"node": node, "limit": extent.limit, "offset": extent.offset, "among": _ALL if among is None else among}
    return _ids(connection.execute(_EDGES_OF, values))


def page_entities(
    connection: sqlite3.Connection, where: EntityFilter, extent: Extent, order: Literal["name", "degree"]
) -> tuple[list[Listed], int]:
    rows, values = _matching(where)
    chosen = _CHOSEN.format(rows=rows, order=_ORDERS[order])
    numbers = _ids(connection.execute(chosen, values | {"limit": extent.limit, "offset": extent.offset}))
    found = {
        n: Listed(_entity(data), degree) for n, data, degree in connection.execute(_ENTITIES, (id_array(numbers),))
    }
    total = connection.execute(_COUNT.format(rows=rows), values).fetchone()[0]
    return [found[n] for n in numbers], total


def page_relations(connection: sqlite3.Connection, extent: Extent, of: str | None) -> tuple[list[Relation], int]:
    if of is None:
        total = connection.execute(_EDGE_COUNT).fetchone()[0]
        numbers = _ids(connection.execute(_EDGES, {"limit": extent.limit, "offset": extent.offset}))
    else:
        node, total = connection.execute(_NODE, (of,)).fetchone() or (None, 0)
        numbers = strongest(connection, node, extent) if node is not None else []
    found = relations_by_id(connection, numbers)
    return [found[n] for n in numbers], total


def next_entities(connection: sqlite3.Connection, above: str) -> list[Entity]:
    """A batch of entities behind this key, in key order; no key is empty."""
    return [_entity(data) for (data,) in connection.execute(_NEXT_ENTITIES, (above, SCAN_ROWS)).fetchall()]


def next_relations(connection: sqlite3.Connection, above: int) -> tuple[list[Relation], int]:
    """A batch of relations behind this number, in the order of their numbers, and the last one's number."""
    rows = connection.execute(_NEXT_RELATIONS, (above, SCAN_ROWS)).fetchall()
    return [_relation(data) for _, data in rows], rows[-1][0] if rows else above


def next_chunk_ids(connection: sqlite3.Connection, above: str) -> list[str]:
    """A batch of the chunks behind this id that have evidence, in id order."""
    return [chunk_id for (chunk_id,) in connection.execute(_NEXT_CHUNK_IDS, (above, SCAN_ROWS))]


def relations_by_id(connection: sqlite3.Connection, numbers: Iterable[int]) -> dict[int, Relation]:
    return {n: _relation(data) for n, data in connection.execute(_RELATIONS, (id_array(numbers),)).fetchall()}


def _matching(where: EntityFilter) -> tuple[str, dict[str, str]]:
    """The rows to choose from. Names and degrees are read from their index alone where nothing is asked for."""
    part = entity_key(where.contains)
    conditions: list[str] = []
    if part:
        conditions.append("id IN (SELECT id FROM nodes WHERE instr(key, :part))")
    if where.type is not None:
        conditions.append("type = :type")
    rows = "entities WHERE " + " AND ".join(conditions) if conditions else "entities"
    return rows, {"part": part, "type": where.type or ""}


def _ids(rows: sqlite3.Cursor) -> list[int]:
    return [row[0] for row in rows]


def _entity(data: bytes) -> Entity:
    return entity_from_row(from_bytes(data))


def _relation(data: bytes) -> Relation:
    return relation_from_row(from_bytes(data))
