"""Ollama's official client, and plain requests, against a real server and a vendor on a real port."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest

from tests.api.conftest import STORY, Api, opened, settings_of
from tests.api.test_over_the_wire import index, open_connection, send, wait_until
from tests.server import Server, running
from tests.vendor import Vendor

GOLDEN = Path(__file__).parent / "golden"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
ASK = "/naive Who was Jacob Marley?"
REPLY = "Jacob Marley was the partner of Scrooge [1]."
SOURCES = "\n\n- [1] carol.txt"
TASK = (
    "### Task:\nGive this chat a name.\n### Chat History:\n<chat_history>\nUSER: hi\nASSISTANT: hello\n</chat_history>"
)
COUNTS = ("total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration")


@pytest.fixture(scope="module")
def server(vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With one document, and a model that sees."""
    variables = {**settings_of(vendor), "LLM_MODEL": "writes", "VLM_LLM_MODEL": "sees"}
    with running(tmp_path_factory.mktemp("server"), **variables) as started:
        with started.client() as client:
            index(client)
        yield started


@pytest.fixture
def client(server: Server, vendor: Vendor) -> Iterator[httpx.Client]:
    vendor.reset()
    vendor.control(reply=REPLY)
    with server.client() as client:
        yield client


@pytest.fixture
def official(server: Server, client: httpx.Client) -> Iterator[ollama.Client]:
    """Ollama's own client; `client` has set the vendor up."""
    opened_client = ollama.Client(server.address, timeout=20, trust_env=False)
    yield opened_client
    opened_client.close()


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """The fake models in this process, and none that sees."""
    async with opened(tmp_path) as opened_api:
        yield opened_api


def said(content: str, **more: Any) -> dict[str, Any]:
    return {"model": "lightrag:latest", "messages": [{"role": "user", "content": content}], **more}


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def asked(vendor: Vendor) -> list[dict[str, Any]]:
    """The messages that the vendor was sent last."""
    return vendor.stats()["last_body"]["messages"]


# ----------------------------------------------------------------------------- models


def test_the_client_lists_shows_and_sees_the_model_running(official: ollama.Client):
    listed = official.list().models[0]
    assert (listed.model, listed.size, listed.digest) == ("lightrag:latest", 7365960935, "sha256:lightrag")
    assert listed.modified_at
    assert abs(listed.modified_at - datetime.now(UTC)) < timedelta(minutes=5)
    assert listed.details
    assert (listed.details.family, listed.details.parameter_size) == ("lightrag", "13B")
    loaded = official.ps().models[0]
    assert (loaded.model, loaded.size_vram) == ("lightrag:latest", 7365960935)
    shown = official.show("lightrag:latest")
    assert shown.capabilities == ["completion", "vision"]
    assert shown.modelinfo
    assert shown.modelinfo["lightrag.context_length"] == 32768
    with pytest.raises(ollama.ResponseError, match="llama4") as caught:
        official.show("llama4")
    assert caught.value.status_code == 404


async def test_the_model_carries_the_configured_name_and_sees_only_where_a_model_does(tmp_path: Path):
    names = {"OLLAMA_EMULATING_MODEL_NAME": "library", "OLLAMA_EMULATING_MODEL_TAG": "v2"}
    async with opened(tmp_path, **names) as api:
        assert (await api.client.get("/api/version")).json() == {"version": "0.9.3"}
        assert (await api.client.get("/api/tags")).json()["models"][0]["name"] == "library:v2"
        for name in ("library", "library:v2"):
            assert (await api.client.post("/api/show", json={"name": name})).json()["capabilities"] == ["completion"]


# ----------------------------------------------------------------------------- answers


def test_the_client_is_answered_from_the_documents(official: ollama.Client, vendor: Vendor):
    reply = official.chat("lightrag", [{"role": "user", "content": ASK}])
    assert reply.message.content == REPLY + SOURCES
    assert (reply.done, reply.done_reason, reply.load_duration) == (True, "stop", 0)
    assert reply.prompt_eval_count
    assert reply.prompt_eval_count > 200
    assert reply.total_duration
    assert reply.prompt_eval_duration
    assert reply.eval_duration
    assert reply.prompt_eval_duration + reply.eval_duration <= reply.total_duration < 20e9
    assert "Jacob Marley died seven years ago" in asked(vendor)[0]["content"]
    assert asked(vendor)[1] == {"role": "user", "content": "Who was Jacob Marley?"}


