"""From context to answer: written by a model, or quoted sentence by sentence when there is none."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lightrag_server.core import refusals
from lightrag_server.core.citations import CitationFilter
from lightrag_server.core.context import render
from lightrag_server.core.fusion import interleave
from lightrag_server.core.passages import Sentence, lexical_scores, names_in, sentences_of
from lightrag_server.core.prompts import prompt, template
from lightrag_server.core.questions import has_pronoun, parts_of, split, with_subject
from lightrag_server.core.records import Context, Passage, Question, Turn
from lightrag_server.core.times import asks_when, names_day, points_at_day
from lightrag_server.errors import InvalidInput
from lightrag_server.ports.embedding import Embedder
from lightrag_server.ports.llm import LLM, ChatReply, ChatRequest

Scores = NDArray[np.floating[Any]]
MAX_QUOTES = 5
CANDIDATES = 10
SIMILARITY_WEIGHT = 1.0
PASSAGE_WEIGHT = 0.3
LEAST_SHARE = 0.5
TOLD_IN = 3
"""How many of the best sentences on "when" are looked at for "this very night"."""


class Answerer(Protocol):
    """Text deltas, then what the model says of its reply, where one wrote it."""

    is_generative: bool
    """Whether a model writes the answers."""

    def answer(self, question: Question, context: Context) -> AsyncGenerator[str | ChatReply]: ...

    def converse(self, question: Question) -> AsyncGenerator[str | ChatReply]:
        """Mode bypass: the model alone, with the history."""
        ...


class GeneratedAnswer:
    """One streamed call; marks of sources that were not given are removed on the way."""

    is_generative = True

    def __init__(self, llm: LLM) -> None:
        self._llm = llm

    async def answer(self, question: Question, context: Context) -> AsyncGenerator[str | ChatReply]:
        request = _request(question, answer_prompt(question, context))
        citations = CitationFilter([r.id for r in context.references])
        async with aclosing(self._llm.stream(request)) as stream:
            async for item in stream:
                for ready in citations.flush() if isinstance(item, ChatReply) else citations.feed(item):
                    yield ready
                if isinstance(item, ChatReply):
                    yield item

    async def converse(self, question: Question) -> AsyncGenerator[str | ChatReply]:
        async with aclosing(self._llm.stream(_request(question, question.user_prompt))) as stream:
            async for item in stream:
                yield item


class ExtractiveAnswer:
    """The best sentences in the order of the evidence, each cited. Invents nothing and calls no model but the embedder.

    Words choose a few dozen sentences, similarity to each part of the question ranks them; every part gets its best.
    """

    is_generative = False

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def answer(self, question: Question, context: Context) -> AsyncGenerator[str | ChatReply]:
        sentences = sentences_of(context.passages)
        if not sentences or context.is_weak:
            yield refusals.weak(question.text, context)
            return
        chosen = await self._chosen(question.search_text, sentences, context.passages)
        lines = [f"{s.text} [{context.passages[s.passage].reference_id}]" for s in chosen]
        for n, line in enumerate(lines):
            yield line if n == 0 else f"\n\n{line}"

    async def converse(self, question: Question) -> AsyncGenerator[str | ChatReply]:
        raise InvalidInput("mode bypass needs a language model: set LLM_BINDING")
        yield ""  # makes this a generator

    async def _chosen(
        self, question: str, sentences: Sequence[Sentence], passages: Sequence[Passage]
    ) -> list[Sentence]:
        """Part by part: the name that answers the first part is what pronouns of the next stand for."""
        weight = PASSAGE_WEIGHT * _passage_share(sentences, passages)
        rankings: list[list[int]] = []
        known: dict[str, Scores] = {}
        name = ""
        for raw, part in zip(split(question), parts_of(question), strict=True):
            asked = with_subject(raw, name) if name and has_pronoun(raw) else part
            ranking = await self._ranking(asked, question, sentences, weight, known)
            rankings.append(ranking)
            name = next(iter(names_in([sentences[n] for n in ranking[:3]], question)), name)
        picked = interleave(*rankings)[:MAX_QUOTES]
        for part, ranking in zip(split(question), rankings, strict=True):
            if asks_when(part):
                picked = list(dict.fromkeys([*picked, *_named_day(ranking[:TOLD_IN], picked, sentences)]))
        return sorted((sentences[n] for n in picked), key=lambda s: (s.passage, s.start))

    async def _ranking(
        self, part: str, hints: str, sentences: Sequence[Sentence], weight: Scores, known: dict[str, Scores]
    ) -> list[int]:
        """Numbers of the best sentences for one part, best first. `known` gathers the vectors of sentences."""
        by_words = np.asarray(lexical_scores(part, hints, sentences)) + weight
        candidates = [int(n) for n in np.argsort(-by_words)[:CANDIDATES]]
        texts = [sentences[n].text for n in candidates]
        fresh = [text for text in texts if text not in known]
        # sentences as questions, too: documents wait for the processes that index, and nobody who asks should
        asked, *vectors = await self._embedder.embed([part, *fresh], "query")
        known |= dict(zip(fresh, vectors, strict=True))
        scores = by_words[candidates] + SIMILARITY_WEIGHT * _stretched(
            np.stack([known[text] for text in texts]) @ asked
        )
        return [candidates[int(n)] for n in np.argsort(-scores) if scores[n] >= LEAST_SHARE * scores.max()]


def _named_day(ranking: Sequence[int], picked: Sequence[int], sentences: Sequence[Sentence]) -> list[int]:
    """For the best quote that only points at a day, the last sentence before it in its document that names one."""
    pointing = [sentences[n] for n in ranking if n in picked and points_at_day(sentences[n].text)]
    if not pointing:
        return []
    quote = pointing[0]
    own = (n for n, s in enumerate(sentences) if s.document_id == quote.document_id and s.end <= quote.start)
    before = [n for n in own if names_day(sentences[n].text)]
    return sorted(before, key=lambda n: sentences[n].start)[-1:]


def _request(question: Question, system: str) -> ChatRequest:
    wanted = question.sampling
    told = (Turn("system", system),) if system else ()
    return ChatRequest(
        (*told, *question.history, Turn("user", question.text, question.images)),
        max_tokens=wanted.max_tokens,
        temperature=wanted.temperature,
        stop=wanted.stop,
    )


def answer_prompt(question: Question, context: Context) -> str:
    """The system prompt of an answer: instructions and evidence, and that it is weak where it is."""
    notes = [template("weak_evidence")] if context.is_weak else []
    if wish := question.user_prompt.strip():
        notes.append(f"- {wish}")
    return prompt("answer", response_type=question.response_type, user_prompt="\n".join(notes), context=render(context))


def _passage_share(sentences: Sequence[Sentence], passages: Sequence[Passage]) -> Scores:
    """Sentences of better passages first, all else equal."""
    top = max((p.score for p in passages), default=1.0) or 1.0
    return np.asarray([passages[s.passage].score / top for s in sentences])


def _stretched(similarity: Scores) -> Scores:
    """To [0, 1]: embedders differ in the range their similarities use."""
    span = similarity.max() - similarity.min()
    return (similarity - similarity.min()) / (span or 1.0)
