"""Which documents an answer may rest on: filters, the switch per document, and answers without a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from lightrag_server.core.ids import document_id
from lightrag_server.core.records import Document
from tests.api.conftest import STORY, Api, opened
from tests.vendor import in_thread

MODES = ("local", "global", "hybrid", "naive", "mix")
QUESTION = "What did Jacob Marley and Ebenezer Scrooge do?"
SECRET = """Jacob Marley hid the Emerald Crown of Zanzibar under the Old Exchange.
Ebenezer Scrooge poisoned Professor Moriarty in Zanzibar, as Jacob Marley knew.
Bob Cratchit told Professor Moriarty of the Emerald Crown."""
OPEN, CLOSED = "carol.txt", "hidden.txt"
LEAKS = ("zanzibar", "emerald", "moriarty", "poison", "exchange", CLOSED, document_id(CLOSED, b""))


async def change(api: Api, name: str, **fields: Any) -> None:
    """As the owner of a document would."""
    workspace = await api.app.state.opened.workspaces.named("")
    edited: Callable[[Document], Document] = lambda row: row.with_(**fields)  # noqa: E731
    assert await workspace.stores.documents.update(document_id(name, b""), edited)


@pytest.fixture
async def library(api: Api) -> Api:
    """Two documents that speak of the same people."""
    await api.insert(STORY, OPEN)
    await api.insert(SECRET, CLOSED)
    await change(api, OPEN, tags=("public", "tale"), attributes={"year": 1843, "kinds": ["story", "book"]})
    await change(api, CLOSED, tags=("secret", "tale"), attributes={"year": 1900})
    await api.idle()
    return api


async def everything_shown(api: Api, mode: str, **body: Any) -> list[str]:
    """What every route says to one question, in every form it can be asked in."""
    asked = {"query": QUESTION, "mode": mode, "include_chunk_content": True, **body}
    forms = [{}, {"only_need_context": True}, {"only_need_prompt": True}, {"answer": "quotes"}]
    calls = [(path, form) for path, form in product(("/query", "/query/stream"), forms)]
    shown: list[str] = []
    for path, form in [*calls, ("/query/data", {})]:
        reply = await api.client.post(path, json={**asked, **form})
        assert reply.status_code == 200, reply.text
        shown.append(reply.text)
    return shown


ONLY_OPEN: list[dict[str, Any]] = [
    {"document_ids": [document_id(OPEN, b""), "doc-unknown"]},
    {"file_paths": [OPEN]},
    {"tags_any": ["public", "nothing"]},
    {"tags_all": ["tale", "public"]},
    {"metadata": {"year": [1842, 1843]}},
    {"metadata": {"kinds": "book"}, "created_from": "2020-01-01"},
]


@pytest.mark.parametrize("mode", MODES)
async def test_no_mode_shows_anything_of_a_document_out_of_scope(library: Api, mode: str) -> None:
    unfiltered = "\n".join(await everything_shown(library, mode)).lower()
    assert [leak for leak in LEAKS if leak not in unfiltered] == [], "the test would not see a leak"
    for shown in await everything_shown(library, mode, filters={"tags_any": ["public"]}):
        assert [leak for leak in LEAKS if leak in shown.lower()] == []
        assert OPEN in shown or "marley" in shown.lower()


@pytest.mark.parametrize("mode", MODES)
async def test_a_document_that_is_not_enabled_shows_in_no_mode(library: Api, mode: str) -> None:
    await change(library, CLOSED, is_enabled=False)
    for shown in await everything_shown(library, mode):
        assert [leak for leak in LEAKS if leak in shown.lower()] == []
    await change(library, CLOSED, is_enabled=True)
    again = "\n".join(await everything_shown(library, mode)).lower()
    assert [leak for leak in LEAKS if leak not in again] == []


async def test_every_kind_of_filter_chooses(library: Api) -> None:
    for filters, mode in product(ONLY_OPEN, ("naive", "mix")):
        found = await library.client.post("/query/data", json={"query": QUESTION, "mode": mode, "filters": filters})
        data = found.json()["data"]
        assert {chunk["file_path"] for chunk in data["chunks"]} == {OPEN}
        assert {r["file_path"] for r in data["references"]} == {OPEN}
        for told in (*data["entities"], *data["relationships"]):
            assert told["file_path"] in (OPEN, "")
        if mode == "mix":
            assert {"Jacob Marley", "Ebenezer Scrooge"} <= {e["entity_name"] for e in data["entities"]}
            assert data["relationships"]


async def test_a_filter_that_all_documents_meet_finds_what_no_filter_finds(library: Api) -> None:
    for mode in MODES:
        body = {"query": QUESTION, "mode": mode}
        plain = (await library.client.post("/query/data", json=body)).json()
        filtered = (await library.client.post("/query/data", json={**body, "filters": {"tags_any": ["tale"]}})).json()
        assert filtered["data"] == plain["data"], mode
        empty = (await library.client.post("/query/data", json={**body, "filters": {}})).json()
        assert empty["data"] == plain["data"], mode


NO_DOCUMENT: list[dict[str, Any]] = [
    {"document_ids": ["doc-unknown"]},
    {"file_paths": ["Carol.txt"]},
    {"tags_all": ["public", "secret"]},
    {"metadata": {"year": "1843"}},
    {"metadata": {"year": True}},
    {"created_before": "2020-01-01"},
    {"tags_any": ["public"], "document_ids": [document_id(CLOSED, b"")]},
]


async def test_a_filter_that_no_document_meets_gives_the_answer_for_no_evidence(library: Api) -> None:
    for filters in NO_DOCUMENT:
        body = {"query": QUESTION, "filters": filters}
        answer = (await library.client.post("/query", json=body)).json()
        assert answer["response"].endswith("[no-context]"), filters
        assert (answer["references"], answer["llm_generated"]) == ([], False)
        found = (await library.client.post("/query/data", json=body)).json()
        assert (found["status"], found["metadata"]["failure_reason"]) == ("failure", "no_results")
        stream = await library.client.post("/query/stream", json=body)
        [line] = [json.loads(text) for text in stream.text.splitlines()]
        assert line["response"].endswith("[no-context]")


REFUSED: list[Any] = [
    {"document_id": ["x"]},
    {"document_ids": []},
    {"document_ids": ["x"] * 1001},
    {"document_ids": ["a\x00b"]},
    {"tags_any": [""]},
    {"tags_any": "finance"},
    {"tags_all": ["\ud800"]},
    {"metadata": {"year": None}},
    {"metadata": {"year": {"from": 1}}},
    {"metadata": {"year": []}},
    {"metadata": {str(n): n for n in range(33)}},
    {"created_from": "yesterday"},
    {"created_from": "2026-02-30"},
    {"created_from": "2026-02-02", "created_before": "2026-02-01"},
    [],
    "x",
]


async def test_a_filter_that_means_nothing_is_refused(api: Api) -> None:
    for filters in REFUSED:
        body = json.dumps({"query": QUESTION, "filters": filters})
        for path, status in (("/query", 422), ("/query/stream", 422), ("/query/data", 400)):
            reply = await api.client.post(path, content=body, headers={"Content-Type": "application/json"})
            assert reply.status_code == status, (filters, reply.text)


async def test_times_at_the_edge_of_the_calendar_are_times(library: Api) -> None:
    for year in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-01T00:00:00Z"):
        for name in ("created_from", "created_before"):
            reply = await library.client.post("/query", json={"query": QUESTION, "filters": {name: year}})
            assert reply.status_code == 200, reply.text


async def test_quotes_are_cited_sentences_and_no_model_wrote_them(library: Api) -> None:
    body = {"query": "Who worked as the clerk of Ebenezer Scrooge?", "answer": "quotes"}
    answer = (await library.client.post("/query", json={**body, "filters": {"tags_any": ["public"]}})).json()
    assert "Bob Cratchit worked as the clerk of Ebenezer Scrooge and lived in Camden Town. [1]" in answer["response"]
    assert answer["llm_generated"] is False
    assert [r["file_path"] for r in answer["references"]] == [OPEN]


async def test_quotes_need_documents(api: Api) -> None:
    reply = await api.client.post("/query", json={"query": QUESTION, "mode": "bypass", "answer": "quotes"})
    assert reply.status_code == 422


async def test_a_model_that_is_asked_for_must_be_there(tmp_path: Path) -> None:
    async with opened(tmp_path, LLM_BINDING="local", INDEX_PROFILE="vector") as api:
        await api.insert(STORY, OPEN)
        reply = await api.client.post("/query", json={"query": QUESTION, "answer": "model"})
        assert reply.status_code == 400
        assert "LLM_BINDING" in reply.text
        assert (await api.client.post("/query", json={"query": QUESTION})).status_code == 200


async def test_quotes_and_empty_filters_never_call_the_language_model(tmp_path: Path) -> None:
    with in_thread() as vendor:
        variables = {
            "LLM_BINDING": "openai",
            "LLM_BINDING_HOST": vendor.openai_url,
            "LLM_BINDING_API_KEY": "key",
            "KEYWORD_EXTRACTION": "llm",
            "INDEX_PROFILE": "vector",
        }
        async with opened(tmp_path, **variables) as api:
            await api.insert(STORY, OPEN)
            vendor.reset()
            for mode in MODES:
                for path in ("/query", "/query/stream", "/query/data"):
                    for more in ({"answer": "quotes"}, {"filters": {"tags_any": ["nothing"]}}):
                        reply = await api.client.post(path, json={"query": QUESTION, "mode": mode, **more})
                        assert reply.status_code == 200, reply.text
            assert vendor.stats()["chat"] == 0
            await api.client.post("/query", json={"query": QUESTION, "mode": "mix"})
            assert vendor.stats()["chat"] == 2, "keywords and answer"


# ----------------------------------------------------------------------------- lists


async def test_the_old_list_groups_documents_by_state(library: Api) -> None:
    statuses = (await library.client.get("/documents")).json()["statuses"]
    assert {status: {row["file_path"] for row in rows} for status, rows in statuses.items()} == {
        "processed": {OPEN, CLOSED}
    }
    whole = (await library.client.post("/documents/paginated", json={})).json()["documents"]
    assert statuses["processed"] == whole


async def test_pages_are_searched_by_name_tags_and_track(library: Api) -> None:
    async def named(**body: Any) -> list[str]:
        page = (await library.client.post("/documents/paginated", json=body)).json()
        assert page["pagination"]["total_count"] == len(page["documents"])
        assert page["pagination"]["total_pages"] == min(1, len(page["documents"]))
        assert page["status_counts"]["all"] == 2
        return sorted(row["file_path"] for row in page["documents"])

    track = (await library.client.post("/documents/paginated", json={"search": "CAROL"})).json()["documents"][0]
    assert await named() == await named(search="", tags=[]) == await named(search=".txt") == [OPEN, CLOSED]
    assert await named(search=" cArOl") == [OPEN]
    assert await named(search="%") == await named(search="c_rol") == []
    assert await named(tags=["tale"]) == [OPEN, CLOSED]
    assert await named(tags=["tale", "secret"]) == [CLOSED]
    assert await named(track_id=track["track_id"]) == [OPEN]
    assert await named(track_id=track["track_id"], search="hidden") == []
    assert await named(tags=["tale"], status_filter="failed") == []
