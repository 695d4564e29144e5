"""Replies end before the first stop string, whatever the vendor does with `stop`: some hosts refuse or ignore it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from lightrag_server.core.context import estimated_tokens
from lightrag_server.core.records import Usage
from lightrag_server.ports.llm import LLM, ChatReply, ChatRequest


class Stopping:
    """Closes a stream at the stop string, so that no more is written; its cost is then an estimate."""

    def __init__(self, inner: LLM) -> None:
        self.identity = inner.identity
        self._inner = inner

    async def complete(self, request: ChatRequest) -> ChatReply:
        reply = await self._inner.complete(request)
        end = first_stop(reply.text, request.stop)
        return reply if end is None else replace(reply, text=reply.text[:end], finish_reason="stop")

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | ChatReply]:
        cut = StopCut(request.stop)
        async with aclosing(self._inner.stream(request)) as items:
            async for item in items:
                for ready in cut.flush() if isinstance(item, ChatReply) else cut.feed(item):
                    yield ready
                if cut.is_over:
                    break
                if isinstance(item, ChatReply):
                    yield item
        if cut.is_over:
            yield ChatReply(cut.text, _estimated(request, cut.text))

    async def close(self) -> None:
        await self._inner.close()


class StopCut:
    """Text up to the first stop string, which may lie across deltas: what may be its beginning is held back."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = tuple(filter(None, stops))
        self._sent: list[str] = []
        self._held = ""
        self.is_over = False

    @property
    def text(self) -> str:
        """All that was handed on."""
        return "".join(self._sent)

    def feed(self, delta: str) -> list[str]:
        text = self._held + delta
        end = first_stop(text, self._stops)
        self.is_over = end is not None
        cut = len(text) - self._beginning(text) if end is None else end
        self._held = text[cut:]
        return self._hand_on(text[:cut])

    def flush(self) -> list[str]:
        """What was held back, at the end of the stream."""
        text, self._held = self._held, ""
        return self._hand_on(text)

    def _beginning(self, text: str) -> int:
        """Length of the longest end of `text` that a stop string begins with."""
        longest = min(max(map(len, self._stops), default=0), len(text))
        return next((n for n in range(longest, 0, -1) if any(s.startswith(text[-n:]) for s in self._stops)), 0)

    def _hand_on(self, text: str) -> list[str]:
        if not text:
            return []
        self._sent.append(text)
        return [text]


def first_stop(text: str, stops: tuple[str, ...]) -> int | None:
    """Where the earliest stop string begins."""
    return min((at for stop in stops if stop and (at := text.find(stop)) >= 0), default=None)


def _estimated(request: ChatRequest, written: str) -> Usage:
    asked = sum(estimated_tokens(turn.content) for turn in request.messages)
    return Usage(1, asked, estimated_tokens(written))
