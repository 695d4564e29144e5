"""From context to answer: written by a model, or quoted sentence by sentence when there is none."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lightrag_server.core.citations import CitationFilter
from lightrag_server.core.context import render
from lightrag_server.core.fusion import interleave
from lightrag_server.core.passages import Sentence, lexical_scores, names_in, sentences_of
from lightrag_server.core.prompts import prompt
from lightrag_server.core.questions import parts_of
from lightrag_server.core.records import Context, Passage, Question, Turn, Usage
from lightrag_server.errors import InvalidInput
from lightrag_server.ports.embedding import Embedder
from lightrag_server.ports.llm import LLM, ChatReply, ChatRequest

NO_CONTEXT = "The documents hold nothing that answers this question. [no-context]"
Scores = NDArray[np.floating[Any]]
MAX_QUOTES = 5
CANDIDATES = 12
SIMILARITY_WEIGHT = 1.0


class Answerer(Protocol):
    """Text deltas, then the usage."""

    def answer(self, question: Question, context: Context) -> AsyncGenerator[str | Usage]: ...

    def converse(self, question: Question) -> AsyncGenerator[str | Usage]:
        """Mode bypass: the model alone, with the history."""
        ...


class GeneratedAnswer:
    """One streamed call; marks of sources that were not given are removed on the way."""

    def __init__(self, llm: LLM) -> None:
        self._llm = llm

    async def answer(self, question: Question, context: Context) -> AsyncGenerator[str | Usage]:
        system = answer_prompt(question, context)
        request = ChatRequest((Turn("system", system), *question.history, Turn("user", question.text)))
        citations = CitationFilter([r.id for r in context.references])
        async with aclosing(self._llm.stream(request)) as stream:
            async for item in stream:
                for ready in citations.flush() if isinstance(item, ChatReply) else citations.feed(item):
                    yield ready
                if isinstance(item, ChatReply):
                    yield item.usage

    async def converse(self, question: Question) -> AsyncGenerator[str | Usage]:
        system = (Turn("system", question.user_prompt),) if question.user_prompt else ()
        request = ChatRequest((*system, *question.history, Turn("user", question.text)))
        async with aclosing(self._llm.stream(request)) as stream:
            async for item in stream:
                yield item.usage if isinstance(item, ChatReply) else item


class ExtractiveAnswer:
    """The best sentences in the order of the evidence, each cited. Invents nothing and calls no model but the embedder.

    Words choose a few dozen sentences, similarity to each part of the question ranks them; every part gets its best.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def answer(self, question: Question, context: Context) -> AsyncGenerator[str | Usage]:
        sentences = sentences_of(context.passages)
        if not sentences:
            yield NO_CONTEXT
            return
        chosen = await self._chosen(question.text, sentences, context.passages)
        lines = [f"{s.text} [{context.passages[s.passage].reference_id}]" for s in chosen]
        for n, line in enumerate(lines):
            yield line if n == 0 else f"\n\n{line}"

    async def converse(self, question: Question) -> AsyncGenerator[str | Usage]:
        raise InvalidInput("mode bypass needs a language model: set LLM_BINDING")
        yield ""  # makes this a generator

    async def _chosen(
        self, question: str, sentences: Sequence[Sentence], passages: Sequence[Passage]
    ) -> list[Sentence]:
        """Part by part: names that answer the first part help to find the answer to the next."""
        parts = parts_of(question)
        weight = 0.5 * _passage_share(sentences, passages)
        rankings: list[list[int]] = []
        hints = question
        for part in parts:
            ranking = await self._ranking(part, hints, sentences, weight)
            rankings.append(ranking)
            hints = " ".join([question, *names_in([sentences[n] for n in ranking[:3]], question)[:2]])
        picked = interleave(*rankings)[:MAX_QUOTES]
        return sorted((sentences[n] for n in picked), key=lambda s: (s.passage, s.start))

    async def _ranking(self, part: str, hints: str, sentences: Sequence[Sentence], weight: Scores) -> list[int]:
        """Numbers of the best sentences for one part, best first."""
        by_words = np.asarray(lexical_scores(part, hints, sentences)) + weight
        candidates = [int(n) for n in np.argsort(-by_words)[:CANDIDATES]]
        [asked] = await self._embedder.embed([part], "query")
        # as questions, too: documents wait for the processes that index, and nobody who asks should
        vectors = await self._embedder.embed([sentences[n].text for n in candidates], "query")
        scores = by_words[candidates] + SIMILARITY_WEIGHT * _stretched(vectors @ asked)
        return [candidates[int(n)] for n in np.argsort(-scores)]


def answer_prompt(question: Question, context: Context) -> str:
    """The system prompt of an answer: instructions and evidence."""
    extra = f"- {question.user_prompt.strip()}" if question.user_prompt.strip() else ""
    return prompt("answer", response_type=question.response_type, user_prompt=extra, context=render(context))


def _passage_share(sentences: Sequence[Sentence], passages: Sequence[Passage]) -> Scores:
    """Sentences of better passages first, all else equal."""
    top = max((p.score for p in passages), default=1.0) or 1.0
    return np.asarray([passages[s.passage].score / top for s in sentences])


def _stretched(similarity: Scores) -> Scores:
    """To [0, 1]: embedders differ in the range their similarities use."""
    span = similarity.max() - similarity.min()
    return (similarity - similarity.min()) / (span or 1.0)