def test_a_stream_ends_with_the_sources_and_the_counts(official: ollama.Client):
    parts = list(official.chat("lightrag", [{"role": "user", "content": ASK}], stream=True))
    *pieces, last = parts
    assert "".join(p.message.content or "" for p in pieces) == REPLY + SOURCES
    assert pieces[-1].message.content == SOURCES
    assert not any(p.done for p in pieces)
    assert (last.done, last.done_reason, last.message.content) == (True, "stop", "")
    assert last.eval_count
    assert last.created_at
    assert datetime.fromisoformat(last.created_at) > datetime.now(UTC) - timedelta(minutes=1)


def normalised(text: str) -> str:
    """Times, durations and the length of our prompt replaced; everything else as it went over the wire."""
    text = re.sub(r'"created_at": "\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"', '"created_at": "TIME"', text)
    return re.sub(r'"(\w+_duration|prompt_eval_count)": [1-9]\d*', r'"\1": 1', text)


@pytest.mark.parametrize(
    ("name", "path", "body"),
    [
        ("chat", "/api/chat", said(ASK)),
        ("generate", "/api/generate", {"model": "lightrag:latest", "prompt": "Say it.", "stream": True}),
    ],
)
def test_the_wire_form_of_a_stream_stays(client: httpx.Client, name: str, path: str, body: dict[str, Any]):
    reply = client.post(path, json=body)
    assert reply.headers["content-type"] == "application/x-ndjson"
    assert reply.headers["cache-control"] == "no-cache"
    assert normalised(reply.text) == (GOLDEN / f"ollama_{name}.ndjson").read_text(encoding="utf-8")


def test_chats_stream_by_default_and_generations_do_not(client: httpx.Client):
    assert len(rows(client.post("/api/chat", json=said(ASK)).text)) > 3
    reply = client.post("/api/generate", json={"model": "m", "prompt": "Say it."}).json()
    assert (reply["response"], reply["context"], reply["done"]) == (REPLY, [], True)
    assert all(isinstance(reply[name], int) for name in COUNTS)


@pytest.mark.parametrize(("variables", "has_graph"), [({}, True), ({"OLLAMA_DEFAULT_MODE": "naive"}, False)])
async def test_without_a_prefix_the_configured_mode_answers(
    vendor: Vendor, tmp_path: Path, variables: dict[str, str], has_graph: bool
):
    vendor.reset()
    async with opened(tmp_path, **{**settings_of(vendor), "INDEX_PROFILE": "full", **variables}) as api:
        assert api.app.state.settings.ollama.default_mode == variables.get("OLLAMA_DEFAULT_MODE", "hybrid")
        await api.insert(STORY, "carol.txt")
        await api.client.post("/api/chat", json=said("Who was Jacob Marley?", stream=False))
        assert ("Entities of the knowledge graph" in asked(vendor)[0]["content"]) is has_graph


def test_the_evidence_costs_no_call_and_is_not_followed_by_sources(client: httpx.Client, vendor: Vendor):
    for prefix in ("/context", "/naivecontext", "/mixcontext"):
        text = "".join(
            r["message"]["content"] for r in rows(client.post("/api/chat", json=said(f"{prefix} Marley")).text)
        )
        assert "Jacob Marley died" in text
        assert not text.endswith(SOURCES)
    assert vendor.stats()["chat"] == 0


def test_instructions_in_brackets_reach_the_model_and_not_the_search(client: httpx.Client, vendor: Vendor):
    client.post("/api/chat", json=said("/naive[Answer as a pirate] Who was Jacob Marley?"))
    assert "Answer as a pirate" in asked(vendor)[0]["content"]
    assert asked(vendor)[-1]["content"] == "Who was Jacob Marley?"


