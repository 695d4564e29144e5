"""What a commit will write, worked out from what is stored. Reads only; the commit is the one writer meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lightrag_server.core.curation import (
    Curation,
    curated_entity,
    curated_relation,
    curation_from_rows,
    folded_entity,
    folded_relation,
)
from lightrag_server.core.encoding import chunk_to_row, extraction_to_row
from lightrag_server.core.folding import (
    Aliases,
    Contributions,
    Source,
    contributions_of,
    fold_entity,
    fold_relation,
)
from lightrag_server.core.ids import subject_of, window_id
from lightrag_server.core.lexical import terms
from lightrag_server.core.records import Chunk, Document, Entity, Extraction, Pair, Relation, Subject
from lightrag_server.engine import refold
from lightrag_server.engine.curate import Change
from lightrag_server.engine.curated import Curated
from lightrag_server.engine.lighter import Lighter, lighter
from lightrag_server.engine.parts import PreparedChunk
from lightrag_server.engine.refold import Refold, Told
from lightrag_server.engine.stores import Stores
from lightrag_server.engine.texts import Vectorizer, Wanted
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
    renamed: list[str] = field(default_factory=list[str])
    """Keys of entities that are new, or look otherwise to whoever compares names."""
    stale_chunks: list[str] = field(default_factory=list[str])
    stale_windows: set[str] = field(default_factory=set[str])
    stale_entities: list[str] = field(default_factory=list[str])
    stale_relations: list[Pair] = field(default_factory=list[Pair])
    stale_entity_vectors: set[str] = field(default_factory=set[str])
    stale_fact_vectors: set[str] = field(default_factory=set[str])


@dataclass(frozen=True, slots=True)
class WantedTexts:
    """Texts that must have a vector afterwards; most have one."""

    entities: Wanted
    facts: Wanted


@dataclass(frozen=True, slots=True)
class Stored:
    """What the stores hold of one chunk."""

    contributions: Contributions
    windows: int


class Planner:
    def __init__(self, stores: Stores, vectorizer: Vectorizer) -> None:
        self._stores = stores
        self._curated = Curated(stores)
        self._vectorizer = vectorizer

    async def plan(self, piece: Slice) -> Changes:
        """Chunks whose stored contribution is the new one already change nothing in the graph."""
        changes = Changes()
        aliases = await self._curated.aliases()
        new = await asyncio.to_thread(_contributions, piece.added, aliases)
        old = await self._stored([*piece.removed, *new], aliases)
        same = {i for i, told in new.items() if i in old and old[i].contributions == told}
        lost = {i: stored.contributions for i, stored in old.items() if i not in same}
        gained = {i: told for i, told in new.items() if i not in same}
        losing = {subject for told in lost.values() for subject in told.subjects()}
        await asyncio.to_thread(_plan_chunks, changes, piece, new, old)
        wanted = await self._plan_graph(changes, Refold(lost, gained, losing, aliases))
        await self._plan_vectors(changes, wanted, [n.prepared for n in piece.added])
        return changes

    async def plan_change(self, change: Change) -> Changes:
        """What an edit makes of the graph. Chunks that speak of what was merged, renamed, deleted or revived tell of it
        anew. Costs the reading of all chunks that speak of the subjects touched, and no LLM call."""
        changes = Changes()
        before = await self._curated.aliases()
        after = change.aliases(before)
        told_in = await self._stores.graph.chunks_of(change.retold)
        rows = await self._stores.contributions.get(sorted({i for chunk_ids in told_in.values() for i in chunk_ids}))
        old, new = await asyncio.to_thread(lambda: (_all_of(rows, before), _all_of(rows, after)))
        losing = set(change.subjects) | refold.retold_subjects(old, new, change.retold)
        lost = {i: refold.only(told, losing) for i, told in old.items()}
        gained = {i: refold.only(told, losing) for i, told in new.items()}
        changes.evidence = {i: told.subjects() for i, told in new.items()} if after != before else {}
        wanted = await self._plan_graph(changes, Refold(lost, gained, losing, after, change.rows))
        await self._plan_vectors(changes, wanted, [])
        return changes

    async def _stored(self, chunk_ids: Sequence[str], aliases: Aliases) -> dict[str, Stored]:
        rows = await self._stores.contributions.get(chunk_ids)
        return await asyncio.to_thread(lambda: {i: _stored_from(i, row, aliases) for i, row in rows.items()})

    async def _plan_graph(self, changes: Changes, work: Refold) -> WantedTexts:
        """Subjects that only gain are folded on from what is stored, and so are those from which can be taken off what
        they lose; the others that lose something are folded anew. Over the fold lie the curations."""
        before, after = await self._curations(work)
        less = await lighter(self._stores, work, before, after)
        losing = work.losing - less.subjects()
        others = await self._others(work, losing)
        told = refold.told_from(losing, others, work.gained.values(), less.subjects())
        await self._fold(changes, told, losing, less, after)
        dead, dead_pairs = set(changes.stale_entities), set(changes.stale_relations)
        lost = work.lost.values()
        changes.stale_entity_vectors = refold.stale_entity_vectors(told, lost, before, after, dead, less.entities)
        changes.stale_fact_vectors = refold.stale_fact_vectors(told, lost, before, after, dead_pairs, less.relations)
        # an edit may bring back what had no vectors meanwhile
        told_by = [*others, *work.gained.values()] if work.curated else [*work.gained.values()]
        return WantedTexts(
            refold.wanted_entities(told, told_by, after, dead), refold.wanted_facts(told, told_by, after, dead_pairs)
        )

    async def _fold(
        self, changes: Changes, told: Told, losing: set[Subject], less: Lighter, curation: Curation
    ) -> None:
        gaining = {*told.entities, *map(subject_of, told.relations)} - losing - less.subjects()
        known = await self._stores.graph.entities(told.entities.keys())
        edges = await self._stores.graph.relations([pair for pair in told.relations if subject_of(pair) in gaining])
        bases = {key: folded_entity(entity) for key, entity in known.items() if key in gaining} | less.entities
        stems = {pair: folded_relation(relation) for pair, relation in edges.items()} | less.relations
        await asyncio.to_thread(_fold_entities, changes, told, bases, known, curation)
        await asyncio.to_thread(_fold_relations, changes, told, stems, curation)

    async def _others(self, work: Refold, losing: set[Subject]) -> list[Contributions]:
        """Contributions of all other chunks that speak of the losing subjects."""
        told_by = await self._stores.graph.chunks_of(losing)
        chunk_ids = {i for ids_of in told_by.values() for i in ids_of} - {*work.lost, *work.gained}
        rows = await self._stores.contributions.get(sorted(chunk_ids))
        return await asyncio.to_thread(
            lambda: [refold.told_of(losing, i, row, work.aliases) for i, row in rows.items()]
        )

    async def _curations(self, work: Refold) -> tuple[Curation, Curation]:
        """Of the touched subjects, as they are and as they will be."""
        before = await self._curated.of(*work.touched())
        if not (before or work.curated):
            return Curation(), Curation()
        after = {**before, **work.curated}
        kept = {key: row for key, row in after.items() if row is not None}
        return curation_from_rows(before), curation_from_rows(kept)

    async def _plan_vectors(self, changes: Changes, wanted: WantedTexts, brought: Sequence[PreparedChunk]) -> None:
        """Vectors come with the parts. One that was stored then and is gone since, or that belongs to another entity by
        now, is made here: rare, few, short."""
        entities = _chosen(wanted.entities, (item for chunk in brought for item in chunk.entities))
        facts = _chosen(wanted.facts, (item for chunk in brought for item in chunk.facts))
        changes.entity_vectors = await self._complete(self._stores.entities, wanted.entities, entities)
        changes.fact_vectors = await self._complete(self._stores.facts, wanted.facts, facts)

    async def _complete(
        self, store: VectorStore, wanted: Wanted, brought: dict[str, VectorItem]
    ) -> dict[str, VectorItem]:
        absent = await store.missing([i for i in wanted if i not in brought])
        return brought | await self._vectorizer.items({i: wanted[i] for i in absent}, remember=True)


def _contributions(added: Sequence[NewChunk], aliases: Aliases) -> dict[str, Contributions]:
    return {n.chunk.id: contributions_of(n.source, n.prepared.extraction, aliases) for n in added}


def _fold_entities(
    changes: Changes, told: Told, bases: Mapping[str, Entity | None], known: Mapping[str, Entity], curation: Curation
) -> None:
    for key, of_key in told.entities.items():
        folded = fold_entity(bases.get(key), of_key)
        if entity := curated_entity(folded, curation.entities.get(key)):
            changes.entities.append(entity)
            if _looks_new(known.get(key), entity):
                changes.renamed.append(key)
        else:
            changes.stale_entities.append(key)


def _fold_relations(changes: Changes, told: Told, bases: Mapping[Pair, Relation | None], curation: Curation) -> None:
    for pair, of_pair in told.relations.items():
        folded = fold_relation(bases.get(pair), of_pair)
        relation = curated_relation(folded, curation.relations.get(pair))
        if relation and not any(map(curation.is_deleted, pair)):
            changes.relations.append(relation)
        else:
            changes.stale_relations.append(pair)


def _looks_new(before: Entity | None, after: Entity) -> bool:
    """Names, types, and whether it is told of more than once."""
    if before is None or before.type != after.type or (before.mentions > 1) != (after.mentions > 1):
        return True
    return {before.name, *(f.text for f in before.names)} != {after.name, *(f.text for f in after.names)}


def _chosen(wanted: Wanted, brought: Iterable[VectorItem]) -> dict[str, VectorItem]:
    return {item.id: item for item in brought if item.id in wanted}


def _all_of(rows: Mapping[str, Row], aliases: Aliases) -> dict[str, Contributions]:
    return {i: refold.contributions_from(i, row, aliases) for i, row in rows.items()}


def _plan_chunks(changes: Changes, piece: Slice, new: Mapping[str, Contributions], old: Mapping[str, Stored]) -> None:
    for item in piece.added:
        chunk = item.chunk
        changes.chunks[chunk.id] = chunk_to_row(chunk)
        changes.contributions[chunk.id] = stored_row(item.source, len(chunk.windows), item.prepared.extraction)
        changes.evidence[chunk.id] = new[chunk.id].subjects()
        changes.lexical.extend(lexical_items(chunk))
        changes.windows.extend(item.prepared.windows)
    changes.stale_chunks = [i for i in piece.removed if i not in new]
    old_windows = {window_id(i, n) for i, stored in old.items() for n in range(stored.windows)}
    changes.stale_windows = old_windows - {item.id for item in changes.lexical}


def lexical_items(chunk: Chunk) -> list[LexicalItem]:
    """A millisecond of work: on the event loop for few chunks only."""
    head = " ".join(chunk.headings)
    return [
        LexicalItem(window_id(chunk.id, n), chunk.id, terms(f"{head} {chunk.window_text(w)}"))
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


def _stored_from(chunk_id: str, row: Row, aliases: Aliases) -> Stored:
    return Stored(refold.contributions_from(chunk_id, row, aliases), row["windows"])
