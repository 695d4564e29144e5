"""OpenAI's and Ollama's adapters through their SDKs against a real port."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Literal

import numpy as np
import pytest
from pydantic import SecretStr

from lightrag_server.bindings.local.fake import reply_to, vectors_of
from lightrag_server.bindings.registry import EMBEDDERS, LLMS, load
from lightrag_server.compute import Compute
from lightrag_server.core.records import Turn
from lightrag_server.errors import (
    BadReply,
    ProviderError,
    ProviderRejected,
    ProviderThrottled,
    ProviderTimeout,
    ProviderUnavailable,
)
from lightrag_server.ports.embedding import Embedder
from lightrag_server.ports.llm import LLM, ChatReply, ChatRequest
from lightrag_server.settings.bindings import EmbeddingSettings, LLMSettings
from tests.vendor import Vendor

Wire = Literal["openai", "ollama"]
KEY = "sk-this-must-stay-secret"
TURNS = (
    Turn(
        "system", "Answer from: [1] The lighthouse of Kallnes was built in 1902 by Greta Holm. [2] Rain fell all day."
    ),
    Turn("user", "Who built the lighthouse of Kallnes?"),
)
REQUEST = ChatRequest(TURNS)
TEXTS = ["one red boat", "two green boats", "三条蓝色的船", "four"]
SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}

wires = pytest.mark.parametrize("wire", ["openai", "ollama"])


def host_of(vendor: Vendor, wire: Wire) -> str:
    return vendor.openai_url if wire == "openai" else vendor.url


def open_chat(vendor: Vendor, wire: Wire, **settings: Any) -> LLM:
    group = LLMSettings(binding=wire, host=host_of(vendor, wire), model="m", api_key=SecretStr(KEY), **settings)
    return load(wire, LLMS[wire], group, Compute(1))


def open_embedder(vendor: Vendor, wire: Wire, **settings: Any) -> Embedder:
    group = EmbeddingSettings(binding=wire, host=host_of(vendor, wire), model="m", api_key=SecretStr(KEY), **settings)
    return load(wire, EMBEDDERS[wire], group, Compute(1))


@pytest.fixture
async def chat(vendor: Vendor, wire: Wire) -> AsyncIterator[LLM]:
    llm = open_chat(vendor, wire, timeout_s=1.0)
    yield llm
    await llm.close()


@pytest.fixture
async def embedder(vendor: Vendor, wire: Wire) -> AsyncIterator[Embedder]:
    embedder = open_embedder(vendor, wire, timeout_s=1.0)
    yield embedder
    await embedder.close()


async def collected(llm: LLM, request: ChatRequest) -> tuple[list[str], ChatReply]:
    items = [item async for item in llm.stream(request)]
    assert isinstance(items[-1], ChatReply)
    return [item for item in items[:-1] if isinstance(item, str)], items[-1]


# ----------------------------------------------------------------------------- what is said


@wires
async def test_complete_returns_text_and_cost(vendor: Vendor, wire: Wire, chat: LLM):
    reply = await chat.complete(REQUEST)
    assert reply.text == reply_to(TURNS)
    assert "Greta Holm" in reply.text
    assert reply.finish_reason == "stop"
    stats = vendor.stats()
    assert (reply.usage.calls, reply.usage.prompt_tokens, reply.usage.completion_tokens) == (
        1,
        stats["prompt_tokens"],
        stats["completion_tokens"],
    )
    assert stats["last_authorization"] == f"Bearer {KEY}"


@wires
async def test_stream_yields_text_in_order_then_the_whole_reply(wire: Wire, chat: LLM):
    deltas, reply = await collected(chat, REQUEST)
    assert len(deltas) > 3
    assert "".join(deltas) == reply.text == reply_to(TURNS)
    assert reply.usage.prompt_tokens > 0
    assert reply.usage.completion_tokens > 0


async def test_openai_is_given_limits_temperature_and_schema(vendor: Vendor):
    llm = open_chat(vendor, "openai", temperature=0.5)
    await llm.complete(ChatRequest(TURNS, max_tokens=99, json_schema=SCHEMA))
    body = vendor.stats()["last_body"]
    assert (body["max_tokens"], body["temperature"]) == (99, 0.5)
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    await llm.complete(ChatRequest(TURNS, temperature=0.0))
    assert vendor.stats()["last_body"]["temperature"] == 0.0
    await llm.close()


async def test_ollama_is_given_its_context_size_limits_and_schema(vendor: Vendor):
    llm = open_chat(vendor, "ollama", max_context_tokens=4096)
    await llm.complete(ChatRequest(TURNS, max_tokens=99, temperature=0.0, json_schema=SCHEMA))
    body = vendor.stats()["last_body"]
    assert body["options"] == {"num_ctx": 4096, "num_predict": 99, "temperature": 0.0}
    assert body["format"] == SCHEMA
    await llm.close()


@pytest.mark.parametrize(
    ("refused", "calls", "said"),
    [
        (["json_schema"], 2, {"type": "json_object"}),
        (["response_format"], 3, None),
    ],
)
async def test_a_host_without_schemas_is_asked_in_a_simpler_way_from_then_on(
    vendor: Vendor, refused: list[str], calls: int, said: object
):
    vendor.control(refuses=refused)
    llm = open_chat(vendor, "openai")
    request = ChatRequest(TURNS, json_schema=SCHEMA)
    await llm.complete(request)
    assert vendor.stats()["chat"] == calls
    assert vendor.stats()["last_body"].get("response_format") == said
    await llm.complete(request)
    assert vendor.stats()["chat"] == calls + 1
    await llm.close()


async def test_a_model_that_names_its_limit_otherwise_gets_that_name(vendor: Vendor):
    vendor.control(refuses=["max_tokens", "temperature", "stream_options"])
    llm = open_chat(vendor, "openai", temperature=0.1)
    _, reply = await collected(llm, ChatRequest(TURNS, max_tokens=9))
    body = vendor.stats()["last_body"]
    assert body["max_completion_tokens"] == 9
    assert {"max_tokens", "temperature", "stream_options"}.isdisjoint(body)
    assert reply.text == reply_to(TURNS)
    await llm.close()


async def test_a_prompt_that_is_too_long_says_nothing_about_schemas(vendor: Vendor):
    llm = open_chat(vendor, "openai")
    request = ChatRequest(TURNS, json_schema=SCHEMA)
    vendor.fault("status", status=400, code="context_length_exceeded")
    with pytest.raises(ProviderRejected, match="context_length_exceeded"):
        await llm.complete(request)
    vendor.fault("status", status=400, next=3)
    with pytest.raises(ProviderRejected):
        await llm.complete(request)
    await llm.complete(request)
    assert vendor.stats()["last_body"]["response_format"]["type"] == "json_schema"
    await llm.close()


# ----------------------------------------------------------------------------- faults

FAULTS = [
    ({"kind": "status", "status": 400}, ProviderRejected, None),
    ({"kind": "status", "status": 401}, ProviderRejected, None),
    ({"kind": "status", "status": 403}, ProviderRejected, None),
    ({"kind": "status", "status": 404}, ProviderRejected, None),
    ({"kind": "status", "status": 429, "retry_after": "7"}, ProviderThrottled, 7.0),
    ({"kind": "status", "status": 429}, ProviderThrottled, None),
    ({"kind": "status", "status": 500}, ProviderUnavailable, None),
    ({"kind": "status", "status": 503, "retry_after": "2.5"}, ProviderThrottled, 2.5),
    ({"kind": "timeout"}, ProviderTimeout, None),
    ({"kind": "hang_up"}, ProviderUnavailable, None),
    ({"kind": "rubbish"}, BadReply, None),
    ({"kind": "empty"}, BadReply, None),
]
faults = pytest.mark.parametrize(
    ("fault", "expected", "wait"), FAULTS, ids=["-".join(str(v) for v in f.values()) for f, _, _ in FAULTS]
)


def persist(vendor: Vendor, fault: dict[str, Any]) -> None:
    """A 400 lasts: simpler requests are tried after one."""
    vendor.control(faults=[fault | {"next": 4}])


def assert_discreet(error: ProviderError, wire: Wire) -> None:
    message = str(error)
    assert wire in message
    assert "'m'" in message
    assert KEY not in message
    assert "lighthouse" not in message
    assert "\n" not in message


@wires
@faults
async def test_a_failed_reply_is_one_of_our_errors(
    vendor: Vendor, wire: Wire, chat: LLM, fault: dict[str, Any], expected: type[ProviderError], wait: float | None
):
    persist(vendor, fault)
    with pytest.raises(ProviderError) as caught:
        await chat.complete(REQUEST)
    assert type(caught.value) is expected
    assert caught.value.retry_after_s == wait
    if fault["kind"] != "empty" or wire == "openai":
        assert caught.value.__cause__ is not None
    assert_discreet(caught.value, wire)


@wires
@faults
async def test_a_failed_stream_is_one_of_our_errors(
    vendor: Vendor, wire: Wire, chat: LLM, fault: dict[str, Any], expected: type[ProviderError], wait: float | None
):
    persist(vendor, fault)
    with pytest.raises(ProviderError) as caught:
        await collected(chat, REQUEST)
    if fault["kind"] not in ("rubbish", "empty"):  # what is no event of a stream leaves it without an end
        assert type(caught.value) is expected
    assert caught.value.retry_after_s == wait
    assert_discreet(caught.value, wire)


@wires
@faults
async def test_a_failed_embedding_is_one_of_our_errors(
    vendor: Vendor,
    wire: Wire,
    embedder: Embedder,
    fault: dict[str, Any],
    expected: type[ProviderError],
    wait: float | None,
):
    persist(vendor, fault)
    with pytest.raises(ProviderError) as caught:
        await embedder.embed(TEXTS, "document")
    assert type(caught.value) is expected
    assert caught.value.retry_after_s == wait
    assert_discreet(caught.value, wire)


@wires
async def test_a_stream_that_breaks_hands_on_what_came_before(vendor: Vendor, wire: Wire, chat: LLM):
    vendor.fault("hang_up")
    seen: list[str | ChatReply] = []

    async def read() -> None:
        async for item in chat.stream(REQUEST):
            seen.append(item)  # noqa: PERF401

    with pytest.raises(ProviderUnavailable):
        await read()
    assert seen
    assert reply_to(TURNS).startswith("".join(map(str, seen)))


@wires
async def test_retry_after_may_be_a_date(vendor: Vendor, wire: Wire, chat: LLM):
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    vendor.fault("status", status=429, retry_after=then)
    with pytest.raises(ProviderUnavailable) as caught:
        await chat.complete(REQUEST)
    assert caught.value.retry_after_s == pytest.approx(20, abs=2)


async def test_a_quota_that_is_used_up_is_not_worth_another_try(vendor: Vendor):
    vendor.fault("status", status=429, code="insufficient_quota")
    llm = open_chat(vendor, "openai")
    with pytest.raises(ProviderRejected):
        await llm.complete(REQUEST)
    await llm.close()


@wires
async def test_a_host_that_is_not_there_is_unavailable(wire: Wire):
    nobody = Vendor(1)
    llm, embedder = open_chat(nobody, wire), open_embedder(nobody, wire)
    with pytest.raises(ProviderUnavailable):
        await llm.complete(REQUEST)
    with pytest.raises(ProviderUnavailable):
        await collected(llm, REQUEST)
    with pytest.raises(ProviderUnavailable):
        await embedder.embed(TEXTS, "document")
    await llm.close()
    await embedder.close()


# ----------------------------------------------------------------------------- leaving


@wires
async def test_closing_a_stream_cancels_the_call_of_the_vendor(vendor: Vendor, wire: Wire, chat: LLM):
    vendor.control(delta_delay_s=0.05)
    async with aclosing(chat.stream(REQUEST)) as items:
        async for _ in items:
            break
    await until(lambda: vendor.stats()["cancelled_streams"] == 1)
    assert vendor.stats()["in_flight"] == 0


@wires
async def test_cancelling_the_reader_cancels_the_call_of_the_vendor(vendor: Vendor, wire: Wire, chat: LLM):
    vendor.control(latency_s=5.0)
    reading = asyncio.create_task(collected(chat, REQUEST))
    await until(lambda: vendor.stats()["in_flight"] == 1)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await until(lambda: vendor.stats()["cancelled_streams"] == 1)


async def until(holds: Any, patience_s: float = 2.0) -> None:
    end = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < end, "did not come to pass"
        await asyncio.sleep(0.01)


# ----------------------------------------------------------------------------- vectors


@wires
async def test_vectors_come_in_the_order_of_the_texts(wire: Wire, embedder: Embedder):
    vectors = await embedder.embed(TEXTS, "document")
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, vectors_of(TEXTS, 256), atol=1e-6)


@wires
async def test_nothing_is_asked_for_no_texts(vendor: Vendor, wire: Wire, embedder: Embedder):
    assert (await embedder.embed([], "document")).shape[0] == 0
    assert vendor.stats()["embed"] == 0


async def test_openai_is_asked_for_base64_and_numbers_are_read_too(vendor: Vendor):
    embedder = open_embedder(vendor, "openai")
    first = await embedder.embed(TEXTS, "document")
    assert vendor.stats()["last_body"]["encoding_format"] == "base64"
    vendor.control(ignores_base64=True)
    np.testing.assert_allclose(await embedder.embed(TEXTS, "document"), first, atol=1e-6)
    await embedder.close()


async def test_a_host_that_refuses_base64_is_asked_for_numbers_from_then_on(vendor: Vendor):
    vendor.control(refuses=["base64"])
    embedder = open_embedder(vendor, "openai")
    for _ in range(2):
        await embedder.embed(TEXTS, "document")
    assert vendor.stats()["embed"] == 3
    await embedder.close()


@wires
async def test_the_configured_dimension_is_asked_for_only_where_told_so(vendor: Vendor, wire: Wire):
    asking = open_embedder(vendor, wire, dimension=64, send_dimension=True)
    assert (await asking.embed(TEXTS, "document")).shape == (4, 64)
    silent = open_embedder(vendor, wire, dimension=64)
    assert (await silent.embed(TEXTS, "document")).shape == (4, 256)
    await asking.close()
    await silent.close()
