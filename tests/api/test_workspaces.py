"""Workspaces listed, made, renamed and set, through the routes alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.api.conftest import Api, opened
from tests.api.workspace_calls import change, create, documents, insert, inside, listed, status

# -- making


async def test_at_first_there_is_the_default_workspace(api: Api) -> None:
    [default] = (await listed(api)).values()
    assert (default["name"], default["is_default"], default["documents"]["all"]) == ("", True, 0)
    assert (await api.client.get("/workspaces/~")).json() == default


async def test_a_workspace_is_made_with_description_and_settings(api: Api) -> None:
    made = await create(api, "books", description="All books", settings={"top_k": 7})
    assert (made["name"], made["description"], made["settings"]) == ("books", "All books", {"top_k": 7})
    assert made["effective_settings"]["top_k"] == 7
    assert made["effective_settings"]["chunk_size"] == 1200
    assert made["created_at"]
    assert (await api.client.get("/workspaces/books")).json() == made
    assert set(await listed(api)) == {"", "books"}


async def test_a_name_is_taken_once(api: Api) -> None:
    await create(api, "books")
    await insert(api, "used")
    for taken in ("books", "used"):
        assert await status(api, "POST", "/workspaces", name=taken) == 409


async def test_odd_names_are_refused_and_not_bent(api: Api) -> None:
    for name in ("", "a b", "ä", "a/b", "..", "~", "x" * 65, "a\n"):
        assert await status(api, "POST", "/workspaces", name=name) == 400, name
    assert set(await listed(api)) == {""}


def traces_of(folder: Path, name: str) -> set[str]:
    return {str(path) for path in folder.rglob(f"*{name}*")}


async def test_the_first_write_makes_a_workspace_and_reads_do_not(api: Api, tmp_path: Path) -> None:
    assert await documents(api, "books") == []
    await api.client.post("/query", json={"query": "Who is Scrooge?"}, headers=inside("books"))
    assert set(await listed(api)) == {""}
    assert traces_of(tmp_path, "books") == set()
    await insert(api, "bo oks")
    found = (await listed(api))["bo_oks"]
    assert found["documents"] == {"pending": 0, "processing": 0, "processed": 1, "failed": 0, "all": 1} | {
        state: 0 for state in found["documents"] if state not in ("processed", "all")
    }
    assert found["created_at"] == (await documents(api, "bo_oks"))[0]["created_at"]


async def test_data_without_a_row_is_found_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as api:
        await insert(api, "books")
        await api.idle()
    (tmp_path / "rag_storage" / "directory.sqlite").unlink(missing_ok=True)
    async with opened(tmp_path) as api:
        assert (await listed(api))["books"]["documents"]["all"] == 1
        await change(api, "books", name="library")
        assert len(await documents(api, "library")) == 1


async def test_without_auto_create_an_unknown_workspace_is_not_there(tmp_path: Path) -> None:
    async with opened(tmp_path, WORKSPACE_AUTO_CREATE="false") as api:
        for method, path, body in (
            ("GET", "/documents/status_counts", None),
            ("POST", "/documents/text", {"text": "x"}),
        ):
            reply = await api.client.request(method, path, json=body, headers=inside("books"))
            assert reply.status_code == 404
        await create(api, "books")
        await insert(api, "books")
        await insert(api, "")


# -- unknown ones


async def test_what_does_not_exist_is_404(api: Api) -> None:
    for name in ("books", "a b", "x" * 100):
        for method, body in (("GET", {}), ("PATCH", {"description": "x"}), ("DELETE", {})):
            assert await status(api, method, f"/workspaces/{name}", **body) == 404, (method, name)


async def test_the_default_workspace_stays_and_keeps_its_name(tmp_path: Path) -> None:
    async with opened(tmp_path, WORKSPACE="main") as api:
        reply = await api.client.delete("/workspaces/main")
        assert reply.status_code == 409
        assert "DELETE /documents" in reply.json()["detail"]
        assert await status(api, "PATCH", "/workspaces/main", name="other") == 409
        assert (await change(api, "main", description="ours"))["description"] == "ours"
        assert set(await listed(api)) == {"main"}


# -- renaming


async def test_a_renamed_workspace_keeps_its_documents_and_frees_its_name(api: Api) -> None:
    document = await insert(api, "books")
    await change(api, "books", name="library")
    assert set(await listed(api)) == {"", "library"}
    assert [row["id"] for row in await documents(api, "library")] == [document]
    assert await documents(api, "books") == []
    await insert(api, "books", "Another text.", "other.txt")
    assert [row["file_path"] for row in await documents(api, "books")] == ["other.txt"]
    assert [row["file_path"] for row in await documents(api, "library")] == ["story.txt"]
    assert set(await listed(api)) == {"", "books", "library"}


async def test_documents_are_indexed_in_a_renamed_workspace(api: Api) -> None:
    await create(api, "books")
    await change(api, "books", name="library")
    await insert(api, "library")
    asked = {"query": "Who was the clerk of Scrooge?", "only_need_context": True}
    reply = await api.client.post("/query", json=asked, headers=inside("library"))
    assert "Bob Cratchit" in reply.json()["response"]


async def test_keys_go_on_opening_a_renamed_workspace_and_not_the_next_of_that_name(tmp_path: Path) -> None:
    async with opened(tmp_path, LIGHTRAG_API_KEY="the-administrators-own-key") as api:
        api.client.headers["X-API-Key"] = "the-administrators-own-key"
        await insert(api, "books")
        made = await api.client.post("/auth/keys", json={"name": "reader", "workspaces": ["books"]})
        reader = {"X-API-Key": made.json()["key"]}
        await change(api, "books", name="library")
        await insert(api, "books", "Another text.", "other.txt")
        seen = await api.client.get("/workspaces", headers=reader)
        assert [row["name"] for row in seen.json()["workspaces"]] == ["library"]
        counts = await api.client.get("/documents/status_counts", headers=reader)
        assert counts.json()["status_counts"]["processed"] == 1
        assert (await api.client.get("/workspaces/books", headers=reader)).status_code == 404
        for method, path in (
            ("POST", "/workspaces"),
            ("PATCH", "/workspaces/library"),
            ("DELETE", "/workspaces/library"),
        ):
            reply = await api.client.request(method, path, json={"name": "x"}, headers=reader)
            assert reply.status_code == 403


async def test_names_can_be_exchanged(api: Api) -> None:
    await insert(api, "a", "Text of a.", "a.txt")
    await insert(api, "b", "Text of b.", "b.txt")
    for old, new in (("a", "c"), ("b", "a"), ("c", "b")):
        await change(api, old, name=new)
    assert [row["file_path"] for row in await documents(api, "a")] == ["b.txt"]
    assert [row["file_path"] for row in await documents(api, "b")] == ["a.txt"]


async def test_a_taken_or_odd_new_name_is_refused(api: Api) -> None:
    await create(api, "books")
    await insert(api, "used")
    assert await status(api, "PATCH", "/workspaces/books", name="used") == 409
    assert await status(api, "PATCH", "/workspaces/books", name="a b") == 400
    assert set(await listed(api)) == {"", "books", "used"}


# -- settings


async def test_settings_hold_for_new_documents_of_this_workspace_only(api: Api) -> None:
    text = " ".join(f"Sentence number {n} speaks of Ebenezer Scrooge and London." for n in range(60))
    await create(api, "small", settings={"chunk_size": 60, "index_profile": "vector"})
    await insert(api, "small", text)
    await insert(api, "large", text)
    [small], [large] = await documents(api, "small"), await documents(api, "large")
    assert small["chunks_count"] > 5 * large["chunks_count"]
    data = {}
    for name in ("small", "large"):
        reply = await api.client.post("/query/data", json={"query": "Ebenezer Scrooge"}, headers=inside(name))
        data[name] = reply.json()["data"]
    assert data["small"]["entities"] == []
    assert data["large"]["entities"] != []


async def test_settings_are_merged_and_null_takes_one_back(api: Api) -> None:
    await create(api, "books", settings={"top_k": 7, "response_type": "One line"})
    changed = await change(api, "books", settings={"top_k": None, "entity_types": ["Ship", "Port"]})
    assert changed["settings"] == {"response_type": "One line", "entity_types": ["Ship", "Port"]}
    assert changed["effective_settings"]["top_k"] == 50
    assert changed["effective_settings"]["entity_types"] == ["Ship", "Port"]


async def test_questions_use_the_settings_of_their_workspace(api: Api) -> None:
    await insert(api, "books")
    asked = {"query": "Who was the clerk of Scrooge?", "only_need_prompt": True}
    for wanted in ("Sonnet", "Haiku"):
        await change(api, "books", settings={"response_type": wanted})
        reply = await api.client.post("/query", json=asked, headers=inside("books"))
        assert wanted in reply.json()["response"]
    reply = await api.client.post("/query", json=asked | {"response_type": "Ballad"}, headers=inside("books"))
    assert "Ballad" in reply.json()["response"]


async def test_settings_that_cannot_work_are_refused(api: Api) -> None:
    await create(api, "books")
    for wrong in (
        {"chunk_size": 1},
        {"chunk_size": 100, "chunk_overlap": 100},
        {"chunk_overlap": 1200},
        {"top_k": 0},
        {"cosine_threshold": 2},
        {"entity_types": ["a,b"]},
        {"max_total_tokens": 10**30},
    ):
        assert await status(api, "PATCH", "/workspaces/books", settings=wrong) == 400, wrong
    for wrong in ({"no_such": 1}, {"top_k": "many"}, {"index_profile": "best"}, {"entity_types": []}):
        assert await status(api, "PATCH", "/workspaces/books", settings=wrong) == 422, wrong
    assert (await listed(api))["books"]["settings"] == {}


async def test_smaller_chunks_bring_a_fitting_overlap(api: Api) -> None:
    made = await create(api, "books", settings={"chunk_size": 80})
    assert made["effective_settings"]["chunk_overlap"] == 20


async def test_settings_that_a_newly_configured_server_cannot_follow_are_left_out(tmp_path: Path) -> None:
    async with opened(tmp_path) as api:
        await create(api, "books", settings={"index_profile": "full", "top_k": 7})
    async with opened(tmp_path, LLM_BINDING="local") as api:
        assert (await listed(api))["books"]["effective_settings"]["index_profile"] == "light"
        assert await status(api, "PATCH", "/workspaces/~", settings={"index_profile": "full"}) == 400
        await insert(api, "books")


# -- several processes


async def test_other_processes_see_changes_within_a_second(tmp_path: Path) -> None:
    async with opened(tmp_path) as here, opened(tmp_path) as there:
        await insert(here, "books")
        assert len(await documents(there, "books")) == 1
        await change(here, "books", name="library", settings={"response_type": "Haiku"})
        await asyncio.sleep(1.1)
        assert await documents(there, "books") == []
        assert len(await documents(there, "library")) == 1
        asked = {"query": "Who is Scrooge?", "only_need_prompt": True}
        reply = await there.client.post("/query", json=asked, headers=inside("library"))
        assert "Haiku" in reply.json()["response"]
        assert await status(here, "DELETE", "/workspaces/library") == 200
        assert await status(there, "GET", "/workspaces/library") == 404
        assert await documents(there, "library") == []
