"""Personalised PageRank over chunks and entities, on the small part of the graph that a question reaches.

Chunks are nodes beside entities (HippoRAG 2, arXiv 2502.14802). Edges run both ways: a chunk mentions an entity, a
chunk relates two entities, and two names are nearly the same or one within the other: edges that hold for one question,
so that there is nothing to take back. What a node passes on is shared among its edges.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightrag_server.core.ids import PAIR_SEPARATOR
from lightrag_server.core.records import Subject
from lightrag_server.core.spans import spans_of
from lightrag_server.core.weights import Weights

ROUNDS = 10
"""At a damping of one half, what is still under way after ten rounds is a thousandth."""


@dataclass(frozen=True, slots=True)
class Mass:
    """What has gathered at each node in the end."""

    chunks: dict[str, float]
    entities: dict[str, float]


class Neighbourhood:
    """Grows while the walk looks further. A thousand subjects take about a millisecond, a spread over them another."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._chunks: dict[str, int] = {}
        self._entities: dict[str, int] = {}
        self._nodes = 0
        self._ends: list[int] = []
        self._edge_weights: list[float] = []

    def add(self, told: Mapping[str, Collection[Subject]]) -> None:
        """Chunks that are not there yet, and what each speaks of."""
        for chunk_id, subjects in told.items():
            chunk = self._number(self._chunks, chunk_id)
            for subject in subjects:
                if PAIR_SEPARATOR not in subject:
                    self._join(chunk, self._number(self._entities, subject), self._weights.mentions)
            for subject in subjects:
                a, separator, b = subject.partition(PAIR_SEPARATOR)
                if separator:
                    self._join_entities(a, b, self._weights.relations)

    def join_names(self, keys: Collection[str], alike: Mapping[str, Collection[str]]) -> None:
        """Tie entities to those whose names are within theirs, and to those of nearly the same name, as far as both are
        there. Once for each key."""
        for key in keys:
            for span, share in spans_of(key):
                self._join_entities(key, span, self._weights.names_within * share)
            for other in alike.get(key, ()):
                self._join_entities(key, other, self._weights.names_alike)

    def _join_entities(self, one: str, other: str, weight: float) -> None:
        if one in self._entities and other in self._entities:
            self._join(self._entities[one], self._entities[other], weight)

    def spread(self, entities: Mapping[str, float], chunks: Mapping[str, float]) -> Mass:
        """Where the mass of some entities and chunks goes; what is not there is passed over."""
        start = np.zeros(self._nodes)
        for numbers, given in ((self._entities, entities), (self._chunks, chunks)):
            for name, mass in given.items():
                if name in numbers:
                    start[numbers[name]] = mass
        gathered = _pagerank(self._ends, self._edge_weights, start, self._weights.damping).tolist()
        return Mass(
            {chunk_id: gathered[n] for chunk_id, n in self._chunks.items()},
            {key: gathered[n] for key, n in self._entities.items()},
        )

    def _number(self, numbers: dict[str, int], name: str) -> int:
        if name not in numbers:
            numbers[name] = self._nodes
            self._nodes += 1
        return numbers[name]

    def _join(self, one: int, other: int, weight: float) -> None:
        self._ends += (one, other)
        self._edge_weights.append(weight)


def _pagerank(
    ends: Collection[int], edge_weights: Collection[float], start: NDArray[np.float64], damping: float
) -> NDArray[np.float64]:
    total = start.sum()
    if not total or not edge_weights:
        return start
    start = start / total
    pairs = np.array(ends, np.int64).reshape(-1, 2)
    sources, targets = np.concatenate([pairs, pairs[:, ::-1]]).T
    weights = np.tile(np.array(edge_weights), 2)
    given = np.bincount(sources, weights, minlength=len(start))
    shares = weights / np.maximum(given, 1e-12)[sources]
    mass = start
    for _ in range(ROUNDS):
        passed = np.bincount(targets, shares * mass[sources], minlength=len(start))
        # what reaches a node without edges returns to the start
        mass = damping * passed + (1 - damping * passed.sum()) * start
    return mass
