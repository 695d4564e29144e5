from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from lightrag_server.core.encoding import entity_from_row, from_bytes, relation_from_row
from lightrag_server.core.ids import entity_key, subject_of
from lightrag_server.core.records import Entity, Pair, Relation, Subject
from lightrag_server.ports.graph import Expansion, GraphCounts, Subgraph
from lightrag_server.storages.sqlite.arrays import id_array, text_array
from lightrag_server.storages.sqlite.database import Database
from lightrag_server.storages.sqlite.graph_walk import subgraph
from lightrag_server.storages.sqlite.graph_writes import GraphWrites

_ENTITIES = "SELECT data FROM subjects JOIN entities USING (id) WHERE subject IN (SELECT value FROM json_each(?))"
_RELATIONS = "SELECT data FROM subjects JOIN relations USING (id) WHERE subject IN (SELECT value FROM json_each(?))"
_DEGREES = (
    "SELECT id, subject, degree FROM subjects JOIN entities USING (id)"
    " WHERE subject IN (SELECT value FROM json_each(?))"
)
_STRONGEST = "SELECT relation FROM links WHERE node = ? ORDER BY weight DESC, other LIMIT ?"
_RELATIONS_BY_ID = "SELECT id, data FROM relations WHERE id IN (SELECT value FROM json_each(?))"
_KNOWN = (
    "SELECT id, subject FROM subjects WHERE subject IN (SELECT value FROM json_each(?))"
    " AND (EXISTS (SELECT 1 FROM entities WHERE entities.id = subjects.id)"
    " OR EXISTS (SELECT 1 FROM relations WHERE relations.id = subjects.id)"
    " OR EXISTS (SELECT 1 FROM evidence WHERE evidence.subject = subjects.id))"
)
_CHUNKS_OF = (
    "SELECT evidence.subject, chunk_id FROM evidence JOIN chunks ON chunks.id = evidence.chunk"
    " WHERE evidence.subject IN (SELECT value FROM json_each(?)) ORDER BY chunk_id"
)
_SUBJECTS_OF = (
    "SELECT chunk_id, subjects.subject FROM chunks LEFT JOIN evidence ON evidence.chunk = chunks.id"
    " LEFT JOIN subjects ON subjects.id = evidence.subject"
    " WHERE chunk_id IN (SELECT value FROM json_each(?)) ORDER BY subjects.subject"
)
_LABELS = {
    "name": "SELECT name FROM entities ORDER BY name LIMIT ?",
    "degree": "SELECT name FROM entities ORDER BY degree DESC, name LIMIT ?",
}
_MATCHING = (
    "SELECT name FROM subjects JOIN entities USING (id) WHERE instr(subject, :part)"
    " ORDER BY subject <> :part, instr(subject, :part) <> 1, {order} LIMIT :limit"
)
_COUNTS = "SELECT (SELECT count(*) FROM entities), (SELECT count(*) FROM relations), (SELECT count(*) FROM evidence)"


class SQLiteGraphStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def entities(self, keys: Collection[str]) -> dict[str, Entity]:
        if not keys:
            return {}
        wanted = text_array(keys)
        return await self._database.read(lambda c: {e.key: e for e in _entities(c.execute(_ENTITIES, (wanted,)))})

    async def relations(self, pairs: Collection[Pair]) -> dict[Pair, Relation]:
        if not pairs:
            return {}
        wanted = text_array(map(subject_of, pairs))
        return await self._database.read(lambda c: {r.pair: r for r in _relations(c.execute(_RELATIONS, (wanted,)))})

    async def expand(self, keys: Collection[str], limit: int) -> dict[str, Expansion]:
        if not keys:
            return {}
        wanted = text_array(keys)

        def read(connection: sqlite3.Connection) -> dict[str, Expansion]:
            known = connection.execute(_DEGREES, (wanted,)).fetchall()
            strongest = {node: _ids(connection, node, limit) for node, _, _ in known}
            relations = _by_id(connection, {number for numbers in strongest.values() for number in numbers})
            return {key: Expansion(n, tuple(relations[i] for i in strongest[node])) for node, key, n in known}

        return await self._database.read(read)

    async def chunks_of(self, subjects: Collection[Subject], limit: int | None = None) -> dict[Subject, list[str]]:
        if not subjects:
            return {}
        wanted = text_array(subjects)

        def read(connection: sqlite3.Connection) -> dict[Subject, list[str]]:
            known = dict(connection.execute(_KNOWN, (wanted,)).fetchall())
            found: dict[int, list[str]] = {number: [] for number in known}
            for number, chunk_id in connection.execute(_CHUNKS_OF, (id_array(known),)):
                found[number].append(chunk_id)
            return {known[number]: chunk_ids[:limit] for number, chunk_ids in found.items()}

        return await self._database.read(read)

    async def subjects_of(self, chunk_ids: Collection[str]) -> dict[str, list[Subject]]:
        if not chunk_ids:
            return {}
        wanted = text_array(chunk_ids)

        def read(connection: sqlite3.Connection) -> dict[str, list[Subject]]:
            found: dict[str, list[Subject]] = {}
            for chunk_id, subject in connection.execute(_SUBJECTS_OF, (wanted,)):
                told = found.setdefault(chunk_id, [])
                if subject is not None:
                    told.append(subject)
            return found

        return await self._database.read(read)

    async def put(
        self,
        entities: Sequence[Entity] = (),
        relations: Sequence[Relation] = (),
        evidence: Mapping[str, Collection[Subject]] | None = None,
    ) -> None:
        if entities or relations or evidence:
            await self._database.write(lambda c: GraphWrites(c).put(entities, relations, evidence or {}))

    async def delete(
        self,
        keys: Collection[str] = (),
        pairs: Collection[Pair] = (),
        chunk_ids: Collection[str] = (),
    ) -> None:
        if keys or pairs or chunk_ids:
            await self._database.write(lambda c: GraphWrites(c).delete(keys, pairs, chunk_ids))

    async def labels(
        self, order: Literal["name", "degree"] = "name", limit: int | None = None, contains: str = ""
    ) -> list[str]:
        most, part = -1 if limit is None else limit, entity_key(contains)
        if not part:
            return await self._database.read(lambda c: [n for (n,) in c.execute(_LABELS[order], (most,))])
        statement = _MATCHING.format(order="name" if order == "name" else "degree DESC, name")
        return await self._database.read(lambda c: [n for (n,) in c.execute(statement, {"part": part, "limit": most})])

    async def subgraph(self, key: str | None, max_depth: int, max_nodes: int) -> Subgraph:
        return await self._database.read(lambda c: subgraph(c, key, max_depth, max_nodes))

    async def counts(self) -> GraphCounts:
        return await self._database.read(lambda c: GraphCounts(*c.execute(_COUNTS).fetchone()))

    async def clear(self) -> None:
        await self._database.write(lambda c: GraphWrites(c).clear())


def _entities(rows: sqlite3.Cursor) -> list[Entity]:
    return [entity_from_row(from_bytes(data)) for (data,) in rows]


def _relations(rows: sqlite3.Cursor) -> list[Relation]:
    return [relation_from_row(from_bytes(data)) for (data,) in rows]


def _ids(connection: sqlite3.Connection, node: int, limit: int) -> list[int]:
    return [number for (number,) in connection.execute(_STRONGEST, (node, limit))]


def _by_id(connection: sqlite3.Connection, numbers: set[int]) -> dict[int, Relation]:
    rows = connection.execute(_RELATIONS_BY_ID, (id_array(numbers),))
    return {number: relation_from_row(from_bytes(data)) for number, data in rows}
