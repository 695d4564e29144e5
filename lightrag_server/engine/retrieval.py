"""Evidence for a question: searches in one wave, then the graph, then passages; no LLM call.

A place is a window. Where the question names or states something that the graph knows, the walk leads; else dense
search does. Words and similarity speak up where they stand out, and what dense search found stays in the running, so
no mode rests on less than plain vector search.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lightrag_server.core import ids
from lightrag_server.core.context import Evidence
from lightrag_server.core.encoding import chunk_from_row
from lightrag_server.core.folding import with_names
from lightrag_server.core.fusion import (
    added,
    by_order,
    dense_margins,
    interleave,
    less_crowded,
    lexical_margins,
    ranked,
    with_floor,
)
from lightrag_server.core.keywords import Keywords
from lightrag_server.core.metrics import RETRIEVAL_SECONDS
from lightrag_server.core.passages import bridge
from lightrag_server.core.questions import has_pronoun, split, with_subject
from lightrag_server.core.records import Chunk, Entity, Pair, Passage, Question, Relation, Subject
from lightrag_server.core.times import asks_when, names_day, points_at_day
from lightrag_server.core.weights import Weights
from lightrag_server.engine.alike import Alike
from lightrag_server.engine.places import Places
from lightrag_server.engine.reranking import reranked
from lightrag_server.engine.scope import Choice, Knowledge, within
from lightrag_server.engine.searches import USES_ENTITIES, Hits, Searches
from lightrag_server.engine.stores import Stores
from lightrag_server.engine.walk import Walk
from lightrag_server.ports.embedding import Embedder
from lightrag_server.ports.rerank import Reranker
from lightrag_server.ports.telemetry import Telemetry

LEAST_EDGES_PER_ENTITY = 2
EDGES_LOOKED_AT = 200
"""What is told everywhere has thousands, and a question must not take the longer for it."""
BRIDGE_PASSAGES = 8
ANCHORED_PASSAGES = 12
CHUNKS_BACK = 4
TIE = 1e-3
"""Similarity tells places apart that are otherwise equal."""


@dataclass(frozen=True, slots=True)
class Related:
    """What the graph shows beside the passages."""

    entities: list[Entity]
    relations: list[Relation]


@dataclass(frozen=True, slots=True)
class Found:
    evidence: Evidence
    counts: dict[str, int]
    warnings: tuple[str, ...] = ()


class Retrieval:
    def __init__(
        self,
        stores: Stores,
        embedder: Embedder,
        threshold: float,
        seen: Knowledge | None = None,
        reranker: Reranker | None = None,
        weights: Weights | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        """`seen` is the part of the stores that serves; all of it where that is not said."""
        self._stores = stores
        self._knowledge = seen or stores
        self._embedder = embedder
        self._threshold = threshold
        self._reranker = reranker
        self._weights = weights or Weights()
        self._telemetry = telemetry or Telemetry()
        self._searches = Searches(self._knowledge, embedder, threshold, self._telemetry)

    def within(self, choice: Choice) -> Retrieval:
        """The same for one question, with evidence from the chosen documents only."""
        seen = within(self._stores, choice)
        told = self._telemetry
        return Retrieval(self._stores, self._embedder, self._threshold, seen, self._reranker, self._weights, told)

    def reranks(self, question: Question) -> bool:
        return self._reranker is not None and question.rerank

    async def find(self, question: Question, keywords: Keywords) -> Found:
        """Ranked evidence before the budget. One embedding call, and a bounded number of storage calls."""
        hits = await self._searches.find(question, keywords)
        related, passages = await asyncio.gather(self._related(question, hits), self._passages(question, hits))
        if asks_when(question.text):
            passages = await self._anchored(passages)
        warnings: tuple[str, ...] = ()
        if self._reranker and self.reranks(question):
            with self._telemetry.stage(RETRIEVAL_SECONDS, "rerank"):
                passages, warnings = await reranked(question.text, passages, self._reranker, self._weights)
        counts = {
            "total_entities_found": len(related.entities),
            "total_relations_found": len(related.relations),
            "total_chunks_found": len(passages),
        }
        return Found(Evidence(related.entities, related.relations, passages), counts, warnings)

    # -- what the graph shows

    async def _related(self, question: Question, hits: Hits) -> Related:
        """From the entities found to their relations, and from the relations found to their entities."""
        scores: dict[Subject, float] = dict(hits.names) if question.mode in USES_ENTITIES else {}
        for hit in (*hits.entities, *hits.facts):
            scores[hit.ref] = max(scores.get(hit.ref, -1.0), hit.score)
        keys = ranked({s: v for s, v in scores.items() if ids.pair_from(s) is None}, question.top_k)
        told_of = {h.ref: scores[h.ref] for h in hits.facts}
        pairs = [pair for s in ranked(told_of, question.top_k) if (pair := ids.pair_from(s))]
        shown = interleave(keys, list(dict.fromkeys(key for pair in pairs for key in pair)))[: question.top_k]
        entities, told, around = await asyncio.gather(
            self._knowledge.graph.entities(shown),
            self._knowledge.graph.relations(pairs),
            self._around(keys, question.top_k),
        )
        relations = _merged([told[pair] for pair in pairs if pair in told], around)[: question.top_k]
        names = {key: entity.name for key, entity in entities.items()}
        names |= await self._knowledge.graph.names({key for r in relations for key in r.pair} - names.keys())
        return Related([entities[key] for key in shown if key in entities], [with_names(r, names) for r in relations])

    async def _around(self, keys: Sequence[str], top_k: int) -> list[Relation]:
        """The strongest relations of some entities."""
        edges_each = max(LEAST_EDGES_PER_ENTITY, 2 * top_k // max(len(keys), 1))
        expansions = await self._knowledge.graph.expand(keys, edges_each, EDGES_LOOKED_AT)
        return _by_strength(r for e in expansions.values() for r in e.relations)

    # -- passages

    async def _passages(self, question: Question, hits: Hits) -> list[Passage]:
        places = Places(self._knowledge, hits)
        walked: list[str] = []
        if question.mode != "naive":
            alike = Alike(self._stores.name_blocks)
            with self._telemetry.stage(RETRIEVAL_SECONDS, "walk"):
                walked = await Walk(self._knowledge.graph, alike, places, self._weights).ranking(hits)
        passages = await self._ranked(question, hits, places, walked)
        if follow_up := _follow_up(question.text, passages):
            hits = await self._searches.followed(question, hits, follow_up)
            passages = await self._ranked(question, hits, Places(self._knowledge, hits), walked)
        return passages

    async def _ranked(self, question: Question, hits: Hits, places: Places, walked: Sequence[str]) -> list[Passage]:
        with self._telemetry.stage(RETRIEVAL_SECONDS, "rank"):
            return await self._chosen(question, hits, places, walked)

    async def _chosen(self, question: Question, hits: Hits, places: Places, walked: Sequence[str]) -> list[Passage]:
        limit = question.chunk_top_k
        await places.add([*dict.fromkeys(hit.ref for hit in hits.lexical), *walked[:limit]])
        scores = _scores(hits, places, walked, self._weights)
        scores = less_crowded(scores, _document_of, self._weights.crowding)
        found = ranked({hit.id: hit.score for hit in hits.windows})
        chosen = with_floor(ranked(scores), found, limit)
        rows = await self._knowledge.chunks.get({ids.window_place(place)[0] for place in chosen})
        chunks = {i: chunk_from_row(row) for i, row in rows.items()}
        known = [place for place in chosen if ids.window_place(place)[0] in chunks]
        return _passages_of(known, scores, places.similarity, chunks)

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


def _scores(hits: Hits, places: Places, walked: Sequence[str], weights: Weights) -> dict[str, float]:
    """By place: its rank in the leading ranking, and how far it stands out by its words and its similarity."""
    words = {h.id: h.score for h in hits.lexical}
    found = {h.id: h.score for h in hits.windows}
    certainty = hits.certainty if walked else 0.0
    leading = added((_windows_of(walked, places, weights), certainty), (by_order(ranked(found)), 1.0 - certainty))
    for leader in (*ranked(words, 1), *ranked(found, 1)):
        leading[leader] = max(leading.get(leader, 0.0), weights.leader)
    margins = (lexical_margins(words), weights.lexical), (dense_margins(found), weights.dense)
    # with nothing for what was found and does not stand out, so that it stays in the running
    total = added((leading, 1.0), *margins, (found, 0.0))
    return {place: score + TIE * places.similarity.get(place, -1.0) for place, score in total.items()}


def _windows_of(walked: Sequence[str], places: Places, weights: Weights) -> dict[str, float]:
    """The rank of a chunk, given to its windows: whole to the most similar one, less to each of the others."""
    values: dict[str, float] = {}
    for chunk_id, value in by_order(walked).items():
        for n, window in enumerate(ranked({w: places.similarity[w] for w in places.windows_of(chunk_id)})):
            values[window] = value * weights.next_window**n
    return values


def _document_of(place: str) -> str:
    return ids.document_of(ids.window_place(place)[0]) or place


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


def _by_strength(relations: Iterable[Relation]) -> list[Relation]:
    distinct = {r.pair: r for r in relations}
    return sorted(distinct.values(), key=lambda r: (-r.weight, r.pair))


def _merged(*groups: Sequence[Relation]) -> list[Relation]:
    merged: dict[Pair, Relation] = {}
    for group in groups:
        for relation in group:
            merged.setdefault(relation.pair, relation)
    return list(merged.values())


def _passages_of(
    places: Sequence[str], scores: Mapping[str, float], dense: Mapping[str, float], chunks: Mapping[str, Chunk]
) -> list[Passage]:
    """Places as passages, best first. Chosen windows of one chunk that touch become one passage."""
    chosen: dict[str, list[int]] = {}
    for chunk_id, number in map(ids.window_place, places):
        if number < len(chunks[chunk_id].windows):
            chosen.setdefault(chunk_id, []).append(number)
    passages: list[Passage] = []
    for chunk_id, numbers in chosen.items():
        for run in _runs(sorted(numbers)):
            own = [ids.window_id(chunk_id, n) for n in run]
            similarity = max((dense[w] for w in own if w in dense), default=None)
            passages.append(_passage(chunks[chunk_id], run, max(scores[w] for w in own), similarity))
    return sorted(passages, key=lambda p: (-p.score, p.chunk_id, p.start))


def _runs(numbers: Sequence[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def _passage(chunk: Chunk, run: Sequence[int], score: float, similarity: float | None = None) -> Passage:
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
        similarity=similarity,
        pages=chunk.pages,
    )
