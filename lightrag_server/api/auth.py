"""Who may do what. One function decides for every route; what is not listed as public needs the key."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from fastapi import HTTPException, Request
from fastapi.routing import APIRoute
from pydantic import SecretStr
from starlette.responses import Response

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

BEARER = "bearer "


class GuardedRoute(APIRoute):
    """Every route of ours: authorised before its body is read."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            authorise(request, self.path)
            return await handle(request)

        return guarded


def authorise(request: Request, route: str) -> None:
    """Let the request pass or raise the 403 of LightRAG's API-key mode."""
    key = _configured(request)
    if key is None or route in PUBLIC_PATHS:
        return
    offered = _offered(request)
    if not offered:
        raise HTTPException(403, "API Key required")
    if not any(_equal(text, key) for text in offered):
        raise HTTPException(403, "Invalid API Key")


def is_authorised(request: Request) -> bool:
    """Whether a caller of a public route may see its full answer."""
    key = _configured(request)
    return key is None or any(_equal(text, key) for text in _offered(request))


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
