from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lightrag_server.bindings.batching import BatchedEmbedder
from lightrag_server.bindings.limiter import Limiter
from lightrag_server.bindings.local.fake import FakeChat, FakeEmbedder, reply_to, vectors_of
from lightrag_server.bindings.openai import OpenAIChat, OpenAIEmbedder
from lightrag_server.bindings.wrappers import Backoff, Cached, Counting, Limited, Retrying
from lightrag_server.compute import Compute
from lightrag_server.core.records import Turn, Usage
from lightrag_server.errors import BadReply, DimensionMismatch, ProviderRejected, ProviderUnavailable
from lightrag_server.ports.embedding import Purpose
from lightrag_server.ports.kv import KVStore
from lightrag_server.ports.llm import ChatReply, ChatRequest
from lightrag_server.settings.bindings import EmbeddingSettings, LLMSettings
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.sqlite.backend import SQLiteBackend
from tests.vendor import Vendor

TURNS = (
    Turn("system", "[1] The bridge at Orm was opened by Ada Lind in 1931."),
    Turn("user", "Who opened the bridge?"),
)
REQUEST = ChatRequest(TURNS)


@pytest.fixture
async def chat(vendor: Vendor) -> AsyncIterator[OpenAIChat]:
    chat = OpenAIChat.from_settings(LLMSettings(binding="openai", host=vendor.openai_url, model="m"), Compute(1))
    yield chat
    await chat.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[KVStore]:
    backend = SQLiteBackend(tmp_path, SQLiteSettings())
    await backend.open()
    yield backend.kv("w", "llm_cache")
    await backend.close()


class Pauses:
    """Takes the place of the clock: remembers the waits and does not wait."""

    def __init__(self, luck: float = 0.5) -> None:
        self.waits: list[float] = []
        self._luck = luck

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def backoff(self, retries: int) -> Backoff:
        return Backoff(retries, first_s=1.0, longest_s=3.0, sleep=self.sleep, random=lambda: self._luck)


async def drained(stream: AsyncGenerator[str | ChatReply]) -> list[str | ChatReply]:
    async with aclosing(stream) as items:
        return [item async for item in items]


# ----------------------------------------------------------------------------- retries


async def test_waits_double_up_to_a_bound_and_then_the_call_succeeds(vendor: Vendor, chat: OpenAIChat):
    vendor.fault("status", status=503, next=4)
    pauses = Pauses()
    reply = await Retrying(chat, pauses.backoff(4)).complete(REQUEST)
    assert reply.text == reply_to(TURNS)
    assert pauses.waits == [0.5, 1.0, 1.5, 1.5]


async def test_a_wait_that_the_vendor_asked_for_is_kept(vendor: Vendor, chat: OpenAIChat):
    vendor.fault("status", status=429, retry_after="12")
    pauses = Pauses()
    await Retrying(chat, pauses.backoff(1)).complete(REQUEST)
    assert pauses.waits == [12.5]


async def test_a_vendor_that_asks_for_a_long_wait_is_left_to_the_caller(vendor: Vendor, chat: OpenAIChat):
    vendor.fault("status", status=429, retry_after="3600")
    pauses = Pauses()
    with pytest.raises(ProviderUnavailable) as caught:
        await Retrying(chat, pauses.backoff(3)).complete(REQUEST)
    assert caught.value.retry_after_s == 3600
    assert pauses.waits == []


async def test_the_last_failure_is_raised_when_tries_are_used_up(vendor: Vendor, chat: OpenAIChat):
    vendor.fault("status", status=500, next=9)
    with pytest.raises(ProviderUnavailable):
        await Retrying(chat, Pauses().backoff(2)).complete(REQUEST)
    assert vendor.stats()["chat"] == 3


async def test_what_trying_again_cannot_help_is_not_tried_again(vendor: Vendor, chat: OpenAIChat):
    vendor.fault("status", status=401, next=9)
    with pytest.raises(ProviderRejected):
        await Retrying(chat, Pauses().backoff(5)).complete(REQUEST)
    assert vendor.stats()["chat"] == 1


async def test_a_stream_is_tried_again_before_its_first_text_only(vendor: Vendor, chat: OpenAIChat):
    retrying = Retrying(chat, Pauses().backoff(2))
    vendor.fault("status", status=503)
    items = await drained(retrying.stream(REQUEST))
    assert "".join(item for item in items if isinstance(item, str)) == reply_to(TURNS)
    vendor.reset()
    vendor.fault("hang_up")
    with pytest.raises(ProviderUnavailable):
        await drained(retrying.stream(REQUEST))
    assert vendor.stats()["chat"] == 1


