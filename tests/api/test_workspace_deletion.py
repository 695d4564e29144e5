"""Workspaces deleted: at any time, whole, and whatever is killed."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import httpx

from lightrag_server.bootstrap import App
from lightrag_server.engine.clock import utc_now
from lightrag_server.jobs.reconcile import Reconcile
from tests.api.conftest import STORY, Api, opened
from tests.api.workspace_calls import change, create, documents, insert, inside, listed, status, until
from tests.server import running


def app_of(api: Api) -> App:
    return api.app.state.opened


async def test_delete_removes_everything_of_the_workspace_and_nothing_of_others(tmp_path: Path) -> None:
    async with opened(tmp_path) as api:
        for name in ("books", "films"):
            await insert(api, name)
            folder = tmp_path / "inputs" / name
            (folder / "below").mkdir(parents=True)
            (folder / "below" / "notes.txt").write_text("Notes")
            await api.client.post("/query", json={"query": "Who is Scrooge?"}, headers=inside(name))
        await insert(api, "books", "The word is zyxomma.", "zyxomma.txt")
        await change(api, "films", description="kept")
        reply = await api.client.delete("/workspaces/books")
        assert (reply.status_code, reply.json()["status"]) == (200, "success")
        assert set(await listed(api)) == {"", "films"}
        assert await status(api, "GET", "/workspaces/books") == 404
        assert await documents(api, "books") == []
        assert (await api.client.get("/documents/pipeline_status", headers=inside("books"))).json()[
            "history_messages"
        ] == []
        assert len(await documents(api, "films")) == 1
    assert files_with(tmp_path, b"zyxomma") == set()
    assert blobs_of(tmp_path, "books") == set()
    assert blobs_of(tmp_path, "films") != set()
    assert (tmp_path / "inputs" / "films" / "below" / "notes.txt").exists()
    assert not (tmp_path / "inputs" / "books").exists()
    assert rows_of(tmp_path / "rag_storage", "books") == 0
    assert rows_of(tmp_path / "rag_storage", "films") > 0


def files_with(folder: Path, word: bytes) -> set[str]:
    return {str(path) for path in folder.rglob("*") if path.is_file() and word in path.read_bytes().lower()}


def blobs_of(folder: Path, name: str) -> set[str]:
    return {str(path) for path in (folder / "rag_storage" / "blobs" / f"w-{name}").rglob("*")}


def rows_of(working_dir: Path, name: str) -> int:
    """Rows in all tables of the workspace's database but two numbers: the fence and the version of the graph."""
    [path] = working_dir.rglob(f"w-{name}.sqlite")
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        kept = {"fence", "graph_version"}
        counted = [table for table in tables if table not in kept and not table.startswith("sqlite_")]
        return sum(connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0] for table in counted)


async def test_a_deleted_name_can_be_used_again_and_begins_empty(api: Api) -> None:
    await insert(api, "books")
    await change(api, "books", settings={"top_k": 3})
    assert await status(api, "DELETE", "/workspaces/books") == 200
    assert (await create(api, "books"))["settings"] == {}
    assert await documents(api, "books") == []
    await insert(api, "books")
    assert len(await documents(api, "books")) == 1


async def test_a_workspace_is_deleted_while_documents_are_indexed(api: Api) -> None:
    sources = [f"{n}.txt" for n in range(30)]
    body = {"texts": [f"{STORY} Copy {source}." for source in sources], "file_sources": sources}
    reply = await api.client.post("/documents/texts", json=body, headers=inside("books"))
    assert reply.status_code == 200
    assert await status(api, "DELETE", "/workspaces/books") == 200
    assert set(await listed(api)) == {""}
    await asyncio.sleep(1.0)
    assert set(await listed(api)) == {""}


async def test_requests_that_come_while_a_workspace_is_deleted_are_refused(api: Api) -> None:
    await insert(api, "books")
    await app_of(api).workspaces.register.leave("books")
    assert "books" not in await listed(api)
    for method, path, body in (
        ("GET", "/documents/status_counts", None),
        ("POST", "/documents/text", {"text": "x"}),
        ("POST", "/query", {"query": "Who is Scrooge?"}),
        ("GET", "/workspaces/books", None),
        ("PATCH", "/workspaces/books", {"name": "library"}),
        ("POST", "/workspaces", {"name": "books"}),
    ):
        reply = await api.client.request(method, path, json=body, headers=inside("books"))
        assert reply.status_code == 409, (method, path)
    replies = await asyncio.gather(*(api.client.delete("/workspaces/books") for _ in range(3)))
    assert {reply.status_code for reply in replies} <= {200, 404}
    assert set(await listed(api)) == {""}


async def test_a_deletion_that_was_interrupted_ends_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as api:
        await insert(api, "books")
        await app_of(api).workspaces.register.leave("books")
    async with opened(tmp_path) as api:

        async def is_gone() -> bool:
            return "books" not in await app_of(api).workspaces.register.keys()

        await until(is_gone)
        assert await documents(api, "books") == []


async def test_an_answer_that_was_kept_after_the_deletion_goes_too(api: Api) -> None:
    app = app_of(api)
    stores = (await app.workspaces.get("books")).stores
    await stores.cache.put({"of a question that was under way": {"text": "late"}})
    assert "books" in await listed(api)
    await Reconcile(app.workspaces, app.queue, utc_now)()
    assert "books" not in await listed(api)


def test_a_deletion_ends_although_the_server_is_killed_in_the_middle(tmp_path: Path) -> None:
    """After each restart the workspace is whole or gone, never half there."""
    names = [f"{n}.txt" for n in range(12)]
    texts = {"texts": [f"{STORY} Copy {name}." for name in names], "file_sources": names}
    for delay_s in (0.02, 0.15, None):
        with running(tmp_path) as server, server.client() as client:
            assert_whole_or_gone(client, len(names))
            client.post("/documents/texts", json=texts, headers=inside("books")).raise_for_status()
            deletion = threading.Thread(target=delete, args=(server.address,))
            deletion.start()
            if delay_s is not None:
                time.sleep(delay_s)
                server.kill_group()
            deletion.join()
    with running(tmp_path) as server, server.client() as client:
        assert [row["name"] for row in client.get("/workspaces").json()["workspaces"]] == [""]
    assert rows_of(tmp_path / "rag_storage", "books") == 0
    assert blobs_of(tmp_path, "books") == set()


def delete(address: str) -> None:
    with suppress(httpx.TransportError), httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
        client.delete("/workspaces/books")


def assert_whole_or_gone(client: httpx.Client, documents: int) -> None:
    deadline = time.monotonic() + 30
    while (reply := client.get("/workspaces/books")).status_code == 409:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert reply.status_code == 404 or reply.json()["documents"]["all"] == documents
