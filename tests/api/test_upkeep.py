from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import STORY, Api, opened, settings_of
from tests.vendor import Vendor, in_thread

QUESTION = {"query": "Who was Jacob Marley?"}


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with in_thread() as started:
        yield started


def models_of(vendor: Vendor) -> dict[str, str]:
    """Extraction, keywords and answers by the vendor's model, all kept."""
    patience = {"LLM_TIMEOUT": "30", "EMBEDDING_TIMEOUT": "30"}
    wanted = {"ENABLE_LLM_CACHE": "true", "KEYWORD_EXTRACTION": "llm", "INDEX_PROFILE": "full", **patience}
    return settings_of(vendor) | wanted


async def cleared(api: Api, body: dict[str, Any], **headers: str) -> str:
    reply = await api.client.post("/documents/clear_cache", json=body, headers=headers)
    assert reply.status_code == 200, reply.text
    assert reply.json()["status"] == "success"
    return reply.json()["message"]


async def calls_for(api: Api, vendor: Vendor, work: str) -> int:
    """How many replies the vendor writes for the same text indexed again, or the same question asked again."""
    before = vendor.stats()
    if work == "extract":
        documents = (await api.client.post("/documents/paginated", json={})).json()["documents"]
        await api.client.request("DELETE", "/documents/delete_document", json={"doc_ids": [documents[0]["id"]]})
        await api.idle()
        await api.insert(STORY, "carol.txt")
    else:
        assert (await api.client.post("/query", json=QUESTION)).status_code == 200
    return vendor.stats()["chat"] - before["chat"]


KEPT = {"extract": 1, "query": 2}
"""Replies for one chunk, and for the keywords and the answer of one question."""


@pytest.mark.parametrize(
    ("body", "forgotten"),
    [
        ({}, {"extract", "query"}),
        ({"modes": []}, {"extract", "query"}),
        ({"modes": ["default"]}, {"extract"}),
        ({"modes": ["local", "mix"]}, {"query"}),
        ({"modes": ["default", "naive"]}, {"extract", "query"}),
    ],
)
async def test_clear_cache_forgets_replies_by_what_they_were_asked_for(
    tmp_path: Path, vendor: Vendor, body: dict[str, Any], forgotten: set[str]
) -> None:
    async with opened(tmp_path, **models_of(vendor)) as api:
        await api.insert(STORY, "carol.txt")
        await calls_for(api, vendor, "query")
        assert [await calls_for(api, vendor, work) for work in ("extract", "query")] == [0, 0]
        assert (await cleared(api, body)).startswith(f"{sum(map(KEPT.__getitem__, forgotten))} kept replies")
        for work in ("extract", "query"):
            assert (await calls_for(api, vendor, work) > 0) == (work in forgotten)


async def test_clear_cache_leaves_other_workspaces_alone(tmp_path: Path, vendor: Vendor) -> None:
    async with opened(tmp_path, **models_of(vendor)) as api:
        await api.insert(STORY, "carol.txt")
        assert (await cleared(api, {}, **{"LIGHTRAG-WORKSPACE": "other"})).startswith("0 ")
        assert await calls_for(api, vendor, "extract") == 0


async def test_clear_cache_refuses_an_unknown_mode_and_ignores_other_keys(api: Api) -> None:
    assert (await api.client.post("/documents/clear_cache", json={"modes": ["all"]})).status_code == 422
    await cleared(api, {"anything": True})


