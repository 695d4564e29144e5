"""The first wave of a question: one embedding call, then all searches side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lightrag_server.core import ids, lexical
from lightrag_server.core.fusion import closeness
from lightrag_server.core.keywords import Keywords
from lightrag_server.core.metrics import RETRIEVAL_SECONDS
from lightrag_server.core.questions import parts_of
from lightrag_server.core.records import Mode, Question
from lightrag_server.core.spans import longest, unspaced_spans
from lightrag_server.engine.scope import Knowledge, Nearest
from lightrag_server.ports.embedding import Embedder
from lightrag_server.ports.lexical import LexicalHit
from lightrag_server.ports.telemetry import Telemetry
from lightrag_server.ports.vectors import Vector, VectorHit

DENSE_HITS = 60
LEXICAL_HITS = 40
HITS_PER_PLACE = 2
"""Hits beyond those that a question shows: other evidence may lift them."""
FACT_HITS = 50
MAX_NAMES = 6
LEAST_CERTAINTY = 0.5
"""Of a name that resembles an entity."""
CERTAIN_SHARE = 1.5
"""A whole question seldom comes closer to a fact than two thirds of the way."""

USES_ENTITIES: frozenset[Mode] = frozenset({"local", "hybrid", "mix"})
USES_FACTS: frozenset[Mode] = frozenset({"global", "hybrid", "mix"})


@dataclass(frozen=True, slots=True)
class Hits:
    """What each search found, best first. `asked` holds one vector a row; `names` are the entities that names in the
    question stand for, with how sure that is, in [0, 1]."""

    asked: NDArray[np.float32]
    windows: list[VectorHit]
    lexical: list[LexicalHit]
    entities: list[VectorHit]
    facts: list[VectorHit]
    names: dict[str, float]
    threshold: float
    """The similarity that unrelated text reaches with this embedder."""

    @property
    def certainty(self) -> float:
        """How sure it is that the graph knows what the question speaks of, in [0, 1]."""
        return max([self.certainty_of(self.entities), self.certainty_of(self.facts), *self.names.values()])

    def certainty_of(self, found: Sequence[VectorHit]) -> float:
        """How sure it is that the best of these is meant by the question, in [0, 1]."""
        return min(CERTAIN_SHARE * closeness(found[0].score, self.threshold), 1.0) if found else 0.0


class Searches:
    def __init__(self, knowledge: Knowledge, embedder: Embedder, threshold: float, telemetry: Telemetry) -> None:
        """`threshold` is the similarity that unrelated text reaches with this embedder."""
        self._knowledge = knowledge
        self._embedder = embedder
        self._threshold = threshold
        self._telemetry = telemetry

    async def find(self, question: Question, keywords: Keywords) -> Hits:
        """The question whole and, where it asks several things, each of them; a place counts by its best match."""
        parts = parts_of(question.text)
        asked = [question.text, *(parts if len(parts) > 1 else [])]
        given = [" ".join(k) for k in (question.low_keywords, question.high_keywords) if k]
        names = [] if question.mode == "naive" else list(keywords.low[:MAX_NAMES])
        known = await self._known(question.text, names)
        names = [name for name in names if ids.entity_key(name) not in known and any(map(str.isalpha, name))]
        with self._telemetry.stage(RETRIEVAL_SECONDS, "embed"):
            vectors = await self._embedder.embed([*asked, *given, *names], "query")
        whole = list(vectors[: len(asked)])
        low = [vectors[len(asked)]] if question.low_keywords else whole
        high = [vectors[len(asked) + len(given) - 1]] if question.high_keywords else whole
        wants_entities, wants_facts = question.mode in USES_ENTITIES, question.mode in USES_FACTS
        knowledge = self._knowledge
        with self._telemetry.stage(RETRIEVAL_SECONDS, "search"):
            (windows, words), entities, facts, named = await asyncio.gather(
                self._places(question, whole, " ".join(asked)),
                _nearest(knowledge.entities, low, question.top_k if wants_entities else 0, self._threshold),
                _nearest(knowledge.facts, high, max(question.top_k, FACT_HITS) if wants_facts else 0, self._threshold),
                self._likely_meant(list(vectors[len(asked) + len(given) :])),
            )
        meant = dict.fromkeys(known, 1.0) | named
        return Hits(np.stack(whole), windows, words, entities, facts, meant, self._threshold)

    async def followed(self, question: Question, hits: Hits, follow_up: str) -> Hits:
        """The hits with those of a question that could only be asked when the first was answered."""
        [vector] = await self._embedder.embed([follow_up], "query")
        windows, words = await self._places(question, [vector], f"{question.text} {follow_up}")
        asked = np.vstack([hits.asked, vector])
        return replace(hits, asked=asked, windows=_best_of(hits.windows, windows), lexical=words)

    async def _places(
        self, question: Question, asked: Sequence[Vector], text: str
    ) -> tuple[list[VectorHit], list[LexicalHit]]:
        """Windows near to any of the vectors, and those with words of the text."""
        wanted = question.chunk_top_k * HITS_PER_PLACE
        return await asyncio.gather(
            _nearest(self._knowledge.windows, asked, max(wanted, DENSE_HITS), -1.0),
            self._knowledge.lexical.search(lexical.query_terms(text), max(wanted, LEXICAL_HITS)),
        )

    async def _known(self, text: str, names: Sequence[str]) -> list[str]:
        """Keys of entities of just these names, and of those that an unspaced text has in it."""
        spans = unspaced_spans(text) if names else []
        known = await self._knowledge.graph.names({ids.entity_key(name) for name in (*names, *spans)})
        within = longest(span for span in spans if ids.entity_key(span) in known)
        return [key for name in (*names, *within) if (key := ids.entity_key(name)) in known]

    async def _likely_meant(self, names: Sequence[Vector]) -> dict[str, float]:
        """Of names that the graph does not know, the entities that they resemble most."""
        nearest = await asyncio.gather(*(self._knowledge.entities.search(v, 1, self._threshold) for v in names))
        found: dict[str, float] = {}
        for hit in (hit for hits in nearest for hit in hits):
            certainty = closeness(hit.score, self._threshold)
            if certainty >= LEAST_CERTAINTY:
                found[hit.ref] = max(found.get(hit.ref, 0.0), certainty)
        return found


async def _nearest(store: Nearest, asked: Sequence[Vector], top_k: int, threshold: float) -> list[VectorHit]:
    if not top_k:
        return []
    found = await asyncio.gather(*(store.search(vector, top_k, threshold) for vector in asked))
    return _best_of(*found)[:top_k]


def _best_of(*found: Sequence[VectorHit]) -> list[VectorHit]:
    best: dict[str, VectorHit] = {}
    for hit in (hit for hits in found for hit in hits):
        if hit.id not in best or hit.score > best[hit.id].score:
            best[hit.id] = hit
    return sorted(best.values(), key=lambda h: (-h.score, h.id))
