"""OpenAI's own client against a server on a real port, with a vendor on another."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from tests.api.conftest import STORY, Api, opened, settings_of
from tests.api.test_over_the_wire import index, open_connection, send, wait_until
from tests.server import Server, running
from tests.vendor import Vendor

GOLDEN = Path(__file__).parent / "golden"
ANSWER = "Marley died on Christmas Eve [1]. He was a partner [1]."
ASKED: list[Any] = [{"role": "user", "content": "Who was Jacob Marley?"}]
PIXEL = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture(scope="module")
def server(vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("server"), **settings_of(vendor)) as started:
        with started.client() as client:
            index(client)
        yield started


@pytest.fixture
def client(server: Server, vendor: Vendor) -> Iterator[openai.OpenAI]:
    vendor.reset()
    vendor.control(reply=ANSWER)
    with client_of(server.address) as made:
        yield made


def client_of(address: str, path: str = "/v1", key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(
        base_url=address + path,
        api_key=key,
        max_retries=0,
        timeout=20,
        http_client=openai.DefaultHttpxClient(trust_env=False),
    )


def raw(server: Server, **body: Any) -> httpx.Response:
    with server.client() as client:
        return client.post("/v1/chat/completions", json={"model": "lightrag", "messages": ASKED, **body})


def events(text: str) -> list[Any]:
    """The data of each event, the closing mark as it is."""
    found = [event.removeprefix("data: ") for event in text.split("\n\n") if event]
    return [data if data == "[DONE]" else json.loads(data) for data in found]


# ----------------------------------------------------------------------------- answers


@pytest.mark.parametrize("path", ["/v1", "/api/v1"])
@pytest.mark.parametrize("model", ["lightrag", "LightRAG", "lightrag:naive", "lightrag:latest"])
def test_an_answer_reads_as_openais(server: Server, client: openai.OpenAI, path: str, model: str) -> None:
    with client_of(server.address, path) as other:
        done = other.chat.completions.create(model=model, messages=ASKED)
    [choice] = done.choices
    assert done.id.startswith("chatcmpl-")
    assert (done.object, done.model) == ("chat.completion", model)
    assert abs(done.created - time.time()) < 60
    assert choice.message.content == ANSWER
    assert choice.finish_reason == "stop"
    assert json.loads(done.model_dump_json())["references"] == [
        {
            "reference_id": "1",
            "file_path": "carol.txt",
            "spans": [{"start": 68, "end": 162, "page": None}],
        }
    ]


def test_annotations_say_where_a_source_is_cited_and_where_it_is(server: Server, client: openai.OpenAI) -> None:
    message = client.chat.completions.create(model="lightrag", messages=ASKED).choices[0].message
    notes = [note.url_citation for note in message.annotations or []]
    assert [ANSWER[note.start_index : note.end_index] for note in notes] == ["[1]", "[1]"]
    assert {note.title for note in notes} == {"carol.txt"}
    with server.client() as plain:
        assert plain.get(notes[0].url).json()["file_path"] == "carol.txt"


def test_a_source_that_the_answer_does_not_cite_is_noted_at_its_end(client: openai.OpenAI, vendor: Vendor) -> None:
    vendor.control(reply="Marley was dead.")
    message = client.chat.completions.create(model="lightrag", messages=ASKED).choices[0].message
    assert [note.url_citation.start_index for note in message.annotations or []] == [len("Marley was dead.")]


def test_the_usage_is_what_the_vendor_counted(client: openai.OpenAI, vendor: Vendor) -> None:
    usage = client.chat.completions.create(model="lightrag", messages=ASKED).usage
    stats = vendor.stats()
    assert usage is not None
    assert usage.completion_tokens == stats["completion_tokens"]
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_a_stream_brings_the_sources_first_and_the_usage_last(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="lightrag", messages=ASKED, stream=True, stream_options={"include_usage": True}
    )
    first, *middle, end, last = list(stream)
    assert first.choices[0].delta.role == "assistant"
    assert first.model_dump()["references"][0]["file_path"] == "carol.txt"
    assert len(middle) > 3
    assert "".join(chunk.choices[0].delta.content or "" for chunk in middle) == ANSWER
    assert end.choices[0].finish_reason == "stop"
    assert len(end.choices[0].delta.model_dump()["annotations"]) == 2
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens > 0
    assert {chunk.id for chunk in (first, *middle, end, last)} == {first.id}


def test_without_include_usage_no_chunk_speaks_of_it(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="lightrag", messages=ASKED, stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


def test_chunks_come_as_the_vendor_writes_them(client: openai.OpenAI, vendor: Vendor) -> None:
    vendor.control(delta_delay_s=0.05)
    began, moments = time.monotonic(), list[float]()
    for _ in client.chat.completions.create(model="lightrag", messages=ASKED, stream=True):
        moments.append(time.monotonic() - began)
    assert moments[-1] - moments[0] > 0.1


@pytest.mark.parametrize("is_stream", [False, True])
def test_an_answer_that_was_cut_says_so(client: openai.OpenAI, is_stream: bool) -> None:
    if is_stream:
        chunks = client.chat.completions.create(model="lightrag", messages=ASKED, max_tokens=3, stream=True)
        reasons = {chunk.choices[0].finish_reason for chunk in chunks}
        assert reasons == {None, "length"}
    else:
        done = client.chat.completions.create(model="lightrag", messages=ASKED, max_completion_tokens=3)
        assert done.choices[0].finish_reason == "length"
        assert len(done.choices[0].message.content or "") < len(ANSWER)


def test_sampling_reaches_the_vendor(client: openai.OpenAI, vendor: Vendor) -> None:
    client.chat.completions.create(
        model="lightrag:naive", messages=ASKED, temperature=0.25, max_tokens=77, stop=["END", "STOP"], user="somebody"
    )
    sent = vendor.stats()["last_body"]
    assert (sent["temperature"], sent["stop"]) == (0.25, ["END", "STOP"])
    assert 77 in (sent.get("max_tokens"), sent.get("max_completion_tokens"))


def test_system_messages_instruct_and_earlier_ones_are_history(client: openai.OpenAI, vendor: Vendor) -> None:
    messages: list[Any] = [
        {"role": "system", "content": "Speak like a sailor."},
        {"role": "user", "content": "Good evening."},
        {"role": "assistant", "content": "Good evening to you."},
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": [{"type": "text", "text": "Who was"}, {"type": "text", "text": "Jacob Marley?"}]},
    ]
    client.chat.completions.create(model="lightrag:naive", messages=messages)
    system, *rest = vendor.stats()["last_body"]["messages"]
    assert "Speak like a sailor.\n\nBe brief." in system["content"]
    assert "Christmas Eve" in system["content"]
    assert rest == [
        {"role": "user", "content": "Good evening."},
        {"role": "assistant", "content": "Good evening to you."},
        {"role": "user", "content": "Who was\nJacob Marley?"},
    ]


def test_bypass_speaks_with_the_model_alone(client: openai.OpenAI, vendor: Vendor) -> None:
    messages: list[Any] = [{"role": "system", "content": "Be kind."}, *ASKED]
    done = client.chat.completions.create(model="lightrag:bypass", messages=messages)
    assert vendor.stats()["last_body"]["messages"] == messages
    assert done.model_dump()["references"] == []
    assert done.choices[0].message.annotations == []


def test_tasks_of_chat_front_ends_go_to_the_model_alone(client: openai.OpenAI, vendor: Vendor) -> None:
    task: list[Any] = [
        {"role": "user", "content": "### Task:\nName this chat.\n<chat_history>\nUSER: Hi\n</chat_history>"}
    ]
    done = client.chat.completions.create(model="lightrag", messages=task)
    assert vendor.stats()["last_body"]["messages"] == task
    assert done.model_dump()["references"] == []


def test_a_context_model_answers_with_the_evidence_and_calls_no_model(client: openai.OpenAI, vendor: Vendor) -> None:
    done = client.chat.completions.create(model="lightrag:naive-context", messages=ASKED)
    assert "Christmas Eve" in (done.choices[0].message.content or "")
    stream = client.chat.completions.create(model="lightrag:naive-context", messages=ASKED, stream=True)
    assert "Christmas Eve" in "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert vendor.stats()["chat"] == 0
    assert done.usage is not None
    assert done.usage.prompt_tokens > 0


def test_the_field_lightrag_steers_retrieval(client: openai.OpenAI) -> None:
    wanted = {"filters": {"file_paths": ["another.txt"]}, "chunk_top_k": 3}
    done = client.chat.completions.create(model="lightrag", messages=ASKED, extra_body={"lightrag": wanted})
    assert done.model_dump()["references"] == []


# ----------------------------------------------------------------------------- images


def test_an_image_without_a_model_that_sees_is_refused_clearly(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="VLM_LLM_MODEL"):
        client.chat.completions.create(model="lightrag", messages=with_image(PIXEL))


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/cat.png", "file:///etc/passwd", "data:text/html;base64,YQ=="])
def test_images_from_elsewhere_are_not_fetched(client: openai.OpenAI, url: str) -> None:
    with pytest.raises(openai.BadRequestError, match="data URL"):
        client.chat.completions.create(model="lightrag", messages=with_image(url))


def test_an_image_reaches_a_model_that_sees(vendor: Vendor, tmp_path: Path) -> None:
    vendor.reset()
    with (
        running(tmp_path, **settings_of(vendor), VLM_LLM_MODEL="seeing") as server,
        client_of(server.address) as client,
    ):
        client.chat.completions.create(model="lightrag:bypass", messages=with_image(PIXEL))
        sent = vendor.stats()["last_body"]
    assert sent["model"] == "seeing"
    assert {"type": "image_url", "image_url": {"url": PIXEL}} in sent["messages"][-1]["content"]


def with_image(url: str) -> list[Any]:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    return [{"role": "user", "content": parts}]


# ----------------------------------------------------------------------------- models and workspaces


def test_every_mode_of_every_workspace_is_a_model(server: Server, client: openai.OpenAI) -> None:
    with server.client() as plain:
        plain.headers["LIGHTRAG-WORKSPACE"] = "notes"
        index(plain)
    ids = [model.id for model in client.models.list()]
    assert {"lightrag", "LightRAG", "lightrag:mix", "notes/lightrag", "notes/lightrag:bypass"} <= set(ids)
    assert len(ids) == len(set(ids)) == 15
    for id in ids:
        found = client.models.retrieve(id)
        assert (found.id, found.object, found.owned_by) == (id, "model", "lightrag")


@pytest.mark.parametrize(
    "name", ["gpt-4o", "lightrag:nothing", "nowhere/lightrag", "/lightrag", "lightrag:bypass-context"]
)
def test_an_unknown_model_is_not_found(client: openai.OpenAI, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        client.chat.completions.create(model=name, messages=ASKED)
    assert raised.value.code == "model_not_found"
    assert raised.value.type == "invalid_request_error"
    assert name in raised.value.message


def test_the_models_name_wins_over_the_header(server: Server, client: openai.OpenAI) -> None:
    with server.client() as plain:
        plain.headers["LIGHTRAG-WORKSPACE"] = "letters"
        index(plain)
    for header, name, count in [
        ("letters", "lightrag", 1),
        ("", "letters/lightrag", 1),
        ("empty", "letters/lightrag", 1),
    ]:
        with_header = client.with_options(default_headers={"LIGHTRAG-WORKSPACE": header})
        done = with_header.chat.completions.create(model=name, messages=ASKED)
        assert len(done.model_dump()["references"]) == count
    in_empty = client.with_options(default_headers={"LIGHTRAG-WORKSPACE": "empty"})
    assert in_empty.chat.completions.create(model="lightrag", messages=ASKED).model_dump()["references"] == []


async def test_a_workspace_that_is_closed_to_a_key_is_as_unknown_as_one_that_is_not_there(tmp_path: Path) -> None:
    async with opened(tmp_path, LIGHTRAG_API_KEY="the-admins-key-0123456789") as api:
        admin = {"Authorization": "Bearer the-admins-key-0123456789"}
        body = {"name": "website", "scope": "read", "workspaces": ["mine"]}
        made = await api.client.post("/auth/keys", json=body, headers=admin)
        for workspace in ("mine", "other"):
            sent = {"text": STORY, "file_source": "carol.txt"}
            headers = {**admin, "LIGHTRAG-WORKSPACE": workspace}
            assert (await api.client.post("/documents/text", json=sent, headers=headers)).status_code == 200
        own = {"Authorization": f"Bearer {made.json()['key']}"}
        listed = (await api.client.get("/v1/models", headers=own)).json()["data"]
        assert not any("/" in model["id"] for model in listed)
        answers = [await chat(api, own, name) for name in ("other/lightrag", "nowhere/lightrag")]
        assert [reply.status_code for reply in answers] == [404, 404]
        assert answers[0].text.replace("other", "nowhere") == answers[1].text
        assert (await chat(api, own, "mine/lightrag")).status_code == 200
        refused = await chat(api, {}, "lightrag")
        assert refused.status_code == 403
        assert set(refused.json()["error"]) == {"message", "type", "param", "code"}


async def chat(api: Api, headers: dict[str, str], model: str) -> httpx.Response:
    return await api.client.post("/v1/chat/completions", json={"model": model, "messages": ASKED}, headers=headers)


# ----------------------------------------------------------------------------- failures


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"kind": "status", "status": 401}, 502),
        ({"kind": "status", "status": 500}, 503),
        ({"kind": "timeout"}, 504),
    ],
    ids=lambda value: str(value.get("status", value["kind"])) if isinstance(value, dict) else None,
)
@pytest.mark.parametrize("on", ["chat", "embed"])
def test_a_vendor_that_fails_before_the_first_text_is_a_status(
    client: openai.OpenAI, vendor: Vendor, on: str, fault: dict[str, Any], status: int, is_stream: bool
) -> None:
    vendor.control(faults=[{**fault, "on": on, "next": 5}])
    with pytest.raises(openai.InternalServerError) as raised:
        client.chat.completions.create(model="lightrag", messages=ASKED, stream=is_stream)
    assert raised.value.status_code == status
    assert raised.value.type == "server_error"
    assert (raised.value.code or "").startswith("provider_")
    assert "vendor-key" not in raised.value.message


def test_a_vendor_that_fails_on_the_way_is_the_last_event(
    server: Server, client: openai.OpenAI, vendor: Vendor
) -> None:
    vendor.control(delta_delay_s=0.01)
    vendor.fault("hang_up", on="chat")
    stream = client.chat.completions.create(model="lightrag", messages=ASKED, stream=True)
    with pytest.raises(openai.APIError, match="openai model"):
        list(stream)
    vendor.fault("hang_up", on="chat")
    *_, last = events(raw(server, stream=True).text)
    assert set(last) == {"error"}
    assert last["error"]["code"] == "provider_unavailable"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/v1/chat/completions"])
@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("wait", ["latency_s", "delta_delay_s"], ids=["before the first byte", "on the way"])
def test_a_client_that_leaves_cancels_the_vendors_call(
    server: Server, vendor: Vendor, path: str, is_stream: bool, wait: str
) -> None:
    vendor.reset()
    vendor.control(**{wait: 0.4})
    body = {"model": "lightrag:naive", "messages": ASKED, "stream": is_stream}
    with open_connection(server) as connection:
        send(connection, path, json.dumps(body).encode())
        wait_until(lambda: vendor.stats()["stream"] == 1)
        time.sleep(0.1)
    wait_until(lambda: vendor.stats()["cancelled_streams"] == 1)
    assert vendor.stats()["in_flight"] == 0


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "system", "content": "Be kind."}]}, None),
        ({"messages": [{"role": "user", "content": "  "}]}, None),
        ({"messages": [{"role": "user", "content": None}]}, None),
        ({"messages": [{"role": "nobody", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, None),
        ({"messages": [{"role": "user", "content": "x" * 65_537}]}, None),
        ({"n": 2}, "n"),
        ({"temperature": 2.1}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ["a", "b", "c", "d", "e"]}, None),
        ({"lightrag": {"top_k": 0}}, "lightrag.top_k"),
        ({"lightrag": {"unknown": 1}}, "lightrag.unknown"),
        ({"model": None}, "model"),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else "",
)
def test_bad_input_is_400_in_openais_form(server: Server, body: dict[str, Any], param: str | None) -> None:
    reply = raw(server, **body)
    assert reply.status_code == 400, reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_input")
    assert error["message"]
    if param:
        assert error["param"] == param


def test_what_is_no_json_or_no_route_is_told_in_openais_form(server: Server) -> None:
    with server.client() as plain:
        headers = {"Content-Type": "application/json"}
        broken = plain.post("/v1/chat/completions", content=b"{", headers=headers)
        assert (broken.status_code, broken.json()["error"]["code"]) == (400, "invalid_input")
        missing = plain.get("/v1/nothing")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
        wrong = plain.get("/v1/embeddings")
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")


# ----------------------------------------------------------------------------- embeddings


def test_embeddings_are_the_same_as_numbers_and_as_base64(server: Server, client: openai.OpenAI) -> None:
    texts = ["Marley was dead", "to begin with"]
    # the client itself asks for base64 unless told otherwise
    packed = client.embeddings.create(model="any/name:1", input=texts)
    plain = client.embeddings.create(model="any/name:1", input=texts, encoding_format="float")
    assert packed.model == "any/name:1"
    assert [item.index for item in packed.data] == [0, 1]
    vectors = np.array([item.embedding for item in plain.data])
    assert vectors.shape == (2, 256)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.allclose(vectors, [item.embedding for item in packed.data], atol=1e-7)
    assert plain.usage.prompt_tokens == plain.usage.total_tokens > 0


def test_one_text_is_one_embedding(client: openai.OpenAI) -> None:
    assert len(client.embeddings.create(model="x", input="Marley", dimensions=256).data) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"input": [1, 2, 3]}, "token"),
        ({"input": [[1, 2], [3]]}, "token"),
        ({"input": ""}, "at least 1 character"),
        ({"input": []}, "at least 1 item"),
        ({"input": ["x"] * 2049}, "2048"),
        ({"input": "x", "dimensions": 12}, "length 256"),
        ({"input": "x", "encoding_format": "hex"}, "base64"),
    ],
    ids=lambda value: json.dumps(value)[:30] if isinstance(value, dict) else "",
)
def test_what_cannot_be_embedded_is_refused_clearly(server: Server, body: dict[str, Any], said: str) -> None:
    with server.client() as plain:
        plain.post("/v1/embeddings", json={"model": "x", "input": "the length is known after the first reply"})
        reply = plain.post("/v1/embeddings", json={"model": "x", **body})
    assert reply.status_code == 400, reply.text
    assert said in reply.json()["error"]["message"]


def test_an_embedder_that_fails_is_a_status(client: openai.OpenAI, vendor: Vendor) -> None:
    vendor.fault("status", on="embed", status=500)
    with pytest.raises(openai.InternalServerError) as raised:
        client.embeddings.create(model="x", input="Marley")
    assert raised.value.status_code == 503


# ----------------------------------------------------------------------------- wire


def test_the_stream_is_the_golden_one(server: Server, client: openai.OpenAI) -> None:
    reply = raw(server, stream=True, stream_options={"include_usage": True})
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.headers["x-accel-buffering"] == "no"
    check_golden(normal(reply.text, server), "openai_stream.txt")


def test_the_answer_is_the_golden_one(server: Server, client: openai.OpenAI) -> None:
    text = json.dumps(raw(server).json(), indent=2)
    check_golden(normal(text, server) + "\n", "openai_answer.json")


def check_golden(text: str, name: str) -> None:
    assert text == (GOLDEN / name).read_text(encoding="utf-8")


def normal(text: str, server: Server) -> str:
    """Without what differs from run to run."""
    text = re.sub(r'"id": "chatcmpl-[0-9a-f]{24}"', '"id": "chatcmpl-1"', text.replace(server.address, "http://host"))
    text = re.sub(r'"created": \d{10}', '"created": 1', text)
    return re.sub(r'"(prompt_tokens|total_tokens)": \d+', r'"\1": 100', text)
