"""The SDK's session manager inside our application: loaded and started by the first call, stopped with the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import Context
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from lightrag_server.api.auth import audited
from lightrag_server.api.deps import WORKSPACE_HEADER
from lightrag_server.api.errors import request_id
from lightrag_server.api.mcp.seat import Seat

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

NO_LIMIT = 2**62
"""Bodies are limited before they come here."""


class Endpoint:
    """An ASGI application. Every request stands alone, so that it does not matter which process gets it."""

    def __init__(self) -> None:
        self._starting: asyncio.Future[StreamableHTTPSessionManager] | None = None
        self._running: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_future()
            # a task of its own, for what it opens must be closed by the same; in no request's context
            self._running = asyncio.create_task(self._run(self._starting), context=Context())
        manager = await asyncio.shield(self._starting)
        await manager.handle_request(scope, receive, send)

    async def close(self) -> None:
        """End what is under way."""
        self._stop.set()
        if self._running is not None:
            await self._running

    async def _run(self, starting: asyncio.Future[StreamableHTTPSessionManager]) -> None:
        try:
            manager = await asyncio.to_thread(_make_manager)
            async with manager.run():
                starting.set_result(manager)
                await self._stop.wait()
        except Exception as error:
            if starting.done():
                raise
            self._starting = None
            starting.set_exception(error)


@asynccontextmanager
async def open_endpoint() -> AsyncGenerator[Endpoint]:
    endpoint = Endpoint()
    try:
        yield endpoint
    finally:
        await endpoint.close()


def _make_manager() -> StreamableHTTPSessionManager:
    """Half a second of imports that a server without such clients never pays for."""
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from lightrag_server.api.mcp.server import make_server

    return StreamableHTTPSessionManager(make_server(_seat_of), stateless=True, max_request_body_size=NO_LIMIT)


def _seat_of(request: Request) -> Seat:
    """Authorised before it was handed over."""
    state, header = request.state, request.headers.get(WORKSPACE_HEADER)

    def audit(workspace: str | None) -> None:
        audited(request)
        state.workspace = workspace

    return Seat(request.app.state.opened, state.caller, header, request_id(request), audit)
