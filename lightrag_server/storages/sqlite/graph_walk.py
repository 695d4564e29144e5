"""Breadth-first walks over the stored graph."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from lightrag_server.core.encoding import entity_sketch_from_row, from_bytes, relation_sketch_from_row
from lightrag_server.core.records import EntitySketch, RelationSketch
from lightrag_server.ports.graph import Subgraph
from lightrag_server.storages.sqlite.arrays import id_array

_START = "SELECT id FROM nodes JOIN entities USING (id) WHERE key = ?"
_BUSIEST = "SELECT id FROM entities ORDER BY degree DESC, name LIMIT ?"
_NEIGHBOURS = (
    "SELECT id FROM entities WHERE id IN"
    " (SELECT b FROM pairs WHERE a IN (SELECT value FROM json_each(:frontier)) AND weight IS NOT NULL"
    " UNION SELECT a FROM pairs WHERE b IN (SELECT value FROM json_each(:frontier)) AND weight IS NOT NULL)"
    " AND id NOT IN (SELECT value FROM json_each(:reached)) ORDER BY degree DESC, name LIMIT :room"
)
_ENTITIES = "SELECT id, data FROM entities WHERE id IN (SELECT value FROM json_each(?))"
_KEYS = "SELECT id, key FROM nodes WHERE id IN (SELECT value FROM json_each(?))"
# lines of one row for each node: between two rows the thread has to get hold of the interpreter again
_BETWEEN = (
    "SELECT a, group_concat(b), CAST(group_concat(data, char(10)) AS BLOB) FROM pairs JOIN relations USING (id)"
    " WHERE a IN (SELECT value FROM json_each(?1)) AND +b IN (SELECT value FROM json_each(?1)) GROUP BY a"
)
# the plus keeps SQLite from probing every pair of nodes


def subgraph(connection: sqlite3.Connection, key: str | None, max_depth: int, max_nodes: int) -> Subgraph:
    """As `GraphStore.subgraph`. One query per level."""
    if key is None:
        nodes = _ids(connection.execute(_BUSIEST, (max_nodes + 1,)))
    else:
        nodes = _reached(connection, key, max_depth, max_nodes)
    kept = nodes[:max_nodes]
    return Subgraph(_entities(connection, kept), _between(connection, kept), is_truncated=len(nodes) > max_nodes)


def _reached(connection: sqlite3.Connection, key: str, max_depth: int, max_nodes: int) -> list[int]:
    """Nodes within the depth, nearest first; one more than `max_nodes` when there are more."""
    reached = frontier = _ids(connection.execute(_START, (key,)))
    for _ in range(max_depth):
        if not frontier or len(reached) > max_nodes:
            break
        room = max_nodes + 1 - len(reached)
        values = {"frontier": id_array(frontier), "reached": id_array(reached), "room": room}
        frontier = _ids(connection.execute(_NEIGHBOURS, values))
        reached = reached + frontier
    return reached


def _ids(rows: sqlite3.Cursor) -> list[int]:
    return [number for (number,) in rows]


def _entities(connection: sqlite3.Connection, nodes: Sequence[int]) -> Iterator[EntitySketch]:
    rows = dict(connection.execute(_ENTITIES, (id_array(nodes),)).fetchall())
    return (entity_sketch_from_row(from_bytes(rows[number])) for number in nodes)


def _between(connection: sqlite3.Connection, nodes: Sequence[int]) -> Iterator[RelationSketch]:
    """By pair, which is in the order of keys, without a look into the rows."""
    chosen = id_array(nodes)
    keys: dict[int, str] = dict(connection.execute(_KEYS, (chosen,)).fetchall())
    rows = connection.execute(_BETWEEN, (chosen,)).fetchall()
    rows.sort(key=lambda row: keys[row[0]])
    by_pair = chain.from_iterable(_by_end(ends, lines, keys) for _, ends, lines in rows)
    return (relation_sketch_from_row(from_bytes(line)) for line in by_pair)


def _by_end(ends: str, lines: bytes, keys: Mapping[int, str]) -> list[bytes]:
    by_key = sorted(zip([keys[int(end)] for end in ends.split(",")], lines.split(b"\n"), strict=True))
    return [line for _, line in by_key]
