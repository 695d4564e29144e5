"""Evidence for a question: searches in one wave, the graph in a second, passages in a third; no LLM call.

A place is a window. Dense similarity ranks all places of all modes; lexical and graph evidence can lift a place but
what dense search found stays in the running, so no mode rests on less than plain vector search.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lightrag_server.core import ids, lexical
from lightrag_server.core.context import Evidence
from lightrag_server.core.encoding import chunk_from_row
from lightrag_server.core.folding import with_names
from lightrag_server.core.fusion import Leg, fuse, ranked, with_floor
from lightrag_server.core.keywords import Keywords
from lightrag_server.core.passages import bridge
from lightrag_server.core.questions import has_pronoun, parts_of, split, with_subject
from lightrag_server.core.records import Chunk, Entity, Mode, Pair, Passage, Question, Relation, Subject
from lightrag_server.core.times import asks_when, names_day, points_at_day
from lightrag_server.engine.scope import Choice, Knowledge, Nearest, within
from lightrag_server.engine.stores import Stores
from lightrag_server.ports.embedding import Embedder
from lightrag_server.ports.lexical import LexicalHit
from lightrag_server.ports.vectors import Vector, VectorHit

DENSE_WEIGHT = 1.0
LEXICAL_WEIGHT = 0.4
GRAPH_WEIGHT = 0.4
CANDIDATES_PER_PLACE = 2
LEAST_EDGES_PER_ENTITY = 2
CHUNKS_PER_SUBJECT = 30
VOTING_SUBJECTS = 40
GRAPH_CHUNKS = 20
EXACT_NAME_SCORE = 1.0
BRIDGE_PASSAGES = 8
ANCHORED_PASSAGES = 12
CHUNKS_BACK = 4

USES_ENTITIES: frozenset[Mode] = frozenset({"local", "hybrid", "mix"})
USES_FACTS: frozenset[Mode] = frozenset({"global", "hybrid", "mix"})


@dataclass(frozen=True, slots=True)
class Hits:
    """The first wave: what each search found, best first. `asked` holds one vector a row."""

    asked: NDArray[np.float32]
    windows: list[VectorHit]
    lexical: list[LexicalHit]
    entities: list[VectorHit]
    facts: list[VectorHit]
    named: dict[str, Entity]


@dataclass(frozen=True, slots=True)
class GraphEvidence:
    """The second wave. `subjects` are the scores by which entities and relations lift the chunks that speak of them."""

    entities: list[Entity]
    relations: list[Relation]
    subjects: dict[Subject, float]


@dataclass(frozen=True, slots=True)
class Found:
    evidence: Evidence
    counts: dict[str, int]


class Retrieval:
    def __init__(self, stores: Stores, embedder: Embedder, threshold: float, seen: Knowledge | None = None) -> None:
        """`seen` is the part of the stores that serves; all of it where that is not said."""
        self._stores = stores
        self._knowledge = seen or stores
        self._embedder = embedder
        self._threshold = threshold

    def within(self, choice: Choice) -> Retrieval:
        """The same for one question, with evidence from the chosen documents only."""
        return Retrieval(self._stores, self._embedder, self._threshold, within(self._stores, choice))

    async def find(self, question: Question, keywords: Keywords) -> Found:
        """Ranked evidence before the budget. Three waves of storage calls and one embedding call."""
        hits = await self._search(question, keywords)
        graph = await self._walk(question, hits)
        passages = await self._passages(question, hits, graph)
        if follow_up := _follow_up(question.text, passages):
            passages = await self._passages(question, await self._followed(question, hits, follow_up), graph)
        if asks_when(question.text):
            passages = await self._anchored(passages)
        counts = {
            "total_entities_found": len(graph.entities),
            "total_relations_found": len(graph.relations),
            "total_chunks_found": len(passages),
        }
        return Found(Evidence(graph.entities, graph.relations, passages), counts)

    # -- first wave

    async def _search(self, question: Question, keywords: Keywords) -> Hits:
        """The question whole and, where it asks several things, each of them; a place counts by its best match."""
        parts = parts_of(question.text)
        asked = [question.text, *(parts if len(parts) > 1 else [])]
        given = [" ".join(k) for k in (question.low_keywords, question.high_keywords) if k]
        vectors = await self._embedder.embed([*asked, *given], "query")
        whole = [vectors[n] for n in range(len(asked))]
        low = [vectors[len(asked)]] if question.low_keywords else whole
        high = [vectors[-1]] if question.high_keywords else whole
        places = question.chunk_top_k * CANDIDATES_PER_PLACE
        names = [key for name in keywords.low if (key := ids.entity_key(name))]
        wants_entities, wants_facts = question.mode in USES_ENTITIES, question.mode in USES_FACTS
        windows, words, entities, facts, named = await asyncio.gather(
            self._nearest(self._knowledge.windows, whole, places, -1.0),
            self._knowledge.lexical.search(lexical.query_terms(" ".join(asked)), places),
            self._nearest(self._knowledge.entities, low, question.top_k if wants_entities else 0, self._threshold),
            self._nearest(self._knowledge.facts, high, question.top_k if wants_facts else 0, self._threshold),
            self._knowledge.graph.entities(names if wants_entities else []),
        )
        return Hits(np.stack(whole), windows, words, entities, facts, named)

    async def _followed(self, question: Question, hits: Hits, follow_up: str) -> Hits:
        """The hits with those of a question that could only be asked when the first was answered."""
        [vector] = await self._embedder.embed([follow_up], "query")
        places = question.chunk_top_k * CANDIDATES_PER_PLACE
        windows, words = await asyncio.gather(
            self._knowledge.windows.search(vector, places),
            self._knowledge.lexical.search(lexical.query_terms(f"{question.text} {follow_up}"), places),
        )
        asked = np.vstack([hits.asked, vector])
        return replace(hits, asked=asked, windows=_best_of(hits.windows, windows), lexical=words)

    @staticmethod
    async def _nearest(store: Nearest, asked: Sequence[Vector], top_k: int, threshold: float) -> list[VectorHit]:
        if not top_k:
            return []
        found = await asyncio.gather(*(store.search(vector, top_k, threshold) for vector in asked))
        return _best_of(*found)[:top_k]

    # -- second wave

    async def _walk(self, question: Question, hits: Hits) -> GraphEvidence:
        """From the entities found to their relations, and from the relations found to their entities."""
        scores: dict[Subject, float] = dict.fromkeys(hits.named, EXACT_NAME_SCORE)
        for hit in (*hits.entities, *hits.facts):
            scores[hit.ref] = max(scores.get(hit.ref, -1.0), hit.score)
        keys = ranked({s: v for s, v in scores.items() if ids.pair_from(s) is None}, question.top_k)
        pairs = [p for s in ranked({h.ref: scores[h.ref] for h in hits.facts}) if (p := ids.pair_from(s))]
        edges_each = max(LEAST_EDGES_PER_ENTITY, 2 * question.top_k // max(len(keys), 1))
        expansions, told = await asyncio.gather(
            self._knowledge.graph.expand(keys, edges_each), self._knowledge.graph.relations(pairs[: question.top_k])
        )
        around = _by_strength(r for e in expansions.values() for r in e.relations)
        relations = _merged([told[p] for p in pairs if p in told], around)[: question.top_k]
        ends = dict.fromkeys(k for p in pairs for k in p)
        entities = await self._knowledge.graph.entities([*keys, *ends, *(k for r in relations for k in r.pair)])
        shown = [entities[k] for k in dict.fromkeys([*keys, *ends]) if k in entities]
        return GraphEvidence(shown, [with_names(r, entities) for r in relations], scores)

    # -- third wave

    async def _passages(self, question: Question, hits: Hits, graph: GraphEvidence) -> list[Passage]:
        votes = await self._votes(graph.subjects)
        lifted = ranked(votes, GRAPH_CHUNKS)
        chunk_ids = dict.fromkeys([*(h.ref for h in hits.windows), *(h.ref for h in hits.lexical), *lifted])
        rows = await self._knowledge.chunks.get(list(chunk_ids))
        chunks = {i: chunk_from_row(row) for i, row in rows.items()}
        dense = await self._dense(hits, [chunks[i] for i in lifted if i in chunks])
        legs = [
            Leg(dense, DENSE_WEIGHT),
            Leg({h.id: h.score for h in hits.lexical if h.ref in chunks}, LEXICAL_WEIGHT),
            Leg(_votes_of_windows(votes, chunks, dense), GRAPH_WEIGHT),
        ]
        fused = fuse(legs)
        known = [place for place in ranked(fused) if ids.window_place(place)[0] in chunks]
        floor = [place for place in ranked(dense) if ids.window_place(place)[0] in chunks]
        return _passages_of(with_floor(known, floor, question.chunk_top_k), fused, chunks)

    async def _anchored(self, passages: list[Passage]) -> list[Passage]:
        """Behind a passage that says "this very night", the place before it that says which night it is."""
        pointing = [p for p in passages[:ANCHORED_PASSAGES] if points_at_day(p.text)]
        before = {p.chunk_id: _chunks_before(p) for p in pointing}
        rows = await self._knowledge.chunks.get([i for ids_of in before.values() for i in ids_of])
        chunks = {i: chunk_from_row(row) for i, row in rows.items()}
        found = list(passages)
        for passage in pointing:
            told_in = [chunks[i] for i in before[passage.chunk_id] if i in chunks]
            anchor = _last_named_day(told_in, passage)
            if anchor and not any(p.chunk_id == anchor.chunk_id and p.start <= anchor.start < p.end for p in found):
                found.append(anchor)
        return sorted(found, key=lambda p: (-p.score, p.chunk_id, p.start))

    async def _votes(self, subjects: Mapping[Subject, float]) -> dict[str, float]:
        """A chunk's share of the scores of what it speaks of; a subject told everywhere says little of any place."""
        told_in = await self._knowledge.graph.chunks_of(ranked(subjects, VOTING_SUBJECTS), CHUNKS_PER_SUBJECT)
        votes: dict[str, float] = {}
        for subject, chunk_ids in told_in.items():
            share = max(subjects[subject], 0.0) / max(len(chunk_ids), 1)
            for chunk_id in chunk_ids:
                votes[chunk_id] = votes.get(chunk_id, 0.0) + share
        return votes

    async def _dense(self, hits: Hits, lifted: Sequence[Chunk]) -> dict[str, float]:
        """Similarity of every place in the running, also of those that other evidence brought in."""
        scores = {h.id: h.score for h in hits.windows}
        brought = dict.fromkeys([*(h.id for h in hits.lexical), *(w for c in lifted for w in _window_ids(c))])
        others = [w for w in brought if w not in scores]
        stored = await self._knowledge.windows.get(others)
        if stored:
            similarity = np.stack([item.vector for item in stored.values()]) @ hits.asked.T
            scores |= dict(zip(stored, similarity.max(axis=1).tolist(), strict=True))
        return scores