async def test_no_source_is_claimed_twice(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    await api.insert("One text without a source.")
    await api.insert("Another text without a source.")
    reply = await api.client.get("/documents/source_conflicts", params={"limit": 200})
    assert reply.json() == {"conflicts": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("params", "status"),
    [({"limit": "0"}, 422), ({"limit": "201"}, 422), ({"limit": "many"}, 422), ({"cursor": "x"}, 400)],
)
async def test_the_list_of_source_conflicts_checks_its_parameters(
    api: Api, params: dict[str, str], status: int
) -> None:
    assert (await api.client.get("/documents/source_conflicts", params=params)).status_code == status


async def repair(api: Api, **body: Any) -> tuple[int, dict[str, Any]]:
    wanted = {"canonical_source_key": "carol.txt", **body}
    reply = await api.client.post("/documents/source_conflicts/repair", json=wanted)
    return reply.status_code, reply.json()


async def test_a_documents_source_is_its_own(api: Api) -> None:
    track = await api.insert(STORY, "carol.txt")
    [document] = await api.settled(track)
    status, dry = await repair(api, primary_doc_id=document["id"])
    assert status == 200
    assert (dry["candidate_count"], dry["demoted_sample_doc_ids"], dry["committed"]) == (1, [], False)
    expected = {"expected_candidate_count": 1, "expected_candidate_fingerprint": dry["fingerprint"]}
    assert await repair(api, primary_doc_id=document["id"], dry_run=False, **expected) == (
        200,
        {**dry, "committed": True},
    )
    wrong = {**expected, "expected_candidate_count": 2}
    assert (await repair(api, primary_doc_id=document["id"], dry_run=False, **wrong))[0] == 409
    assert (await repair(api, primary_doc_id=document["id"], dry_run=False))[0] == 422
    assert (await repair(api, primary_doc_id=document["id"], canonical_source_key="other.txt"))[0] == 409
    assert (await repair(api, primary_doc_id="doc-unknown"))[0] == 409
    assert (await repair(api, primary_doc_id=""))[0] == 422


async def test_there_is_nothing_to_recover_by_hand(api: Api) -> None:
    path = "/documents/recovery/force_reset"
    reply = await api.client.post(path, json={"confirm": True})
    assert reply.status_code == 200
    assert reply.json()["status"] == "no_recovery_required"
    assert reply.json()["cancelled_manual_retries"] == 0
    assert (await api.client.post(path, json={})).status_code == 400
    assert (await api.client.post(path, json={"confirm": False})).status_code == 400


async def test_the_front_end_learns_title_and_description(tmp_path: Path) -> None:
    async with opened(
        tmp_path, WEBUI_TITLE="Ours", WEBUI_DESCRIPTION="All we know", LIGHTRAG_API_KEY="correct horse"
    ) as api:
        for locale in ("", "en", "zh-TW", "pt_BR"):
            reply = await api.client.get("/ui/customization", params={"locale": locale})
            assert reply.json() == {"customized": False, "brand": {"title": "Ours", "description": "All we know"}}
            assert reply.headers["cache-control"] == "no-store"
        assert (await api.client.get("/ui/customization", params={"locale": "../etc"})).status_code == 400
        asset = await api.client.get("/ui/customization/assets/abc/logo")
        assert (asset.status_code, asset.json()["detail"]) == (404, "Unknown asset")


@pytest.mark.parametrize("is_wanted", [True, False])
async def test_a_document_can_be_deleted_with_what_the_model_said_of_it(
    tmp_path: Path, vendor: Vendor, is_wanted: bool
) -> None:
    settings = models_of(vendor) | {"MAX_GLEANING": "1", "CHUNK_SIZE": "20", "CHUNK_OVERLAP_SIZE": "0"}
    other = "Old Fezziwig gave a ball on Christmas Eve for Dick Wilkins."
    async with opened(tmp_path, **settings) as api:
        tracks = [await api.insert(STORY, "carol.txt"), await api.insert(other, "ball.txt")]
        ids = [(await api.settled(track))[0]["id"] for track in tracks]
        asked = vendor.stats()["chat"]
        assert asked >= 6
        body = {"doc_ids": [ids[0]], "delete_llm_cache": is_wanted}
        reply = await api.client.request("DELETE", "/documents/delete_document", json=body)
        assert reply.json()["status"] == "deletion_started"
        await api.idle()
        await api.insert(STORY, "carol.txt")
        again = vendor.stats()["chat"] - asked
        assert again == (asked - 2 if is_wanted else 0), "two calls, one of them for gleaning, were for the other one"
        assert ("kept replies" in reply.json()["message"]) == is_wanted