# ----------------------------------------------------------------------------- limits


async def test_no_more_calls_run_at_once_than_the_limit_of_all_roles_together(vendor: Vendor, chat: OpenAIChat):
    vendor.control(latency_s=0.02)
    limiter = Limiter(3)
    roles = [Limited(chat, limiter), Limited(chat, limiter)]
    await asyncio.gather(
        *(roles[i % 2].complete(REQUEST) for i in range(8)), *(drained(roles[i % 2].stream(REQUEST)) for i in range(8))
    )
    stats = vendor.stats()
    assert stats["chat"] == 16
    assert stats["max_in_flight"] == 3
    assert (limiter.running, limiter.queued) == (0, 0)


async def test_slots_are_given_in_the_order_of_asking():
    limiter = Limiter(1)
    order: list[int] = []

    async def work(number: int) -> None:
        async with limiter.slot():
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(work(i) for i in range(20)))
    assert order == list(range(20))


async def test_a_caller_that_leaves_the_queue_takes_no_slot():
    limiter = Limiter(1)
    async with limiter.slot():
        waiting = asyncio.create_task(limiter.slot().__aenter__())
        await asyncio.sleep(0)
        assert limiter.queued == 1
        waiting.cancel()
        await asyncio.wait([waiting])
    assert (limiter.running, limiter.queued) == (0, 0)
    async with asyncio.timeout(1), limiter.slot():
        pass


async def test_a_closed_stream_gives_its_slot_back(vendor: Vendor, chat: OpenAIChat):
    vendor.control(delta_delay_s=0.02)
    limited = Limited(chat, Limiter(1))
    async with aclosing(limited.stream(REQUEST)) as items:
        await anext(items)
    async with asyncio.timeout(5):
        await limited.complete(REQUEST)


# ----------------------------------------------------------------------------- cache


async def test_a_repeated_request_is_answered_from_the_store_and_costs_nothing(
    vendor: Vendor, chat: OpenAIChat, store: KVStore
):
    cached = Cached(chat, store)
    first, second = await cached.complete(REQUEST), await cached.complete(REQUEST)
    assert first.text == second.text
    assert (first.is_cached, second.is_cached) == (False, True)
    assert second.usage == Usage()
    assert vendor.stats()["chat"] == 1
    await cached.complete(ChatRequest(TURNS, temperature=0.3))
    assert vendor.stats()["chat"] == 2


async def test_a_stream_that_ended_is_kept_and_replayed_whole_or_as_a_stream(
    vendor: Vendor, chat: OpenAIChat, store: KVStore
):
    cached = Cached(chat, store)
    await drained(cached.stream(REQUEST))
    items = await drained(cached.stream(REQUEST))
    assert items[0] == reply_to(TURNS)
    assert isinstance(items[1], ChatReply)
    assert items[1].is_cached
    assert (await cached.complete(REQUEST)).is_cached
    assert vendor.stats()["chat"] == 1


async def test_a_stream_that_was_left_is_not_kept(chat: OpenAIChat, store: KVStore):
    cached = Cached(chat, store)
    async with aclosing(cached.stream(REQUEST)) as items:
        await anext(items)
    assert await store.count() == 0


async def test_another_model_has_other_replies(store: KVStore):
    class Other(FakeChat):
        identity = "fake/other"

    await Cached(FakeChat(), store).complete(REQUEST)
    assert not (await Cached(Other(), store).complete(REQUEST)).is_cached


@pytest.mark.parametrize("reply", [ChatReply("half a rep", Usage(1), "length"), ChatReply(" \n", Usage(1))])
async def test_a_reply_that_is_cut_or_blank_is_not_kept(store: KVStore, reply: ChatReply):
    class Poor(FakeChat):
        async def complete(self, request: ChatRequest) -> ChatReply:
            return reply

    cached = Cached(Poor(), store)
    await cached.complete(REQUEST)
    assert not (await cached.complete(REQUEST)).is_cached


# ----------------------------------------------------------------------------- counts


async def test_counts_tell_what_came_of_all_calls_and_what_they_cost(vendor: Vendor, chat: OpenAIChat):
    limiter = Limiter(2)
    counting = Counting(Limited(chat, limiter), limiter)
    reply = await counting.complete(REQUEST)
    await drained(counting.stream(REQUEST))
    async with aclosing(counting.stream(REQUEST)) as items:
        await anext(items)
    vendor.fault("status", status=500)
    with pytest.raises(ProviderUnavailable):
        await counting.complete(REQUEST)
    counts = counting.snapshot()
    assert (counts.submitted, counts.completed, counts.failed, counts.cancelled) == (4, 2, 1, 1)
    assert counts.usage == reply.usage + reply.usage


