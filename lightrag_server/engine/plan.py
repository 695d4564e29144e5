"""What a commit will write, worked out from what is stored. Reads only; the commit is the one writer meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lightrag_server.core.encoding import (
    chunk_to_row,
    entity_mention_from_row,
    extraction_from_row,
    extraction_to_row,
    relation_mention_from_row,
)
from lightrag_server.core.folding import (
    Contributions,
    EntityContribution,
    RelationContribution,
    Source,
    contributions_of,
    fold_entity,
    fold_relation,
    grouped,
)
from lightrag_server.core.ids import (
    entity_key,
    entity_vector_id,
    fact_vector_id,
    pair_from,
    pair_of,
    subject_of,
    window_id,
)
from lightrag_server.core.records import (
    Chunk,
    Document,
    Entity,
    EntityMention,
    Extraction,
    Pair,
    Relation,
    RelationMention,
    Subject,
)
from lightrag_server.engine.parts import PreparedChunk
from lightrag_server.engine.stores import Stores
from lightrag_server.engine.texts import Vectorizer, Wanted, entity_texts, fact_texts
from lightrag_server.ports.kv import Row
from lightrag_server.ports.lexical import LexicalItem
from lightrag_server.ports.vectors import VectorItem, VectorStore


@dataclass(frozen=True, slots=True)
class NewChunk:
    chunk: Chunk
    source: Source
    prepared: PreparedChunk


@dataclass(slots=True)
class Slice:
    """Chunks to add, chunk ids to remove, and the documents that are complete with it."""

    added: list[NewChunk] = field(default_factory=list[NewChunk])
    removed: list[str] = field(default_factory=list[str])
    finished: list[Document] = field(default_factory=list[Document])
    gone: list[Document] = field(default_factory=list[Document])

    @property
    def size(self) -> int:
        return len(self.added) + len(self.removed)


@dataclass(slots=True)
class Changes:
    """Everything one transaction writes."""

    chunks: dict[str, Row] = field(default_factory=dict[str, Row])
    contributions: dict[str, Row] = field(default_factory=dict[str, Row])
    evidence: dict[str, list[Subject]] = field(default_factory=dict[str, list[Subject]])
    lexical: list[LexicalItem] = field(default_factory=list[LexicalItem])
    entities: list[Entity] = field(default_factory=list[Entity])
    relations: list[Relation] = field(default_factory=list[Relation])
    windows: list[VectorItem] = field(default_factory=list[VectorItem])
    entity_vectors: dict[str, VectorItem] = field(default_factory=dict[str, VectorItem])
    fact_vectors: dict[str, VectorItem] = field(default_factory=dict[str, VectorItem])
    stale_chunks: list[str] = field(default_factory=list[str])
    stale_windows: set[str] = field(default_factory=set[str])
    stale_entities: list[str] = field(default_factory=list[str])
    stale_relations: list[Pair] = field(default_factory=list[Pair])
    stale_entity_vectors: set[str] = field(default_factory=set[str])
    stale_fact_vectors: set[str] = field(default_factory=set[str])


@dataclass(frozen=True, slots=True)
class Stored:
    """What the stores hold of one chunk."""

    contributions: Contributions
    windows: int


@dataclass(frozen=True, slots=True)
class _Told:
    """All contributions that each touched subject is folded from."""

    entities: dict[str, list[EntityContribution]]
    relations: dict[Pair, list[RelationContribution]]

    def stale_entity_vectors(self, lost: Iterable[Contributions]) -> set[str]:
        """Vectors of spellings that nobody uses any more."""
        gone = {(key, f.text) for told in lost for key, c in told.entities.items() for f in c.names}
        used = {key: {f.text for c in self.entities[key] for f in c.names} for key, _ in gone}
        return {entity_vector_id(key, name) for key, name in gone if name not in used[key]}

    def stale_fact_vectors(self, lost: Iterable[Contributions]) -> set[str]:
        """Vectors of facts that nobody tells any more."""
        gone = {(pair, fact) for told in lost for pair, c in told.relations.items() for fact in c.facts}
        used = {pair: {fact for c in self.relations[pair] for fact in c.facts} for pair, _ in gone}
        return {fact_vector_id(pair, fact) for pair, fact in gone if fact not in used[pair]}


class Planner:
    def __init__(self, stores: Stores, vectorizer: Vectorizer) -> None:
        self._stores = stores
        self._vectorizer = vectorizer

    async def plan(self, piece: Slice) -> Changes:
        """Chunks whose stored contribution is the new one already change nothing in the graph."""
        changes = Changes()
        new = {n.chunk.id: contributions_of(n.source, n.prepared.extraction) for n in piece.added}
        old = await self._stored([*piece.removed, *new])
        same = {i for i, told in new.items() if i in old and old[i].contributions == told}
        lost = {i: stored.contributions for i, stored in old.items() if i not in same}
        gained = {i: told for i, told in new.items() if i not in same}
        _plan_chunks(changes, piece, new, old)
        await self._plan_graph(changes, lost, gained)
        await self._plan_vectors(changes, piece, gained)
        return changes

    async def _stored(self, chunk_ids: Sequence[str]) -> dict[str, Stored]:
        rows = await self._stores.contributions.get(chunk_ids)
        return await asyncio.to_thread(lambda: {i: _stored_from(i, row) for i, row in rows.items()})

    async def _plan_graph(
        self, changes: Changes, lost: Mapping[str, Contributions], gained: Mapping[str, Contributions]
    ) -> None:
        """Subjects that only gain are folded on from what is stored; those that lose something are folded anew."""
        losing = {subject for told in lost.values() for subject in told.subjects()}
        others = await self._others(losing, {*lost, *gained})
        told = _told(losing, others, gained.values())
        bases = await self._stores.graph.entities([k for k in told.entities if k not in losing])
        edges = await self._stores.graph.relations([p for p in told.relations if subject_of(p) not in losing])
        for key, of_key in told.entities.items():
            if entity := fold_entity(bases.get(key), of_key):
                changes.entities.append(entity)
            else:
                changes.stale_entities.append(key)
        for pair, of_pair in told.relations.items():
            if relation := fold_relation(edges.get(pair), of_pair):
                changes.relations.append(relation)
            else:
                changes.stale_relations.append(pair)
        changes.stale_entity_vectors = told.stale_entity_vectors(lost.values())
        changes.stale_fact_vectors = told.stale_fact_vectors(lost.values())

    async def _others(self, losing: set[Subject], leaving: set[str]) -> list[Contributions]:
        """Contributions of all other chunks that speak of the subjects that lose something."""
        told_by = await self._stores.graph.chunks_of(losing)
        chunk_ids = {i for ids_of in told_by.values() for i in ids_of} - leaving
        rows = await self._stores.contributions.get(sorted(chunk_ids))
        return await asyncio.to_thread(lambda: [_told_of(losing, i, row) for i, row in rows.items()])

    async def _plan_vectors(self, changes: Changes, piece: Slice, gained: Mapping[str, Contributions]) -> None:
        """Vectors come with the parts. One that was stored then and is gone since is made now: rare, few, short."""
        for new in piece.added:
            changes.windows.extend(new.prepared.windows)
            changes.entity_vectors |= {item.id: item for item in new.prepared.entities}
            changes.fact_vectors |= {item.id: item for item in new.prepared.facts}
        entities: Wanted = {i: w for told in gained.values() for i, w in entity_texts(told).items()}
        facts: Wanted = {i: w for told in gained.values() for i, w in fact_texts(told).items()}
        await self._complete(self._stores.entities, entities, changes.entity_vectors)
        await self._complete(self._stores.facts, facts, changes.fact_vectors)

    async def _complete(self, store: VectorStore, wanted: Wanted, brought: dict[str, VectorItem]) -> None:
        absent = await store.missing([i for i in wanted if i not in brought])
        brought |= await self._vectorizer.items({i: wanted[i] for i in absent}, remember=True)


def _plan_chunks(changes: Changes, piece: Slice, new: Mapping[str, Contributions], old: Mapping[str, Stored]) -> None:
    for item in piece.added:
        chunk = item.chunk
        changes.chunks[chunk.id] = chunk_to_row(chunk)
        changes.contributions[chunk.id] = stored_row(item.source, len(chunk.windows), item.prepared.extraction)
        changes.evidence[chunk.id] = new[chunk.id].subjects()
        changes.lexical.extend(_lexical_items(chunk))
    changes.stale_chunks = [i for i in piece.removed if i not in new]
    old_windows = {window_id(i, n) for i, stored in old.items() for n in range(stored.windows)}
    changes.stale_windows = old_windows - {item.id for item in changes.lexical}


def _lexical_items(chunk: Chunk) -> list[LexicalItem]:
    head = " ".join(chunk.headings)
    return [
        LexicalItem(window_id(chunk.id, n), chunk.id, f"{head} {chunk.window_text(w)}")
        for n, w in enumerate(chunk.windows)
    ]


def stored_row(source: Source, windows: int, extraction: Extraction) -> Row:
    """The row of a chunk in the namespace `contributions`: all that is needed to fold it again, on its own."""
    return {
        "index": source.index,
        "file_path": source.file_path,
        "created_at": source.created_at,
        "windows": windows,
        "extraction": extraction_to_row(extraction),
    }


def _stored_from(chunk_id: str, row: Row) -> Stored:
    return Stored(contributions_of(_source(chunk_id, row), extraction_from_row(row["extraction"])), row["windows"])


def _told_of(losing: Container[Subject], chunk_id: str, row: Row) -> Contributions:
    """What a stored chunk says of the losing subjects; of what it says of others as little as possible is decoded."""
    entities: list[tuple[int, EntityMention]] = []
    relations: list[tuple[int, RelationMention]] = []
    listed: set[str] = set()
    for number, told in enumerate(row["extraction"]["entities"]):
        if (key := entity_key(told[0])) in losing:
            listed.add(key)
            entities.append((number, entity_mention_from_row(told)))
    for number, told in enumerate(row["extraction"]["relations"], len(row["extraction"]["entities"])):
        ends = entity_key(told[0]), entity_key(told[1])
        # an end that is listed needs no relation to be known
        if subject_of(pair_of(*ends)) in losing or any(end in losing and end not in listed for end in ends):
            relations.append((number, relation_mention_from_row(told)))
    return grouped(_source(chunk_id, row), entities, relations)


def _source(chunk_id: str, row: Row) -> Source:
    return Source(chunk_id, row["index"], row["file_path"], row["created_at"])


def _told(losing: set[Subject], others: Iterable[Contributions], gained: Iterable[Contributions]) -> _Told:
    """By subject: all other contributions where it loses something, and everything that is new."""
    entities: dict[str, list[EntityContribution]] = {s: [] for s in losing if pair_from(s) is None}
    relations: dict[Pair, list[RelationContribution]] = {p: [] for s in losing if (p := pair_from(s))}
    for told in others:
        for key, entity in told.entities.items():
            if key in entities:
                entities[key].append(entity)
        for pair, relation in told.relations.items():
            if pair in relations:
                relations[pair].append(relation)
    for told in gained:
        for key, entity in told.entities.items():
            entities.setdefault(key, []).append(entity)
        for pair, relation in told.relations.items():
            relations.setdefault(pair, []).append(relation)
    return _Told(entities, relations)
