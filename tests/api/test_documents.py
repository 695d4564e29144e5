from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.api.conftest import STORY, Api


def upload(api: Api, name: str, data: bytes) -> Any:
    return api.client.post("/documents/upload", files={"file": (name, data)})


async def test_an_upload_is_accepted_indexed_and_listed(api: Api) -> None:
    reply = (await upload(api, "carol.txt", STORY.encode())).json()
    assert reply["status"] == "success"
    assert reply["track_id"].startswith("upload_")
    [document] = await api.settled(reply["track_id"])
    assert document["status"] == "processed"
    assert document["file_path"] == "carol.txt"
    assert document["chunks_count"] == 1
    assert document["error_msg"] is None
    assert set(document) == {
        "id", "content_summary", "content_length", "status", "created_at", "updated_at", "track_id", "chunks_count",
        "error_msg", "metadata", "file_path", "attributes", "tags", "enabled",
    }  # fmt: skip


async def test_an_upload_that_exists_is_called_duplicated_and_points_to_the_first(api: Api) -> None:
    first = (await upload(api, "carol.txt", STORY.encode())).json()
    await api.settled(first["track_id"])
    reply = await upload(api, "carol.txt", STORY.encode())
    assert reply.status_code == 200
    assert reply.json()["status"] == "duplicated"
    assert reply.json()["track_id"] == first["track_id"]
    assert "carol.txt" in reply.json()["message"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../carol.txt", "Unsafe filename"),
        ("a:b.txt", "Unsafe filename"),
        (" carol.txt", "Invalid filename"),
        ("x" * 252 + ".txt", "Invalid filename"),
        ("carol.exe", "Unsupported file type"),
        ("carol", "Unsupported file type"),
    ],
)
async def test_a_name_that_cannot_be_kept_is_refused_and_nothing_is_stored(api: Api, name: str, said: str) -> None:
    reply = await upload(api, name, b"text")
    assert reply.status_code == 400
    assert said in reply.json()["detail"]
    assert (await api.client.get("/documents/status_counts")).json()["status_counts"]["all"] == 0


async def test_control_characters_in_a_name_are_refused(api: Api) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a\x07b.txt"\r\n\r\ntext\r\n--b--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    reply = await api.client.post("/documents/upload", content=body, headers=headers)
    assert reply.status_code == 400
    assert "Invalid filename" in reply.json()["detail"]


async def test_an_empty_file_is_refused(api: Api) -> None:
    reply = await upload(api, "empty.txt", b"")
    assert reply.status_code == 400
    assert "empty" in reply.json()["detail"]


async def test_a_request_without_file_is_invalid(api: Api) -> None:
    assert (await api.client.post("/documents/upload")).status_code == 422


async def test_a_text_needs_no_source(api: Api) -> None:
    reply = await api.client.post("/documents/text", json={"text": STORY, "description": "old clients send this"})
    assert reply.json()["track_id"].startswith("insert_")
    [document] = await api.settled(reply.json()["track_id"])
    assert document["file_path"] == "unknown_source"
    again = await api.client.post("/documents/text", json={"text": STORY})
    assert again.json()["status"] == "duplicated"


@pytest.mark.parametrize("body", [{"text": ""}, {"text": "  \n"}, {}, {"text": 3}])
async def test_a_blank_or_missing_text_is_invalid(api: Api, body: dict[str, Any]) -> None:
    assert (await api.client.post("/documents/text", json=body)).status_code == 422


async def test_texts_share_a_track_id_and_known_ones_make_it_partial(api: Api) -> None:
    await api.insert("The first text speaks of London.", "a.txt")
    body = {"texts": ["The first text speaks of London.", "The second of Paris."], "file_sources": ["a.txt", "b.txt"]}
    reply = (await api.client.post("/documents/texts", json=body)).json()
    assert reply["status"] == "partial_success"
    assert "a.txt" in reply["message"]
    [document] = await api.settled(reply["track_id"])
    assert document["file_path"] == "b.txt"


async def test_each_text_needs_its_own_source(api: Api) -> None:
    body = {"texts": ["one text", "two text"], "file_sources": ["a.txt"]}
    assert (await api.client.post("/documents/texts", json=body)).status_code == 422
    body["file_sources"] = ["a.txt", "a.txt"]
    assert (await api.client.post("/documents/texts", json=body)).status_code == 400


