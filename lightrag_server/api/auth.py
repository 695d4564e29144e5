"""Who may do what. One function decides for every route; what is not listed as public needs a credential."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from fastapi import HTTPException, Request
from fastapi.routing import APIRoute
from pydantic import SecretStr
from starlette.responses import Response

from lightrag_server.core.access import EVERYBODY, NOBODY, Caller, Scope

PUBLIC_PATHS = frozenset(
    {
        "/",
        "/health",
        "/health/ready",
        "/auth-status",
        "/docs",
        "/docs/oauth2-redirect",
        "/redoc",
        "/openapi.json",
        "/static/api-docs/{name}",
    }
)
"""Route templates anybody may call; `/health` then answers its short form."""

READ_POSTS = frozenset(
    {
        "/query",
        "/query/stream",
        "/query/data",
        "/documents/paginated",
    }
)
"""Route templates that change nothing although their method is not GET."""

ADMIN_BEGINNINGS = ("/auth/keys", "/auth/audit", "/workspaces")
"""Beginnings of route templates that are for administrators; reading the list of workspaces is for everybody."""

BEARER = "bearer "


class GuardedRoute(APIRoute):
    """Every route of ours: authorised before its body is read."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            await authorise(request, self.path)
            return await handle(request)

        return guarded


async def authorise(request: Request, route: str) -> Caller:
    """Let the request pass, with its caller in `request.state.caller`, or raise 401 or 403 in LightRAG's words."""
    caller = NOBODY if route in PUBLIC_PATHS and not is_authorised(request) else _known(request)
    request.state.caller = caller
    return caller


def required_scope(method: str, route: str) -> Scope:
    """What a caller must be allowed to do: GET reads, everything else writes, unless listed otherwise."""
    if route.startswith(ADMIN_BEGINNINGS) and (method, route) != ("GET", "/workspaces"):
        return Scope.ADMIN
    if method in ("GET", "HEAD") or route in READ_POSTS:
        return Scope.READ
    return Scope.WRITE


def caller_of(request: Request) -> Caller:
    return request.state.caller


def is_authorised(request: Request) -> bool:
    """Whether a caller of a public route may see its full answer."""
    key = _configured(request)
    return key is None or any(_equal(text, key) for text in _offered(request))


def _known(request: Request) -> Caller:
    key = _configured(request)
    if key is None:
        return EVERYBODY
    offered = _offered(request)
    if not offered:
        raise HTTPException(403, "API Key required")
    if not any(_equal(text, key) for text in offered):
        raise HTTPException(403, "Invalid API Key")
    return Caller("LIGHTRAG_API_KEY", "key", Scope.ADMIN)


def _configured(request: Request) -> SecretStr | None:
    return request.app.state.settings.server.key


def _offered(request: Request) -> list[str]:
    """A bad bearer beside a good key does no harm: each is looked at."""
    offered = request.headers.getlist("x-api-key")
    for value in request.headers.getlist("authorization"):
        if value.lower().startswith(BEARER):
            offered.append(value[len(BEARER) :].strip())
    return [text for text in offered if text]


def _equal(offered: str, key: SecretStr) -> bool:
    return hmac.compare_digest(offered.encode("utf-8", "replace"), key.get_secret_value().encode())
