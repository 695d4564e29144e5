"""Personalised PageRank over chunks and entities, on the small part of the graph that a question reaches.

Chunks are nodes beside entities (HippoRAG 2, arXiv 2502.14802). Edges run both ways: a chunk mentions an entity, a
chunk relates two entities, and two names are nearly the same or one within the other: edges that hold for one question,
so that there is nothing to take back. What a node passes on is shared among its edges.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightrag_server.core.ids import PAIR_SEPARATOR
from lightrag_server.core.records import Subject
from lightrag_server.core.spans import spans_of
from lightrag_server.core.weights import Weights

ROUNDS = 10
"""At a damping of one half, what is still under way after ten rounds is a thousandth."""


Nodes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Mass:
    """What has gathered at each node in the end."""

    chunks: dict[str, float]
    entities: dict[str, float]


class Neighbourhood:
    """Grows while the walk looks further. A thousand subjects take about a third of a millisecond, a spread over them
    as long."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._chunks: dict[str, int] = {}
        self._entities: dict[str, int] = {}
        self._mentions: tuple[list[int], list[int]] = ([], [])
        """A chunk and an entity each."""
        self._ties: list[tuple[int, int]] = []
        """Two entities each, with a weight."""
        self._tie_weights: list[float] = []

    def add(self, told: Mapping[str, Collection[Subject]]) -> None:
        """Chunks that are not there yet, and what each speaks of."""
        entities, (mentioning, mentioned) = self._entities, self._mentions
        for chunk_id, subjects in told.items():
            chunk = self._chunks.setdefault(chunk_id, len(self._chunks))
            own = [entities.setdefault(s, len(entities)) for s in subjects if PAIR_SEPARATOR not in s]
            mentioned += own
            mentioning += [chunk] * len(own)
            pairs = [s.split(PAIR_SEPARATOR) for s in subjects if PAIR_SEPARATOR in s]
            ends = [(entities.get(one), entities.get(other)) for one, other in pairs]
            self._tie([(a, b) for a, b in ends if a is not None and b is not None], self._weights.relations)

    def join_names(self, keys: Collection[str], alike: Mapping[str, Collection[str]]) -> None:
        """Tie entities to those whose names are within theirs, and to those of nearly the same name, as far as both are
        there. Once for each key."""
        for key in keys:
            for span, share in spans_of(key):
                self._tie_names(key, [span], self._weights.names_within * share)
            self._tie_names(key, alike.get(key, ()), self._weights.names_alike)

    def _tie_names(self, key: str, others: Collection[str], weight: float) -> None:
        entities = self._entities
        if key in entities:
            self._tie([(entities[key], entities[other]) for other in others if other in entities], weight)

    def _tie(self, ends: Sequence[tuple[int, int]], weight: float) -> None:
        self._ties += ends
        self._tie_weights += [weight] * len(ends)

    def spread(self, entities: Mapping[str, float], chunks: Mapping[str, float]) -> Mass:
        """Where the mass of some entities and chunks goes; what is not there is passed over."""
        first_chunk = len(self._entities)
        start = np.zeros(first_chunk + len(self._chunks))
        _lay(start[:first_chunk], self._entities, entities)
        _lay(start[first_chunk:], self._chunks, chunks)
        gathered = _pagerank(*self._edges(first_chunk), start, self._weights.damping).tolist()
        return Mass(
            dict(zip(self._chunks, gathered[first_chunk:], strict=True)),
            dict(zip(self._entities, gathered[:first_chunk], strict=True)),
        )

    def _edges(self, first_chunk: int) -> tuple[Nodes, Nodes, NDArray[np.float64]]:
        """Both ends of each edge, and its weight. Chunks are numbered behind the entities."""
        chunks, entities = (np.array(nodes, np.int64) for nodes in self._mentions)
        ones, others = np.array(self._ties, np.int64).reshape(-1, 2).T
        mentions = np.full(len(chunks), self._weights.mentions)
        return (
            np.concatenate([chunks + first_chunk, ones]),
            np.concatenate([entities, others]),
            np.concatenate([mentions, np.array(self._tie_weights)]),
        )


def _lay(start: NDArray[np.float64], numbers: Mapping[str, int], given: Mapping[str, float]) -> None:
    for name, mass in given.items():
        if name in numbers:
            start[numbers[name]] = mass


def _pagerank(
    ones: Nodes, others: Nodes, edge_weights: NDArray[np.float64], start: NDArray[np.float64], damping: float
) -> NDArray[np.float64]:
    total = start.sum()
    if not total or not len(edge_weights):
        return start
    start = start / total
    sources, targets = np.concatenate([ones, others]), np.concatenate([others, ones])
    weights = np.concatenate([edge_weights, edge_weights])
    given = np.bincount(sources, weights, minlength=len(start))
    shares = weights / np.maximum(given, 1e-12)[sources]
    mass = start
    for _ in range(ROUNDS):
        passed = np.bincount(targets, shares * mass[sources], minlength=len(start))
        # what reaches a node without edges returns to the start
        mass = damping * passed + (1 - damping * passed.sum()) * start
    return mass