def test_earlier_messages_are_the_history(client: httpx.Client, vendor: Vendor):
    earlier = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Good day."},
        {"role": "tool", "content": "42"},
    ]
    client.post("/api/chat", json=said(ASK) | {"messages": [*earlier, *said(ASK)["messages"]]})
    assert asked(vendor)[1:-1] == [*earlier[:3], {"role": "user", "content": "42"}]


def test_bypass_asks_the_model_alone_and_counts_as_its_vendor_does(client: httpx.Client, vendor: Vendor):
    reply = client.post("/api/chat", json=said("/bypass hi", stream=False, system="Be kind.")).json()
    assert reply["message"]["content"] == REPLY
    counts = vendor.stats()["prompt_tokens"], vendor.stats()["completion_tokens"]
    assert (reply["prompt_eval_count"], reply["eval_count"]) == counts
    assert asked(vendor) == [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}]
    assert vendor.stats()["embed"] == 0


@pytest.mark.parametrize("stream", [True, False])
def test_tasks_of_open_webui_go_to_the_model_alone(client: httpx.Client, vendor: Vendor, stream: bool):
    reply = client.post("/api/chat", json=said(TASK, stream=stream))
    assert "".join(r["message"]["content"] for r in rows(reply.text)) == REPLY
    assert asked(vendor) == [{"role": "user", "content": TASK}]
    assert vendor.stats()["embed"] == 0


def test_options_reach_the_answering_call(official: ollama.Client, vendor: Vendor):
    options = {"temperature": 0.1, "num_predict": 3, "stop": ["partner"], "num_ctx": 99, "mirostat": 2}
    reply = official.chat("lightrag", [{"role": "user", "content": ASK}], options=options)
    body = vendor.stats()["last_body"]
    assert (body["temperature"], body["max_tokens"], body["stop"]) == (0.1, 3, ["partner"])
    assert (reply.done_reason, reply.eval_count) == ("length", 3)
    unlimited = official.generate("lightrag", "Say it.", options={"num_predict": -1, "stop": ["partner"]})
    assert unlimited.response == REPLY[: REPLY.index("partner")]
    assert "max_tokens" not in vendor.stats()["last_body"]


def test_sources_are_those_that_are_cited_and_the_setting_leaves_them_out(vendor: Vendor, tmp_path: Path):
    with running(tmp_path, **settings_of(vendor), OLLAMA_SOURCES="false") as server, server.client() as client:
        vendor.reset()
        vendor.control(reply=REPLY)
        index(client)
        assert client.post("/api/chat", json=said(ASK, stream=False)).json()["message"]["content"] == REPLY


async def test_an_empty_prompt_loads_the_model(api: Api):
    reply = (await api.client.post("/api/generate", json={"model": "m", "prompt": ""})).json()
    assert (reply["response"], reply["done"], reply["done_reason"]) == ("", True, "load")


async def test_without_documents_the_answer_says_so(api: Api):
    reply = await api.client.post("/api/chat", json=said("Who was Jacob Marley?", stream=False))
    content = reply.json()["message"]["content"]
    assert content.endswith("[no-context]")


# ----------------------------------------------------------------------------- pictures


def test_pictures_go_to_the_model_that_sees_and_the_search_reads_the_text(official: ollama.Client, vendor: Vendor):
    message = {"role": "user", "content": "/naive Who is Jacob Marley here?", "images": [base64.b64decode(PNG)]}
    assert official.chat("lightrag", [message]).message.content == REPLY + SOURCES
    body = vendor.stats()["last_body"]
    assert body["model"] == "sees"
    text, picture = body["messages"][-1]["content"]
    assert text == {"type": "text", "text": "Who is Jacob Marley here?"}
    assert picture["image_url"]["url"] == f"data:image/png;base64,{PNG}"
    assert "Jacob Marley died" in body["messages"][0]["content"]
    official.generate("lightrag", "What is this?", images=[base64.b64decode(PNG)])
    assert vendor.stats()["last_body"]["model"] == "sees"
    official.chat("lightrag", [{"role": "user", "content": ASK}])
    assert vendor.stats()["last_body"]["model"] == "writes"


