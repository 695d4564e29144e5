from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Mapping, Sequence
from typing import Literal, TypeVar

from lightrag_server.core.encoding import entity_from_row, from_bytes
from lightrag_server.core.ids import entity_key
from lightrag_server.core.records import Entity, Pair, Relation, Subject
from lightrag_server.ports.graph import EntityFilter, Expansion, Extent, GraphCounts, Listed, Subgraph
from lightrag_server.storages.sqlite.arrays import id_array, text_array
from lightrag_server.storages.sqlite.database import Database
from lightrag_server.storages.sqlite.graph_lists import (
    next_chunk_ids,
    next_entities,
    next_relations,
    page_entities,
    page_relations,
    relations_by_id,
    strongest,
)
from lightrag_server.storages.sqlite.graph_numbers import node_ids, pair_ids, split, subject_ids
from lightrag_server.storages.sqlite.graph_walk import subgraph
from lightrag_server.storages.sqlite.graph_writes import GraphWrites
from lightrag_server.storages.sqlite.row_cache import RowCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_ENTITIES = "SELECT data FROM nodes JOIN entities USING (id) WHERE key IN (SELECT value FROM json_each(?))"
_NAMES = "SELECT key, name FROM nodes JOIN entities USING (id) WHERE key IN (SELECT value FROM json_each(?))"
_DEGREES = "SELECT id, key, degree FROM nodes JOIN entities USING (id) WHERE key IN (SELECT value FROM json_each(?))"
_KNOWN = (
    "SELECT 2 * id FROM entities WHERE id IN (SELECT value FROM json_each(:nodes))"
    " UNION ALL SELECT 2 * id + 1 FROM relations WHERE id IN (SELECT value FROM json_each(:pairs))"
)
_CHUNKS_OF = (
    "SELECT subject, chunk_id FROM evidence JOIN chunks ON chunks.id = evidence.chunk"
    " WHERE subject IN (SELECT value FROM json_each(:subjects)) ORDER BY chunk_id"
)
_SOME_CHUNKS_OF = (
    "SELECT told.value, chunk_id FROM json_each(:subjects) AS told JOIN chunks ON chunks.id IN"
    " (SELECT chunk FROM evidence WHERE subject = told.value LIMIT :limit) ORDER BY chunk_id"
)
_SUBJECTS_OF = "SELECT chunk_id, told FROM chunks WHERE chunk_id IN (SELECT value FROM json_each(?))"
_LABELS = {
    "name": "SELECT name FROM entities ORDER BY name LIMIT ?",
    "degree": "SELECT name FROM entities ORDER BY degree DESC, name LIMIT ?",
}
_MATCHING = (
    "SELECT name FROM nodes JOIN entities USING (id) WHERE instr(key, :part)"
    " ORDER BY key <> :part, instr(key, :part) <> 1, {order} LIMIT :limit"
)
_VERSION = "SELECT value FROM graph_version"
TEXT_BYTES = 60
"""What Python adds to a text."""
FRAGMENT_BYTES = 500
_COUNTS = "SELECT (SELECT count(*) FROM entities), (SELECT count(*) FROM relations), (SELECT count(*) FROM evidence)"


