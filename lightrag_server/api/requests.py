"""What surrounds every request: its id, its log line, and the answer to errors nobody expected."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import time
from contextlib import AbstractContextManager, nullcontext

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lightrag_server import logs
from lightrag_server.api.errors import REQUEST_ID_HEADER, body_for, internal_detail, path_of
from lightrag_server.bootstrap import App
from lightrag_server.core.metrics import ERRORS, HTTP_REQUESTS, HTTP_SECONDS
from lightrag_server.ports.telemetry import Telemetry

logger = logging.getLogger(__name__)

_POLLED = (
    "/health",
    "/metrics",
    *(f"/documents/{name}" for name in ("pipeline_status", "paginated", "track_status", "status_counts")),
)
_ACCEPTABLE_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUESTIONS = frozenset(
    {
        "/query",
        "/query/stream",
        "/query/data",
        "/api/chat",
        "/api/generate",
        "/v1/chat/completions",
        "/api/v1/chat/completions",
        "/mcp",
    }
)
"""What is traced."""
NO_ROUTE = "none"
STOPPING = "The server is stopping. Please try again."
_ID_HEADER = REQUEST_ID_HEADER.lower().encode()


class RequestContext:
    """Outermost of our middleware. A caller's own request id is kept when it is harmless.

    `prefix` is the path under which a reverse proxy serves us; requests with and without it are accepted.
    """

    def __init__(self, app: ASGIApp, prefix: str = "") -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        identifier = _identifier(scope)
        scope["request_id"] = identifier
        scope["root_path"] = self._prefix or scope.get("root_path", "")
        # what is mounted changes the path and the application
        path, telemetry = path_of(scope), _telemetry(scope)
        reply = _Reply(send, path, identifier)
        begin = time.perf_counter()
        with logs.bind(request=identifier), _trace(telemetry, scope, path):
            try:
                await self._app(scope, receive, reply.send)
            except asyncio.CancelledError:
                # the stop of the server cuts off what takes too long; nobody else cancels a request from outside
                logger.warning("the stop of the server cut a request off")
                if not reply.status:
                    await reply.fail(503, STOPPING)
            except Exception:
                telemetry.meter.count(ERRORS, 1.0, "http", "internal_error")
                logger.exception("request failed error_id=%s", identifier)
                await reply.fail(500, internal_detail(identifier))
            finally:
                seconds = time.perf_counter() - begin
                _count(telemetry, scope, reply.status, seconds)
                _log(scope, reply.status, seconds * 1000)


class _Reply:
    """Puts the id on the response and knows whether it has begun."""

    def __init__(self, send: Send, path: str, identifier: str) -> None:
        self._send = send
        self._path = path
        self._identifier = identifier
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (_ID_HEADER, self._identifier.encode())]
        await self._send(message)

    async def fail(self, status: int, detail: str) -> None:
        """Answer with an error; once a response has begun, only breaking it off is left."""
        if self.status:
            raise ConnectionAbortedError("the response had already begun")
        body = json.dumps(body_for(self._path, status, detail)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


def _telemetry(scope: Scope) -> Telemetry:
    opened: App | None = getattr(scope["app"].state, "opened", None)
    return opened.telemetry if opened else Telemetry()


def _trace(telemetry: Telemetry, scope: Scope, path: str) -> AbstractContextManager[None]:
    """One for each question; a caller's `traceparent` makes it a part of his."""
    if scope["method"] != "POST" or path not in _QUESTIONS:
        return nullcontext()
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return telemetry.tracer.request(f"POST {path}", headers)


def _count(telemetry: Telemetry, scope: Scope, status: int, seconds: float) -> None:
    """By the template of the route: paths are without number. 0 is the status where nobody was left to answer to."""
    method = scope["method"] if scope["method"] in _METHODS else "other"
    context = scope.get("fastapi", {}).get("effective_route_context")
    route = getattr(context, "path", None) or getattr(scope.get("route"), "path", None) or NO_ROUTE
    telemetry.meter.count(HTTP_REQUESTS, 1.0, method, route, str(status))
    telemetry.meter.observe(HTTP_SECONDS, seconds, method, route)


def _identifier(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == _ID_HEADER and _ACCEPTABLE_ID.fullmatch(value):
            return value.decode()
    return secrets.token_hex(6)


def _log(scope: Scope, status: int, milliseconds: float) -> None:
    path: str = scope["path"]
    level = logging.DEBUG if path.startswith(_POLLED) and status < 400 else logging.INFO
    logger.log(
        level, "request method=%s path=%s status=%s ms=%.1f", scope["method"], logs.quoted(path), status, milliseconds
    )