def test_a_picture_in_the_history_wants_the_model_that_sees_too(client: httpx.Client, vendor: Vendor):
    earlier = [{"role": "user", "content": "Look.", "images": [PNG]}, {"role": "assistant", "content": "I do."}]
    client.post("/api/chat", json=said(ASK) | {"messages": [*earlier, *said(ASK)["messages"]]})
    assert vendor.stats()["last_body"]["model"] == "sees"


@pytest.mark.parametrize("stream", [True, False])
async def test_without_a_model_that_sees_pictures_are_refused_before_anything_is_searched(api: Api, stream: bool):
    message = {"role": "user", "content": "What is this?", "images": [PNG]}
    reply = await api.client.post("/api/chat", json={"model": "m", "messages": [message], "stream": stream})
    assert reply.status_code == 400
    assert "VLM_LLM_MODEL" in reply.json()["error"]


def test_megabytes_of_pictures_are_taken(client: httpx.Client, vendor: Vendor):
    large = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(3 * 1024**2)).decode()
    message = {"role": "user", "content": ASK, "images": [large] * 4}
    reply = client.post("/api/chat", json={"model": "m", "messages": [message], "stream": False})
    assert reply.status_code == 200, reply.text
    assert len(vendor.stats()["last_body"]["messages"][-1]["content"]) == 5


# ----------------------------------------------------------------------------- vectors


def test_texts_are_embedded_as_questions_are(official: ollama.Client):
    both = official.embed("any", ["Jacob Marley", "a counting house"])
    assert len(both.embeddings) == 2
    assert sum(x * x for x in both.embeddings[0]) == pytest.approx(1.0, abs=1e-3)
    assert both.prompt_eval_count
    assert list(official.embed("any", "Jacob Marley").embeddings[0]) == pytest.approx(list(both.embeddings[0]))
    assert list(official.embeddings("any", "Jacob Marley").embedding) == pytest.approx(list(both.embeddings[0]))
    assert list(official.embeddings("any", "").embedding) == []


# ----------------------------------------------------------------------------- refusals


def message(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "Who was Marley?", **fields}]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", {"model": "m"}),
        ("/api/chat", {"model": "m", "messages": []}),
        ("/api/chat", message() | {"model": "m" * 257}),
        ("/api/chat", message(role="assistant")),
        ("/api/chat", message(role="r" * 65)),
        ("/api/chat", message(content="c" * 32_769)),
        ("/api/chat", message(content="ab")),
        ("/api/chat", message(content="/mix")),
        ("/api/chat", message(images=[PNG] * 17)),
        ("/api/chat", message(images=["no picture"])),
        ("/api/chat", message() | {"system": "s" * 32_769}),
        ("/api/chat", message() | {"options": {"temperature": "hot"}}),
        ("/api/chat", message() | {"options": {"stop": ["s"] * 17}}),
        ("/api/chat", message() | {"options": {"stop": "s" * 257}}),
        ("/api/chat", {"model": "m", "messages": message()["messages"] * 129}),
        ("/api/generate", {"model": "m"}),
        ("/api/generate", {"model": "m", "prompt": "p" * 65_537}),
        ("/api/embed", {"model": "m", "input": 3}),
        ("/api/embeddings", {"model": "m"}),
    ],
)
async def test_a_bad_body_is_400_with_a_sentence(api: Api, path: str, body: dict[str, Any]):
    reply = await api.client.post(path, json=body)
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]
    assert reply.json()["detail"]


