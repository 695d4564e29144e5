"""The official MCP client against a server on a real port, in both of the protocol's eras."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, TextContent

from tests.api.conftest import STORY, settings_of
from tests.api.test_over_the_wire import index, open_connection, wait_until
from tests.server import Server, environment, running
from tests.vendor import Vendor

ADMIN = "the-admins-key-0123456789"
QUESTION = {"question": "Who was Jacob Marley?", "mode": "naive"}
READING = ["query", "retrieve", "list_documents", "read_document", "explore_entity"]
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "query", "arguments": QUESTION}}
ACCEPT = {"Accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def server(vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {
        **settings_of(vendor),
        "INDEX_PROFILE": "full",
        "LIGHTRAG_API_KEY": ADMIN,
        "CORS_ORIGINS": "https://a.b",
    }
    with running(tmp_path_factory.mktemp("server"), **settings) as started:
        with plain(started) as client:
            index(client)
        yield started


def plain(server: Server, key: str = ADMIN, workspace: str = "") -> httpx.Client:
    client = server.client()
    client.headers.update({"X-API-Key": key, "LIGHTRAG-WORKSPACE": workspace})
    return client


@asynccontextmanager
async def connected(server: Server, mode: str = "auto", key: str = ADMIN, **headers: str) -> AsyncIterator[Client]:
    sent = {"Authorization": f"Bearer {key}", **headers}
    async with httpx2.AsyncClient(headers=sent, timeout=20, trust_env=False) as http:
        transport = streamable_http_client(f"{server.address}/mcp", http_client=http)
        async with Client(transport, mode=mode, read_timeout_seconds=20) as client:
            yield client


async def told(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return result.structured_content


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return text_of(result)


def text_of(result: CallToolResult) -> str:
    [content] = result.content
    assert isinstance(content, TextContent)
    return content.text


def key_for(server: Server, scope: str, *workspaces: str) -> str:
    with plain(server) as client:
        body = {"name": scope, "scope": scope, "workspaces": list(workspaces) or None}
        return client.post("/auth/keys", json=body).json()["key"]


# ----------------------------------------------------------------------------- tools


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_tools_work_for_clients_of_both_eras(server: Server, vendor: Vendor, mode: str) -> None:
    vendor.reset()
    vendor.control(reply="Scrooge's partner [1].")
    async with connected(server, mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == [*READING, "insert_text"]
        answer = await told(client, "query", **QUESTION)
        assert answer["answer"] == "Scrooge's partner [1]."
        assert answer["sources"] == [
            {"number": "1", "file": "carol.txt", "document_id": answer["sources"][0]["document_id"], "pages": []}
        ]
        assert answer["written_by_model"] is True
        assert vendor.stats()["chat"] == 1


async def test_what_the_tools_give_is_described(server: Server) -> None:
    async with connected(server) as client:
        tools = (await client.list_tools()).tools
        for tool in tools:
            assert tool.description
            assert tool.output_schema is not None
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint is (tool.name in READING)
            for name, field in tool.input_schema["properties"].items():
                assert "description" in field or name in ("page", "page_size"), f"{tool.name}.{name}"
        assert "no such tool: 'nothing'" in await refused(client, "nothing")


async def test_retrieve_finds_passages_entities_and_relations_without_a_model(server: Server, vendor: Vendor) -> None:
    vendor.reset()
    async with connected(server) as client:
        found = await told(client, "retrieve", question="Who was the clerk of Ebenezer Scrooge?")
    assert "Christmas Eve" in found["passages"][0]["text"]
    assert found["passages"][0]["source"] == found["sources"][0]["number"] == "1"
    assert "Bob Cratchit" in [entity["name"] for entity in found["entities"]]
    assert any(set(r["entities"]) == {"Bob Cratchit", "Ebenezer Scrooge"} for r in found["relations"])
    assert vendor.stats()["chat"] == 0


async def test_a_text_that_is_inserted_is_listed_and_can_be_read_piece_by_piece(server: Server) -> None:
    text = "\n\n".join(f"# Part {n}\n\n" + f"The lamp of part {n} burns in house {n}. " * 60 for n in range(12))
    async with connected(server, **{"LIGHTRAG-WORKSPACE": "lamps"}) as client:
        first = await told(client, "insert_text", text=text, file_source="lamps.md")
        assert (first["status"], bool(first["track_id"])) == ("success", True)
        again = await told(client, "insert_text", text=text, file_source="lamps.md")
        assert again["status"] == "duplicated"
        with plain(server, workspace="lamps") as other:
            wait_until(lambda: other.get("/documents/status_counts").json()["status_counts"]["processed"], 20)
        listed = await told(client, "list_documents", status="processed", name_contains="LAMP")
        [document] = listed["documents"]
        assert (document["file"], listed["total"], listed["pages"]) == ("lamps.md", 1, 1)
        assert document["chunks"] > 3
        assert (await told(client, "list_documents", name_contains="other"))["documents"] == []
        whole = await told(client, "read_document", document=document["id"], chunks=50)
        assert whole["text"].split() == text.split()
        assert whole["next_chunk"] is None
        begin = await told(client, "read_document", document="lamps.md", chunks=2)
        assert begin["next_chunk"] == 2
        assert whole["text"].startswith(begin["text"])
        rest = await told(client, "read_document", document="lamps.md", first_chunk=2, chunks=50)
        assert whole["text"].endswith(rest["text"])
        assert "list_documents" in await refused(client, "read_document", document="nothing.md")


async def test_an_entity_is_shown_with_its_neighbours_and_documents(server: Server) -> None:
    async with connected(server) as client:
        found = await told(client, "explore_entity", name="bob cratchit")
        assert found["name"] == "Bob Cratchit"
        assert set(found["neighbours"]) == {"Ebenezer Scrooge", "Tiny Tim"}
        assert found["relation_count"] == len(found["relations"]) == 2
        assert [d["file"] for d in found["documents"]] == ["carol.txt"]
        one = await told(client, "explore_entity", name="Bob Cratchit", relations=1)
        assert (one["relation_count"], len(one["relations"])) == (2, 1)
        assert "Bob Cratchit" in await refused(client, "explore_entity", name="Cratchit")


# ----------------------------------------------------------------------------- failures


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_failures_are_told_in_our_sentences(server: Server, vendor: Vendor, mode: str) -> None:
    vendor.reset()
    vendor.control(faults=[{"kind": "status", "status": 500, "on": "chat", "next": 5}])
    async with connected(server, mode) as client:
        sentence = await refused(client, "query", **QUESTION)
        assert "openai model" in sentence
        assert "vendor-key" not in sentence
        assert "Error executing" not in sentence
        assert await refused(client, "query", question="x", mode="none") == (
            "mode: Input should be 'local', 'global', 'hybrid', 'naive', 'mix' or 'bypass'"
        )
        assert "question" in await refused(client, "query")
        assert await refused(client, "query", question="  ") == "the question is blank"


@pytest.mark.parametrize("version", ["2025-06-18", "2026-07-28"])
async def test_a_client_that_leaves_cancels_the_vendors_call(server: Server, vendor: Vendor, version: str) -> None:
    vendor.reset()
    vendor.control(latency_s=0.5)
    async with connected(server, "legacy" if version < "2026" else "auto") as client:
        with anyio.move_on_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(client.call_tool, "query", QUESTION)
                await anyio.to_thread.run_sync(lambda: wait_until(lambda: vendor.stats()["stream"] == 1))
                group.cancel_scope.cancel()
    await anyio.to_thread.run_sync(lambda: wait_until(lambda: vendor.stats()["cancelled_streams"] == 1))


def test_a_connection_that_breaks_cancels_the_vendors_call(server: Server, vendor: Vendor) -> None:
    vendor.reset()
    vendor.control(latency_s=0.5)
    body = json.dumps(CALL).encode()
    head = "".join(f"{n}: {v}\r\n" for n, v in {**ACCEPT, "X-API-Key": ADMIN, "Content-Length": len(body)}.items())
    with open_connection(server) as connection:
        connection.sendall(
            f"POST /mcp HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n{head}\r\n".encode() + body
        )
        wait_until(lambda: vendor.stats()["stream"] == 1)
    wait_until(lambda: vendor.stats()["cancelled_streams"] == 1)


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b"\xff\xfe", b""])
@pytest.mark.parametrize("version", [None, "2025-06-18", "2026-07-28", "1999-01-01"])
def test_what_is_no_message_is_refused(server: Server, body: bytes, version: str | None) -> None:
    headers = {**ACCEPT, "Content-Type": "application/json"}
    if version:
        headers["MCP-Protocol-Version"] = version
    with plain(server) as client:
        reply = client.post("/mcp", content=body, headers=headers)
    assert 400 <= reply.status_code < 500, reply.text


# ----------------------------------------------------------------------------- who may


def test_without_a_key_there_is_no_way_in(server: Server) -> None:
    with server.client() as client:
        reply = client.post("/mcp", json=CALL, headers=ACCEPT)
        assert (reply.status_code, reply.json()) == (403, {"detail": "API Key required"})
        assert client.get("/mcp").status_code == 405


@pytest.mark.parametrize(
    ("origin", "status"),
    [(None, 200), ("own", 200), ("https://a.b", 200), ("https://evil.example", 403), ("null", 403)],
)
def test_pages_of_other_sites_are_kept_out(server: Server, vendor: Vendor, origin: str | None, status: int) -> None:
    vendor.reset()
    headers = {**ACCEPT, **({"Origin": server.address if origin == "own" else origin} if origin else {})}
    with plain(server) as client:
        assert client.post("/mcp", json=CALL, headers=headers).status_code == status


async def test_a_key_that_may_only_read_inserts_nothing(server: Server) -> None:
    async with connected(server, key=key_for(server, "read")) as client:
        assert "scope write" in await refused(client, "insert_text", text="x", file_source="x.txt")
        assert (await told(client, "list_documents", name_contains="x.txt"))["documents"] == []


async def test_a_key_with_workspaces_stays_in_them(server: Server, vendor: Vendor) -> None:
    vendor.reset()
    async with connected(server, key=key_for(server, "write", "cellar", "attic")) as client:
        await told(client, "insert_text", text=STORY, file_source="carol.txt")
        assert (await told(client, "list_documents"))["total"] == 1
        assert (await told(client, "list_documents", workspace="attic"))["total"] == 0
        closed = await refused(client, "list_documents", workspace="lamps")
        unknown = await refused(client, "list_documents", workspace="nowhere")
        assert closed.replace("lamps", "nowhere") == unknown
        assert "no such workspace" in await refused(client, "insert_text", text="x", file_source="x", workspace="lamps")


async def test_an_insertion_is_noted_in_the_audit_trail_and_a_question_is_not(server: Server, vendor: Vendor) -> None:
    vendor.reset()
    key = key_for(server, "write", "ledger")
    async with connected(server, key=key) as client:
        await told(client, "retrieve", **QUESTION)
        await told(client, "insert_text", text=STORY, file_source="carol.txt")
    with plain(server) as admin:
        rows = admin.get("/auth/audit", params={"workspace": "ledger"}).json()["entries"]
    assert [(row["caller"], row["path"], row["status"]) for row in rows] == [("write", "/mcp", 200)]


def test_bodies_are_limited_and_answers_carry_a_request_id(server: Server) -> None:
    with plain(server) as client:
        reply = client.post("/mcp", json=CALL | {"method": "ping"}, headers={**ACCEPT, "X-Request-ID": "my-request-1"})
        assert reply.headers["X-Request-ID"] == "my-request-1"
    with open_connection(server) as connection:
        head = f"POST /mcp HTTP/1.1\r\nHost: test\r\nX-API-Key: {ADMIN}\r\nContent-Length: {60 * 1024**2}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")


# ----------------------------------------------------------------------------- life


def test_the_sdk_is_loaded_by_the_first_call_only() -> None:
    code = "import sys, lightrag_server.serving; sys.exit(any(n.split('.')[0] == 'mcp' for n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), timeout=60, check=False)
    assert done.returncode == 0


async def test_a_server_stops_cleanly_with_a_call_under_way(vendor: Vendor, tmp_path: Path) -> None:
    vendor.reset()

    async def ask(client: Client) -> None:
        with suppress(MCPError):  # what the stop cuts off is an error
            await client.call_tool("query", QUESTION)

    with running(tmp_path, **settings_of(vendor) | {"LLM_TIMEOUT": "60"}, STOP_TIMEOUT="1") as server:
        with server.client() as client:
            index(client)
        vendor.control(latency_s=30)
        async with connected(server) as client, anyio.create_task_group() as group:
            group.start_soon(ask, client)
            await anyio.to_thread.run_sync(lambda: wait_until(lambda: vendor.stats()["stream"] == 1))
            began = time.monotonic()
            assert await anyio.to_thread.run_sync(server.stop) == 0
            assert time.monotonic() - began < 10
            group.cancel_scope.cancel()
    assert "Traceback" not in server.text
    assert "never awaited" not in server.text