class SQLiteGraphStore:
    def __init__(self, database: Database, rows: RowCache) -> None:
        self._database = database
        self._rows = rows

    async def entities(self, keys: Collection[str]) -> dict[str, Entity]:
        def read(connection: sqlite3.Connection, wanted: Collection[str]) -> dict[str, Entity]:
            return {e.key: e for e in _entities(connection.execute(_ENTITIES, (text_array(wanted),)))}

        return await self._kept("entities", keys, _size_of_told, read)

    async def names(self, keys: Collection[str]) -> dict[str, str]:
        def read(connection: sqlite3.Connection, wanted: Collection[str]) -> dict[str, str]:
            return dict(connection.execute(_NAMES, (text_array(wanted),)).fetchall())

        return await self._kept("names", keys, lambda name: TEXT_BYTES + len(name), read)

    async def relations(self, pairs: Collection[Pair]) -> dict[Pair, Relation]:
        def read(connection: sqlite3.Connection, wanted: Collection[Pair]) -> dict[Pair, Relation]:
            nodes = node_ids(connection, {key for pair in wanted for key in pair})
            numbers = pair_ids(connection, wanted, nodes).values()
            return {r.pair: r for r in relations_by_id(connection, numbers).values()}

        return await self._kept("relations", pairs, _size_of_told, read)

    async def expand(self, keys: Collection[str], limit: int, among: int | None = None) -> dict[str, Expansion]:
        def read(connection: sqlite3.Connection, wanted: Collection[str]) -> dict[str, Expansion]:
            known = connection.execute(_DEGREES, (text_array(wanted),)).fetchall()
            edges = {node: strongest(connection, node, Extent(0, limit), among) for node, _, _ in known}
            relations = relations_by_id(connection, {number for numbers in edges.values() for number in numbers})
            return {key: Expansion(n, tuple(relations[i] for i in edges[node])) for node, key, n in known}

        def size(around: Expansion) -> int:
            return FRAGMENT_BYTES + sum(map(_size_of_told, around.relations))

        return await self._kept(("expand", limit, among), keys, size, read)

    async def chunks_of(self, subjects: Collection[Subject], limit: int | None = None) -> dict[Subject, list[str]]:
        def read(connection: sqlite3.Connection, wanted: Collection[Subject]) -> dict[Subject, list[str]]:
            numbers = subject_ids(connection, wanted)
            found = _told_by(connection, numbers.values(), limit)
            return {subject: found[number] for subject, number in numbers.items() if number in found}

        return await self._kept(("chunks_of", limit), subjects, _size_of_texts, read)

    async def subjects_of(self, chunk_ids: Collection[str]) -> dict[str, list[Subject]]:
        def read(connection: sqlite3.Connection, wanted: Collection[str]) -> dict[str, list[Subject]]:
            rows = connection.execute(_SUBJECTS_OF, (text_array(wanted),)).fetchall()
            return {chunk_id: sorted(from_bytes(subjects)) for chunk_id, subjects in rows}

        return await self._kept("subjects_of", chunk_ids, _size_of_texts, read)

    async def _kept(
        self,
        kind: Hashable,
        keys: Collection[K],
        size: Callable[[V], int],
        read: Callable[[sqlite3.Connection, Collection[K]], dict[K, V]],
    ) -> dict[K, V]:
        """What `read` finds of the keys; rows of the present version are read once."""
        if not keys:
            return {}
        rows = self._rows.outside(self._database.in_transaction)

        def kept(connection: sqlite3.Connection) -> dict[K, V]:
            version = connection.execute(_VERSION).fetchone()[0]
            name = (self._database.path, version, kind)
            return rows.read(name, keys, size, lambda wanted: read(connection, wanted))

        return await self._database.read(kept)

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

    async def page_entities(
        self, where: EntityFilter, extent: Extent, order: Literal["name", "degree"] = "name"
    ) -> tuple[list[Listed], int]:
        return await self._database.read(lambda c: page_entities(c, where, extent, order))

    async def page_relations(self, extent: Extent, of: str | None = None) -> tuple[list[Relation], int]:
        return await self._database.read(lambda c: page_relations(c, extent, of))

    async def scan_entities(self) -> AsyncIterator[list[Entity]]:
        batch = await self._database.read(lambda c: next_entities(c, ""))
        while batch:
            yield batch
            last = batch[-1].key
            batch = await self._database.read(lambda c, last=last: next_entities(c, last))

    async def scan_relations(self) -> AsyncIterator[list[Relation]]:
        batch, last = await self._database.read(lambda c: next_relations(c, 0))
        while batch:
            yield batch
            batch, last = await self._database.read(lambda c, last=last: next_relations(c, last))

    async def scan_chunk_ids(self) -> AsyncIterator[list[str]]:
        batch = await self._database.read(lambda c: next_chunk_ids(c, ""))
        while batch:
            yield batch
            batch = await self._database.read(lambda c, last=batch[-1]: next_chunk_ids(c, last))

    async def subgraph(self, key: str | None, max_depth: int, max_nodes: int) -> Subgraph:
        return await self._database.read(lambda c: subgraph(c, key, max_depth, max_nodes))

    async def counts(self) -> GraphCounts:
        return await self._database.read(lambda c: GraphCounts(*c.execute(_COUNTS).fetchone()))

    async def clear(self) -> None:
        await self._database.write(lambda c: GraphWrites(c).clear())


def _size_of_told(told: Entity | Relation) -> int:
    texts = told.names if isinstance(told, Entity) else told.keywords
    return FRAGMENT_BYTES * (1 + len(told.fragments) + len(texts))


def _size_of_texts(texts: list[str]) -> int:
    return TEXT_BYTES + sum(TEXT_BYTES + len(text) for text in texts)


def _entities(rows: sqlite3.Cursor) -> list[Entity]:
    return [entity_from_row(from_bytes(data)) for (data,) in rows.fetchall()]


def _told_by(connection: sqlite3.Connection, numbers: Collection[int], limit: int | None) -> dict[int, list[str]]:
    """Chunks by the number of a subject, in id order; empty for an entity or relation that no chunk speaks of."""
    nodes, pairs = split(numbers)
    known = connection.execute(_KNOWN, {"nodes": id_array(nodes), "pairs": id_array(pairs)})
    found: dict[int, list[str]] = {number: [] for (number,) in known}
    values = {"subjects": id_array(numbers), "limit": limit}
    for number, chunk_id in connection.execute(_CHUNKS_OF if limit is None else _SOME_CHUNKS_OF, values):
        found.setdefault(number, []).append(chunk_id)
    return found