def _follow_up(question: str, passages: Sequence[Passage]) -> str | None:
    """The last part of a question, if its pronoun stands for what an earlier part asks, about the name found."""
    parts = split(question)
    if len(parts) < 2 or not has_pronoun(parts[-1]):
        return None
    name = bridge(parts[0], passages[:BRIDGE_PASSAGES])
    return with_subject(parts[-1], name) if name else None


def _chunks_before(passage: Passage) -> list[str]:
    """Ids of the passage's own chunk and the few before it, nearest first."""
    index = int(passage.chunk_id.rsplit("-", 1)[1])
    return [ids.chunk_id(passage.document_id, n) for n in range(index, max(-1, index - CHUNKS_BACK), -1)]


def _last_named_day(chunks: Sequence[Chunk], passage: Passage) -> Passage | None:
    """The nearest window before the passage that names a day, as a passage that ranks just behind it."""
    for chunk in chunks:
        for number in reversed(range(len(chunk.windows))):
            window = chunk.windows[number]
            if window.end <= passage.start and names_day(chunk.window_text(window)):
                return _passage(chunk, [number], passage.score)
    return None


def _best_of(*found: Sequence[VectorHit]) -> list[VectorHit]:
    best: dict[str, VectorHit] = {}
    for hit in (hit for hits in found for hit in hits):
        if hit.id not in best or hit.score > best[hit.id].score:
            best[hit.id] = hit
    return sorted(best.values(), key=lambda h: (-h.score, h.id))


