"""The stores as a question may see them: only what the documents of a scope say.

Whatever retrieval does with this view, it cannot show a text, name or path of another document. Dense search over
places stays exact; of words, entities and relations at most `MOST_HITS` are looked through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lightrag_server.core import ids
from lightrag_server.core.filters import (
    Scope,
    chunk_ids_of,
    entity_within,
    is_by_hand,
    matches,
    relation_within,
    scope_of,
)
from lightrag_server.core.records import Document, DocumentFilter, Entity, Pair, Relation, Subject
from lightrag_server.engine.retold import Retold, is_cut
from lightrag_server.engine.stores import Stores
from lightrag_server.errors import DimensionMismatch
from lightrag_server.ports.doc_status import DocStatusStore, Filter
from lightrag_server.ports.graph import Expansion
from lightrag_server.ports.kv import Row
from lightrag_server.ports.lexical import LexicalHit
from lightrag_server.ports.vectors import Vector, VectorHit, VectorItem, nearness

FEW_CHUNKS = 400
"""So many are scored one by one; more are found by searching everything."""
FIRST_SHARE = 2
GROWTH = 4
MOST_HITS = 2000
MATCHED_IN_PLACE = 200

Hit = TypeVar("Hit", VectorHit, LexicalHit)
Item = TypeVar("Item", Entity, Relation)


class ChunkRows(Protocol):
    async def get(self, keys: Collection[str]) -> dict[str, Row]: ...


class Nearest(Protocol):
    async def search(self, query: Vector, top_k: int, threshold: float = -1.0) -> list[VectorHit]: ...


class Places(Nearest, Protocol):
    async def similarities(self, ids: Collection[str], queries: NDArray[np.float32], /) -> dict[str, float]: ...


class Words(Protocol):
    async def search(self, terms: Sequence[str], top_k: int) -> list[LexicalHit]: ...


class Graph(Protocol):
    async def entities(self, keys: Collection[str]) -> dict[str, Entity]: ...
    async def names(self, keys: Collection[str]) -> dict[str, str]: ...
    async def relations(self, pairs: Collection[Pair]) -> dict[Pair, Relation]: ...
    async def expand(self, keys: Collection[str], limit: int, among: int | None = None) -> dict[str, Expansion]: ...
    async def chunks_of(self, subjects: Collection[Subject], limit: int | None = None) -> dict[Subject, list[str]]: ...
    async def subjects_of(self, chunk_ids: Collection[str]) -> dict[str, list[Subject]]: ...


class Knowledge(Protocol):
    """What retrieval reads, with the laws of the ports; `Stores` is all of it."""

    @property
    def chunks(self) -> ChunkRows: ...
    @property
    def windows(self) -> Places: ...
    @property
    def entities(self) -> Nearest: ...
    @property
    def facts(self) -> Nearest: ...
    @property
    def lexical(self) -> Words: ...
    @property
    def graph(self) -> Graph: ...


# ----------------------------------------------------------------------------- which documents


@dataclass(frozen=True, slots=True)
class Choice:
    """The scope of a question, and its chunks where they are few and known."""

    scope: Scope
    few_chunks: tuple[str, ...] | None = None


async def choose(documents: DocStatusStore, wanted: DocumentFilter | None) -> Choice:
    """All enabled documents, or those of them that a filter chooses.

    Without a filter one read of an index that is usually empty. Ids and paths are looked up; with any other filter
    the rows of all documents that have its tags are read: about 20 ms per thousand, and 4 ms per thousand that lack
    them.
    """
    if wanted is None or wanted == DocumentFilter():
        return Choice(scope_of(await documents.find(Filter(is_enabled=False)), is_rest=True))
    candidates = await _candidates(documents, wanted)
    if len(candidates) > MATCHED_IN_PLACE:
        return await asyncio.to_thread(_choice, candidates, wanted)
    return _choice(candidates, wanted)


async def _candidates(documents: DocStatusStore, wanted: DocumentFilter) -> list[Document]:
    if wanted.document_ids is not None:
        return list((await documents.get(wanted.document_ids)).values())
    if wanted.file_paths is not None:
        found = await asyncio.gather(*(documents.find(Filter(file_path=path)) for path in wanted.file_paths))
        return [document for of_path in found for document in of_path]
    return await documents.find(Filter(is_enabled=True, tags=wanted.tags_all, any_tags=wanted.tags_any))


def _choice(candidates: Iterable[Document], wanted: DocumentFilter) -> Choice:
    chosen = [d for d in candidates if d.is_enabled and matches(d, wanted)]
    few: list[str] = []
    for document in chosen:
        few += chunk_ids_of(document)
        if len(few) > FEW_CHUNKS:
            return Choice(scope_of(chosen, is_rest=False))
    return Choice(scope_of(chosen, is_rest=False), tuple(few))


# ----------------------------------------------------------------------------- what is seen of them


@dataclass(frozen=True, slots=True)
class ScopedKnowledge:
    """For one question: it remembers what it loaded."""

    chunks: ChunkRows
    windows: Places
    entities: Nearest
    facts: Nearest
    lexical: Words
    graph: Graph


def within(stores: Stores, choice: Choice) -> Knowledge:
    """The view of a scope; `stores` themselves where that is everything."""
    if choice.scope.is_everything:
        return stores
    scope, few = choice.scope, choice.few_chunks
    places = _SomePlaces(stores.windows, scope) if few is None else _FewPlaces(stores, few)
    evidence = _SomeEvidence(stores.graph, scope) if few is None else _FewEvidence(stores.graph, few)
    graph = _ScopedGraph(stores.graph, evidence, Retold(stores), scope)
    return ScopedKnowledge(
        chunks=_Chunks(stores.chunks, scope),
        windows=places,
        entities=_Subjects(stores.entities, graph.shown),
        facts=_Subjects(stores.facts, graph.shown),
        lexical=_Words(stores.lexical, scope),
        graph=graph,
    )


async def _grown(
    search: Callable[[int], Awaitable[list[Hit]]],
    kept: Callable[[list[Hit]], Awaitable[list[Hit]]],
    top_k: int,
    most: int | None,
) -> list[Hit]:
    """The best of what may be kept: looks further down until there are enough, nothing is left, or `most` were seen."""
    if top_k < 1:
        return []
    depth = FIRST_SHARE * top_k
    while True:
        hits = await search(depth)
        found = await kept(hits)
        if len(found) >= top_k or len(hits) < depth or (most is not None and depth >= most):
            return found[:top_k]
        depth *= GROWTH


class _Chunks:
    def __init__(self, inner: ChunkRows, scope: Scope) -> None:
        self._inner = inner
        self._scope = scope

    async def get(self, keys: Collection[str]) -> dict[str, Row]:
        return await self._inner.get([key for key in keys if self._scope.has_chunk(key)])


class _Words:
    def __init__(self, inner: Words, scope: Scope) -> None:
        self._inner = inner
        self._scope = scope

    async def search(self, terms: Sequence[str], top_k: int) -> list[LexicalHit]:
        async def search(depth: int) -> list[LexicalHit]:
            return await self._inner.search(terms, depth)

        async def kept(hits: list[LexicalHit]) -> list[LexicalHit]:
            return [hit for hit in hits if self._scope.has_chunk(hit.ref)]

        return await _grown(search, kept, top_k, MOST_HITS)


class _SomePlaces:
    """The windows of so many chunks that searching all windows is the shorter way."""

    def __init__(self, inner: Places, scope: Scope) -> None:
        self._inner = inner
        self._scope = scope

    async def search(self, query: Vector, top_k: int, threshold: float = -1.0) -> list[VectorHit]:
        async def search(depth: int) -> list[VectorHit]:
            return await self._inner.search(query, depth, threshold)

        async def kept(hits: list[VectorHit]) -> list[VectorHit]:
            return [hit for hit in hits if self._scope.has_chunk(hit.ref)]

        return await _grown(search, kept, top_k, most=None)

    async def similarities(self, windows: Collection[str], queries: NDArray[np.float32]) -> dict[str, float]:
        allowed = [window for window in windows if self._scope.has_chunk(ids.window_place(window)[0])]
        return await self._inner.similarities(allowed, queries)


class _FewPlaces:
    """The windows of a few chunks, loaded once and scored one by one."""

    def __init__(self, stores: Stores, chunk_ids: Sequence[str]) -> None:
        self._stores = stores
        self._chunk_ids = chunk_ids
        self._items: dict[str, VectorItem] | None = None
        self._loading = asyncio.Lock()

    async def search(self, query: Vector, top_k: int, threshold: float = -1.0) -> list[VectorHit]:
        items = await self._loaded()
        return await asyncio.to_thread(_best, items, query, top_k, threshold) if items else []

    async def similarities(self, windows: Collection[str], queries: NDArray[np.float32]) -> dict[str, float]:
        items = await self._loaded()
        return {window: nearness(items[window].vector, queries) for window in windows if window in items}

    async def _loaded(self) -> dict[str, VectorItem]:
        async with self._loading:
            if self._items is None:
                rows = await self._stores.chunks.get(self._chunk_ids)
                windows = [ids.window_id(i, n) for i, row in rows.items() for n in range(len(row["windows"]))]
                self._items = await self._stores.windows.get(windows)
        return self._items


def _best(items: dict[str, VectorItem], query: Vector, top_k: int, threshold: float) -> list[VectorHit]:
    matrix: NDArray[np.float32] = np.stack([item.vector for item in items.values()])
    if matrix.shape[1] != len(query):
        raise DimensionMismatch(f"vectors of {matrix.shape[1]} dimensions are stored, not of {len(query)}")
    # summed row by row, so that equal vectors score equal wherever they stand
    scores = (matrix * query).sum(axis=1).clip(-1.0, 1.0).tolist()
    hits = [VectorHit(i, item.ref, score) for (i, item), score in zip(items.items(), scores, strict=True)]
    return sorted((h for h in hits if h.score >= threshold), key=lambda h: (-h.score, h.id))[:top_k]


class _Evidence(Protocol):
    """Which chunks of the scope speak of what."""

    async def chunks_of(self, subjects: Collection[Subject]) -> dict[Subject, list[str]]:
        """In id order; without those that no chunk of the scope speaks of."""
        ...

    async def strongest(self, keys: Collection[str], limit: int) -> dict[str, list[Relation]]:
        """For each key at most `limit` relations that the scope speaks of, as they are stored."""
        ...


class _SomeEvidence:
    def __init__(self, graph: Graph, scope: Scope) -> None:
        self._graph = graph
        self._scope = scope

    async def chunks_of(self, subjects: Collection[Subject]) -> dict[Subject, list[str]]:
        told_in = await self._graph.chunks_of(subjects)
        allowed = ((s, [i for i in of_subject if self._scope.has_chunk(i)]) for s, of_subject in told_in.items())
        return {subject: chunk_ids for subject, chunk_ids in allowed if chunk_ids}

    async def strongest(self, keys: Collection[str], limit: int) -> dict[str, list[Relation]]:
        """Looks at up to `MOST_HITS` relations of a key."""
        found: dict[str, list[Relation]] = {}
        due, depth = list(keys), FIRST_SHARE * limit
        while due:
            around = await self._graph.expand(due, depth)
            told = await self._spoken_of([r for e in around.values() for r in e.relations])
            found |= {key: [r for r in e.relations if r.pair in told][:limit] for key, e in around.items()}
            due = [k for k, e in around.items() if len(found[k]) < limit and e.degree > depth and depth < MOST_HITS]
            depth *= GROWTH
        return found

    async def _spoken_of(self, relations: Collection[Relation]) -> set[Pair]:
        told_in = await self.chunks_of({ids.subject_of(r.pair) for r in relations})
        return {r.pair for r in relations if _is_shown(r, ids.subject_of(r.pair), told_in, self._scope)}


class _FewEvidence:
    """What a few chunks speak of, loaded once."""

    def __init__(self, graph: Graph, chunk_ids: Sequence[str]) -> None:
        self._graph = graph
        self._chunk_ids = chunk_ids
        self._told: dict[Subject, list[str]] | None = None
        self._loading = asyncio.Lock()

    async def chunks_of(self, subjects: Collection[Subject]) -> dict[Subject, list[str]]:
        told = await self._loaded()
        return {subject: told[subject] for subject in subjects if subject in told}

    async def strongest(self, keys: Collection[str], limit: int) -> dict[str, list[Relation]]:
        pairs = [pair for subject in await self._loaded() if (pair := ids.pair_from(subject))]
        wanted = set(keys)
        stored = await self._graph.relations([pair for pair in pairs if not wanted.isdisjoint(pair)])
        ranked = sorted(stored.values(), key=lambda r: (-r.weight, r.pair))
        return {key: [r for r in ranked if key in r.pair][:limit] for key in wanted}

    async def _loaded(self) -> dict[Subject, list[str]]:
        async with self._loading:
            if self._told is None:
                spoken_of = await self._graph.subjects_of(self._chunk_ids)
                told: dict[Subject, list[str]] = {}
                for chunk_id in sorted(spoken_of):
                    for subject in spoken_of[chunk_id]:
                        told.setdefault(subject, []).append(chunk_id)
                self._told = told
        return self._told


class _Subjects:
    """Entities or relations by similarity, of which the scope speaks."""

    def __init__(self, inner: Nearest, shown: Callable[[set[Subject]], Awaitable[set[Subject]]]) -> None:
        self._inner = inner
        self._shown = shown

    async def search(self, query: Vector, top_k: int, threshold: float = -1.0) -> list[VectorHit]:
        async def search(depth: int) -> list[VectorHit]:
            return await self._inner.search(query, depth, threshold)

        async def kept(hits: list[VectorHit]) -> list[VectorHit]:
            shown = await self._shown({hit.ref for hit in hits})
            return [hit for hit in hits if hit.ref in shown]

        return await _grown(search, kept, top_k, MOST_HITS)


class _ScopedGraph:
    def __init__(self, inner: Graph, evidence: _Evidence, retold: Retold, scope: Scope) -> None:
        self._inner = inner
        self._evidence = evidence
        self._retold = retold
        self._scope = scope

    async def shown(self, subjects: set[Subject]) -> set[Subject]:
        """Those of them that the scope speaks of, or that were made by hand."""
        told_in = await self._evidence.chunks_of(subjects)
        others = {s: ids.pair_from(s) for s in subjects if s not in told_in}
        if not others or not self._scope.is_rest:
            return set(told_in)
        entities, relations = await asyncio.gather(
            self._inner.entities([subject for subject, pair in others.items() if pair is None]),
            self._inner.relations([pair for pair in others.values() if pair]),
        )
        made = {key for key, entity in entities.items() if is_by_hand(entity)}
        return {*told_in, *made, *(ids.subject_of(p) for p, r in relations.items() if is_by_hand(r))}

    async def entities(self, keys: Collection[str]) -> dict[str, Entity]:
        found, told_in = await asyncio.gather(self._inner.entities(keys), self._evidence.chunks_of(keys))
        kept = {k: _without_hand(e, self._scope) for k, e in found.items() if _is_shown(e, k, told_in, self._scope)}
        shown = {key: entity_within(entity, self._scope) for key, entity in kept.items()}
        cut = {key: told_in[key] for key, e in kept.items() if not e.is_curated and is_cut(e, shown[key])}
        return shown | await self._retold.entities(cut)

    async def names(self, keys: Collection[str]) -> dict[str, str]:
        """As the scope spells them."""
        return {key: entity.name for key, entity in (await self.entities(keys)).items()}

    async def relations(self, pairs: Collection[Pair]) -> dict[Pair, Relation]:
        subjects = [ids.subject_of(pair) for pair in pairs]
        found, told_in = await asyncio.gather(self._inner.relations(pairs), self._evidence.chunks_of(subjects))
        shown = [r for p, r in found.items() if _is_shown(r, ids.subject_of(p), told_in, self._scope)]
        return await self._cut(shown, told_in)

    async def expand(self, keys: Collection[str], limit: int, among: int | None = None) -> dict[str, Expansion]:
        """The degree is the number of the relations returned."""
        strongest = await self._evidence.strongest(keys, limit)
        relations = [r for of_key in strongest.values() for r in of_key]
        shown = await self._cut(relations, await self._evidence.chunks_of({ids.subject_of(r.pair) for r in relations}))
        return {key: Expansion(len(of_key), tuple(shown[r.pair] for r in of_key)) for key, of_key in strongest.items()}

    async def _cut(
        self, relations: Iterable[Relation], told_in: Mapping[Subject, Sequence[str]]
    ) -> dict[Pair, Relation]:
        """The relations as the scope tells them; each is as strong as all documents make it."""
        kept = {r.pair: _without_hand(r, self._scope) for r in relations}
        shown = {pair: relation_within(relation, self._scope) for pair, relation in kept.items()}
        cut = {
            (s := ids.subject_of(p)): told_in[s] for p, r in kept.items() if not r.is_curated and is_cut(r, shown[p])
        }
        retold = await self._retold.relations(cut)
        return shown | {pair: replace(r, weight=shown[pair].weight) for pair, r in retold.items()}

    async def chunks_of(self, subjects: Collection[Subject], limit: int | None = None) -> dict[Subject, list[str]]:
        told_in = await self._evidence.chunks_of(subjects)
        return {subject: chunk_ids[:limit] for subject, chunk_ids in told_in.items()}

    async def subjects_of(self, chunk_ids: Collection[str]) -> dict[str, list[Subject]]:
        return await self._inner.subjects_of([i for i in chunk_ids if self._scope.has_chunk(i)])


def _without_hand(told: Item, scope: Scope) -> Item:
    """What chunks alone say, where people's additions are not part of the scope."""
    return told if scope.is_rest or told.folded is None else told.folded


def _is_shown(told: Entity | Relation, subject: Subject, told_in: Collection[Subject], scope: Scope) -> bool:
    return subject in told_in or (scope.is_rest and is_by_hand(told))
