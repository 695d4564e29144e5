"""Calls to an embedder that several documents share: texts are gathered for a moment, or until a call is full."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from lightrag_server.bindings.together import all_of
from lightrag_server.errors import ProviderError, ProviderTimeout, ProviderUnavailable

GATHER_S = 0.005

Vectors = NDArray[np.float32]
Embed = Callable[[list[str]], Awaitable[Vectors]]


@dataclass(eq=False, slots=True)
class _Caller:
    """Rows come as the calls that hold them end; `done` when all have come, or at the first failure."""

    texts: list[str]
    done: asyncio.Future[None]
    rows: list[Vectors | None] = field(default_factory=list[Vectors | None])
    missing: int = 0

    def receive(self, places: Iterable[int], vectors: Vectors) -> None:
        for place, vector in zip(places, vectors, strict=True):
            self.rows[place] = vector
            self.missing -= 1
        if not self.missing and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)


_Wanted = tuple[_Caller, int]
"""Whose text, and which of them."""


class SharedBatches:
    """`embed` is called with up to `size` texts of one or more callers. What it cannot do with the texts of several is
    tried again with those of each, so that nobody fails of another's text. A caller that leaves takes along what has
    not been sent."""

    def __init__(self, embed: Embed, size: int, gather_s: float = GATHER_S) -> None:
        self._embed = embed
        self._size = size
        self._gather_s = gather_s
        self._waiting: list[_Wanted] = []
        self._timer: asyncio.TimerHandle | None = None
        self._calls: set[asyncio.Task[None]] = set()

    async def embed(self, texts: list[str]) -> Vectors:
        caller = _Caller(texts, asyncio.get_running_loop().create_future(), [None] * len(texts), len(texts))
        self._waiting += [(caller, place) for place in range(len(texts))]
        while len(self._waiting) >= self._size:
            self._send()
        if self._waiting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._gather_s, self._send)
        try:
            await caller.done
        except BaseException:
            self._waiting = [wanted for wanted in self._waiting if wanted[0] is not caller]
            raise
        return np.stack([row for row in caller.rows if row is not None])

    async def close(self) -> None:
        self._stop_timer()
        for caller, _ in self._waiting:
            caller.done.cancel()
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    def _send(self) -> None:
        batch, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
        if not self._waiting:
            self._stop_timer()
        if batch:
            call = asyncio.create_task(self._call(batch))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _call(self, batch: list[_Wanted]) -> None:
        groups = [(caller, [place for _, place in wanted]) for caller, wanted in groupby(batch, lambda w: w[0])]
        try:
            await self._try(groups)
        except asyncio.CancelledError:
            for caller, _ in groups:
                caller.done.cancel()
            raise

    async def _try(self, groups: list[tuple[_Caller, list[int]]]) -> None:
        try:
            vectors = await self._embed([caller.texts[place] for caller, places in groups for place in places])
        except Exception as error:
            if len(groups) > 1 and _is_of_the_texts(error):
                await all_of(self._try([group]) for group in groups)
                return
            for caller, _ in groups:
                caller.fail(error)
            return
        start = 0
        for caller, places in groups:
            caller.receive(places, vectors[start : start + len(places)])
            start += len(places)


def _is_of_the_texts(error: Exception) -> bool:
    """Whether the vendor might take a part of what it did not take whole."""
    return isinstance(error, ProviderError) and not isinstance(error, ProviderUnavailable | ProviderTimeout)
