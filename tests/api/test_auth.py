"""Logging in and out, keys, the whitelist and the audit trail, as a client meets them."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from lightrag_server.access.service import Access
from tests.api.conftest import Api, opened
from tests.server import running

ADMIN = {"X-API-Key": "the-key-of-the-administrator"}
ACCOUNTS = json.dumps(
    {
        "alice": "comma, colon: and quote'",
        "rita": {"password": "only-reads", "scope": "read", "workspaces": ["books", "films"]},
    }
)
ABOUT = {"core_version", "api_version", "webui_title", "webui_description", "ai_content_notice_enabled"}
PASSWORD = "comma, colon: and quote'"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with opened(tmp_path, LIGHTRAG_API_KEY=ADMIN["X-API-Key"], AUTH_ACCOUNTS=ACCOUNTS) as api:
        yield api


def access_of(api: Api) -> Access:
    return api.app.state.opened.access


async def log_in(api: Api, name: str = "alice", password: str = PASSWORD) -> httpx.Response:
    return await api.client.post("/login", data={"username": name, "password": password})


async def bearer(api: Api, name: str = "alice", password: str = PASSWORD) -> dict[str, str]:
    reply = await log_in(api, name, password)
    assert reply.status_code == 200, reply.text
    return {"Authorization": f"Bearer {reply.json()['access_token']}"}


async def verify(api: Api, headers: dict[str, str]) -> int:
    return (await api.client.get("/auth/verify", headers=headers)).status_code


async def create(api: Api, **fields: Any) -> dict[str, Any]:
    reply = await api.client.post("/auth/keys", json={"name": "test", **fields}, headers=ADMIN)
    assert reply.status_code == 201, reply.text
    return reply.json()


class Later:
    """Moves the clock of the application's access forward."""

    def __init__(self, api: Api) -> None:
        self.seconds = 0.0
        before = access_of(api)
        plain = before.clock
        moved = replace(before, clock=lambda: plain() + self.seconds)
        api.app.state.opened = replace(api.app.state.opened, access=moved)


# ----------------------------------------------------------------------------- logging in


async def test_who_logs_in_gets_a_token_that_opens_what_the_account_may(api: Api) -> None:
    reply = (await log_in(api)).json()
    assert set(reply) == ABOUT | {"access_token", "token_type", "auth_mode"}
    assert (reply["token_type"], reply["auth_mode"]) == ("bearer", "enabled")
    headers = {"Authorization": f"Bearer {reply['access_token']}"}
    for method, path in (("GET", "/auth/verify"), ("GET", "/auth/keys"), ("GET", "/documents/status_counts")):
        assert (await api.client.request(method, path, headers=headers)).status_code == 200


