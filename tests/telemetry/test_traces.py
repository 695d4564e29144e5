"""Spans as a collector receives them."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.conftest import STORY, opened
from tests.server import environment, running
from tests.telemetry.collector import Collector, Told, collecting

QUESTION = {"query": "Who was Marley?"}
WAIT_S = 30.0
CALLER = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = {"traceparent": f"00-{CALLER}-b7ad6b7169203331-01"}


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def only(spans: list[Told]) -> Told:
    [span] = spans
    return span


async def traced(folder: Path, collector: Collector, **variables: str) -> None:
    """Index a document and ask a question; spans are sent at the end."""
    async with opened(folder, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, MODEL_PRICES="names=1/1", **variables) as api:
        await api.insert(STORY, "carol.txt")
        await api.idle()
        assert (await api.client.post("/query", json=QUESTION, headers=TRACEPARENT)).status_code == 200
        assert (await api.client.get("/health")).status_code == 200


async def test_a_document_is_one_trace_and_a_question_is_part_of_the_callers(tmp_path: Path) -> None:
    with collecting() as collector:
        await traced(tmp_path, collector, OTEL_SERVICE_NAME="books")
    assert collector.paths == {"/v1/traces"}
    assert {span.service for span in collector.spans} == {"books"}
    root = only(collector.named("document"))
    assert root.parent == ""
    assert root.attributes["lightrag.file"] == "carol.txt"
    assert root.attributes["lightrag.chunks"] == 1
    of_document = [span for span in collector.spans if span.trace == root.trace]
    assert {"prepare", "chunk", "extract", "embed", "commit", "chat names"} <= {span.name for span in of_document}
    assert only(collector.named("prepare")).parent == only(collector.named("commit")).parent == root.id
    extraction = next(span for span in of_document if span.name == "chat names")
    assert extraction.parent == only(collector.named("extract")).id
    asked = only(collector.named("POST /query"))
    assert (asked.trace, asked.parent, asked.kind) == (CALLER, "b7ad6b7169203331", 2)
    of_question = [span for span in collector.spans if span.trace == CALLER]
    assert {"embed", "search", "walk", "rank", "fit"} <= {span.name for span in of_question}
    assert {span.trace for span in collector.spans} == {root.trace, CALLER}, "nothing else is traced"
    assert all(span.start <= span.end for span in collector.spans)


async def test_calls_to_models_have_the_attributes_of_the_conventions(tmp_path: Path) -> None:
    with collecting() as collector:
        await traced(tmp_path, collector)
    answer = next(s for s in collector.named("chat names") if s.attributes["lightrag.kind"] == "query")
    told = answer.attributes
    assert answer.kind == 3
    assert answer.trace == CALLER
    assert (told["gen_ai.operation.name"], told["gen_ai.provider.name"]) == ("chat", "fake")
    assert told["gen_ai.request.model"] == "names"
    sent, received = told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]
    assert sent > 0
    assert received > 0
    assert told["gen_ai.usage.cost"] == pytest.approx((sent + received) / 1e6)
    assert told["gen_ai.response.finish_reasons"] == ["stop"]
    embedding = next(s for s in collector.spans if s.attributes.get("gen_ai.operation.name") == "embeddings")
    assert embedding.attributes["gen_ai.usage.input_tokens"] > 0
    assert "Marley" not in str(collector.spans), "prompts and replies are nobody's business unless asked for"


async def test_prompts_and_replies_are_told_where_they_are_asked_for(tmp_path: Path) -> None:
    with collecting() as collector:
        await traced(tmp_path, collector, OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="true")
    answer = next(s for s in collector.named("chat names") if s.attributes["lightrag.kind"] == "query")
    *_, asked = json.loads(answer.attributes["gen_ai.input.messages"])
    assert asked == {"role": "user", "parts": [{"type": "text", "content": QUESTION["query"]}]}
    [reply] = json.loads(answer.attributes["gen_ai.output.messages"])
    assert reply["role"] == "assistant"
    assert reply["parts"][0]["content"]


def test_work_on_one_document_by_two_processes_is_one_trace(tmp_path: Path) -> None:
    """The first one is killed while it prepares; the second one goes on."""
    with collecting() as collector:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        with running(tmp_path, LLM_BINDING="openai", LLM_BINDING_HOST="http://127.0.0.1:9/v1", **variables) as server:
            sent = {"text": STORY, "file_source": "carol.txt"}
            with server.client() as client:
                assert client.post("/documents/text", json=sent).status_code == 200
            wait_for(lambda: collector.named("chunk") != [])
            server.kill_group()
        with running(tmp_path, **variables) as server:
            wait_for(lambda: collector.named("document") != [])
            server.stop()
    roots = collector.named("document")
    assert {span.trace for span in collector.named("chunk") + collector.named("commit")} == {only(roots).trace}


async def test_langfuse_is_given_its_own_address_and_credential(tmp_path: Path) -> None:
    with collecting() as collector:
        keys = {"LANGFUSE_PUBLIC_KEY": "pk-1", "LANGFUSE_SECRET_KEY": "sk-2", "LANGFUSE_HOST": collector.url}
        async with opened(tmp_path, **keys) as api:
            assert (await api.client.post("/query", json=QUESTION)).status_code == 200
    assert collector.paths == {"/api/public/otel/v1/traces"}
    assert collector.authorizations == {f"Basic {base64.b64encode(b'pk-1:sk-2').decode()}"}
    assert collector.named("POST /query")


def test_without_an_address_nothing_of_it_is_imported(tmp_path: Path) -> None:
    program = """
import asyncio, sys
from pathlib import Path
from lightrag_server.bootstrap import open_app
from lightrag_server.settings.loader import load

async def main():
    environ = {"LLM_BINDING": "fake", "EMBEDDING_BINDING": "fake"}
    async with open_app(load([], environ=environ, start_dir=Path(sys.argv[1]))):
        pass

asyncio.run(main())
print([name for name in sys.modules if name.startswith("opentelemetry.sdk") or "otlp" in name])
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    told = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout == "[]\n"


async def test_what_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "lightrag_server.telemetry.traces", None)
    async with opened(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9") as api:
        assert (await api.client.post("/query", json=QUESTION)).status_code == 200
    assert "lightrag-server[otel]" in caplog.text
