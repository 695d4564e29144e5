"""Writing the graph, inside a transaction. Keys and pairs that nothing refers to leave with the last reference."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from lightrag_server.core.encoding import entity_to_row, from_bytes, relation_to_row, to_bytes
from lightrag_server.core.ids import pair_from
from lightrag_server.core.records import Entity, Pair, Relation, Subject
from lightrag_server.storages.sqlite.arrays import id_array, text_array
from lightrag_server.storages.sqlite.graph_numbers import (
    keys_of,
    node_ids,
    numbered,
    of_node,
    of_pair,
    pair_ids,
    split,
    subject_ids,
)

TABLES = ("evidence", "chunks", "relations", "pairs", "entities", "nodes")

_ADD_NODES = "INSERT INTO nodes (key) SELECT value FROM json_each(?) WHERE true ON CONFLICT DO NOTHING"
_FORGET_NODES = (
    "DELETE FROM nodes WHERE id IN (SELECT value FROM json_each(?))"
    " AND NOT EXISTS (SELECT 1 FROM entities WHERE entities.id = nodes.id)"
    " AND NOT EXISTS (SELECT 1 FROM pairs WHERE a = nodes.id)"
    " AND NOT EXISTS (SELECT 1 FROM pairs WHERE b = nodes.id)"
    " AND NOT EXISTS (SELECT 1 FROM evidence WHERE subject = 2 * nodes.id)"
)
_KNOWN_ENTITIES = "SELECT id FROM entities WHERE id IN (SELECT value FROM json_each(?))"
_PUT_ENTITY = (
    "INSERT INTO entities (id, name, degree, data, type) VALUES (?, ?, 0, ?, ?)"
    " ON CONFLICT DO UPDATE SET name = excluded.name, data = excluded.data, type = excluded.type"
)
_DELETE_ENTITIES = "DELETE FROM entities WHERE id IN (SELECT value FROM json_each(?))"
_COUNT_DEGREES = (
    "UPDATE entities SET degree = (SELECT count(*) FROM pairs WHERE a = entities.id AND weight IS NOT NULL)"
    " + (SELECT count(*) FROM pairs WHERE b = entities.id AND a <> b AND weight IS NOT NULL)"
    " WHERE id IN (SELECT value FROM json_each(?))"
)
_ADD_PAIR = "INSERT INTO pairs (a, b) VALUES (?, ?)"
_UNRELATED = "SELECT id, a, b FROM pairs WHERE id IN (SELECT value FROM json_each(?)) AND weight IS NULL"
_SET_WEIGHT = "UPDATE pairs SET weight = :weight WHERE id = :id AND weight IS NOT :weight"
_PUT_RELATION = "INSERT INTO relations (id, data) VALUES (?, ?) ON CONFLICT DO UPDATE SET data = excluded.data"
_RELATED = (
    "SELECT id FROM pairs WHERE weight IS NOT NULL AND a IN (SELECT value FROM json_each(:nodes))"
    " UNION SELECT id FROM pairs WHERE weight IS NOT NULL AND b IN (SELECT value FROM json_each(:nodes))"
)
_ENDS = "SELECT a, b FROM pairs WHERE id IN (SELECT value FROM json_each(?))"
_UNSET_WEIGHTS = "UPDATE pairs SET weight = NULL WHERE id IN (SELECT value FROM json_each(?))"
_DELETE_RELATIONS = "DELETE FROM relations WHERE id IN (SELECT value FROM json_each(?))"
_FORGET_PAIRS = (
    "DELETE FROM pairs WHERE id IN (SELECT value FROM json_each(?)) AND weight IS NULL"
    " AND NOT EXISTS (SELECT 1 FROM evidence WHERE subject = 2 * pairs.id + 1)"
)
_ADD_CHUNKS = "INSERT INTO chunks (chunk_id) SELECT value FROM json_each(?) WHERE true ON CONFLICT DO NOTHING"
_TOLD_IN = "SELECT chunk_id, id, told FROM chunks WHERE chunk_id IN (SELECT value FROM json_each(?))"
_SET_TOLD = "UPDATE chunks SET told = ? WHERE id = ?"
_DELETE_CHUNKS = "DELETE FROM chunks WHERE id IN (SELECT value FROM json_each(?))"
_PUT_EVIDENCE = "INSERT INTO evidence (subject, chunk) VALUES (?, ?)"
_DELETE_EVIDENCE = "DELETE FROM evidence WHERE subject = ? AND chunk = ?"


def move_version(connection: sqlite3.Connection) -> None:
    """Part with all rows that were kept of the graph: to be called by whatever changes it."""
    connection.execute("UPDATE graph_version SET value = random()")


class _Told(NamedTuple):
    """The number of a chunk, and what it speaks of."""

    chunk: int
    subjects: set[Subject]


class GraphWrites:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def put(
        self,
        entities: Sequence[Entity],
        relations: Sequence[Relation],
        evidence: Mapping[str, Collection[Subject]],
    ) -> None:
        move_version(self._connection)
        told = {subject for subjects in evidence.values() for subject in subjects}
        edges = {r.pair: r for r in relations}
        nodes = self._nodes({e.key for e in entities} | {key for pair in edges for key in pair} | keys_of(told))
        pairs = self._pairs({*edges, *(pair for s in told if (pair := pair_from(s)))}, nodes)
        new_nodes = self._put_entities({nodes[e.key]: e for e in entities})
        new_ends = self._put_relations({pairs[pair]: r for pair, r in edges.items()})
        self._count_degrees(new_nodes | new_ends)
        self._put_evidence(evidence, numbered(told, nodes, pairs))

    def delete(self, keys: Collection[str], pairs: Collection[Pair], chunk_ids: Collection[str]) -> None:
        move_version(self._connection)
        nodes = node_ids(self._connection, {*keys, *(key for pair in pairs for key in pair)})
        gone = {nodes[key] for key in keys if key in nodes}
        edges = set(pair_ids(self._connection, pairs, nodes).values()) | self._related(gone)
        ends = self._delete_relations(edges)
        self._execute(_DELETE_ENTITIES, gone)
        self._count_degrees(ends - gone)
        told = self._delete_chunks(chunk_ids)
        self._forget(told | set(map(of_node, gone | ends)) | set(map(of_pair, edges)))

    def clear(self) -> None:
        move_version(self._connection)
        for table in TABLES:
            self._connection.execute(f"DELETE FROM {table}")

    # -- nodes and pairs

    def _nodes(self, keys: Collection[str]) -> dict[str, int]:
        """Numbers of keys, given to new ones in their order: rows written together lie together."""
        self._connection.execute(_ADD_NODES, (text_array(sorted(keys)),))
        return node_ids(self._connection, keys)

    def _pairs(self, pairs: Collection[Pair], nodes: Mapping[str, int]) -> dict[Pair, int]:
        known = pair_ids(self._connection, pairs, nodes)
        new = sorted((nodes[a], nodes[b]) for a, b in pairs if (a, b) not in known)
        self._connection.executemany(_ADD_PAIR, new)
        return known if not new else pair_ids(self._connection, pairs, nodes)

    def _forget(self, subjects: Iterable[int]) -> None:
        nodes, pairs = split(subjects)
        nodes |= self._ends(pairs)
        self._execute(_FORGET_PAIRS, pairs)
        self._execute(_FORGET_NODES, nodes)

    def _ends(self, pairs: Collection[int]) -> set[int]:
        return {node for ends in self._execute(_ENDS, pairs) for node in ends}

    # -- entities and relations

    def _put_entities(self, entities: Mapping[int, Entity]) -> set[int]:
        """Write entities; return the numbers of those that are new."""
        known = {number for (number,) in self._execute(_KNOWN_ENTITIES, entities)}
        rows = ((number, e.name, to_bytes(entity_to_row(e)), e.type) for number, e in sorted(entities.items()))
        self._connection.executemany(_PUT_ENTITY, rows)
        return entities.keys() - known

    def _put_relations(self, relations: Mapping[int, Relation]) -> set[int]:
        """Write relations; return the ends of those that are new."""
        new = self._execute(_UNRELATED, relations).fetchall()
        weights = ({"id": number, "weight": r.weight} for number, r in relations.items())
        self._connection.executemany(_SET_WEIGHT, weights)
        rows = ((number, to_bytes(relation_to_row(r))) for number, r in sorted(relations.items()))
        self._connection.executemany(_PUT_RELATION, rows)
        return {node for _, a, b in new for node in (a, b)}

    def _related(self, nodes: Collection[int]) -> set[int]:
        rows = self._connection.execute(_RELATED, {"nodes": id_array(nodes)})
        return {number for (number,) in rows}

    def _delete_relations(self, edges: Collection[int]) -> set[int]:
        """Remove relations; return their ends."""
        self._execute(_UNSET_WEIGHTS, edges)
        self._execute(_DELETE_RELATIONS, edges)
        return self._ends(edges)

    def _count_degrees(self, nodes: Collection[int]) -> None:
        self._execute(_COUNT_DEGREES, nodes)

    # -- evidence

    def _put_evidence(self, evidence: Mapping[str, Collection[Subject]], numbers: Mapping[Subject, int]) -> None:
        """Only the difference is written."""
        self._connection.execute(_ADD_CHUNKS, (text_array(sorted(evidence)),))
        stored = self._told_in(evidence)
        changed = {chunk_id: set(told) for chunk_id, told in evidence.items() if set(told) != stored[chunk_id].subjects}
        rows = ((to_bytes(sorted(told)), stored[chunk_id].chunk) for chunk_id, told in changed.items())
        self._connection.executemany(_SET_TOLD, rows)
        gained = [(numbers[s], stored[i].chunk) for i, told in changed.items() for s in told - stored[i].subjects]
        self._connection.executemany(_PUT_EVIDENCE, sorted(gained))
        self._forget(
            self._delete_evidence([_Told(stored[i].chunk, stored[i].subjects - t) for i, t in changed.items()])
        )

    def _delete_chunks(self, chunk_ids: Collection[str]) -> set[int]:
        """Remove the evidence of chunks; return the numbers of what they spoke of."""
        stored = self._told_in(chunk_ids).values()
        self._execute(_DELETE_CHUNKS, [told.chunk for told in stored])
        return self._delete_evidence(stored)

    def _delete_evidence(self, gone: Collection[_Told]) -> set[int]:
        """Return the numbers of the subjects."""
        numbers = subject_ids(self._connection, {subject for told in gone for subject in told.subjects})
        rows = [(numbers[subject], told.chunk) for told in gone for subject in told.subjects]
        self._connection.executemany(_DELETE_EVIDENCE, sorted(rows))
        return set(numbers.values())

    def _told_in(self, chunk_ids: Iterable[str]) -> dict[str, _Told]:
        rows = self._connection.execute(_TOLD_IN, (text_array(chunk_ids),)).fetchall()
        return {chunk_id: _Told(number, set(from_bytes(told))) for chunk_id, number, told in rows}

    def _execute(self, statement: str, numbers: Iterable[int]) -> sqlite3.Cursor:
        return self._connection.execute(statement, (id_array(numbers),))
