"""A graph in dictionaries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from typing import Literal

from lightrag_server.core.encoding import (
    entity_sketch_from_row,
    entity_to_row,
    relation_sketch_from_row,
    relation_to_row,
)
from lightrag_server.core.ids import entity_key, pair_from
from lightrag_server.core.records import Entity, Pair, Relation, Subject
from lightrag_server.ports.graph import EntityFilter, Expansion, Extent, GraphCounts, Listed, Subgraph
from lightrag_server.storages.memory_space import Cell, Space

SCAN_ROWS = 500


class MemoryGraphStore:
    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    async def entities(self, keys: Collection[str]) -> dict[str, Entity]:
        stored = self._cell.space.entities
        return {key: stored[key] for key in keys if key in stored}

    async def names(self, keys: Collection[str]) -> dict[str, str]:
        return {key: entity.name for key, entity in (await self.entities(keys)).items()}

    async def relations(self, pairs: Collection[Pair]) -> dict[Pair, Relation]:
        stored = self._cell.space.relations
        return {pair: stored[pair] for pair in pairs if pair in stored}

    async def expand(self, keys: Collection[str], limit: int, among: int | None = None) -> dict[str, Expansion]:
        space = self._cell.space
        edges = _edges(space)
        return {key: _expansion(edges[key], limit) for key in keys if key in space.entities}

    async def chunks_of(self, subjects: Collection[Subject], limit: int | None = None) -> dict[Subject, list[str]]:
        space = self._cell.space
        told_by: dict[Subject, list[str]] = {s: [] for s in subjects if _is_known(space, s)}
        for chunk_id in sorted(space.evidence):
            for subject in space.evidence[chunk_id]:
                if subject in subjects:
                    told_by.setdefault(subject, []).append(chunk_id)
        return {subject: chunk_ids[:limit] for subject, chunk_ids in told_by.items()}

    async def subjects_of(self, chunk_ids: Collection[str]) -> dict[str, list[Subject]]:
        evidence = self._cell.space.evidence
        return {i: sorted(evidence[i]) for i in chunk_ids if i in evidence}

    async def put(
        self,
        entities: Sequence[Entity] = (),
        relations: Sequence[Relation] = (),
        evidence: Mapping[str, Collection[Subject]] | None = None,
    ) -> None:
        async with self._cell.writing() as space:
            space.entities.update({e.key: e for e in entities})
            space.relations.update({r.pair: r for r in relations})
            space.evidence.update({chunk_id: frozenset(told) for chunk_id, told in (evidence or {}).items()})

    async def delete(
        self,
        keys: Collection[str] = (),
        pairs: Collection[Pair] = (),
        chunk_ids: Collection[str] = (),
    ) -> None:
        gone = set(keys)
        async with self._cell.writing() as space:
            for pair in [pair for pair in space.relations if gone.intersection(pair)] if gone else []:
                del space.relations[pair]
            for pair in pairs:
                space.relations.pop(pair, None)
            for key in gone:
                space.entities.pop(key, None)
            for chunk_id in chunk_ids:
                space.evidence.pop(chunk_id, None)

    async def labels(
        self, order: Literal["name", "degree"] = "name", limit: int | None = None, contains: str = ""
    ) -> list[str]:
        space, part = self._cell.space, entity_key(contains)
        edges = _edges(space)

        def rank(entity: Entity) -> tuple[bool, bool, int, str]:
            is_far = bool(part) and not entity.key.startswith(part)
            return (
                part not in ("", entity.key),
                is_far,
                -len(edges[entity.key]) if order == "degree" else 0,
                entity.name,
            )

        return [e.name for e in sorted((e for e in space.entities.values() if part in e.key), key=rank)][:limit]

    async def page_entities(
        self, where: EntityFilter, extent: Extent, order: Literal["name", "degree"] = "name"
    ) -> tuple[list[Listed], int]:
        space, part = self._cell.space, entity_key(where.contains)
        edges = _edges(space)
        matching = [
            Listed(e, len(edges[e.key]))
            for e in space.entities.values()
            if part in e.key and where.type in (None, e.type)
        ]
        matching.sort(key=lambda listed: (-listed.degree if order == "degree" else 0, listed.entity.name))
        return matching[extent.offset : extent.offset + extent.limit], len(matching)

    async def page_relations(self, extent: Extent, of: str | None = None) -> tuple[list[Relation], int]:
        space = self._cell.space
        relations = space.relations.values() if of is None else _edges_of(space, of)
        strongest = sorted(relations, key=_strength)
        return strongest[extent.offset : extent.offset + extent.limit], len(strongest)

    async def scan_entities(self) -> AsyncIterator[list[Entity]]:
        stored = self._cell.space.entities
        keys = sorted(stored)
        for start in range(0, len(keys), SCAN_ROWS):
            yield [stored[key] for key in keys[start : start + SCAN_ROWS] if key in stored]

    async def scan_relations(self) -> AsyncIterator[list[Relation]]:
        stored = self._cell.space.relations
        pairs = sorted(stored)
        for start in range(0, len(pairs), SCAN_ROWS):
            yield [stored[pair] for pair in pairs[start : start + SCAN_ROWS] if pair in stored]

    async def scan_chunk_ids(self) -> AsyncIterator[list[str]]:
        if ids := sorted(self._cell.space.evidence):
            yield ids

    async def subgraph(self, key: str | None, max_depth: int, max_nodes: int) -> Subgraph:
        space = self._cell.space
        reached = _reached(space, key, max_depth, max_nodes)
        kept = reached[:max_nodes]
        entities = [space.entities[key] for key in kept]
        between = [space.relations[pair] for pair in sorted(space.relations) if set(pair) <= set(kept)]
        return Subgraph(
            (entity_sketch_from_row(entity_to_row(entity)) for entity in entities),
            (relation_sketch_from_row(relation_to_row(relation)) for relation in between),
            is_truncated=len(reached) > max_nodes,
        )

    async def counts(self) -> GraphCounts:
        space = self._cell.space
        return GraphCounts(len(space.entities), len(space.relations), sum(map(len, space.evidence.values())))

    async def clear(self) -> None:
        async with self._cell.writing() as space:
            space.entities.clear()
            space.relations.clear()
            space.evidence.clear()


def _edges(space: Space) -> defaultdict[str, list[Relation]]:
    edges: defaultdict[str, list[Relation]] = defaultdict(list)
    for pair, relation in space.relations.items():
        for key in set(pair):
            edges[key].append(relation)
    return edges


def _edges_of(space: Space, key: str) -> list[Relation]:
    return [r for pair, r in space.relations.items() if key in pair] if key in space.entities else []


def _expansion(relations: Sequence[Relation], limit: int) -> Expansion:
    return Expansion(len(relations), tuple(sorted(relations, key=_strength)[:limit]))


def _strength(relation: Relation) -> tuple[float, Pair]:
    return -relation.weight, relation.pair


def _is_known(space: Space, subject: Subject) -> bool:
    pair = pair_from(subject)
    return pair in space.relations if pair else subject in space.entities


def _reached(space: Space, key: str | None, max_depth: int, max_nodes: int) -> list[str]:
    """Keys within the depth, nearest first; more than `max_nodes` when there are more."""
    edges = _edges(space)

    def by_degree(keys: Iterable[str]) -> list[str]:
        known = (space.entities[k] for k in keys if k in space.entities)
        return [e.key for e in sorted(known, key=lambda e: (-len(edges[e.key]), e.name))]

    if key is None:
        return by_degree(space.entities)
    reached = frontier = by_degree([key])
    for _ in range(max_depth):
        if not frontier or len(reached) > max_nodes:
            break
        ends = {end for k in frontier for r in edges[k] for end in r.pair}
        frontier = by_degree(ends - set(reached))
        reached = reached + frontier
    return reached
