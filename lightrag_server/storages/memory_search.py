"""Vectors and BM25 by looking at everything."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lightrag_server.errors import DimensionMismatch
from lightrag_server.ports.lexical import LexicalHit, LexicalItem
from lightrag_server.ports.vectors import Vector, VectorHit, VectorItem, nearness
from lightrag_server.storages.memory_space import Analysed, Cell

SATURATION = 1.2
LENGTH_SHARE = 0.75
"""The usual k1 and b of BM25, as in FTS5."""
_LEAST_RARITY = 1e-6


class MemoryVectorStore:
    def __init__(self, cell: Cell, namespace: str) -> None:
        self._cell = cell
        self._namespace = namespace

    @property
    def _items(self) -> dict[str, VectorItem]:
        return self._cell.space.vectors[self._namespace]

    async def search(self, query: Vector, top_k: int, threshold: float = -1.0) -> list[VectorHit]:
        items = list(self._items.values())
        if not items or top_k < 1:
            return []
        _check_dimension(items[0].vector, query)
        scores = np.clip(np.stack([item.vector for item in items]) @ query.astype(np.float32), -1.0, 1.0)
        hits = [VectorHit(item.id, item.ref, float(score)) for item, score in zip(items, scores, strict=True)]
        kept = (hit for hit in hits if hit.score >= threshold)
        return sorted(kept, key=lambda hit: (-hit.score, hit.id))[:top_k]

    async def put(self, items: Sequence[VectorItem]) -> None:
        fresh = {item.id: _frozen(item) for item in items}
        async with self._cell.writing() as space:
            stored = space.vectors[self._namespace]
            for item in items:
                _check_dimension(next(iter((stored or fresh).values())).vector, item.vector)
            stored.update(fresh)

    async def get(self, ids: Collection[str]) -> dict[str, VectorItem]:
        return {i: self._items[i] for i in ids if i in self._items}

    async def similarities(self, ids: Collection[str], queries: NDArray[np.float32]) -> dict[str, float]:
        return {i: nearness(item.vector, queries) for i, item in (await self.get(ids)).items()}

    async def missing(self, ids: Collection[str]) -> set[str]:
        return set(ids) - self._items.keys()

    async def delete(self, ids: Collection[str]) -> None:
        async with self._cell.writing() as space:
            for i in ids:
                space.vectors[self._namespace].pop(i, None)

    async def count(self) -> int:
        return len(self._items)

    async def scan(self) -> AsyncIterator[list[VectorItem]]:
        if items := list(self._items.values()):
            yield items

    async def clear(self) -> None:
        async with self._cell.writing() as space:
            space.vectors.pop(self._namespace, None)


class MemoryLexicalStore:
    def __init__(self, cell: Cell, namespace: str) -> None:
        self._cell = cell
        self._namespace = namespace

    @property
    def _items(self) -> dict[str, Analysed]:
        return self._cell.space.lexical[self._namespace]

    async def search(self, terms: Sequence[str], top_k: int) -> list[LexicalHit]:
        items = self._items
        if not items or top_k < 1:
            return []
        rarity = _rarity(set(terms), items)
        mean_length = sum(item.counts.total() for item in items.values()) / len(items)
        hits = [
            LexicalHit(item.id, item.ref, _score(item.counts, rarity, mean_length))
            for item in items.values()
            if any(term in item.counts for term in rarity)
        ]
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:top_k]

    async def put(self, items: Sequence[LexicalItem]) -> None:
        analysed = {item.id: Analysed(item.id, item.ref, Counter(item.terms)) for item in items}
        async with self._cell.writing() as space:
            space.lexical[self._namespace].update(analysed)

    async def delete(self, ids: Collection[str]) -> None:
        async with self._cell.writing() as space:
            for i in ids:
                space.lexical[self._namespace].pop(i, None)

    async def missing(self, ids: Collection[str]) -> set[str]:
        return set(ids) - self._items.keys()

    async def count(self) -> int:
        return len(self._items)

    async def scan_ids(self) -> AsyncIterator[list[str]]:
        if ids := list(self._items):
            yield ids

    async def clear(self) -> None:
        async with self._cell.writing() as space:
            space.lexical.pop(self._namespace, None)


def _frozen(item: VectorItem) -> VectorItem:
    vector = np.array(item.vector, np.float32)
    vector.setflags(write=False)
    return VectorItem(item.id, item.ref, vector)


def _check_dimension(stored: Vector, given: Vector) -> None:
    if stored.shape != given.shape:
        raise DimensionMismatch(f"vectors of {stored.shape[0]} dimensions are stored, not of {given.shape[0]}")


def _rarity(terms: Collection[str], items: Mapping[str, Analysed]) -> dict[str, float]:
    rarity: dict[str, float] = {}
    for term in terms:
        frequency = sum(term in item.counts for item in items.values())
        if frequency:
            odds = (len(items) - frequency + 0.5) / (frequency + 0.5)
            rarity[term] = max(math.log(odds), _LEAST_RARITY)
    return rarity


def _score(counts: Counter[str], rarity: Mapping[str, float], mean_length: float) -> float:
    dampening = SATURATION * (1 - LENGTH_SHARE + LENGTH_SHARE * counts.total() / mean_length)
    return sum(weight * counts[term] * (SATURATION + 1) / (counts[term] + dampening) for term, weight in rarity.items())