async def test_the_token_names_user_role_times_and_session(api: Api) -> None:
    token = (await log_in(api)).json()["access_token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["sub"], claims["role"]) == ("alice", "user")
    assert claims["exp"] - claims["iat"] == 48 * 3600
    assert len(claims["jti"]) == 32
    assert jwt.get_unverified_header(token)["alg"] == "HS256"


@pytest.mark.parametrize(
    ("name", "password"), [("alice", "wrong"), ("alice", ""), ("nobody", PASSWORD), ("Alice", PASSWORD), ("", "")]
)
async def test_a_wrong_name_or_password_is_told_in_the_same_words(api: Api, name: str, password: str) -> None:
    reply = await log_in(api, name, password)
    if not name or not password:
        assert reply.status_code in (401, 422)
        return
    assert (reply.status_code, reply.json()) == (401, {"detail": "Incorrect credentials"})
    assert reply.headers["WWW-Authenticate"] == "Bearer"


async def test_a_form_of_another_grant_is_refused(api: Api) -> None:
    form = {"username": "alice", "password": PASSWORD, "grant_type": "client_credentials"}
    assert (await api.client.post("/login", data=form)).status_code == 422
    assert (await api.client.post("/login", data={**form, "grant_type": "password"})).status_code == 200


async def test_auth_status_tells_front_ends_that_people_log_in(api: Api) -> None:
    reply = (await api.client.get("/auth-status")).json()
    assert set(reply) == ABOUT | {"auth_configured", "auth_mode"}
    assert (reply["auth_configured"], reply["auth_mode"]) == (True, "enabled")


async def test_without_accounts_anybody_gets_a_guests_token(tmp_path: Path) -> None:
    async with opened(tmp_path) as api:
        status = (await api.client.get("/auth-status")).json()
        login = (await api.client.post("/login", data={"username": "any", "password": "thing"})).json()
    assert set(status) == ABOUT | {"auth_configured", "access_token", "token_type", "auth_mode", "message"}
    assert set(login) == set(status) - {"auth_configured"}
    for reply in (status, login):
        assert (reply["auth_mode"], reply["token_type"]) == ("disabled", "bearer")
        claims = jwt.decode(reply["access_token"], options={"verify_signature": False})
        assert (claims["sub"], claims["role"]) == ("guest", "guest")
        assert claims["exp"] - claims["iat"] == 24 * 3600


async def test_an_account_with_a_scope_and_workspaces_is_held_to_them(api: Api) -> None:
    headers = await bearer(api, "rita", "only-reads")
    health = (await api.client.get("/health", headers=headers)).json()
    assert health["configuration"]["workspace"] == "books", "its first workspace is its own"
    in_films = {**headers, "LIGHTRAG-WORKSPACE": "films"}
    assert (await api.client.get("/documents/status_counts", headers=in_films)).status_code == 200
    elsewhere = {**headers, "LIGHTRAG-WORKSPACE": "secret"}
    assert (await api.client.get("/documents/status_counts", headers=elsewhere)).status_code == 404
    refused = await api.client.post("/documents/text", json={"text": "x"}, headers=headers)
    assert (refused.status_code, refused.json()["detail"]) == (
        403,
        "This credential may only read; this needs the scope write.",
    )


# ----------------------------------------------------------------------------- sessions


async def test_a_logout_ends_the_session_and_no_other(api: Api) -> None:
    left, stays = await bearer(api), await bearer(api)
    reply = await api.client.post("/logout", headers=left)
    assert reply.json() == {"status": "ok", "revoked": True}
    assert (await verify(api, left), await verify(api, stays)) == (401, 200)
    assert (await api.client.post("/logout", headers=ADMIN)).json() == {"status": "ok", "revoked": False}


async def test_a_token_is_renewed_when_half_of_its_life_is_over_but_not_by_polling(api: Api) -> None:
    headers, later = await bearer(api), Later(api)
    assert "X-New-Token" not in (await api.client.get("/auth/verify", headers=headers)).headers
    later.seconds = 25 * 3600
    for path in ("/health", "/documents/pipeline_status"):
        assert "X-New-Token" not in (await api.client.get(path, headers=headers)).headers
    fresh = (await api.client.get("/documents/track_status/x", headers=headers)).headers["X-New-Token"]
    later.seconds = 49 * 3600
    assert await verify(api, headers) == 401
    renewed = {"Authorization": f"Bearer {fresh}"}
    assert await verify(api, renewed) == 200


async def test_a_logout_ends_the_renewed_token_too(api: Api) -> None:
    headers, later = await bearer(api), Later(api)
    later.seconds = 25 * 3600
    fresh = (await api.client.get("/auth/verify", headers=headers)).headers["X-New-Token"]
    await api.client.post("/logout", headers=headers)
    assert await verify(api, {"Authorization": f"Bearer {fresh}"}) == 401


async def test_renewal_can_be_switched_off(tmp_path: Path) -> None:
    async with opened(tmp_path, AUTH_ACCOUNTS=ACCOUNTS, TOKEN_AUTO_RENEW="false") as api:
        headers, later = await bearer(api), Later(api)
        later.seconds = 47 * 3600
        assert "X-New-Token" not in (await api.client.get("/auth/verify", headers=headers)).headers


async def test_a_changed_password_ends_the_sessions_of_its_user(tmp_path: Path) -> None:
    async with opened(tmp_path, AUTH_ACCOUNTS="bob:first,eve:same") as api:
        bob, eve = await bearer(api, "bob", "first"), await bearer(api, "eve", "same")
        assert await verify(api, bob) == 200
    async with opened(tmp_path, AUTH_ACCOUNTS="bob:second,eve:same") as api:
        assert (await verify(api, bob), await verify(api, eve)) == (401, 200)


# ----------------------------------------------------------------------------- keys


async def test_a_key_is_shown_once_and_opens_what_it_was_made_for(api: Api) -> None:
    made = await create(api, name="website", scope="write", workspaces=["books", "films"], expires_days=1)
    secret = made.pop("key")
    assert secret.startswith("lrk_")
    assert (made["scope"], made["workspaces"]) == ("write", ["books", "films"])
    listed = (await api.client.get("/auth/keys", headers=ADMIN)).json()["keys"]
    assert listed == [made]
    assert (await api.client.get(f"/auth/keys/{made['id']}", headers=ADMIN)).json() == made
    assert secret not in str(listed)
    for headers in ({"X-API-Key": secret}, {"Authorization": f"Bearer {secret}"}):
        health = (await api.client.get("/health", headers=headers)).json()
        assert health["configuration"]["workspace"] == "books"
        assert await verify(api, headers) == 200
        assert (await api.client.get("/auth/keys", headers=headers)).status_code == 403


async def test_a_revoked_key_opens_nothing_and_stays_on_record(api: Api) -> None:
    made = await create(api)
    headers = {"X-API-Key": made["key"]}
    assert await verify(api, headers) == 200
    revoked = (await api.client.delete(f"/auth/keys/{made['id']}", headers=ADMIN)).json()
    reply = await api.client.get("/auth/verify", headers=headers)
    assert (reply.status_code, reply.json()) == (403, {"detail": "Invalid API Key"})
    again = (await api.client.delete(f"/auth/keys/{made['id']}", headers=ADMIN)).json()
    assert again["revoked_at"] == revoked["revoked_at"] is not None
    assert len((await api.client.get("/auth/keys", headers=ADMIN)).json()["keys"]) == 1


async def test_an_unknown_key_is_404(api: Api) -> None:
    for method in ("GET", "DELETE"):
        assert (await api.client.request(method, "/auth/keys/none", headers=ADMIN)).status_code == 404


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"name": ""}, 422),
        ({"name": "  "}, 400),
        ({"scope": "root"}, 422),
        ({"workspaces": []}, 422),
        ({"expires_days": 0}, 422),
        ({"scope": "admin", "workspaces": ["books"]}, 400),
    ],
)
async def test_a_key_that_makes_no_sense_is_refused(api: Api, fields: dict[str, Any], status: int) -> None:
    reply = await api.client.post("/auth/keys", json={"name": "test", **fields}, headers=ADMIN)
    assert reply.status_code == status