def _window_ids(chunk: Chunk) -> list[str]:
    return [ids.window_id(chunk.id, n) for n in range(len(chunk.windows))]


def _votes_of_windows(
    votes: Mapping[str, float], chunks: Mapping[str, Chunk], places: Container[str]
) -> dict[str, float]:
    """The votes of chunks, given to those of their windows that are in the running."""
    voted = ((votes[i], chunk) for i, chunk in chunks.items() if i in votes)
    return {window: vote for vote, chunk in voted for window in _window_ids(chunk) if window in places}


def _by_strength(relations: Iterable[Relation]) -> list[Relation]:
    distinct = {r.pair: r for r in relations}
    return sorted(distinct.values(), key=lambda r: (-r.weight, r.pair))


def _merged(*groups: Sequence[Relation]) -> list[Relation]:
    merged: dict[Pair, Relation] = {}
    for group in groups:
        for relation in group:
            merged.setdefault(relation.pair, relation)
    return list(merged.values())


def _passages_of(places: Sequence[str], scores: Mapping[str, float], chunks: Mapping[str, Chunk]) -> list[Passage]:
    """Places as passages, best first. Chosen windows of one chunk that touch become one passage."""
    chosen: dict[str, list[int]] = {}
    for chunk_id, number in map(ids.window_place, places):
        if number < len(chunks[chunk_id].windows):
            chosen.setdefault(chunk_id, []).append(number)
    passages: list[Passage] = []
    for chunk_id, numbers in chosen.items():
        for run in _runs(sorted(numbers)):
            score = max(scores[ids.window_id(chunk_id, n)] for n in run)
            passages.append(_passage(chunks[chunk_id], run, score))
    return sorted(passages, key=lambda p: (-p.score, p.chunk_id, p.start))


def _runs(numbers: Sequence[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def _passage(chunk: Chunk, run: Sequence[int], score: float) -> Passage:
    windows = [chunk.windows[n] for n in run]
    start, end = windows[0].start, windows[-1].end
    return Passage(
        chunk_id=chunk.id,
        document_id=chunk.document_id,
        file_path=chunk.file_path,
        text=chunk.text[start - chunk.start : end - chunk.start],
        start=start,
        end=end,
        tokens=sum(w.tokens for w in windows),
        score=score,
        headings=chunk.headings,
        first_page=windows[0].page,
        last_page=windows[-1].page,
    )
