"""Every route × every kind of caller. The routes are taken from the application, the expectation from what each needs,
so a new route is in the table as soon as it exists."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lightrag_server.access.keys import NewKey
from lightrag_server.api.auth import PUBLIC_PATHS, READ_POSTS, GuardedRoute, required_scope
from lightrag_server.api.docs import STATIC
from lightrag_server.core.access import Scope
from tests.api.conftest import Api, opened
from tests.security.routes import Endpoint, ask, endpoints

ADMIN_KEY = "the-key-of-the-administrator"
ACCOUNTS = "bob:builder"
WHITELISTED = {"/health"}
ALLOWED = "allowed"

RANK = {Scope.READ: 0, Scope.WRITE: 1, Scope.ADMIN: 2}


@dataclass(frozen=True)
class Visitor:
    """A kind of caller: what it sends, what it may, and how it is refused with accounts and with keys alone."""

    name: str
    may: Scope | None
    refused: tuple[int, int]


VISITORS = (
    Visitor("nobody", None, (401, 403)),
    Visitor("bad key", None, (403, 403)),
    Visitor("bad bearer", None, (401, 403)),
    Visitor("guest token", None, (401, 403)),
    Visitor("expired token", None, (401, 403)),
    Visitor("expired key", None, (403, 403)),
    Visitor("revoked key", None, (403, 403)),
    Visitor("read key", Scope.READ, (403, 403)),
    Visitor("write key", Scope.WRITE, (403, 403)),
    Visitor("other workspace's key", Scope.WRITE, (403, 403)),
    Visitor("administrator", Scope.ADMIN, (0, 0)),
)


async def credentials(api: Api) -> dict[str, dict[str, str]]:
    """Headers by the name of the visitor."""
    access = api.app.state.opened.access
    secrets = {
        "read key": (await access.keys.create(NewKey("r", Scope.READ)))[1],
        "write key": (await access.keys.create(NewKey("w", Scope.WRITE)))[1],
        "other workspace's key": (await access.keys.create(NewKey("o", Scope.WRITE, ["other"])))[1],
        "expired key": (await access.keys.create(NewKey("e", Scope.ADMIN, life_s=1e-9)))[1],
    }
    revoked, secrets["revoked key"] = await access.keys.create(NewKey("x", Scope.ADMIN))
    await access.keys.revoke(revoked.id)
    past = access.clock() - 100
    tokens = {
        "guest token": access.guest_token(),
        "expired token": access.tokens.issue("bob", "user", past, 10),
        "bad bearer": "a.b.c",
    }
    return {
        "nobody": {},
        "bad key": {"X-API-Key": "wrong"},
        "administrator": {"X-API-Key": ADMIN_KEY},
        **{name: {"X-API-Key": secret} for name, secret in secrets.items()},
        **{name: {"Authorization": f"Bearer {token}"} for name, token in tokens.items()},
    }


@pytest.fixture
async def with_accounts(tmp_path: Path) -> AsyncIterator[Api]:
    async with opened(tmp_path, LIGHTRAG_API_KEY=ADMIN_KEY, AUTH_ACCOUNTS=ACCOUNTS, WORKSPACE="main") as api:
        yield api


@pytest.fixture
async def with_keys(tmp_path: Path) -> AsyncIterator[Api]:
    async with opened(tmp_path, LIGHTRAG_API_KEY=ADMIN_KEY, WORKSPACE="main") as api:
        yield api


def is_open(endpoint: Endpoint) -> bool:
    return endpoint.template in PUBLIC_PATHS or endpoint.path in WHITELISTED


def expected(endpoint: Endpoint, visitor: Visitor, has_accounts: bool) -> int | str:
    """The status of a refusal, or that it is allowed."""
    if is_open(endpoint):
        return ALLOWED
    required = required_scope(endpoint.method, endpoint.template)
    if visitor.may is not None and RANK[visitor.may] >= RANK[required]:
        return ALLOWED
    return visitor.refused[0 if has_accounts else 1]


async def wrong_answers(api: Api, visitors: tuple[Visitor, ...], has_accounts: bool) -> list[str]:
    """What was answered otherwise than the table says. Whoever is refused is so before the body is read."""
    headers = await credentials(api)
    wrong: list[str] = []
    for endpoint in endpoints(api.app):
        for visitor in visitors:
            answer = await ask(api.app, endpoint, headers[visitor.name], b"{}")
            wanted = expected(endpoint, visitor, has_accounts)
            found = answer.status if answer.status in (401, 403) else ALLOWED
            if found != wanted or (wanted != ALLOWED and answer.was_read):
                wrong.append(f"{endpoint}, {visitor.name}: {answer.status} where {wanted} is due")
            if answer.status == 401 and answer.headers.get("www-authenticate") != "Bearer":
                wrong.append(f"{endpoint}, {visitor.name}: 401 without WWW-Authenticate")
    return wrong


async def test_every_route_answers_every_kind_of_caller_as_the_table_says(with_accounts: Api) -> None:
    assert await wrong_answers(with_accounts, VISITORS, has_accounts=True) == []


async def test_with_keys_alone_refusals_speak_of_keys(with_keys: Api) -> None:
    strangers = tuple(visitor for visitor in VISITORS if visitor.may is None)
    assert await wrong_answers(with_keys, strangers, has_accounts=False) == []


async def test_a_workspace_that_is_not_the_callers_is_as_unknown_as_one_that_does_not_exist(with_keys: Api) -> None:
    api = with_keys
    headers = {**(await credentials(api))["other workspace's key"], "LIGHTRAG-WORKSPACE": "main"}
    chosen = [e for e in endpoints(api.app) if e.has_workspace and not is_open(e)]
    assert len(chosen) > 20
    wrong: list[str] = []
    for endpoint in chosen:
        is_admins = required_scope(endpoint.method, endpoint.template) is Scope.ADMIN
        answer = await ask(api.app, endpoint, headers, b"{}")
        if answer.status != (403 if is_admins else 404) or (answer.status == 404 and b"'main'" not in answer.body):
            wrong.append(f"{endpoint}: {answer.status} {answer.body[:200]}")
    assert wrong == []


async def test_without_any_credential_configured_every_route_is_open(tmp_path: Path) -> None:
    async with opened(tmp_path) as api:
        token = {"Authorization": "Bearer a.b.c"}
        for endpoint in endpoints(api.app):
            for headers in ({}, token):
                assert (await ask(api.app, endpoint, headers, b"{}")).status not in (401, 403), str(endpoint)


async def test_every_route_of_ours_is_guarded(with_keys: Api) -> None:
    found = list(endpoints(with_keys.app))
    assert len(found) > 40
    for endpoint in found:
        assert isinstance(endpoint.route, GuardedRoute), str(endpoint)


async def test_public_routes_are_those_that_one_expects(with_keys: Api) -> None:
    """A new public route is a decision: it is written down here too."""
    served = {endpoint.template for endpoint in endpoints(with_keys.app)}
    assert served & PUBLIC_PATHS == {
        "/",
        "/health/live",
        "/health/ready",
        "/auth-status",
        "/login",
        "/docs",
        "/docs/oauth2-redirect",
        "/redoc",
        STATIC + "/{name}",
        "/ui/customization",
        "/ui/customization/assets/{asset_hash}/{asset_id}",
    }


async def test_what_routes_need_is_what_one_expects(with_keys: Api) -> None:
    """The table above takes `required_scope` at its word; this holds it to some."""
    needed = {(e.method, e.template): required_scope(e.method, e.template) for e in endpoints(with_keys.app)}
    changing = {key for key in needed if key[0] in ("PUT", "PATCH", "DELETE")}
    assert len(changing) > 5
    assert {needed[key] for key in changing} == {Scope.WRITE, Scope.ADMIN}
    for beginning in ("/auth/keys", "/auth/audit"):
        assert {scope for (_, path), scope in needed.items() if path.startswith(beginning)} == {Scope.ADMIN}
    for path in ("/documents/upload", "/documents/text", "/documents/scan", "/graph/entity/edit"):
        assert needed["POST", path] is Scope.WRITE
    for path in ("/query", "/api/chat", "/v1/chat/completions", "/api/v1/chat/completions", "/documents/paginated"):
        assert needed["POST", path] is Scope.READ
    assert needed["DELETE", "/documents"] is Scope.WRITE
    unknown = {path for path in READ_POSTS if ("POST", path) not in needed}
    assert unknown == set(), "a name without a route is a typing error"