async def test_a_request_may_say_how_its_texts_are_cut(api: Api) -> None:
    body = {"text": STORY * 20, "chunking": {"strategy": "recursive_character", "params": {"chunk_token_size": 50}}}
    reply = (await api.client.post("/documents/text", json=body)).json()
    [document] = await api.settled(reply["track_id"])
    assert document["chunks_count"] >= len(STORY) * 20 / 4 / 60


@pytest.mark.parametrize(
    "chunking",
    [
        {"strategy": "by_moon"},
        {"strategy": "custom"},
        {"params": {"chunk_token_size": 50, "chunk_overlap_token_size": 50}},
        {"params": {"chunk_token_size": 0}},
        {"params": {"moon": 1}},
        {"strategy": "recursive_character", "params": {"split_by_character": ";"}},
    ],
)
async def test_a_chunking_that_would_not_be_honoured_is_refused(api: Api, chunking: dict[str, object]) -> None:
    assert (await api.client.post("/documents/text", json={"text": STORY, "chunking": chunking})).status_code == 422


async def test_scan_indexes_the_files_of_the_input_folder(api: Api) -> None:
    folder = api.app.state.opened.settings.server.input_dir
    (folder / "found.txt").write_text(STORY)
    (folder / "skipped.exe").write_text("no")
    reply = (await api.client.post("/documents/scan")).json()
    assert reply["status"] == "scanning_started"
    assert reply["track_id"].startswith("scan_")
    assert [d["file_path"] for d in await api.settled(reply["track_id"])] == ["found.txt"]


async def test_a_scan_can_be_followed_to_its_end(api: Api) -> None:
    folder = api.app.state.opened.settings.server.input_dir
    (folder / "found.txt").write_text(STORY)
    track = (await api.client.post("/documents/scan")).json()["track_id"]
    await api.settled(track)
    reply = (await api.client.get(f"/documents/scan/status/{track}")).json()
    assert reply["status"] == "completed"
    assert reply["counts"] == {"discovered": 1, "claimed_new": 1, "processed": 1, "errors": 0}
    assert reply["samples"]["processed"]["items"] == ["found.txt"]
    assert reply["created_at"] <= reply["updated_at"]
    assert "1 new file" in reply["message"]
    assert (await api.client.get("/documents/scan/status/scan_unknown")).status_code == 404


async def test_a_scan_that_finds_nothing_is_known_too(api: Api) -> None:
    track = (await api.client.post("/documents/scan")).json()["track_id"]
    reply = (await api.client.get(f"/documents/scan/status/{track}")).json()
    while reply["status"] == "running":
        await asyncio.sleep(0.02)
        reply = (await api.client.get(f"/documents/scan/status/{track}")).json()
    assert reply["status"] == "completed"
    assert reply["counts"]["discovered"] == 0


async def test_pages_are_sorted_filtered_and_counted(api: Api) -> None:
    for n in range(12):
        await api.insert(f"Text number {n} speaks of London.", f"{n:02d}.txt")
    body = {"page": 2, "page_size": 10, "sort_field": "file_path", "sort_direction": "asc"}
    reply = (await api.client.post("/documents/paginated", json=body)).json()
    assert [d["file_path"] for d in reply["documents"]] == ["10.txt", "11.txt"]
    assert reply["pagination"] == {
        "page": 2, "page_size": 10, "total_count": 12, "total_pages": 2, "has_next": False, "has_prev": True,
    }  # fmt: skip
    assert reply["status_counts"] == {
        "pending": 0, "parsing": 0, "analyzing": 0, "processing": 0, "preprocessed": 0, "processed": 12, "failed": 0,
        "all": 12,
    }  # fmt: skip
    none = (await api.client.post("/documents/paginated", json={"status_filters": ["failed"]})).json()
    assert none["documents"] == []
    assert none["pagination"]["total_pages"] == 0


@pytest.mark.parametrize(
    "body",
    [{"page": 0}, {"page_size": 9}, {"page_size": 201}, {"status_filter": "FAILED"}, {"sort_field": "name"}],
)
async def test_pages_out_of_bounds_are_invalid(api: Api, body: dict[str, Any]) -> None:
    assert (await api.client.post("/documents/paginated", json=body)).status_code == 422


