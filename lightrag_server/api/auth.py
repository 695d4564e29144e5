"""Who may do what. One function decides for every route; what is not listed as public needs a credential."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import replace

from fastapi import HTTPException, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from lightrag_server.access.keys import PREFIX
from lightrag_server.access.service import Access, Found
from lightrag_server.api.audit import client_address
from lightrag_server.api.errors import path_of
from lightrag_server.api.sites import refuse_changes_by_other_origins, refuse_other_names
from lightrag_server.core.access import EVERYBODY, NOBODY, Caller, Scope
from lightrag_server.engine.register import clean_name

PUBLIC_PATHS = frozenset(
    {
        "/",
        "/health/ready",
        "/auth-status",
        "/login",
        "/docs",
        "/docs/oauth2-redirect",
        "/redoc",
        "/static/api-docs/{name}",
        "/ui/customization",
        "/ui/customization/assets/{asset_hash}/{asset_id}",
    }
)
"""Route templates anybody may call. The pages of the documentation are among them, since a browser sends no key when
it opens one, and tell nothing of this installation; the description that they load is not."""

READ_POSTS = frozenset(
    {
        "/query",
        "/query/stream",
        "/query/data",
        "/documents/paginated",
        "/logout",
        "/api/show",
        "/api/chat",
        "/api/generate",
        "/api/embed",
        "/api/embeddings",
        "/v1/chat/completions",
        "/v1/embeddings",
        "/api/v1/chat/completions",
        "/api/v1/embeddings",
        "/mcp",
    }
)
"""Route templates that change nothing although their method is not GET."""

ADMIN_BEGINNINGS = ("/auth/keys", "/auth/audit", "/workspaces")
"""Beginnings of route templates that are for administrators; reading the list of workspaces is for everybody."""

UNCOUNTED_POSTS = frozenset({"/documents/paginated", "/logout", "/api/show", "/login"})
"""Route templates that RATE_LIMIT_PER_MINUTE leaves alone, beside what is only read: they cost no more than reading, or
have a limit of their own."""

NEVER_OPEN = frozenset({"/auth/verify", "/logout"})
"""Route templates that WHITELIST_PATHS does not open, beside those for administrators."""

NOT_RENEWING = frozenset(
    {"/health", "/documents/paginated", "/documents/pipeline_status", "/documents/status_counts", "/logout"}
)
"""Route templates that pages call by themselves: somebody who has left must not stay logged in."""

NEW_TOKEN_HEADER = "X-New-Token"
BEARER = "bearer "


class GuardedRoute(APIRoute):
    """Every route of ours: authorised before its body is read."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            route = self.template(request)
            await authorise(request, route)
            await _count(request, route)
            response = await handle(request)
            _renew(request, route, response)
            return response

        return guarded

    def template(self, request: Request) -> str:
        """The whole one: a router that was included under a prefix knows only its own part."""
        context = request.scope.get("fastapi", {}).get("effective_route_context")
        return getattr(context, "path", None) or self.path


async def authorise(request: Request, route: str) -> Caller:
    """Let the request pass, with its caller in `request.state.caller` and what it needs in `request.state.required`,
    or raise 401 or 403.

    What needs more than reading is noted for the audit trail: `audited(request)`.
    """
    state = request.state
    state.caller, state.token, state.required = NOBODY, None, required_scope(request.method, route)
    if route not in PUBLIC_PATHS:
        await _authorise(request, route, state.required)
    return state.caller


async def _count(request: Request, route: str) -> None:
    """Raise 429 for a caller who asks for more work than RATE_LIMIT_PER_MINUTE allows."""
    if request.method in ("GET", "HEAD") or route in UNCOUNTED_POSTS:
        return
    wait_s = await access_of(request).rates.wait_s(caller_of(request), client_address(request.scope))
    if wait_s:
        headers = {"Retry-After": str(math.ceil(wait_s))}
        raise HTTPException(429, "Too many requests. Please try again later.", headers)


async def _authorise(request: Request, route: str, required: Scope) -> None:
    state, access = request.state, access_of(request)
    if required is not Scope.READ:
        audited(request)
    found = await access.identify(_offered(request))
    if found.caller:
        state.caller, state.token = found.caller, found.token
    if not state.caller.may(required):
        if not _is_open(access, request, route, required):
            raise _refusal(access, request, found, required)
        state.caller = _visitor(request, required)
    if state.caller == EVERYBODY:
        refuse_other_names(request)
    if state.caller.kind == "anonymous":
        refuse_changes_by_other_origins(request)


def required_scope(method: str, route: str) -> Scope:
    """What a caller must be allowed to do: GET reads, everything else writes, unless listed otherwise."""
    if route.startswith(ADMIN_BEGINNINGS) and not (method == "GET" and route.startswith("/workspaces")):
        return Scope.ADMIN
    if method in ("GET", "HEAD") or route in READ_POSTS:
        return Scope.READ
    return Scope.WRITE


def access_of(request: Request) -> Access:
    return request.app.state.opened.access


def caller_of(request: Request) -> Caller:
    return request.state.caller


def audited(request: Request, caller: Caller | None = None) -> None:
    """Leave a row in the audit trail once the request is answered; of this caller, when it is not the request's."""
    request.state.is_audited = True
    if caller:
        request.state.caller = caller


def _is_open(access: Access, request: Request, route: str, required: Scope) -> bool:
    is_listed = access.whitelist.has(path_of(request.scope))
    return is_listed and required is not Scope.ADMIN and route not in NEVER_OPEN


def _visitor(request: Request, scope: Scope) -> Caller:
    """Somebody without a credential on an open path: does this one thing, in the configured workspace."""
    return replace(NOBODY, scope=scope, workspaces=(clean_name(request.app.state.settings.server.workspace),))


def _refusal(access: Access, request: Request, found: Found, required: Scope) -> HTTPException:
    """LightRAG's statuses; its front end knows the two sentences about keys by their words."""
    if found.caller:
        return HTTPException(403, f"This credential may only {found.caller.scope}; this needs the scope {required}.")
    offered = _offered(request)
    if access.has_accounts and not (offered and _are_keys(request, offered)):
        sentence = _token_sentence(found) if offered else "No credentials provided. Please login."
        return HTTPException(401, sentence, {"WWW-Authenticate": "Bearer"})
    return HTTPException(403, "Invalid API Key" if offered and not found.has_guest_token else "API Key required")


def _token_sentence(found: Found) -> str:
    return "A guest's token opens nothing here. Please login." if found.has_guest_token else "Invalid token"


def _are_keys(request: Request, offered: list[str]) -> bool:
    """Whether what was offered were all keys: sent as such, or recognisable."""
    return "authorization" not in request.headers or all(text.startswith(PREFIX) for text in offered)


def _offered(request: Request) -> list[str]:
    """A bad bearer beside a good key does no harm: each is looked at."""
    offered = request.headers.getlist("x-api-key")
    for value in request.headers.getlist("authorization"):
        if value.lower().startswith(BEARER):
            offered.append(value[len(BEARER) :].strip())
    return [_as_sent(text) for text in offered if text]


def _as_sent(text: str) -> str:
    """Headers are bytes; ours are read as UTF-8."""
    return text.encode("latin-1").decode("utf-8", "surrogateescape")


def _renew(request: Request, route: str, response: Response) -> None:
    token = request.state.token
    if token and route not in NOT_RENEWING and (fresh := access_of(request).renewed(token)):
        response.headers[NEW_TOKEN_HEADER] = fresh
