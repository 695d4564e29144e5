"""What the tests of workspaces ask the routes for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.api.conftest import STORY, WAIT_S, Api


def inside(name: str) -> dict[str, str]:
    return {"LIGHTRAG-WORKSPACE": name}


async def insert(api: Api, name: str, text: str = STORY, source: str = "story.txt") -> str:
    """Insert a text into a workspace and wait until it is indexed; its document id."""
    body = {"text": text, "file_source": source}
    reply = await api.client.post("/documents/text", json=body, headers=inside(name))
    assert reply.status_code == 200, reply.text
    track = reply.json()["track_id"]
    await until(lambda: all_processed(api, name, track))
    return (await documents(api, name))[0]["id"]


async def all_processed(api: Api, name: str, track: str) -> bool:
    rows = (await api.client.get(f"/documents/track_status/{track}", headers=inside(name))).json()["documents"]
    return bool(rows) and all(row["status"] == "processed" for row in rows)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def documents(api: Api, name: str) -> list[dict[str, Any]]:
    reply = await api.client.post("/documents/paginated", json={}, headers=inside(name))
    assert reply.status_code == 200, reply.text
    return reply.json()["documents"]


async def listed(api: Api) -> dict[str, dict[str, Any]]:
    reply = await api.client.get("/workspaces")
    assert reply.status_code == 200, reply.text
    return {row["name"]: row for row in reply.json()["workspaces"]}


async def create(api: Api, name: str, /, **fields: Any) -> dict[str, Any]:
    reply = await api.client.post("/workspaces", json={"name": name, **fields})
    assert reply.status_code == 201, reply.text
    return reply.json()


async def change(api: Api, workspace: str, /, **fields: Any) -> dict[str, Any]:
    reply = await api.client.patch(f"/workspaces/{workspace}", json=fields)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def status(api: Api, method: str, path: str, **fields: Any) -> int:
    return (await api.client.request(method, path, json=fields or None)).status_code
