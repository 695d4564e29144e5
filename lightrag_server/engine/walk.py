"""From what a question names and states to the chunks that answer it: a walk over a bounded part of the graph.

Two batch calls to any graph store, made twice, whatever its size: the chunks of the seeds and what those and the
similar chunks speak of; then the same for the entities at which the mass has gathered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass

from lightrag_server.core import ids
from lightrag_server.core.fusion import ranked, scaled
from lightrag_server.core.spans import spans_of
from lightrag_server.core.walk import Mass, Neighbourhood
from lightrag_server.core.weights import Weights
from lightrag_server.engine.alike import Alike
from lightrag_server.engine.places import Places
from lightrag_server.engine.scope import Graph
from lightrag_server.engine.searches import Hits
from lightrag_server.ports.vectors import VectorHit

SEED_CHUNKS = 16
"""Of an entity told in more chunks these few are walked to; what is told everywhere says little of any place."""
BRIDGES = 16
BRIDGE_CHUNKS = 8
LEAST_SEED = 0.02
"""Seeds below this share of the largest are dropped: each costs reading its chunks."""
SIMILAR_CHUNKS = 32
LEXICAL_CHUNKS = 16


@dataclass(frozen=True, slots=True)
class Around:
    """The chunks that tell of some entities, of those whose names are within theirs, and of those `alike` in name."""

    chunks: dict[str, list[str]]
    alike: dict[str, list[str]]

    def of(self, keys: Collection[str]) -> set[str]:
        names = {name for key in keys for name in (*_with_spans(key), *self.alike.get(key, ()))}
        return {chunk_id for name in names for chunk_id in self.chunks.get(name, ())}


class Walk:
    def __init__(self, graph: Graph, alike: Alike, places: Places, weights: Weights) -> None:
        self._graph = graph
        self._alike = alike
        self._places = places
        self._weights = weights
        self._near = Neighbourhood(weights)
        self._known: set[str] = set()
        self._reached: set[str] = set()
        """Chunks that were read, and keys whose chunks were asked for."""

    async def ranking(self, hits: Hits) -> list[str]:
        """Chunks by the mass that reaches them, best first; empty where the question names and states nothing known."""
        facts = _facts(hits, self._weights.steepness)
        names = hits.names or _steep(hits, hits.entities, self._weights.steepness)
        around = await self._around([*names, *facts], SEED_CHUNKS)
        seeds = _seeds(names, facts, {key: len(chunk_ids) for key, chunk_ids in around.chunks.items()}, self._weights)
        if not seeds:
            return []
        await self._add([*_chunks_in(hits), *around.of(seeds)], seeds, around)
        mass = self._spread(seeds)
        bridges = [key for key in ranked(mass.entities, BRIDGES) if key not in seeds]
        beyond = await self._around(bridges, BRIDGE_CHUNKS)
        await self._add(beyond.of(bridges), bridges, beyond)
        return ranked(self._spread(seeds).chunks)

    async def _around(self, keys: Collection[str], limit: int) -> Around:
        own = {name for key in keys for name in _with_spans(key)}
        alike, chunks = await asyncio.gather(self._alike.of(keys), self._chunks_of(own, limit))
        chunks |= await self._chunks_of({name for of_key in alike.values() for name in of_key}, limit)
        return Around(chunks, alike)

    async def _chunks_of(self, names: Set[str], limit: int) -> dict[str, list[str]]:
        wanted = names - self._reached
        self._reached |= wanted
        return await self._graph.chunks_of(wanted, limit)

    async def _add(self, chunk_ids: Collection[str], keys: Collection[str], around: Around) -> None:
        fresh = [i for i in dict.fromkeys(chunk_ids) if i not in self._known]
        self._known.update(fresh)
        told, _ = await asyncio.gather(self._graph.subjects_of(fresh), self._places.add(fresh))
        self._near.add(told)
        self._near.join_names(keys, around.alike)

    def _spread(self, seeds: Mapping[str, float]) -> Mass:
        similar = scaled(self._places.best())
        return self._near.spread(seeds, {i: self._weights.similarity * share for i, share in similar.items()})


def _chunks_in(hits: Hits) -> list[str]:
    dense = dict.fromkeys(hit.ref for hit in hits.windows)
    words = dict.fromkeys(hit.ref for hit in hits.lexical)
    return [*list(dense)[:SIMILAR_CHUNKS], *list(words)[:LEXICAL_CHUNKS]]


def _with_spans(key: str) -> list[str]:
    return [key, *(span for span, _ in spans_of(key))]


def _facts(hits: Hits, steepness: float) -> dict[str, float]:
    """Both ends of the best facts, each with the mean weight of its facts."""
    weights: dict[str, list[float]] = {}
    for subject, weight in _steep(hits, hits.facts, steepness).items():
        for key in ids.pair_from(subject) or ():
            weights.setdefault(key, []).append(weight)
    return {key: sum(found) / len(found) for key, found in weights.items()}


def _steep(hits: Hits, found: Sequence[VectorHit], steepness: float) -> dict[str, float]:
    """What a list of hits points at, falling off quickly from how sure its best is: a margin above the list's last, not
    a number of hits, says how many of them are meant."""
    best = {hit.ref: hit.score for hit in reversed(found)}
    certainty = hits.certainty_of(found)
    steep = {ref: share**steepness for ref, share in scaled(best).items()}
    return {ref: certainty * weight for ref, weight in steep.items() if weight >= LEAST_SEED}


def _seeds(
    names: Mapping[str, float], facts: Mapping[str, float], told_in: Mapping[str, int], weights: Weights
) -> dict[str, float]:
    """Mass by entity. What many chunks tell of gets less: it points at none of them."""

    def rare(found: Mapping[str, float]) -> dict[str, float]:
        return {key: value / max(told_in[key], 1) for key, value in found.items() if key in told_in}

    stated = rare(facts)
    share = max(facts.values(), default=0.0) / (max(stated.values(), default=0.0) or 1.0)
    mass = {key: weights.facts * value * share for key, value in stated.items()}
    for key, value in rare(names).items():
        mass[key] = mass.get(key, 0.0) + weights.names * value
    least = LEAST_SEED * max(mass.values(), default=0.0)
    return {key: value for key, value in mass.items() if value > least}