async def test_the_use_of_a_key_is_noted(api: Api) -> None:
    made = await create(api)
    await verify(api, {"X-API-Key": made["key"]})
    await access_of(api).ledger.flush()
    shown = (await api.client.get(f"/auth/keys/{made['id']}", headers=ADMIN)).json()
    assert shown["last_used_at"] is not None


async def test_a_key_that_another_process_makes_or_revokes_is_seen_within_a_second(tmp_path: Path) -> None:
    async with opened(tmp_path) as one, opened(tmp_path) as other:
        made = (await one.client.post("/auth/keys", json={"name": "first"})).json()
        headers = {"X-API-Key": made["key"]}
        assert await verify(one, {}) == 403, "its own change holds at once"
        await asyncio.sleep(1.05)
        assert (await verify(other, {}), await verify(other, headers)) == (403, 200)
        await access_of(one).keys.revoke(made["id"])
        assert await verify(one, headers) == 403
        await asyncio.sleep(1.05)
        assert await verify(other, headers) == 403


async def test_a_server_does_not_fall_open_when_its_last_key_is_gone(tmp_path: Path) -> None:
    async with opened(tmp_path) as api:
        made = (await api.client.post("/auth/keys", json={"name": "only", "scope": "admin"})).json()
        headers = {"X-API-Key": made["key"]}
        assert (await api.client.delete(f"/auth/keys/{made['id']}", headers=headers)).status_code == 200
        assert (await verify(api, headers), await verify(api, {})) == (403, 403)
    async with opened(tmp_path) as api:
        assert await verify(api, {}) == 403


async def test_with_the_administrators_key_alone_requests_do_not_touch_the_store(tmp_path: Path) -> None:
    async with opened(tmp_path, LIGHTRAG_API_KEY=ADMIN["X-API-Key"]) as api:
        for headers, status in ((ADMIN, 200), ({}, 403), ({"X-API-Key": "wrong"}, 403)):
            assert await verify(api, headers) == status
        assert (await api.client.get("/health")).status_code == 200
        assert not any(name.startswith("access.sqlite") for name in os.listdir(tmp_path / "rag_storage"))


async def test_a_key_may_have_letters_of_any_script(tmp_path: Path) -> None:
    async with opened(tmp_path, LIGHTRAG_API_KEY="schlüssel-密钥") as api:
        key = "schlüssel-密钥".encode()
        for headers in ([(b"X-API-Key", key)], [(b"Authorization", b"Bearer " + key)]):
            assert (await api.client.get("/auth/verify", headers=headers)).status_code == 200
        assert (await api.client.get("/auth/verify", headers=[(b"X-API-Key", b"\xff\xfe")])).status_code == 403


# ----------------------------------------------------------------------------- audit