async def test_counts_show_what_runs_and_what_waits(vendor: Vendor, chat: OpenAIChat):
    vendor.control(latency_s=0.2)
    limiter = Limiter(2)
    counting = Counting(Limited(chat, limiter), limiter)
    calls = [asyncio.create_task(counting.complete(REQUEST)) for _ in range(5)]
    await asyncio.sleep(0.1)
    counts = counting.snapshot()
    assert (counts.limit, counts.running, counts.queued, counts.submitted) == (2, 2, 3, 5)
    await asyncio.gather(*calls)


# ----------------------------------------------------------------------------- embedders

TEXTS = [f"text number {i} of many" for i in range(50)]


def batched(inner: OpenAIEmbedder | FakeEmbedder, pauses: Pauses | None = None, **options: object) -> BatchedEmbedder:
    limiter = options.pop("limiter", Limiter(4))
    backoff = (pauses or Pauses()).backoff(2)
    return BatchedEmbedder(inner, batch_size=7, limiter=limiter, backoff=backoff, **options)  # type: ignore[arg-type]


@pytest.fixture
async def embedder(vendor: Vendor) -> AsyncIterator[OpenAIEmbedder]:
    settings = EmbeddingSettings(binding="openai", host=vendor.openai_url, model="m")
    embedder = OpenAIEmbedder.from_settings(settings, Compute(1))
    yield embedder
    await embedder.close()


async def test_batches_run_together_within_the_limit_and_keep_the_order(vendor: Vendor, embedder: OpenAIEmbedder):
    vendor.control(embed_latency_s=0.02)
    outer = batched(embedder)
    vectors = await outer.embed(TEXTS, "document")
    np.testing.assert_allclose(vectors, vectors_of(TEXTS, 256), atol=1e-6)
    stats = vendor.stats()
    assert (stats["embed"], stats["texts"], stats["max_in_flight"]) == (8, 50, 4)
    assert outer.dimension == 256
    assert outer.snapshot().completed == 8


async def test_a_failed_batch_is_tried_again_alone(vendor: Vendor, embedder: OpenAIEmbedder):
    vendor.fault("status", status=429, retry_after="3", next=2)
    pauses = Pauses(luck=0.0)
    assert len(await batched(embedder, pauses).embed(TEXTS, "document")) == 50
    assert pauses.waits == [3.0, 3.0]
    assert vendor.stats()["embed"] == 10


async def test_one_batch_that_fails_for_good_fails_the_call(vendor: Vendor, embedder: OpenAIEmbedder):
    vendor.fault("status", status=401)
    with pytest.raises(ProviderRejected):
        await batched(embedder).embed(TEXTS, "document")


async def test_vectors_of_another_length_are_refused_with_both_lengths(vendor: Vendor, embedder: OpenAIEmbedder):
    outer = batched(embedder)
    await outer.embed(["first"], "document")
    vendor.fault("wrong_dimension")
    with pytest.raises(DimensionMismatch, match=r"257.*256"):
        await outer.embed(["second"], "document")
    with pytest.raises(DimensionMismatch, match=r"256.*1024"):
        await batched(embedder, dimension=1024).embed(["third"], "document")


async def test_prefixes_and_blank_texts_reach_the_vendor_as_text(vendor: Vendor, embedder: OpenAIEmbedder):
    outer = batched(embedder, prefixes={"query": "Q: ", "document": "D: "})
    await outer.embed(["where?"], "query")
    assert vendor.stats()["last_body"]["input"] == ["Q: where?"]
    await outer.embed(["here", ""], "document")
    assert vendor.stats()["last_body"]["input"] == ["D: here", "D: -"]


class Odd(FakeEmbedder):
    def __init__(self, vectors: object) -> None:
        super().__init__()
        self.dimension = None
        self._vectors = np.array(vectors, np.float32)

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> NDArray[np.float32]:
        return self._vectors


async def test_vectors_are_made_unit_length():
    vectors = await batched(Odd([[3.0, 4.0], [0.0, 2.0]])).embed(["a", "b"], "query")
    np.testing.assert_allclose(vectors, [[0.6, 0.8], [0.0, 1.0]])
    assert vectors.dtype == np.float32


@pytest.mark.parametrize("vectors", [[[np.nan, 1.0]], [[np.inf, 1.0]], [[0.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]], [1.0]])
async def test_vectors_that_mean_nothing_are_refused(vectors: object):
    with pytest.raises(BadReply):
        await batched(Odd(vectors)).embed(["a"], "query")
