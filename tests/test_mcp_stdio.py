"""`lightrag-server mcp`: a real process that the official client starts and speaks with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.api.conftest import STORY
from tests.server import FAKE, environment, running

PROGRAM = [sys.executable, "-m", "lightrag_server"]
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
ANSWER_S = 30.0


@asynccontextmanager
async def connected(folder: Path, *options: str, mode: str = "auto") -> AsyncIterator[Client]:
    command, *arguments = PROGRAM
    started = StdioServerParameters(
        command=command, args=[*arguments, "mcp", *options], env=environment(**FAKE), cwd=folder
    )
    with (folder / "stderr.txt").open("w") as log:
        async with Client(stdio_client(started, errlog=log), mode=mode, read_timeout_seconds=ANSWER_S) as client:
            yield client


async def told(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return result.structured_content


async def processed(client: Client, count: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + ANSWER_S
    while (found := await told(client, "list_documents", status="processed"))["total"] < count:
        assert time.monotonic() < deadline, found
        await anyio.sleep(0.05)
    return found["documents"]


@contextmanager
def started(folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """The process itself, to look at what it writes."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*PROGRAM, "mcp", *options], cwd=folder, env=environment(**FAKE), **pipes) as process:  # pyright: ignore[reportCallIssue, reportArgumentType]
        try:
            yield process
        finally:
            process.kill()


async def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """A command to its end, with nothing to read."""
    env = environment(**FAKE, **variables)
    with anyio.fail_after(ANSWER_S):
        return await anyio.run_process(
            [*PROGRAM, *arguments], stdin=subprocess.DEVNULL, cwd=folder, env=env, check=False
        )


def say(process: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()


def heard(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_inserts_asks_and_reads(tmp_path: Path, mode: str) -> None:
    async with connected(tmp_path, mode=mode) as client:
        await told(client, "insert_text", text=STORY, file_source="carol.txt")
        [document] = await processed(client, 1)
        answer = await told(client, "query", question="Who was Jacob Marley?")
        assert answer["sources"][0]["file"] == "carol.txt"
        assert (await told(client, "read_document", document=document["id"]))["text"] == STORY
        assert (await told(client, "explore_entity", name="Bob Cratchit"))["neighbours"]
    assert "speaking on stdio" in (tmp_path / "stderr.txt").read_text()


async def test_the_workspace_is_chosen_by_option(tmp_path: Path) -> None:
    async with connected(tmp_path, "--workspace", "notes") as client:
        await told(client, "insert_text", text=STORY, file_source="carol.txt")
        await processed(client, 1)
        assert (await told(client, "list_documents", workspace="other"))["total"] == 0
    async with connected(tmp_path) as client:
        assert (await told(client, "list_documents"))["total"] == 0
        assert (await told(client, "list_documents", workspace="notes"))["total"] == 1


async def test_it_works_beside_a_server_on_the_same_folder(tmp_path: Path) -> None:
    with running(tmp_path) as server, server.client() as http:
        async with connected(tmp_path) as client:
            await told(client, "insert_text", text=STORY, file_source="carol.txt")
            sent = {"text": "Greta Lindqvist owns Juniper Hall.", "file_source": "hall.txt"}
            assert http.post("/documents/text", json=sent).status_code == 200
            documents = await processed(client, 2)
            assert {d["file"] for d in documents} == {"carol.txt", "hall.txt"}
            assert http.get("/documents/status_counts").json()["status_counts"]["processed"] == 2
            answer = await told(client, "query", question="Who owns Juniper Hall?", mode="naive")
            assert "hall.txt" in [source["file"] for source in answer["sources"]]
        reply = http.post("/query", json={"query": "Who was Jacob Marley?", "mode": "naive"}).json()
        assert "carol.txt" in [row["file_path"] for row in reply["references"]]
        assert server.stop() == 0


async def test_a_key_gives_its_scope_and_workspaces(tmp_path: Path) -> None:
    made = await run(tmp_path, "keys", "create", "--name", "reader", "--workspace", "notes")
    key = made.stdout.decode().strip()
    async with connected(tmp_path, "--key", key) as client:
        assert (await told(client, "list_documents"))["total"] == 0
        refused = await client.call_tool("insert_text", {"text": "x", "file_source": "x.txt"})
        assert refused.is_error
        assert "scope write" in str(refused.content)
        assert (await client.call_tool("list_documents", {"workspace": "other"})).is_error
    for options, said, code in [
        (("--key", "lr-nothing-of-the-kind"), "--key is no key", 2),
        (("--key", key, "--workspace", "other"), "no such workspace: 'other'", 1),
    ]:
        done = await run(tmp_path, "mcp", *options)
        assert (done.returncode, done.stdout) == (code, b"")
        assert said in done.stderr.decode()
        assert b"Traceback" not in done.stderr


def test_output_is_the_protocol_alone_and_closed_input_ends_it(tmp_path: Path) -> None:
    with started(tmp_path, "--verbose") as process:
        say(process, INITIALIZE)
        assert heard(process)["result"]["serverInfo"]["name"] == "lightrag"
        say(process, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        insertion = {"name": "insert_text", "arguments": {"text": STORY, "file_source": "carol.txt"}}
        say(process, {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": insertion})
        assert heard(process)["id"] == 2
        output, log = process.communicate(timeout=20)
        assert process.returncode == 0
    assert output == b""
    assert b"Traceback" not in log


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_while_it_waits_for_input(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path) as process:
        say(process, INITIALIZE)
        heard(process)
        process.send_signal(number)
        assert process.wait(15) == 0
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


async def test_a_wrong_setting_is_one_sentence(tmp_path: Path) -> None:
    done = await run(tmp_path, "mcp", CHUNK_SIZE="many")
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"CHUNK_SIZE" in done.stderr