async def test_changes_and_tries_of_changes_leave_a_row_and_reads_do_not(api: Api) -> None:
    made = await create(api, name="reader", workspaces=["books"])
    reader = {"X-API-Key": made["key"], "X-Request-ID": "request-0001"}
    await api.client.get("/documents/status_counts", headers=reader)
    await api.client.post("/query/data", json={"query": "a private question"}, headers=reader)
    await api.client.post("/documents/text", json={"text": "a private text"}, headers=reader)
    await api.client.post("/documents/text", json={"text": "a private text"})
    await api.client.post("/documents/text", json={"text": "Some text."}, headers={**ADMIN, "LIGHTRAG-WORKSPACE": "w"})
    rows = (await api.client.get("/auth/audit", headers=ADMIN)).json()["entries"]
    seen = [(r["caller"], r["kind"], r["workspace"], r["method"], r["path"], r["status"]) for r in rows]
    assert seen == [
        ("LIGHTRAG_API_KEY", "key", "w", "POST", "/documents/text", 200),
        ("nobody", "anonymous", None, "POST", "/documents/text", 401),
        ("reader", "key", None, "POST", "/documents/text", 403),
        ("LIGHTRAG_API_KEY", "key", None, "POST", "/auth/keys", 201),
    ]
    assert (rows[2]["key_id"], rows[2]["request_id"], rows[2]["address"]) == (made["id"], "request-0001", "127.0.0.1")
    assert "private" not in str(rows)
    assert made["key"] not in str(rows)


async def test_logins_leave_a_row_that_names_only_users_who_exist(api: Api) -> None:
    await log_in(api, "alice", "wrong")
    await log_in(api, "a-password-in-the-wrong-field", "x")
    await log_in(api)
    rows = (await api.client.get("/auth/audit", headers=ADMIN)).json()["entries"]
    assert [(row["caller"], row["kind"], row["path"], row["status"]) for row in rows] == [
        ("alice", "user", "/login", 200),
        ("unknown user", "anonymous", "/login", 401),
        ("alice", "anonymous", "/login", 401),
    ]


async def test_the_audit_trail_is_paged_and_filtered(api: Api) -> None:
    for n in range(5):
        await create(api, name=f"k{n}")
    await log_in(api, "alice", "wrong")
    page = (await api.client.get("/auth/audit?page=2&page_size=4", headers=ADMIN)).json()
    assert len(page["entries"]) == 2
    assert page["pagination"] == {
        "page": 2, "page_size": 4, "total_count": 6, "total_pages": 2, "has_next": False, "has_prev": True,
    }  # fmt: skip
    found = (await api.client.get("/auth/audit", params={"caller": "alice"}, headers=ADMIN)).json()
    assert [row["path"] for row in found["entries"]] == ["/login"]
    since = page["entries"][0]["at"]
    later = (await api.client.get("/auth/audit", params={"since": since}, headers=ADMIN)).json()
    assert later["pagination"]["total_count"] == 5 + 2, "reading the trail is on record too"
    assert (await api.client.get("/auth/audit?workspace=none", headers=ADMIN)).json()["entries"] == []
    assert (await api.client.get("/auth/audit?since=yesterday", headers=ADMIN)).status_code == 422


async def test_rows_of_the_audit_trail_are_kept_over_a_restart_until_they_are_old(tmp_path: Path) -> None:
    async with opened(tmp_path) as api:
        await api.client.post("/documents/text", json={"text": "one"})
    async with opened(tmp_path) as api:
        assert (await api.client.get("/auth/audit")).json()["pagination"]["total_count"] == 1
    async with opened(tmp_path, AUDIT_RETENTION_DAYS="0.000001") as api:
        await asyncio.sleep(0.1)
        await api.client.post("/documents/text", json={"text": "two"})
        rows = (await api.client.get("/auth/audit")).json()["entries"]
        assert len(rows) <= 1, "the first row is gone"


# ----------------------------------------------------------------------------- many processes, real ports


def test_servers_of_one_folder_share_secret_logouts_and_failed_logins(tmp_path: Path) -> None:
    variables = {"AUTH_ACCOUNTS": "bob:builder", "LOGIN_MAX_FAILED_ATTEMPTS": "2"}
    with running(tmp_path, **variables) as one, running(tmp_path, **variables) as other:
        assert one.address.startswith("http://0.0.0.0:")
        addresses = [server.address.replace("0.0.0.0", "127.0.0.1") for server in (one, other)]
        with httpx.Client(trust_env=False, timeout=20) as client:
            form = {"username": "bob", "password": "builder"}
            token = client.post(f"{addresses[0]}/login", data=form).json()["access_token"]
            headers = {"Authorization": f"Bearer {token}"}
            assert client.get(f"{addresses[1]}/auth/verify", headers=headers).status_code == 200
            client.post(f"{addresses[1]}/logout", headers=headers)
            deadline = time.monotonic() + 1.05
            while client.get(f"{addresses[0]}/auth/verify", headers=headers).status_code != 401:
                assert time.monotonic() < deadline + 5, "a logout in another process holds within a second"
                time.sleep(0.05)
            wrong = {**form, "password": "wrong"}
            statuses = [client.post(f"{addresses[n % 2]}/login", data=wrong).status_code for n in range(3)]
            assert statuses == [401, 401, 429], "both count together"
