"""What surrounds every reranker: long texts in pieces, calls of bounded size, a limit, retries and counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice

from lightrag_server.bindings.batching import sendable
from lightrag_server.bindings.limiter import Limiter
from lightrag_server.bindings.together import all_of
from lightrag_server.bindings.wrappers import Backoff, Counts, Tally
from lightrag_server.core.tokens import EstimatingTokenizer
from lightrag_server.errors import BadReply
from lightrag_server.ports.rerank import Reranker

MAX_TEXTS = 500
"""In one call: the least of what the vendors take."""
PIECE_OVERLAP = 32
_TOKENIZER = EstimatingTokenizer()


class SteadyReranker:
    """With `piece_tokens` a text counts by the best of its pieces of so many tokens at most; without, by its beginning
    as far as the vendor reads."""

    def __init__(self, inner: Reranker, *, limiter: Limiter, backoff: Backoff, piece_tokens: int | None = None) -> None:
        self.identity = inner.identity
        self.least_score = inner.least_score
        self.reads_pairs = inner.reads_pairs
        self._inner = inner
        self._limiter = limiter
        self._backoff = backoff
        self._piece_tokens = piece_tokens
        self._tally = Tally(limiter)

    def snapshot(self) -> Counts:
        """Counts of calls before retries."""
        return self._tally.snapshot()

    async def rank(self, question: str, texts: Sequence[str]) -> list[float]:
        pieces = await self._pieces(texts)
        ready = [sendable(piece) for of_text in pieces for piece in of_text]
        calls = [ready[i : i + MAX_TEXTS] for i in range(0, len(ready), MAX_TEXTS)]
        results = await all_of(self._call(sendable(question), call) for call in calls)
        scores = iter([score for result in results for score in result])
        return [max(islice(scores, len(of_text))) for of_text in pieces]

    async def close(self) -> None:
        await self._inner.close()

    async def _pieces(self, texts: Sequence[str]) -> list[list[str]]:
        limit = self._piece_tokens
        if limit is None or all(len(text) <= limit for text in texts):  # no token is shorter than a character
            return [[text] for text in texts]
        return await asyncio.to_thread(lambda: [pieces_of(text, limit) for text in texts])

    async def _call(self, question: str, texts: list[str]) -> list[float]:
        async with self._tally.call():
            return await self._backoff.run(lambda: self._once(question, texts))

    async def _once(self, question: str, texts: list[str]) -> list[float]:
        async with self._limiter.slot() as call:
            scores = await self._inner.rank(question, texts)
            call.size = sum(map(len, texts))
        if len(scores) != len(texts):
            raise BadReply(f"{self.identity} did not score each of {len(texts)} texts")
        return scores


def pieces_of(text: str, max_tokens: int) -> list[str]:
    """The text in pieces of at most `max_tokens` estimated tokens, which overlap a little."""
    starts = _TOKENIZER.offsets(text)
    if len(starts) <= max_tokens:
        return [text]
    step = max_tokens - min(PIECE_OVERLAP, max_tokens // 4)
    ends = [*starts, len(text)]
    return [
        text[starts[n] : ends[min(n + max_tokens, len(starts))]]
        for n in range(0, len(starts) - max_tokens + step, step)
    ]
