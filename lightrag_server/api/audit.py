"""The audit trail's side of a request: what is noted once it was answered. Never bodies, queries or secrets."""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lightrag_server.access.service import Access
from lightrag_server.api.errors import path_of
from lightrag_server.core.access import NOBODY, AuditEntry, Caller

MAX_PATH_CHARS = 500


class AuditTrail:
    """Innermost of our middleware: `api.auth` has said by then who called and whether it is to be noted."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state: dict[str, Any] = scope.setdefault("state", {})
        # a mounted application changes both
        app, path = scope["app"], path_of(scope)
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            if state.get("is_audited"):
                access: Access = app.state.opened.access
                access.ledger.record(_entry(scope, path, status, access.clock()))


def client_address(scope: Scope) -> str:
    """Behind a trusted proxy that of its client: the server has put it there."""
    client = scope.get("client")
    return client[0] if client else "unknown"


def _entry(scope: Scope, path: str, status: int, now: float) -> AuditEntry:
    state = scope["state"]
    caller: Caller = state.get("caller", NOBODY)
    return AuditEntry(
        at=now,
        caller=caller.name,
        kind=caller.kind,
        key_id=caller.key_id,
        address=client_address(scope),
        workspace=state.get("workspace"),
        method=scope["method"],
        path=path[:MAX_PATH_CHARS],
        status=status,
        request_id=scope.get("request_id", ""),
    )
