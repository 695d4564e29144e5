"""From context to answer: written by a model, or quoted sentence by sentence when there is none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lightrag_server.core.citations import CitationFilter
from lightrag_server.core.context import render
from lightrag_server.core.passages import Sentence, lexical_scores, parts_of, sentences_of
from lightrag_server.core.prompts import prompt
from lightrag_server.core.records import Context, Passage, Question, Turn, Usage
from lightrag_server.errors import InvalidInput
from lightrag_server.ports.embedding import Embedder
from lightrag_server.ports.llm import LLM, ChatReply, ChatRequest

NO_CONTEXT = "The documents hold nothing that answers this question. [no-context]"
Scores = NDArray[np.floating[Any]]
MAX_QUOTES = 5
CANDIDATES = 24
SIMILARITY_WEIGHT = 1.0


class Answerer(Protocol):
    """Text deltas, then the usage."""

    def answer(self, question: Question, context: Context) -> AsyncIterator[str | Usage]: ...

    def converse(self, question: Question) -> AsyncIterator[str | Usage]:
        """Mode bypass: the model alone, with the history."""
        ...


class GeneratedAnswer:
    """One streamed call; marks of sources that were not given are removed on the way."""

    def __init__(self, llm: LLM) -> None:
        self._llm = llm

    async def answer(self, question: Question, context: Context) -> AsyncIterator[str | Usage]:
        system = answer_prompt(question, context)
        request = ChatRequest((Turn("system", system), *question.history, Turn("user", question.text)))
        citations = CitationFilter([r.id for r in context.references])
        async for item in self._llm.stream(request):
            if isinstance(item, ChatReply):
                for rest in citations.flush():
                    yield rest
                yield item.usage
            else:
                for ready in citations.feed(item):
                    yield ready

    async def converse(self, question: Question) -> AsyncIterator[str | Usage]:
        system = (Turn("system", question.user_prompt),) if question.user_prompt else ()
        request = ChatRequest((*system, *question.history, Turn("user", question.text)))
        async for item in self._llm.stream(request):
            yield item.usage if isinstance(item, ChatReply) else item


class ExtractiveAnswer:
    """The best sentences in the order of the evidence, each cited. Invents nothing and calls no model but the embedder.

    Words choose a few dozen sentences, similarity to each part of the question ranks them; every part gets its best.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def answer(self, question: Question, context: Context) -> AsyncIterator[str | Usage]:
        sentences = sentences_of(context.passages)
        if not sentences:
            yield NO_CONTEXT
            return
        chosen = await self._chosen(question.text, sentences, context.passages)
        lines = [f"{s.text} [{context.passages[s.passage].reference_id}]" for s in chosen]
        for n, line in enumerate(lines):
            yield line if n == 0 else f"\n\n{line}"

    async def converse(self, question: Question) -> AsyncIterator[str | Usage]:
        raise InvalidInput("mode bypass needs a language model: set LLM_BINDING")
        yield ""  # makes this a generator

    async def _chosen(
        self, question: str, sentences: Sequence[Sentence], passages: Sequence[Passage]
    ) -> list[Sentence]:
        parts = parts_of(question)
        by_words = np.asarray([lexical_scores(part, question, sentences) for part in parts])
        by_words += 0.5 * _passage_share(sentences, passages)
        candidates = sorted({int(n) for row in by_words for n in np.argsort(-row)[: CANDIDATES // len(parts)]})
        texts = [sentences[n].text for n in candidates]
        asked = await self._embedder.embed([*parts, question] if len(parts) > 1 else parts, "query")
        vectors = await self._embedder.embed(texts, "document")
        similarity = _stretched(asked[: len(parts)] @ vectors.T)
        scores = by_words[:, candidates] + SIMILARITY_WEIGHT * similarity
        picked = _best_of_each(scores, MAX_QUOTES)
        return sorted((sentences[candidates[n]] for n in picked), key=lambda s: (s.passage, s.start))


def answer_prompt(question: Question, context: Context) -> str:
    """The system prompt of an answer: instructions and evidence."""
    extra = f"- {question.user_prompt.strip()}" if question.user_prompt.strip() else ""
    return prompt("answer", response_type=question.response_type, user_prompt=extra, context=render(context))


def _passage_share(sentences: Sequence[Sentence], passages: Sequence[Passage]) -> Scores:
    """Sentences of better passages first, all else equal."""
    top = max((p.score for p in passages), default=1.0) or 1.0
    return np.asarray([passages[s.passage].score / top for s in sentences])


def _stretched(
    similarity: Scores,
) -> Scores:
    """Row by row to [0, 1]: embedders differ in the range their similarities use."""
    low = similarity.min(axis=1, keepdims=True)
    span = similarity.max(axis=1, keepdims=True) - low
    return (similarity - low) / np.where(span > 0, span, 1.0)


def _best_of_each(scores: Scores, limit: int) -> list[int]:
    """Column numbers: the best of each row in turn until there are `limit`."""
    orders = [np.argsort(-row) for row in scores]
    picked: dict[int, None] = {}
    for depth in range(scores.shape[1]):
        for order in orders:
            if len(picked) < limit:
                picked.setdefault(int(order[depth]))
    return list(picked)
