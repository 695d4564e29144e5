"""How large a request body may be: checked on Content-Length and again while the body comes in."""

from __future__ import annotations

import re
from collections.abc import Callable

from fastapi import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lightrag_server.api.errors import body_for, path_of
from lightrag_server.settings.server import ServerSettings

MIB = 1024**2
DEFAULT_BYTES = MIB
TEXT_BYTES = 50 * MIB
FORM_OVERHEAD_BYTES = MIB

UPLOADS = frozenset({"/documents/upload", "/documents/file", "/documents/batch", "/graph/import"})
DOCUMENT = re.compile(r"/documents/doc-[0-9a-f]{32}")
"""Where a document's next version is sent to."""
TEXTS = frozenset(
    {
        "/documents/text",
        "/documents/texts",
        "/api/chat",
        "/api/generate",
        "/api/embed",
        "/v1/chat/completions",
        "/v1/embeddings",
        "/api/v1/chat/completions",
        "/api/v1/embeddings",
        "/mcp",
    }
)
"""Routes that take long texts, many of them, or images."""

Limit = Callable[[str], int | None]
"""The most bytes a path accepts; None means any number."""


def limits_of(server: ServerSettings) -> Limit:
    def limit(path: str) -> int | None:
        if server.max_body_bytes == 0:
            return None
        if path in UPLOADS or DOCUMENT.fullmatch(path):
            return server.max_upload_bytes + FORM_OVERHEAD_BYTES
        if server.max_body_bytes is not None:
            return server.max_body_bytes
        return TEXT_BYTES if path in TEXTS else DEFAULT_BYTES

    return limit


class BodyLimit:
    """Answers 413 before the body is read where its length is announced, else as soon as it grows too long."""

    def __init__(self, app: ASGIApp, limit: Limit) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = self._limit(path_of(scope)) if scope["type"] == "http" else None
        if limit is None:
            await self._app(scope, receive, send)
        elif _announced(scope) > limit:
            body = body_for(path_of(scope), 413, _sentence(limit))
            await JSONResponse(body, 413, {"Connection": "close"})(scope, receive, send)
        else:
            await self._app(scope, _counted(receive, limit), send)


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def _counted(receive: Receive, limit: int) -> Receive:
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise HTTPException(413, _sentence(limit), {"Connection": "close"})
        return message

    return counted


def _sentence(limit: int) -> str:
    return f"Request body too large. This endpoint accepts at most {limit} bytes."
