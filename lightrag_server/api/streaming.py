"""Answers over time: newline-delimited JSON, server-sent events, and work that stops when the client leaves."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from lightrag_server.api.errors import internal_detail, request_id, shown_message, status_of
from lightrag_server.core.metrics import ERRORS
from lightrag_server.errors import LightRAGError

logger = logging.getLogger(__name__)

T = TypeVar("T")

STREAM_HEADERS = {"Cache-Control": "no-cache", "Connection": "keep-alive", "X-Accel-Buffering": "no"}
CLIENT_CLOSED_REQUEST = 499


class ClientGone(Exception):
    """The client closed the connection; nobody reads an answer."""


class _ClosingResponse(StreamingResponse):
    """Closes its parts however it ends, so that a client that leaves stops what produces them."""

    def __init__(self, parts: AsyncGenerator[str, None]) -> None:
        super().__init__(parts, headers=STREAM_HEADERS)
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await asyncio.shield(self._parts.aclose())


class NDJSONResponse(_ClosingResponse):
    """Made of `line`s."""

    media_type = "application/x-ndjson"


class SSEResponse(_ClosingResponse):
    """Made of `event`s."""

    media_type = "text/event-stream"


def line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def event(data: dict[str, Any] | str, *, name: str = "", id: str = "") -> str:
    """One server-sent event; text, name and id have no line breaks."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    head = (f"event: {name}\n" if name else "") + (f"id: {id}\n" if id else "")
    return f"{head}data: {text}\n\n"


ErrorPart = Callable[[int, str, str], str]
"""(status, sentence, code) → the last part of a stream that breaks off."""


def error_line(status: int, sentence: str, code: str) -> str:
    """As LightRAG's and Ollama's clients read it."""
    return line({"error": sentence})


async def ending_in_error(
    parts: AsyncGenerator[str, None], request: Request, part: ErrorPart = error_line
) -> AsyncGenerator[str, None]:
    """A failure on the way becomes the last part: the status is gone with the first one."""
    identifier, meter = request_id(request), request.app.state.opened.telemetry.meter
    async with aclosing(parts):
        try:
            async for text in parts:
                yield text
        except LightRAGError as error:
            meter.count(ERRORS, 1.0, "http", error.code)
            logger.warning("answer broke off code=%s error=%r", error.code, error.message)
            yield part(status_of(error), shown_message(error, identifier), error.code)
        except Exception:
            meter.count(ERRORS, 1.0, "http", "internal_error")
            logger.exception("answer broke off error_id=%s", identifier)
            yield part(500, internal_detail(identifier), "")


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`; cancels it and raises `ClientGone` when the client closes the connection first."""
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        await _stop(task)
        await _stop(watcher)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _stop(task: asyncio.Future[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def begun(request: Request, parts: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """`parts` once the first of them is there: until then a failure is a status, and `ClientGone` is raised where the
    client leaves."""
    try:
        head = await unless_gone(request, _first(parts))
    except BaseException:
        await parts.aclose()
        raise
    return _with_first(head, parts)


async def _first(parts: AsyncGenerator[str, None]) -> str | None:
    return await anext(parts, None)


async def _with_first(head: str | None, parts: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    async with aclosing(parts):
        if head is not None:
            yield head
        async for part in parts:
            yield part