async def test_what_is_no_json_is_400(api: Api):
    reply = await api.client.post("/api/chat", content=b'{"model": ', headers={"Content-Type": "application/json"})
    assert reply.status_code == 400
    assert "JSON" in reply.json()["error"]


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/json"])
async def test_bodies_are_json_whatever_their_content_type_says(api: Api, content_type: str | None):
    headers = {"Content-Type": content_type} if content_type else {}
    reply = await api.client.post("/api/generate", content=b'{"model": "m", "prompt": ""}', headers=headers)
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize(
    ("origin", "listed", "status"),
    [
        ("http://test", "", 200),
        ("https://test", "", 200),
        ("https://elsewhere.example", "", 403),
        ("null", "", 403),
        ("http://test.elsewhere.example", "", 403),
        ("http://[", "", 403),
        ("https://chat.example", "https://chat.example, https://b.example", 200),
        ("https://elsewhere.example", "https://chat.example", 403),
        ("https://anywhere.example", "*", 200),
    ],
)
async def test_pages_of_other_origins_are_refused_unless_listed(tmp_path: Path, origin: str, listed: str, status: int):
    """Such a page can send text/plain without asking the server first."""
    async with opened(tmp_path, CORS_ORIGINS=listed) as api:
        headers = {"Origin": origin, "Content-Type": "text/plain"}
        reply = await api.client.post("/api/generate", content=b'{"model": "m", "prompt": ""}', headers=headers)
        assert reply.status_code == status, reply.text


async def test_bodies_are_documented_although_their_content_type_is_not_read(api: Api):
    paths = (await api.client.get("/openapi.json")).json()["paths"]
    for path in ("show", "chat", "generate", "embed", "embeddings"):
        assert "application/json" in paths[f"/api/{path}"]["post"]["requestBody"]["content"]


# ----------------------------------------------------------------------------- failures


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
@pytest.mark.parametrize("stream", [True, False])
def test_before_the_first_byte_a_failure_is_a_status(client: httpx.Client, vendor: Vendor, path: str, stream: bool):
    vendor.fault("status", on="chat", status=500)
    reply = client.post(path, json=said(ASK, stream=stream, prompt="Say it."))
    assert reply.status_code == 503
    assert reply.json()["error"]
    vendor.fault("timeout", on="chat")
    assert client.post(path, json=said(ASK, stream=stream, prompt="Say it.")).status_code == 504


def test_the_client_raises_a_failure_inside_a_stream(official: ollama.Client, vendor: Vendor):
    vendor.fault("hang_up", on="chat")
    with pytest.raises(ollama.ResponseError) as caught:
        list(official.chat("lightrag", [{"role": "user", "content": ASK}], stream=True))
    assert "openai model 'writes'" in caught.value.error


def test_a_failure_inside_a_stream_is_one_last_line(client: httpx.Client, vendor: Vendor):
    vendor.fault("hang_up", on="chat")
    *pieces, last = rows(client.post("/api/chat", json=said(ASK)).text)
    assert pieces
    assert set(last) == {"error"}


@pytest.mark.parametrize(("path", "delay"), [("/api/chat", 0.3), ("/api/chat", 0.0), ("/api/generate", 0.3)])
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_cancels_the_vendors_call(
    server: Server, vendor: Vendor, path: str, delay: float, stream: bool
):
    """With a delay between deltas it leaves in the middle, without one before the first byte."""
    vendor.reset()
    vendor.control(reply=REPLY, **({"delta_delay_s": delay} if delay else {"latency_s": 0.9}))
    with open_connection(server) as connection:
        send(connection, path, json.dumps(said(ASK, stream=stream, prompt="Say it.")).encode())
        wait_until(lambda: vendor.stats()["stream"] == 1)
        time.sleep(0.1)
    wait_until(lambda: vendor.stats()["cancelled_streams"] == 1)
    assert vendor.stats()["in_flight"] == 0


def test_a_key_is_taken_as_a_bearer(tmp_path: Path):
    with running(
        tmp_path, LIGHTRAG_API_KEY="a-key-of-some-length", HOST="127.0.0.1", WHITELIST_PATHS="/health"
    ) as server:
        with server.client() as client:
            body = {"model": "m", "prompt": ""}
            refused = client.post("/api/generate", json=body)
            assert refused.status_code in (401, 403)
            assert refused.json()["error"]
        bearer = {"Authorization": "Bearer a-key-of-some-length"}
        official = ollama.Client(server.address, headers=bearer, trust_env=False)
        assert official.list().models[0].model == "lightrag:latest"
        official.close()
