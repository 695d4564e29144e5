"""Writing the graph, inside a transaction. Subjects that nothing refers to any more leave with the last reference."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence

from lightrag_server.core.encoding import entity_to_row, relation_to_row, to_bytes
from lightrag_server.core.ids import PAIR_SEPARATOR, subject_of
from lightrag_server.core.records import Entity, Pair, Relation, Subject
from lightrag_server.storages.sqlite.arrays import id_array, text_array

_ADD_SUBJECTS = "INSERT INTO subjects (subject) SELECT value FROM json_each(?) WHERE true ON CONFLICT DO NOTHING"
_SUBJECT_IDS = "SELECT subject, id FROM subjects WHERE subject IN (SELECT value FROM json_each(?))"
_FORGET_SUBJECTS = (
    "DELETE FROM subjects WHERE id IN (SELECT value FROM json_each(?))"
    " AND NOT EXISTS (SELECT 1 FROM entities WHERE entities.id = subjects.id)"
    " AND NOT EXISTS (SELECT 1 FROM relations WHERE relations.id = subjects.id)"
    " AND NOT EXISTS (SELECT 1 FROM links WHERE links.node = subjects.id)"
    " AND NOT EXISTS (SELECT 1 FROM evidence WHERE evidence.subject = subjects.id)"
)
_PUT_ENTITY = (
    "INSERT INTO entities (id, name, degree, data) VALUES (?, ?, 0, ?)"
    " ON CONFLICT DO UPDATE SET name = excluded.name, data = excluded.data"
)
_SET_DEGREES = (
    "UPDATE entities SET degree = counted.degree FROM"
    " (SELECT value AS id, (SELECT count(*) FROM links WHERE node = value) AS degree FROM json_each(?)) AS counted"
    " WHERE entities.id = counted.id AND entities.degree <> counted.degree"
)
_DELETE_ENTITIES = "DELETE FROM entities WHERE id IN (SELECT value FROM json_each(?))"
_WEIGHTS = "SELECT id, weight FROM relations WHERE id IN (SELECT value FROM json_each(?))"
_PUT_RELATION = (
    "INSERT INTO relations (id, weight, data) VALUES (?, ?, ?)"
    " ON CONFLICT DO UPDATE SET weight = excluded.weight, data = excluded.data"
)
_DELETE_RELATIONS = "DELETE FROM relations WHERE id IN (SELECT value FROM json_each(?))"
_RELATIONS_OF = "SELECT DISTINCT relation FROM links WHERE node IN (SELECT value FROM json_each(?))"
_RELATION_SUBJECTS = (
    "SELECT subject, id FROM subjects JOIN relations USING (id) WHERE id IN (SELECT value FROM json_each(?))"
)
_PUT_LINK = "INSERT INTO links (node, weight, other, other_id, relation) VALUES (?, ?, ?, ?, ?)"
_DELETE_LINK = "DELETE FROM links WHERE node = ? AND weight = ? AND other = ?"
_ADD_CHUNKS = "INSERT INTO chunks (chunk_id) SELECT value FROM json_each(?) WHERE true ON CONFLICT DO NOTHING"
_CHUNK_IDS = "SELECT chunk_id, id FROM chunks WHERE chunk_id IN (SELECT value FROM json_each(?))"
_EVIDENCE_OF = "SELECT chunk, subject FROM evidence WHERE chunk IN (SELECT value FROM json_each(?))"
_PUT_EVIDENCE = "INSERT INTO evidence (chunk, subject) VALUES (?, ?)"
_DELETE_EVIDENCE = "DELETE FROM evidence WHERE chunk = ? AND subject = ?"
_DELETE_CHUNKS = "DELETE FROM chunks WHERE id IN (SELECT value FROM json_each(?))"

TABLES = ("evidence", "chunks", "links", "relations", "entities", "subjects")


class GraphWrites:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def put(
        self,
        entities: Sequence[Entity],
        relations: Sequence[Relation],
        evidence: Mapping[str, Collection[Subject]],
    ) -> None:
        ends = {key for r in relations for key in r.pair}
        subjects = {e.key for e in entities} | {subject_of(r.pair) for r in relations} | ends
        ids = self._subject_ids(subjects.union(*evidence.values()))
        self._put_entities(entities, ids)
        self._put_relations(relations, ids)
        self._set_degrees({ids[key] for key in ends} | {ids[e.key] for e in entities})
        self._put_evidence(evidence, ids)

    def delete(self, keys: Collection[str], pairs: Collection[Pair], chunk_ids: Collection[str]) -> None:
        nodes = set(self._pairs(_SUBJECT_IDS, text_array(keys)).values())
        told = self._delete_chunks(chunk_ids)
        edges = set(self._pairs(_SUBJECT_IDS, text_array(map(subject_of, pairs))).values())
        edges |= {relation for (relation,) in self._connection.execute(_RELATIONS_OF, (id_array(nodes),))}
        ends = self._delete_relations(edges)
        self._connection.execute(_DELETE_ENTITIES, (id_array(nodes),))
        self._set_degrees(ends - nodes)
        self._connection.execute(_FORGET_SUBJECTS, (id_array(nodes | edges | ends | told),))

    def clear(self) -> None:
        for table in TABLES:
            self._connection.execute(f"DELETE FROM {table}")

    # -- parts

    def _pairs(self, statement: str, values: str) -> dict[str, int]:
        return dict(self._connection.execute(statement, (values,)).fetchall())

    def _subject_ids(self, subjects: Collection[Subject]) -> dict[Subject, int]:
        """Numbers of subjects, given to new ones in their order: rows written together lie together."""
        values = text_array(sorted(subjects))
        self._connection.execute(_ADD_SUBJECTS, (values,))
        return self._pairs(_SUBJECT_IDS, values)

    def _put_entities(self, entities: Sequence[Entity], ids: Mapping[Subject, int]) -> None:
        rows = ((ids[e.key], e.name, to_bytes(entity_to_row(e))) for e in entities)
        self._connection.executemany(_PUT_ENTITY, rows)

    def _put_relations(self, relations: Sequence[Relation], ids: Mapping[Subject, int]) -> None:
        """Links change only where a relation is new or its weight differs."""
        latest = {ids[subject_of(r.pair)]: r for r in relations}
        weights = dict(self._connection.execute(_WEIGHTS, (id_array(latest),)).fetchall())
        moved = {number: r for number, r in latest.items() if weights.get(number) != r.weight}
        stale = (
            (ids[node], weights[i], other) for i, r in moved.items() if i in weights for node, other in _ends(r.pair)
        )
        self._connection.executemany(_DELETE_LINK, stale)
        fresh = ((ids[node], r.weight, other, ids[other], i) for i, r in moved.items() for node, other in _ends(r.pair))
        self._connection.executemany(_PUT_LINK, fresh)
        rows = ((number, r.weight, to_bytes(relation_to_row(r))) for number, r in latest.items())
        self._connection.executemany(_PUT_RELATION, rows)

    def _delete_relations(self, edges: Collection[int]) -> set[int]:
        """Remove edges; return the numbers of their ends."""
        subjects = self._pairs(_RELATION_SUBJECTS, id_array(edges))
        pairs = {number: _pair(subject) for subject, number in subjects.items()}
        ids = self._pairs(_SUBJECT_IDS, text_array({key for pair in pairs.values() for key in pair}))
        weights = dict(self._connection.execute(_WEIGHTS, (id_array(pairs),)).fetchall())
        links = ((ids[node], weights[i], other) for i, pair in pairs.items() for node, other in _ends(pair))
        self._connection.executemany(_DELETE_LINK, links)
        self._connection.execute(_DELETE_RELATIONS, (id_array(pairs),))
        return set(ids.values())

    def _set_degrees(self, nodes: Collection[int]) -> None:
        self._connection.execute(_SET_DEGREES, (id_array(nodes),))

    def _put_evidence(self, evidence: Mapping[str, Collection[Subject]], ids: Mapping[Subject, int]) -> None:
        """Only the difference is written."""
        values = text_array(sorted(evidence))
        self._connection.execute(_ADD_CHUNKS, (values,))
        chunks = self._pairs(_CHUNK_IDS, values)
        stored = self._evidence_of(chunks.values())
        wanted = {(chunks[chunk_id], ids[s]) for chunk_id, told in evidence.items() for s in told}
        self._connection.executemany(_DELETE_EVIDENCE, stored - wanted)
        self._connection.executemany(_PUT_EVIDENCE, sorted(wanted - stored))
        self._forget({subject for _, subject in stored - wanted})

    def _delete_chunks(self, chunk_ids: Collection[str]) -> set[int]:
        """Remove the evidence of chunks; return the numbers of what they spoke of."""
        chunks = self._pairs(_CHUNK_IDS, text_array(chunk_ids))
        stored = self._evidence_of(chunks.values())
        self._connection.executemany(_DELETE_EVIDENCE, stored)
        self._connection.execute(_DELETE_CHUNKS, (id_array(chunks.values()),))
        return {subject for _, subject in stored}

    def _evidence_of(self, chunks: Iterable[int]) -> set[tuple[int, int]]:
        return set(self._connection.execute(_EVIDENCE_OF, (id_array(chunks),)).fetchall())

    def _forget(self, subjects: Collection[int]) -> None:
        self._connection.execute(_FORGET_SUBJECTS, (id_array(subjects),))


def _pair(subject: Subject) -> Pair:
    first, _, second = subject.partition(PAIR_SEPARATOR)
    return first, second


def _ends(pair: Pair) -> list[Pair]:
    """(node, other end) for each end; once when a relation ties a node to itself."""
    first, second = pair
    return [(first, second)] if first == second else [(first, second), (second, first)]
