"""Ranks texts by their best sentence. Not a cross-encoder: the embedder sees question and sentence apart."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Sequence

from lightrag_server.core import lexical
from lightrag_server.core.sentences import sentence_spans
from lightrag_server.ports.embedding import Embedder


class SentenceReranker:
    """Scores a text by the largest cosine between the question and one of its sentences.

    At most `max_sentences` are embedded per call, an even share for each text: those that have most terms of the
    question, the earlier first. Meant for an embedder that takes milliseconds per sentence.
    """

    least_score: float | None = None
    reads_pairs = False

    def __init__(self, embedder: Embedder, *, max_sentences: int = 96) -> None:
        self.identity = f"local/{embedder.identity}"
        self._embedder = embedder
        self._max_sentences = max_sentences

    async def rank(self, question: str, texts: Sequence[str]) -> list[float]:
        if not texts:
            return []
        share = max(1, self._max_sentences // len(texts))
        terms = set(lexical.query_terms(question))
        chosen = await asyncio.to_thread(lambda: [promising_sentences(text, terms, share) for text in texts])
        # sentences as questions, too: documents wait for the processes that index, and nobody who asks should
        asked = (await self._embedder.embed([question], "query"))[0]
        vectors = await self._embedder.embed([sentence for some in chosen for sentence in some], "query")
        cosines = iter((vectors @ asked).tolist())
        return [max(next(cosines) for _ in some) for some in chosen]

    async def close(self) -> None:
        """The embedder is another's."""


def promising_sentences(text: str, terms: set[str], count: int) -> list[str]:
    """At most `count` sentences in the order of the text; a text without any is its own sentence."""
    sentences = [text[start:end] for start, end in sentence_spans(text)] or [text]
    if len(sentences) <= count:
        return sentences
    overlap = [len(terms.intersection(lexical.terms(sentence))) for sentence in sentences]
    best = heapq.nsmallest(count, range(len(sentences)), key=lambda i: (-overlap[i], i))
    return [sentences[i] for i in sorted(best)]
