"""What LightRAG 1.5.7 is known to do wrong does not happen here. Numbers are those of our list of its weaknesses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lightrag_server.core import ids
from tests.api.conftest import STORY, Api, opened, settings_of
from tests.vendor import Vendor, in_thread

ROOT = Path(__file__).parents[2]
ELSEWHERE = {
    4: "tests/api/test_documents.py::test_a_track_id_is_summed_up_in_both_spellings_and_an_unknown_one_is_empty",
    5: "tests/e2e/test_kill.py::test_twenty_kills_lose_nothing_and_leave_nothing_twice",
    32: "tests/api/test_surroundings.py::test_the_key_is_taken_from_either_header_and_a_bad_bearer_does_not_spoil_it",
    33: "tests/security/test_every_route.py::test_every_route_answers_every_kind_of_caller_as_the_table_says",
    34: "tests/api/test_auth.py::test_servers_of_one_folder_share_secret_logouts_and_failed_logins",
    36: "tests/api/test_surroundings.py::test_large_or_broken_input_is_not_echoed",
    37: "tests/access/test_parts.py::test_accounts_that_cannot_be_read_are_refused_without_showing_a_password",
    38: "tests/api/test_ollama.py::test_pages_of_other_origins_are_refused_unless_listed",
}
"""Weaknesses whose absence another test shows."""
QUESTION = {"query": "Who was Jacob Marley?", "mode": "naive"}


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with in_thread() as started:
        yield started


@pytest.mark.parametrize(("number", "test"), ELSEWHERE.items())
def test_the_test_elsewhere_exists(number: int, test: str) -> None:
    file, _, name = test.partition("::")
    assert f"def {name}(" in (ROOT / file).read_text("utf-8")


ASKING: list[tuple[str, dict[str, Any]]] = [
    ("/query", QUESTION),
    ("/query/stream", {**QUESTION, "stream": False}),
    ("/query/data", QUESTION),
    ("/api/chat", {"model": "m", "messages": [{"role": "user", "content": "/naive Who was Marley?"}], "stream": False}),
    ("/api/chat", {"model": "m", "messages": [{"role": "user", "content": "/naive Who was Marley?"}], "stream": True}),
    ("/v1/chat/completions", {"model": "lightrag:naive", "messages": [{"role": "user", "content": "Who was Marley?"}]}),
]


@pytest.mark.parametrize(("path", "body"), ASKING)
async def test_1_a_provider_that_fails_is_no_answer(
    tmp_path: Path, vendor: Vendor, path: str, body: dict[str, Any]
) -> None:
    async with opened(tmp_path, **settings_of(vendor)) as api:
        await api.insert(STORY, "carol.txt")
        vendor.fault("status", on="embed", status=500, next=5)
        reply = await api.client.post(path, json=body)
        assert reply.status_code >= 500, reply.text
        vendor.reset()
        assert (await api.client.post(path, json=body)).status_code == 200


@pytest.mark.parametrize("mode", ["naive", "mix", "bypass"])
async def test_2_nothing_is_cut_out_of_an_answer(tmp_path: Path, vendor: Vendor, mode: str) -> None:
    answer = f"The user asked the model: {QUESTION['query']} " + "The user model of a user is a model user. " * 1500
    async with opened(tmp_path, **settings_of(vendor) | {"LLM_TIMEOUT": "60"}) as api:
        await api.insert(STORY, "carol.txt")
        vendor.control(reply=answer)
        reply = await api.client.post("/query", json={**QUESTION, "mode": mode})
        assert reply.json()["response"] == answer


async def test_3_an_answer_rests_on_what_is_known_now(tmp_path: Path, vendor: Vendor) -> None:
    asked = {"query": "What is the colour of the harbour lighthouse door?", "mode": "mix"}
    cached = {**settings_of(vendor), "ENABLE_LLM_CACHE": "true"}
    async with opened(tmp_path, **cached) as api:
        await api.insert("The colour of the harbour lighthouse is white.", "old.txt")
        first = (await api.client.post("/query", json=asked)).json()
        assert "white" in first["response"]
        await api.insert("The colour of the harbour lighthouse door is green since May.", "new.txt")
        second = (await api.client.post("/query", json=asked)).json()
        assert "green" in second["response"]
        assert {row["file_path"] for row in second["references"]} >= {"new.txt"}


async def test_4_no_message_names_a_class_of_ours(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    again = await api.client.post("/documents/text", json={"text": STORY, "file_source": "carol.txt"})
    assert again.json()["status"] == "duplicated"
    assert "DocStatus" not in again.text


@pytest.mark.parametrize("name", ["nobody-made-this", "odd name/../*", "工作区", "x" * 64])
async def test_6_health_lives_whatever_workspace_is_named(api: Api, name: str) -> None:
    reply = await api.client.get("/health", headers=[(b"LIGHTRAG-WORKSPACE", name.encode())])
    assert reply.status_code < 500, reply.text
    assert (await api.client.get("/health")).json()["status"] == "healthy"


async def test_8_an_edited_relation_is_found_by_what_it_says_now(api: Api) -> None:
    for name in ("Ada Lovelace", "Charles Babbage"):
        body: dict[str, Any] = {"entity_name": name, "entity_data": {"description": f"{name}, a mathematician."}}
        assert (await api.client.post("/graph/entity/create", json=body)).status_code == 200
    ends = {"source_entity": "Ada Lovelace", "target_entity": "Charles Babbage"}
    body = {**ends, "relation_data": {"description": "They met at a party.", "keywords": "acquaintance"}}
    assert (await api.client.post("/graph/relation/create", json=body)).status_code == 200
    told = "programmed looms, algebraic patterns"
    edit = {"source_id": "Ada Lovelace", "target_id": "Charles Babbage", "updated_data": {"keywords": told}}
    assert (await api.client.post("/graph/relation/edit", json=edit)).status_code == 200
    await api.insert(STORY, "carol.txt")
    for query, is_found in ((told, True), ("acquaintance", False)):
        found = await api.client.post("/query/data", json={"query": query, "mode": "global"})
        assert (("Ada Lovelace", "Charles Babbage") in relations_of(found.json())) == is_found


async def test_9_mode_local_does_not_become_another(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    asked = {"query": "Who was Jacob Marley?", "hl_keywords": ["Bob Cratchit Tiny Tim"]}
    local, wide = [
        (await api.client.post("/query/data", json={**asked, "mode": mode})).json() for mode in ("local", "hybrid")
    ]
    assert local["metadata"]["query_mode"] == "local"
    # relations found by the high keywords belong to the other modes
    assert relations_of(local) < relations_of(wide)


def relations_of(found: dict[str, Any]) -> set[tuple[str, str]]:
    return {(row["src_id"], row["tgt_id"]) for row in found["data"]["relationships"]}


def test_10_relations_of_other_ends_have_other_ids() -> None:
    assert ids.subject_of(ids.pair_of("ab", "c")) != ids.subject_of(ids.pair_of("a", "bc"))
    assert ids.fact_vector_id(ids.pair_of("ab", "c"), "x") != ids.fact_vector_id(ids.pair_of("a", "bc"), "x")


async def test_11_text_is_kept_as_it_was_sent(api: Api) -> None:
    text = "if (a &lt; b &amp;&amp; c) { return '&#39;<b>bold</b>'; }  // ünïcode ﬁ Ａ"
    [document] = await api.settled(await api.insert(text, "code.txt"))
    kept = await api.client.get(f"/documents/{document['id']}/content")
    assert text in (kept.json()["content"] if "json" in kept.headers["content-type"] else kept.text)


async def test_12_changed_content_under_a_known_name_needs_no_deletion(api: Api) -> None:
    [document] = await api.settled(await api.insert("The door is red.", "door.txt"))
    reply = await api.client.put(f"/documents/{document['id']}", json={"text": "The door is blue."})
    assert reply.status_code == 200, reply.text
    await api.settled(reply.json()["track_id"])
    await api.idle()
    answer = await api.client.post("/query", json={"query": "Which colour is the door?"})
    assert "blue" in answer.json()["response"]


async def test_31_the_emulated_apis_are_closed_where_a_key_is_set(tmp_path: Path) -> None:
    async with opened(tmp_path, LIGHTRAG_API_KEY="correct horse battery") as api:
        for path, body in ASKING:
            assert (await api.client.post(path, json=body)).status_code == 403, path
        for path in ("/api/tags", "/api/ps", "/v1/models"):
            assert (await api.client.get(path)).status_code == 403, path


async def test_35_failures_tell_nothing_of_hosts_keys_or_code(tmp_path: Path, vendor: Vendor) -> None:
    settings = {**settings_of(vendor), "MAX_ATTEMPTS": "1", "INDEX_PROFILE": "full"}
    async with opened(tmp_path, **settings) as api:
        vendor.fault("status", on="chat", status=400, next=50)
        reply = await api.client.post("/documents/text", json={"text": STORY, "file_source": "carol.txt"})
        [document] = await api.settled(reply.json()["track_id"])
        assert document["status"] == "failed"
        assert_tells_nothing(document["error_msg"], vendor)
        assert_tells_nothing((await api.client.get("/documents/pipeline_status")).text, vendor)
        stream = await api.client.post("/query/stream", json={**QUESTION, "mode": "bypass"})
        assert_tells_nothing(stream.text, vendor)


def assert_tells_nothing(text: str, vendor: Vendor) -> None:
    assert text
    for secret in ("Traceback", 'File "', ".py", "vendor-key", str(vendor.port), "as told by the test"):
        assert secret not in text


async def test_36_input_that_is_refused_is_not_sent_back(api: Api) -> None:
    secret = "confidential " * 6000
    replies: list[httpx.Response] = [
        await api.client.post("/query", json={"query": secret}),
        await api.client.post("/api/chat", json={"model": secret, "messages": [{"role": "user", "content": secret}]}),
        await api.client.post("/v1/chat/completions", json={"model": "lightrag:mix", "messages": secret}),
        await api.client.post("/graph/entity/create", json={"entity_name": secret, "entity_data": secret}),
    ]
    for reply in replies:
        assert 400 <= reply.status_code < 500
        assert len(reply.text) < 2000
        assert "confidential confidential confidential" not in reply.text
