"""The route of the Model Context Protocol. Pages of other sites may not use it with a visitor's access."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.types import Receive, Scope, Send

from lightrag_server.api.auth import GuardedRoute
from lightrag_server.api.sites import refuse_other_origins

router = APIRouter(tags=["mcp"], route_class=GuardedRoute)

_EXAMPLE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "query", "arguments": {"question": "Who was Jacob Marley?"}},
}
_MESSAGE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}, "example": _EXAMPLE}},
    }
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The reply, as one JSON value or as a stream",
        "content": {name: {"schema": {}} for name in ("application/json", "text/event-stream")},
    },
    202: {"description": "A notification was taken"},
    "4XX": {"description": "No message of the protocol, or not allowed"},
}


class _HandOver(Response):
    """Leaves the rest of the request to the SDK."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope["app"].state.mcp(scope, receive, send)


@router.post("/mcp", response_class=_HandOver, responses=_ANSWERS, openapi_extra=_MESSAGE)
async def mcp(request: Request) -> _HandOver:
    """Model Context Protocol over streamable HTTP: tools to query, retrieve, list, read and insert."""
    refuse_other_origins(request)
    return _HandOver()
