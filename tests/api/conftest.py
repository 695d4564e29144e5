from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from lightrag_server.api.app import create_app
from lightrag_server.settings.loader import load
from tests.server import FAKE
from tests.vendor import Vendor, in_thread

WAIT_S = 30.0

STORY = """Ebenezer Scrooge kept a counting house in London with Jacob Marley.
Jacob Marley died seven years ago on Christmas Eve, and Ebenezer Scrooge was his sole mourner.
Bob Cratchit worked as the clerk of Ebenezer Scrooge and lived in Camden Town.
Tiny Tim was the son of Bob Cratchit and walked with a crutch."""


@dataclass
class Api:
    """A whole application in this process: real stores, real jobs, the fake models."""

    app: FastAPI
    client: httpx.AsyncClient

    async def insert(self, text: str, source: str | None = None) -> str:
        """Insert a text and wait until it is indexed; the track id."""
        reply = await self.client.post("/documents/text", json={"text": text, "file_source": source})
        assert reply.status_code == 200, reply.text
        track = reply.json()["track_id"]
        await self.settled(track)
        return track

    async def settled(self, track: str) -> list[dict[str, Any]]:
        """The documents of a track id once none is under way."""
        documents: list[dict[str, Any]] = []
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            documents = (await self.client.get(f"/documents/track_status/{track}")).json()["documents"]
            if documents and all(d["status"] in ("processed", "failed") for d in documents):
                return documents
            await asyncio.sleep(0.02)
        raise AssertionError(f"not settled after {WAIT_S:.0f} s: {documents}")

    async def idle(self) -> dict[str, Any]:
        """The pipeline's state once no job is open: a document is processed a moment before its job has ended."""
        deadline = time.monotonic() + WAIT_S
        while (state := (await self.client.get("/documents/pipeline_status")).json())["busy"]:
            assert time.monotonic() < deadline, state
            await asyncio.sleep(0.02)
        return state


def settings_of(vendor: Vendor) -> dict[str, str]:
    return {
        "LLM_BINDING": "openai",
        "LLM_BINDING_HOST": vendor.openai_url,
        "LLM_BINDING_API_KEY": "vendor-key",
        "LLM_MAX_RETRIES": "0",
        "LLM_TIMEOUT": "3",
        "EMBEDDING_BINDING": "openai",
        "EMBEDDING_BINDING_HOST": vendor.openai_url,
        "EMBEDDING_BINDING_API_KEY": "vendor-key",
        "EMBEDDING_MAX_RETRIES": "0",
        "EMBEDDING_TIMEOUT": "3",
        "ENABLE_LLM_CACHE": "false",
        "INDEX_PROFILE": "vector",
    }


@asynccontextmanager
async def opened(folder: Path, **variables: str) -> AsyncIterator[Api]:
    app = create_app(load([], environ={**FAKE, **variables}, start_dir=folder))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client,
    ):
        yield Api(app, client)


@pytest.fixture(scope="module")
def vendor() -> Iterator[Vendor]:
    with in_thread() as started:
        yield started


@pytest.fixture
def own_vendor() -> Iterator[Vendor]:
    """Of one test alone, which counts its calls or makes it fail."""
    with in_thread() as started:
        yield started


@pytest.fixture
async def served(tmp_path: Path, own_vendor: Vendor) -> AsyncIterator[Api]:
    """With a vendor's models, which are not waited for long."""
    async with opened(tmp_path, **settings_of(own_vendor)) as api:
        yield api


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with opened(tmp_path) as opened_api:
        yield opened_api
