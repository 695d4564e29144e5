"""What surrounds every vendor's model: a limit, retries, a cache, and counts. Each wrapper is a model itself."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import TypeVar

import orjson

from lightrag_server.bindings.limiter import Limiter
from lightrag_server.core.records import Usage
from lightrag_server.errors import ProviderError, StorageUnavailable
from lightrag_server.ports.kv import KVStore
from lightrag_server.ports.llm import LLM, ChatReply, ChatRequest

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential, with full jitter. A wait the vendor asked for is kept to and not jittered downwards."""

    retries: int
    first_s: float = 0.5
    longest_s: float = 30.0
    longest_asked_s: float = 60.0
    """A vendor that asks for more is not waited for: the caller has better means, such as a queue."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        attempt = 0
        while True:
            try:
                return await call()
            except ProviderError as error:
                await self.pause(attempt, error)
                attempt += 1

    async def pause(self, attempt: int, error: ProviderError) -> None:
        """Wait before the next try; raise `error` when there is to be none."""
        asked = error.retry_after_s or 0.0
        if not error.retryable or attempt >= self.retries or asked > self.longest_asked_s:
            raise error
        await self.sleep(asked + self.random() * min(self.longest_s, self.first_s * 2**attempt))


class Limited:
    """Holds a slot for each call, and for a stream until it is closed."""

    def __init__(self, inner: LLM, limiter: Limiter) -> None:
        self.identity = inner.identity
        self._inner = inner
        self._limiter = limiter

    async def complete(self, request: ChatRequest) -> ChatReply:
        async with self._limiter.slot(in_background=request.in_background) as call:
            reply = await self._inner.complete(request)
            call.size = len(reply.text)
        return reply

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | ChatReply]:
        slot = self._limiter.slot(in_background=request.in_background)
        async with slot, aclosing(self._inner.stream(request)) as items:
            async for item in items:
                yield item

    async def close(self) -> None:
        await self._inner.close()


class Retrying:
    """Tries again where that may help; a stream only as long as nothing of it has been handed on."""

    def __init__(self, inner: LLM, backoff: Backoff) -> None:
        self.identity = inner.identity
        self._inner = inner
        self._backoff = backoff

    async def complete(self, request: ChatRequest) -> ChatReply:
        return await self._backoff.run(lambda: self._inner.complete(request))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | ChatReply]:
        attempt = 0
        while True:
            has_begun = False
            try:
                async with aclosing(self._inner.stream(request)) as items:
                    async for item in items:
                        has_begun = True
                        yield item
                return
            except ProviderError as error:
                if has_begun:
                    raise
                await self._backoff.pause(attempt, error)
                attempt += 1

    async def close(self) -> None:
        await self._inner.close()


class Cached:
    """Keeps complete replies that ended by themselves, whether they came whole or as a stream, and replays them.

    Rows outlive the process and may be shared by all that use the same store; the key covers identity and request.
    It begins with `kind`, so that replies can be removed by what they were asked for.
    """

    def __init__(self, inner: LLM, store: KVStore, kind: str = "query") -> None:
        self.identity = inner.identity
        self._inner = inner
        self._store = store
        self._kind = kind

    async def complete(self, request: ChatRequest) -> ChatReply:
        key = self._key(request)
        if (kept := await self._kept(key)) is not None:
            return kept
        reply = await self._inner.complete(request)
        await self._keep(key, reply)
        return reply

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | ChatReply]:
        key = self._key(request)
        if (kept := await self._kept(key)) is not None:
            yield kept.text
            yield kept
            return
        async with aclosing(self._inner.stream(request)) as items:
            async for item in items:
                if isinstance(item, ChatReply):
                    await self._keep(key, item)
                yield item

    async def close(self) -> None:
        await self._inner.close()

    async def forget(self, request: ChatRequest) -> ChatReply | None:
        """Remove and return the kept reply; None where none is kept."""
        key = self._key(request)
        reply = await self._kept(key)
        if reply is not None:
            await self._store.delete([key])
        return reply

    def _key(self, request: ChatRequest) -> str:
        return f"{self._kind}:{cache_key(self.identity, request)}"

    async def _keep(self, key: str, reply: ChatReply) -> None:
        if reply.finish_reason != "stop" or not reply.text.strip():
            return
        usage = {"prompt_tokens": reply.usage.prompt_tokens, "completion_tokens": reply.usage.completion_tokens}
        try:
            await self._store.put({key: {"text": reply.text, "identity": self.identity, **usage}})
        except StorageUnavailable as error:  # a full disk is no reason to lose the reply
            log.warning("a reply is not kept: %s", error)

    async def _kept(self, key: str) -> ChatReply | None:
        row = (await self._store.get([key])).get(key)
        return ChatReply(row["text"], Usage(), is_cached=True) if row else None


def cache_key(identity: str, request: ChatRequest) -> str:
    asked = asdict(request)
    del asked["in_background"]  # the same reply for both
    content = orjson.dumps([identity, asked], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, slots=True)
class Counts:
    """What has happened since the start; `current_limit`, `queued` and `running` are of this moment."""

    limit: int
    current_limit: int
    queued: int
    running: int
    submitted: int
    completed: int
    failed: int
    cancelled: int
    usage: Usage


@dataclass(slots=True)
class Tally:
    """Counts calls as they begin and end."""

    limiter: Limiter
    submitted: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    usage: Usage = field(default_factory=Usage)

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        self.submitted += 1
        try:
            yield
        except Exception:
            self.failed += 1
            raise
        except BaseException:  # cancelled, or a stream closed before its end
            self.cancelled += 1
            raise
        self.completed += 1

    def snapshot(self) -> Counts:
        limits = self.limiter
        done = (self.submitted, self.completed, self.failed, self.cancelled)
        return Counts(limits.limit, limits.current_limit, limits.queued, limits.running, *done, self.usage)


class Counting:
    """Adds up calls and what they cost; `snapshot` serves status pages."""

    def __init__(self, inner: LLM, limiter: Limiter) -> None:
        self.identity = inner.identity
        self._inner = inner
        self._tally = Tally(limiter)

    def snapshot(self) -> Counts:
        return self._tally.snapshot()

    async def complete(self, request: ChatRequest) -> ChatReply:
        async with self._tally.call():
            reply = await self._inner.complete(request)
        self._tally.usage += reply.usage
        return reply

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | ChatReply]:
        reply: ChatReply | None = None
        async with self._tally.call(), aclosing(self._inner.stream(request)) as items:
            async for item in items:
                if isinstance(item, ChatReply):
                    reply = item
                else:
                    yield item
        if reply is not None:  # counted as complete even if the consumer stops here
            self._tally.usage += reply.usage
            yield reply

    async def close(self) -> None:
        await self._inner.close()
