"""Entities that may be one: found after indexing, decided by people, and taken back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from lightrag_server.engine import job_kinds
from lightrag_server.engine.resolve import BATCH
from tests.api.conftest import Api, opened
from tests.api.test_graph import create, delete, get, post, relate
from tests.vendor import Vendor

WAIT_S = 20.0


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_kinds, "RESOLVE_DELAY_S", 0.05)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with opened(tmp_path) as opened_api:
        yield opened_api


async def people(api: Api) -> None:
    """Two that are one in two spellings, one of another type with the same name, one of a near name, and two apart."""
    await create(api, "The World Bank", "lends money", entity_type="organization", file_path="a.txt")
    await create(api, "World Bank", "a lender", entity_type="organization", file_path="a.txt")
    await create(api, "J. K. Rowling", "a writer", entity_type="person")
    await create(api, "Joanne Kate Rowling", "writes", entity_type="person")
    await create(api, "Saint-Denis", "a town", entity_type="location")
    await create(api, "Saint Denis", "a bishop", entity_type="person")
    await create(api, "Apollo 11", "flew", entity_type="event")
    await create(api, "Apollo 13", "flew", entity_type="event")


async def candidates(api: Api, **params: Any) -> list[dict[str, Any]]:
    page = await get(api, "/graph/duplicates", **params)
    assert page["pagination"]["total_count"] >= len(page["duplicates"])
    return page["duplicates"]


def pair_of(candidate: dict[str, Any]) -> set[str]:
    return {candidate["a"]["name"], candidate["b"]["name"]}


async def until(api: Api, is_so: Callable[[list[dict[str, Any]]], bool], **params: Any) -> list[dict[str, Any]]:
    deadline = time.monotonic() + WAIT_S
    while not is_so(found := await candidates(api, **params)):
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)
    return found


async def labels(api: Api) -> set[str]:
    return set(await get(api, "/graph/label/list"))


BANKS = {"The World Bank", "World Bank"}
WRITERS = {"J. K. Rowling", "Joanne Kate Rowling"}


async def test_what_may_be_one_is_listed_after_it_came_in_with_score_and_reasons(api: Api) -> None:
    await people(api)
    found = await until(api, lambda rows: len(rows) == 2)
    assert [pair_of(row) for row in found] == [BANKS, WRITERS]
    assert found[0]["score"] > found[1]["score"] >= 0.5
    assert found[0]["is_sure"]
    assert not found[1]["is_sure"]
    assert found[0]["reasons"]
    assert len(await labels(api)) == 8
    assert [pair_of(row) for row in await candidates(api, min_score=0.9)] == [BANKS]
    assert [pair_of(row) for row in await candidates(api, type="person")] == [WRITERS]
    assert [pair_of(row) for row in await candidates(api, page=2, page_size=1)] == [WRITERS]
    assert await candidates(api, status="accepted") == []


async def test_accepted_pairs_are_one_until_that_is_taken_back(api: Api) -> None:
    await people(api)
    await relate(api, "The World Bank", "Apollo 11")
    await until(api, lambda rows: len(rows) == 2)
    before = await get(api, "/graphs", label="*")
    pairs = [
        {"a": "World Bank", "b": "The World Bank", "into": "World Bank"},
        {"a": "Apollo 11", "b": "Nobody"},
        {"a": "Apollo 11", "b": "Apollo 13", "into": "Apollo 12"},
        {"a": "Apollo 11", "b": "apollo 11"},
    ]
    reply = await post(api, "/graph/duplicates/accept", {"pairs": pairs})
    assert [result["status"] for result in reply["results"]] == ["merged", "not_found", "refused", "refused"]
    assert reply["results"][0]["into"] == "World Bank"
    assert "The World Bank" not in await labels(api)
    aliases = (await get(api, "/graph/aliases"))["aliases"]
    assert [(row["name"], row["entity"]) for row in aliases] == [("The World Bank", "World Bank")]
    accepted = await candidates(api, status="accepted")
    assert [(pair_of(row), row["into"], row["decided_by"]) for row in accepted] == [(BANKS, "World Bank", "person")]

    taken_back = await delete(api, "/graph/aliases/the world bank", None)
    assert (taken_back["name"], taken_back["exists"]) == ("The World Bank", True)
    after = await get(api, "/graphs", label="*")
    assert sorted(after["nodes"], key=lambda n: n["id"]) == sorted(before["nodes"], key=lambda n: n["id"])
    assert sorted(after["edges"], key=lambda e: e["id"]) == sorted(before["edges"], key=lambda e: e["id"])
    assert [pair_of(row) for row in await candidates(api)] == [WRITERS]
    await delete(api, "/graph/aliases/the world bank", None, status=404)


async def test_rejected_pairs_never_come_back_and_hold_merges_through_a_third_up(api: Api) -> None:
    await people(api)
    await until(api, lambda rows: len(rows) == 2)
    reply = await post(api, "/graph/duplicates/reject", {"pairs": [{"a": "J. K. Rowling", "b": "Joanne Kate Rowling"}]})
    assert reply["results"][0]["status"] == "rejected"
    assert [pair_of(row) for row in await candidates(api)] == [BANKS]
    await post(api, "/graph/duplicates/scan", {})
    await create(api, "Joanne K. Rowling", "another spelling", entity_type="person")
    found = await until(api, lambda rows: len(rows) == 3)
    assert WRITERS not in [pair_of(row) for row in found]
    middle = [{"a": "Joanne K. Rowling", "b": name} for name in sorted(WRITERS)]
    reply = await post(api, "/graph/duplicates/accept", {"pairs": middle})
    assert [result["status"] for result in reply["results"]] == ["merged", "refused"]
    assert [pair_of(row) for row in await candidates(api, status="rejected")] == [WRITERS]


async def test_a_candidate_whose_entity_is_gone_is_gone(api: Api) -> None:
    await people(api)
    await until(api, lambda rows: len(rows) == 2)
    await delete(api, "/graph/entity/delete", {"entity_name": "World Bank"})
    assert [pair_of(row) for row in await candidates(api)] == [WRITERS]


async def test_nothing_of_candidates_and_decisions_is_left_when_the_workspace_is_cleared(api: Api) -> None:
    await people(api)
    await until(api, lambda rows: len(rows) == 2)
    await post(api, "/graph/duplicates/reject", {"pairs": [{"a": "World Bank", "b": "The World Bank"}]})
    await api.idle()
    assert (await api.client.delete("/documents")).status_code == 200
    await api.idle()
    assert await candidates(api) == []
    assert await candidates(api, status="rejected") == []


async def test_only_sure_pairs_are_merged_automatically_and_not_again_once_split(tmp_path: Path) -> None:
    async with opened(tmp_path, ENTITY_RESOLUTION="auto") as api:
        await people(api)
        await until(api, lambda rows: len(rows) == 1, status="accepted")
        deadline = time.monotonic() + WAIT_S
        while await labels(api) >= BANKS:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert len(await labels(api)) == 7
        assert [pair_of(row) for row in await candidates(api)] == [WRITERS]
        [alias] = (await get(api, "/graph/aliases"))["aliases"]
        assert alias["reason"].startswith("rule: same name")
        await delete(api, f"/graph/aliases/{alias['name']}", None)
        await post(api, "/graph/duplicates/scan", {})
        await create(api, "J.K. Rowling", "she", entity_type="person")
        await until(api, lambda rows: len(rows) == 1, status="accepted")
        assert await labels(api) >= BANKS


async def test_nothing_is_merged_through_a_third_name_that_both_could_be(tmp_path: Path) -> None:
    async with opened(tmp_path, ENTITY_RESOLUTION="auto") as api:
        await create(api, "Saint-Denis", "a town", entity_type="location")
        await create(api, "Saint Denis", "a bishop", entity_type="person")
        await api.idle()
        await create(api, "Saint_Denis", "mentioned", entity_type="other")
        await until(api, lambda rows: len(rows) == 1, status="accepted")
        await post(api, "/graph/duplicates/scan", {})
        await create(api, "U. Thant", "of the United Nations", entity_type="person")
        await create(api, "U Thant", "the same", entity_type="person")
        await until(api, lambda rows: len(rows) == 2, status="accepted")
        assert {"Saint-Denis", "Saint Denis"} <= await labels(api)
        assert "Saint_Denis" not in await labels(api)


async def test_off_means_that_nothing_is_looked_for(tmp_path: Path) -> None:
    async with opened(tmp_path, ENTITY_RESOLUTION="off") as api:
        await people(api)
        await post(api, "/graph/duplicates/scan", {}, status=400)
        assert await candidates(api) == []


async def test_the_model_is_asked_about_open_pairs_and_heard(tmp_path: Path, vendor: Vendor) -> None:
    vendor.control(reply='Sure: {"pairs": [{"number": 1, "same": true, "why": "initials"}, {"number": "x"}, 7]} ok')
    settings = {
        "ENTITY_RESOLUTION_LLM": "true",
        "LLM_BINDING": "openai",
        "LLM_BINDING_HOST": vendor.openai_url,
        "LLM_BINDING_API_KEY": "key",
        "LLM_MODEL": "m",
    }
    async with opened(tmp_path, **settings) as api:
        await people(api)
        found = await until(api, lambda rows: any(row["verdict"] for row in rows))
        assert [(pair_of(row), row["verdict"]) for row in found if row["verdict"]] == [
            (WRITERS, {"same": True, "why": "initials"})
        ]
        assert len(await labels(api)) == 8


async def test_beside_documents_that_are_indexed_one_batch_is_looked_at(api: Api):
    app = api.app.state.opened
    workspace = await app.workspaces.get("")
    await workspace.stores.unresolved.put({f"name {n:03d}": {} for n in range(BATCH + 5)})
    await app.queue.enqueue([job_kinds.prepare("", "doc-unknown", delay_s=60.0)])
    assert await workspace.resolve.run() is False
    assert await workspace.stores.unresolved.count() == 5
    await app.queue.cancel("", [job_kinds.PREPARE])
    assert await workspace.resolve.run() is True
    assert await workspace.stores.unresolved.count() == 0