async def test_a_track_id_is_summed_up_in_both_spellings_and_an_unknown_one_is_empty(api: Api) -> None:
    track = await api.insert(STORY, "carol.txt")
    reply = (await api.client.get(f"/documents/track_status/{track}")).json()
    assert reply["total_count"] == 1
    assert reply["status_summary"] == {"DocStatus.PROCESSED": 1, "processed": 1}
    unknown = await api.client.get("/documents/track_status/upload_nothing")
    assert unknown.status_code == 200
    assert unknown.json()["documents"] == []
    assert (await api.client.get("/documents/track_status/%20")).status_code == 400


async def test_the_pipeline_tells_what_happened_in_the_fields_clients_know(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    state = await api.idle()
    assert state["busy"] is False
    assert state["autoscanned"] is False
    assert state["request_pending"] is False
    assert any("carol.txt" in line for line in state["history_messages"])
    assert state["latest_message"] == state["history_messages"][-1]
    assert {
        "job_name", "job_start", "docs", "batchs", "cur_batch", "update_status", "recovery_required", "recovery_kind",
        "recovery_message", "destructive_busy", "scanning", "scanning_exclusive", "pending_enqueues",
        "cancellation_requested", "cancellation_reason", "cancellation_detail",
    } <= set(state)  # fmt: skip


async def test_a_document_is_deleted_with_its_traces_and_an_unknown_one_is_not_found(api: Api) -> None:
    track = await api.insert(STORY, "carol.txt")
    [document] = await api.settled(track)
    body = {"doc_ids": [document["id"], "doc-unknown"]}
    reply = (await api.client.request("DELETE", "/documents/delete_document", json=body)).json()
    assert reply["status"] == "deletion_started"
    assert reply["doc_id"] == f"{document['id']}, doc-unknown"
    assert "doc-unknown" in reply["message"]
    await gone(api)
    data = (await api.client.post("/query/data", json={"query": "Who was Jacob Marley?"})).json()
    assert data["status"] == "failure"
    unknown = await api.client.request("DELETE", "/documents/delete_document", json={"doc_ids": ["doc-unknown"]})
    assert unknown.status_code == 404
    assert "doc-unknown" in unknown.json()["detail"]


async def gone(api: Api) -> None:
    for _ in range(500):
        if (await api.client.get("/documents/status_counts")).json()["status_counts"]["all"] == 0:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("still there")


@pytest.mark.parametrize("ids", [[], ["a", "a"], [" "], "a"])
async def test_ids_to_delete_are_given_once_and_not_blank(api: Api, ids: Any) -> None:
    reply = await api.client.request("DELETE", "/documents/delete_document", json={"doc_ids": ids})
    assert reply.status_code == 422


async def test_clear_answers_when_nothing_is_left(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    folder = api.app.state.opened.settings.server.input_dir
    (folder / "left.txt").write_text("text")
    reply = await api.client.delete("/documents")
    assert reply.json()["status"] == "success"
    assert (await api.client.get("/documents/status_counts")).json()["status_counts"]["all"] == 0
    assert list(folder.iterdir()) == []
    await api.insert(STORY, "carol.txt")


async def test_kinds_of_files_are_listed(api: Api) -> None:
    reply = await api.client.get("/documents/supported_file_types")
    assert reply.headers["Cache-Control"] == "no-store"
    assert {".txt", ".md"} <= set(reply.json()["supported_extensions"])
    assert set(reply.json()["engines"]["native"]) == set(reply.json()["supported_extensions"])


async def test_retry_and_cancel_answer_when_there_is_nothing_to_do(api: Api) -> None:
    retry = (await api.client.post("/documents/reprocess_failed")).json()
    assert retry["status"] == "reprocessing_started"
    assert retry["track_id"] == ""
    cancel = (await api.client.post("/documents/cancel_pipeline")).json()
    assert cancel["status"] == "not_busy"


async def test_workspaces_do_not_see_each_other(api: Api) -> None:
    track = await api.insert(STORY, "carol.txt")
    other = {"LIGHTRAG-WORKSPACE": "other"}
    counts = await api.client.get("/documents/status_counts", headers=other)
    assert counts.json()["status_counts"]["all"] == 0
    found = await api.client.get(f"/documents/track_status/{track}", headers=other)
    assert found.json()["documents"] == []
    reply: httpx.Response = await api.client.post("/query/data", json={"query": "Who is Marley?"}, headers=other)
    assert reply.json()["status"] == "failure"
