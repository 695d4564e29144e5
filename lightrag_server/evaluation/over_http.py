"""Asking a server over LightRAG's own routes: this one, or a real LightRAG."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from lightrag_server.errors import ConfigError, LightRAGError, ProviderUnavailable
from lightrag_server.evaluation.ranking import Piece
from lightrag_server.evaluation.results import Answer
from lightrag_server.evaluation.target import PROCESSED, Asked, Evidence, State

TIMEOUT_S = 600.0
PAGE = 200
SHOWN_CHARS = 300
_TOLD = ("core_version", "llm_model", "embedding_model", "index_profile")


@dataclass(frozen=True, slots=True)
class Address:
    """None leaves the workspace to the server."""

    url: str
    key: str | None = None
    workspace: str | None = None


@asynccontextmanager
async def opened(address: Address) -> AsyncIterator[OverHttp]:
    """Raises `ConfigError` when nothing there speaks LightRAG's API, or not with us."""
    headers = {"X-API-Key": address.key, "LIGHTRAG-WORKSPACE": address.workspace}
    given = {name: value for name, value in headers.items() if value is not None}
    try:
        client = httpx.AsyncClient(base_url=address.url, headers=given, timeout=TIMEOUT_S)
    except (httpx.InvalidURL, UnicodeEncodeError) as error:
        raise ConfigError(f"--url {address.url}: {error}") from None
    async with client:
        target = OverHttp(client, address)
        try:
            await target.call("GET", "/documents/status_counts")
        except LightRAGError as error:
            raise ConfigError(f"--url {address.url}: {error}") from error
        yield target


class OverHttp:
    def __init__(self, client: httpx.AsyncClient, address: Address) -> None:
        self._client = client
        self._address = address

    async def about(self) -> dict[str, str]:
        """What `/health` tells us; with some keys it tells little."""
        try:
            health = await self.call("GET", "/health")
        except LightRAGError:
            health = {}
        known = health | (health.get("configuration") or {})
        told = {name.removesuffix("_model"): str(known[name]) for name in _TOLD if known.get(name)}
        return {"server": self._address.url, "workspace": self._address.workspace or "", **told}

    async def documents(self) -> dict[str, State]:
        """A name may be there twice, as a document and as its refused duplicate: the document counts."""
        found: dict[str, State] = {}
        page, is_last = 1, False
        while not is_last:
            wanted = {"page": page, "page_size": PAGE, "sort_field": "created_at", "sort_direction": "asc"}
            reply = await self.call("POST", "/documents/paginated", json=wanted)
            for row in reply["documents"]:
                if row["file_path"] not in found or row["status"] == PROCESSED:
                    found[row["file_path"]] = State(row["status"], row.get("error_msg") or "")
            page, is_last = page + 1, not reply["pagination"]["has_next"]
        return found

    async def upload(self, name: str, data: bytes) -> None:
        await self.call("POST", "/documents/upload", files={"file": (name, data)})

    async def find(self, asked: Asked) -> Evidence:
        began = time.perf_counter()
        reply = await self.call("POST", "/query/data", json=self._request(asked))
        return _evidence(reply.get("data") or {}, time.perf_counter() - began)

    async def answer(self, asked: Asked) -> tuple[Evidence, Answer]:
        """Two requests: LightRAG's answer does not say which passages it rests on, nor what it cost."""
        evidence = await self.find(asked)
        began = time.perf_counter()
        reply = await self.call("POST", "/query", json=self._request(asked))
        return evidence, Answer(str(reply.get("response") or ""), time.perf_counter() - began, None)

    def _request(self, asked: Asked) -> dict[str, Any]:
        numbers = {"top_k": asked.top_k, "chunk_top_k": asked.chunk_top_k, "enable_rerank": asked.rerank}
        given = {name: number for name, number in numbers.items() if number is not None}
        return {"query": asked.text, "mode": asked.mode, **given}

    async def call(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """The object that the reply holds; what the server says of a failure is in the error."""
        try:
            reply = await self._client.request(method, path, **request)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ProviderUnavailable(f"{method} {path}: {str(error) or type(error).__name__}") from error
        if not reply.is_success:
            raise LightRAGError(f"{method} {path}: HTTP {reply.status_code}: {reply.text[:SHOWN_CHARS]}")
        try:
            body = reply.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise LightRAGError(f"{method} {path}: this is not LightRAG's API")
        return body


def _evidence(data: dict[str, Any], seconds: float) -> Evidence:
    pieces = tuple(Piece(_text(row, "file_path"), _text(row, "content")) for row in data.get("chunks") or ())
    lines = [_joined(row, "entity_name", "description") for row in data.get("entities") or ()]
    lines += [_joined(row, "src_id", "tgt_id", "keywords", "description") for row in data.get("relationships") or ()]
    return Evidence(pieces, "\n".join([*lines, *(piece.text for piece in pieces)]), seconds)


def _joined(row: dict[str, Any], *names: str) -> str:
    return " ".join(_text(row, name) for name in names)


def _text(row: dict[str, Any], name: str) -> str:
    return str(row.get(name) or "")
