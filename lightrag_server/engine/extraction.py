"""Chunks to extractions, one class for each index profile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol, TypeVar

from lightrag_server.compute import Compute
from lightrag_server.core.extraction import (
    ExtractionSpec,
    Messages,
    build_request,
    gleaning_request,
    merged,
    read_reply,
    reminder_request,
    reply_schema,
)
from lightrag_server.core.records import Chunk, Extraction
from lightrag_server.errors import ExtractionFailed, LightRAGError, ProviderError
from lightrag_server.nlp import light
from lightrag_server.ports.llm import LLM, ChatReply, ChatRequest
from lightrag_server.settings.ingest import IngestSettings

T = TypeVar("T")

Done = Callable[[Chunk, Extraction], Awaitable[None]]

MAX_IN_FLIGHT = 1024
"""Chunks of one document whose prompts wait in memory; at least as many as the LLM takes at once."""
GIVE_UP_AFTER = 8
"""Failed chunks of a document of which none came through: the rest would fail for the same reason, at a price."""
LONG_CHUNK_TOKENS = 100
FORGOTTEN_AT_ONCE = 16
BATCH_CHUNKS = 8
"""About two seconds of one core."""


class KeptReplies(Protocol):
    async def forget(self, request: ChatRequest) -> ChatReply | None:
        """Remove and return the kept reply; None where none is kept."""
        ...


class _NotKept(Exception):
    """Nothing is kept from here on."""


class LLMExtractor:
    """Profile `full`: one call for each chunk, and more where gleaning is on. The port limits and retries."""

    def __init__(self, llm: LLM, settings: IngestSettings) -> None:
        self._llm = llm
        self._gleanings = settings.max_gleaning
        self._spec = ExtractionSpec(
            entity_types=tuple(name for part in settings.entity_types.split(",") if (name := part.strip())),
            language=settings.summary_language,
            max_entities=settings.max_entities_per_chunk,
            max_rows=settings.max_relations_per_chunk,
            structured=settings.extract_as_json,
        )

    async def extract(self, chunks: Sequence[Chunk], done: Done) -> None:
        failures: dict[int, LightRAGError] = {}
        succeeded = False

        async def one(chunk: Chunk) -> None:
            nonlocal succeeded
            try:
                extraction = await self._extraction(chunk, self._reply)
            except ProviderError as error:
                failures[chunk.index] = error
                if not succeeded and len(failures) >= GIVE_UP_AFTER:
                    _raise_failures(failures)
            else:
                succeeded = True
                await done(chunk, extraction)

        await _each(chunks, MAX_IN_FLIGHT, one)
        _raise_failures(failures)

    async def forget(self, chunks: Sequence[Chunk], kept: KeptReplies) -> int:
        """Remove the kept replies that `extract` would use for these chunks; return how many there were."""
        forgotten = 0

        async def forget_one(messages: Messages) -> str:
            nonlocal forgotten
            reply = await kept.forget(self._request(messages))
            if reply is None:
                raise _NotKept
            forgotten += 1
            return reply.text

        async def one(chunk: Chunk) -> None:
            with suppress(_NotKept):
                await self._extraction(chunk, forget_one)

        await _each(chunks, FORGOTTEN_AT_ONCE, one)
        return forgotten

    async def _extraction(self, chunk: Chunk, ask: Callable[[Messages], Awaitable[str]]) -> Extraction:
        """What the replies say. Each further request follows from the replies before it."""
        request = build_request(chunk, self._spec)
        reply = await ask(request)
        extraction = read_reply(reply)
        if not extraction.entities and extraction.repairs and chunk.tokens >= LONG_CHUNK_TOKENS:
            reply = await ask(reminder_request(request, reply, self._spec))
            extraction = merged(extraction, read_reply(reply))
        for _ in range(self._gleanings):
            request = gleaning_request(request, reply, self._spec)
            reply = await ask(request)
            more = read_reply(reply)
            if not more.entities and not more.relations:
                break
            extraction = merged(extraction, more)
        return extraction

    async def _reply(self, messages: Messages) -> str:
        return (await self._llm.complete(self._request(messages))).text

    def _request(self, messages: Messages) -> ChatRequest:
        return ChatRequest(messages, json_schema=reply_schema(self._spec), in_background=True)


class LightExtractor:
    """Profile `light`: names, terms and relations by text analysis in worker processes, without an LLM."""

    def __init__(self, compute: Compute, settings: IngestSettings) -> None:
        self._compute = compute
        self._max_entities = settings.max_entities_per_chunk

    async def extract(self, chunks: Sequence[Chunk], done: Done) -> None:
        failures: dict[int, LightRAGError] = {}
        names = await self._compute.run(light.full_names, [chunk.text for chunk in chunks])

        async def one(batch: Sequence[Chunk]) -> None:
            try:
                texts = [chunk.text for chunk in batch]
                extractions = await self._compute.run(light.extract, texts, names, self._max_entities)
            except ProviderError as error:
                failures.update((chunk.index, error) for chunk in batch)
            else:
                for chunk, extraction in zip(batch, extractions, strict=True):
                    await done(chunk, extraction)

        batches = [chunks[start : start + BATCH_CHUNKS] for start in range(0, len(chunks), BATCH_CHUNKS)]
        await _each(batches, 2 * self._compute.workers, one)
        _raise_failures(failures)


class NoExtractor:
    """Profile `vector`: chunks only."""

    async def extract(self, chunks: Sequence[Chunk], done: Done) -> None:
        for chunk in chunks:
            await done(chunk, Extraction())


async def _each(items: Sequence[T], limit: int, work: Callable[[T], Awaitable[None]]) -> None:
    """Do the work for all items, at most `limit` at once. The first exception stops the rest and rises."""
    pending = iter(items)

    async def lane() -> None:
        for item in pending:
            await work(item)

    lanes = [asyncio.ensure_future(lane()) for _ in range(min(limit, len(items)))]
    try:
        await asyncio.gather(*lanes)
    finally:
        for task in lanes:
            task.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)


def _raise_failures(failures: dict[int, LightRAGError]) -> None:
    if failures:
        raise ExtractionFailed(dict(sorted(failures.items())))
