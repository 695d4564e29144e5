"""One document over HTTP: detail, chunks, original, next version, notes of its owner, cancel and retry."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.api.conftest import STORY, Api

UNKNOWN = "doc-" + "0" * 32
OTHER = "Ebenezer Scrooge married Belle in London. Belle was the daughter of Fezziwig."


async def stored(api: Api, text: str = STORY, source: str = "carol.txt") -> str:
    """The id of a text that is indexed."""
    [document] = await api.settled(await api.insert(text, source))
    return document["id"]


async def detail(api: Api, document_id: str) -> dict[str, Any]:
    reply = await api.client.get(f"/documents/{document_id}")
    assert reply.status_code == 200, reply.text
    return reply.json()


async def replaced(api: Api, document_id: str) -> dict[str, Any]:
    """The document once its next version is in, or was given up."""
    for _ in range(1000):
        if not (document := await detail(api, document_id))["is_replacing"]:
            return document
        await asyncio.sleep(0.02)
    raise AssertionError("still being replaced")


async def entities(api: Api, query: str) -> set[str]:
    data = (await api.client.post("/query/data", json={"query": query, "mode": "local"})).json()
    return {e["entity_name"] for e in data["data"].get("entities", [])}


async def test_a_document_is_shown_with_its_chunks_text_and_original(api: Api) -> None:
    reply = await api.client.post("/documents/upload", files={"file": ("Weihnächten 1.md", f"# Carol\n\n{STORY}")})
    [listed] = await api.settled(reply.json()["track_id"])
    path = f"/documents/{listed['id']}"
    shown = await detail(api, listed["id"])
    assert listed.items() <= shown.items()
    assert shown["profile"] == "full"
    assert shown["original_bytes"] == len(f"# Carol\n\n{STORY}".encode())
    assert (shown["version"], shown["is_replacing"], shown["enabled"]) == (1, False, True)
    text = (await api.client.get(f"{path}/content")).text
    page = (await api.client.get(f"{path}/chunks")).json()
    assert (page["total_count"], page["total_pages"], page["page"], page["page_size"]) == (1, 1, 1, 50)
    [chunk] = page["chunks"]
    assert chunk["text"] == text[chunk["start"] : chunk["end"]]
    assert chunk["headings"] == ["Carol"]
    assert chunk["windows"] >= 1
    file = await api.client.get(f"{path}/file")
    assert file.content == f"# Carol\n\n{STORY}".encode()
    assert file.headers["content-disposition"] == "attachment; filename*=UTF-8''Weihn%C3%A4chten%201.md"
    assert file.headers["content-type"].startswith("text/plain")
    assert file.headers["x-content-type-options"] == "nosniff"


async def test_an_original_that_a_browser_could_run_is_bytes_to_it(api: Api) -> None:
    page = "<html><body><p>Jacob Marley was dead.</p><script>alert(1)</script></body></html>"
    reply = await api.client.post("/documents/upload", files={"file": ("a.html", page)})
    [document] = await api.settled(reply.json()["track_id"])
    file = await api.client.get(f"/documents/{document['id']}/file")
    assert file.headers["content-type"] == "application/octet-stream"
    assert file.headers["content-disposition"].startswith("attachment")
    assert file.text == page


async def test_the_pages_of_chunks_are_complete(api: Api) -> None:
    text = "\n\n".join(f"Paragraph {n}. {STORY}" for n in range(12))
    body = {"text": text, "chunking": {"strategy": "recursive_character", "params": {"chunk_token_size": 60}}}
    [document] = await api.settled((await api.client.post("/documents/text", json=body)).json()["track_id"])
    path = f"/documents/{document['id']}/chunks"
    first = (await api.client.get(path, params={"page_size": 7})).json()
    assert first["total_count"] == document["chunks_count"] > 14
    pages = [
        (await api.client.get(path, params={"page": n + 1, "page_size": 7})).json()["chunks"]
        for n in range(first["total_pages"])
    ]
    assert [c["index"] for page in pages for c in page] == list(range(first["total_count"]))
    assert (await api.client.get(path, params={"page": 99})).json()["chunks"] == []
    assert (await api.client.get(path, params={"page": 0})).status_code == 422


@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("GET", ""), ("PATCH", ""), ("PUT", ""), ("DELETE", ""), ("GET", "/chunks"), ("GET", "/content"),
        ("GET", "/file"), ("POST", "/cancel"), ("POST", "/retry"), ("POST", "/reindex"),
    ],
)  # fmt: skip
async def test_an_unknown_document_is_not_found(api: Api, method: str, rest: str) -> None:
    reply = await api.client.request(
        method, f"/documents/{UNKNOWN}{rest}", json={"text": "a text"} if method == "PUT" else {}
    )
    assert reply.status_code == 404
    assert UNKNOWN in reply.json()["detail"]


@pytest.mark.parametrize("path", ["/documents/doc-1", "/documents/unknown", f"/documents/{UNKNOWN}0"])
async def test_other_paths_below_documents_are_as_they_were(api: Api, path: str) -> None:
    assert (await api.client.get(path)).status_code == 404
    assert (await api.client.get("/documents/status_counts")).status_code == 200
    assert (await api.client.get("/documents/upload")).status_code == 405


async def test_a_document_is_replaced_and_the_answers_with_it(api: Api) -> None:
    document_id = await stored(api)
    before = await detail(api, document_id)
    reply = await api.client.put(f"/documents/{document_id}", json={"text": OTHER, "tags": ["new"]})
    assert reply.json()["status"] == "success"
    [listed] = await api.settled(reply.json()["track_id"])
    assert listed["id"] == document_id
    after = await replaced(api, document_id)
    assert (after["version"], after["tags"], after["file_path"]) == (2, ["new"], "carol.txt")
    assert after["created_at"] == before["created_at"]
    assert after["updated_at"] >= before["updated_at"]
    assert (await api.client.get(f"/documents/{document_id}/content")).text == OTHER
    assert "Belle" in await entities(api, "Who was Belle?")
    assert "Jacob Marley" not in await entities(api, "Who was Jacob Marley?")
    counts = (await api.client.get("/documents/status_counts")).json()["status_counts"]
    assert (counts["processed"], counts["all"]) == (1, 1)


async def test_a_file_replaces_a_file_of_its_kind(api: Api) -> None:
    reply = await api.client.post("/documents/upload", files={"file": ("carol.txt", STORY)})
    [document] = await api.settled(reply.json()["track_id"])
    path = f"/documents/{document['id']}"
    form = {"metadata": '{"year": 1843}', "tags": "novel, ghosts"}
    reply = await api.client.put(path, files={"file": ("second.txt", OTHER)}, data=form)
    assert reply.status_code == 200, reply.text
    after = await replaced(api, document["id"])
    assert (after["attributes"], after["tags"]) == ({"year": 1843}, ["novel", "ghosts"])
    same = await api.client.put(path, files={"file": ("second.txt", OTHER)})
    assert same.json()["status"] == "duplicated"
    assert same.json()["track_id"] == reply.json()["track_id"]
    other_kind = await api.client.put(path, files={"file": ("second.md", STORY)})
    assert other_kind.status_code == 400
    assert ".txt" in other_kind.json()["detail"]
    assert (await api.client.put(path, files={"file": ("a.txt", b"")})).status_code == 400
    assert (await api.client.put(path)).status_code == 422
    assert (await api.client.put(path, json={"text": " "})).status_code == 422
    assert (await api.client.put(path, content=b"{", headers={"Content-Type": "application/json"})).status_code == 422


async def test_a_replacement_that_cannot_be_read_leaves_the_version_before(api: Api) -> None:
    reply = await api.client.post("/documents/upload", files={"file": ("a.json", json.dumps({"text": STORY}))})
    [document] = await api.settled(reply.json()["track_id"])
    assert document["status"] == "processed", document
    text = (await api.client.get(f"/documents/{document['id']}/content")).text
    await api.client.put(f"/documents/{document['id']}", files={"file": ("a.json", b"\xff\xfe\x00\xd8\x00\xd8")})
    after = await replaced(api, document["id"])
    assert after["status"] == "processed"
    assert after["version"] == 1
    assert "replacement" in after["error_msg"]
    assert (await api.client.get(f"/documents/{document['id']}/content")).text == text


async def test_an_upload_of_a_known_name_does_what_the_request_says(api: Api) -> None:
    document_id = await stored(api)
    body = {"text": OTHER, "file_source": "carol.txt"}
    assert (await api.client.post("/documents/text", json=body)).json()["status"] == "duplicated"
    refused = await api.client.post("/documents/text", json=body | {"on_conflict": "error"})
    assert refused.status_code == 409
    assert "carol.txt" in refused.json()["detail"]
    reply = await api.client.post("/documents/upload?on_conflict=replace", files={"file": ("carol.txt", OTHER)})
    assert reply.json()["status"] == "success"
    assert (await replaced(api, document_id))["version"] == 2
    again = await api.client.post(
        "/documents/file", files={"file": ("carol.txt", STORY)}, data={"on_conflict": "error"}
    )
    assert again.status_code == 409
    assert (await api.client.post("/documents/text", json=body | {"on_conflict": "never"})).status_code == 422


async def test_several_files_share_a_track_id_and_a_bad_one_stops_no_other(api: Api) -> None:
    await stored(api, source="known.txt")
    files = [
        ("files", ("a.txt", STORY + " a")),
        ("files", ("../b.txt", STORY)),
        ("files", ("c.exe", STORY)),
        ("files", ("d.txt", "")),
        ("files", ("known.txt", STORY + " known")),
        ("files", ("a.txt", STORY + " twice")),
        ("files", ("e.txt", STORY + " e")),
    ]
    reply = (await api.client.post("/documents/batch", files=files, data={"tags": ["x", "y"]})).json()
    assert reply["status"] == "partial_success"
    for name in ("../b.txt", "c.exe", "d.txt", "known.txt", "a.txt"):
        assert name in reply["message"]
    documents = await api.settled(reply["track_id"])
    assert sorted(d["file_path"] for d in documents) == ["a.txt", "e.txt"]
    assert all(d["tags"] == ["x", "y"] for d in documents)
    nothing = await api.client.post("/documents/batch", files=files[1:4])
    assert nothing.status_code == 400
    assert "c.exe" in nothing.json()["detail"]


async def test_the_older_name_of_upload_keeps_the_description(api: Api) -> None:
    reply = await api.client.post(
        "/documents/file",
        files={"file": ("a.txt", STORY)},
        data={"description": " A story ", "metadata": '{"year": 1843}'},
    )
    [document] = await api.settled(reply.json()["track_id"])
    assert document["attributes"] == {"year": 1843, "description": "A story"}


async def test_notes_are_merged_tags_replaced_and_the_document_switched(api: Api) -> None:
    document_id = await stored(api)
    path = f"/documents/{document_id}"
    await api.client.patch(path, json={"attributes": {"year": 1843, "author": "Dickens"}, "tags": [" a ", "a", "b"]})
    reply = await api.client.patch(path, json={"attributes": {"author": None, "open": [1, "x"]}, "enabled": False})
    assert reply.json() == await detail(api, document_id)
    assert reply.json()["attributes"] == {"year": 1843, "open": [1, "x"]}
    assert (reply.json()["tags"], reply.json()["enabled"]) == (["a", "b"], False)
    unchanged = await api.client.patch(path, json={})
    assert unchanged.json()["attributes"] == {"year": 1843, "open": [1, "x"]}


BAD_METADATA: list[Any] = [
    [], "text", {"a": {"b": 1}}, {"a": [[1]]}, {"": 1}, {"k" * 129: 1}, {"a": "x" * 4097}, {"a": list(range(65))},
    {str(n): n for n in range(65)}, {"a": 2**60},
]  # fmt: skip


@pytest.mark.parametrize("metadata", BAD_METADATA)
async def test_metadata_beyond_the_limits_is_refused_and_named(api: Api, metadata: Any) -> None:
    body = await api.client.post("/documents/text", json={"text": STORY, "metadata": metadata})
    assert body.status_code == 422
    assert "metadata" in body.text
    form = {"metadata": json.dumps(metadata)}
    upload = await api.client.post("/documents/upload", files={"file": ("a.txt", STORY)}, data=form)
    assert upload.status_code == 400
    assert "metadata" in upload.text


@pytest.mark.parametrize("tags", [["x" * 129], [str(n) for n in range(65)]])
async def test_tags_beyond_the_limits_are_refused_and_named(api: Api, tags: list[str]) -> None:
    assert (await api.client.post("/documents/text", json={"text": STORY, "tags": tags})).status_code == 422
    upload = await api.client.post("/documents/upload", files={"file": ("a.txt", STORY)}, data={"tags": tags})
    assert upload.status_code == 400
    assert "tags" in upload.text


async def test_metadata_of_a_form_is_json(api: Api) -> None:
    for text in ("{", "{'a': 1}", '{"a": NaN}', "[" * 100_000):
        reply = await api.client.post("/documents/upload", files={"file": ("a.txt", STORY)}, data={"metadata": text})
        assert reply.status_code == 400, text[:10]


async def test_many_attributes_do_not_add_up_beyond_the_limit(api: Api) -> None:
    path = f"/documents/{await stored(api)}"
    assert (await api.client.patch(path, json={"attributes": {f"a{n}": n for n in range(60)}})).status_code == 200
    assert (await api.client.patch(path, json={"attributes": {f"b{n}": n for n in range(60)}})).status_code == 400


async def test_a_document_is_indexed_with_the_profile_asked_for_and_again_with_another(api: Api) -> None:
    body = {"text": STORY, "file_source": "a.txt", "profile": "vector"}
    [document] = await api.settled((await api.client.post("/documents/text", json=body)).json()["track_id"])
    assert not await entities(api, "Who was Jacob Marley?")
    reply = await api.client.post(f"/documents/{document['id']}/reindex", json={"profile": "full"})
    assert reply.status_code == 200, reply.text
    assert (await replaced(api, document["id"]))["profile"] == "full"
    assert "Jacob Marley" in await entities(api, "Who was Jacob Marley?")


async def test_nothing_is_cancelled_or_retried_that_is_done(api: Api) -> None:
    document_id = await stored(api)
    for verb in ("cancel", "retry"):
        reply = await api.client.post(f"/documents/{document_id}/{verb}")
        assert reply.status_code == 409
        assert "carol.txt" in reply.json()["detail"]


async def test_one_document_is_deleted(api: Api) -> None:
    document_id = await stored(api)
    reply = await api.client.delete(f"/documents/{document_id}")
    assert (reply.json()["status"], reply.json()["doc_id"]) == ("deletion_started", document_id)
    for _ in range(500):
        if (await api.client.get(f"/documents/{document_id}")).status_code == 404:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("still there")
