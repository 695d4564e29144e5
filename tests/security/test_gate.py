"""The thirteen points of the security gate, each through the public face."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import socket
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from lightrag_server.access.keys import NewKey
from lightrag_server.core.access import Scope
from lightrag_server.errors import ConfigError
from tests.api.conftest import STORY, Api, opened
from tests.security.routes import endpoints
from tests.server import FAKE, Server, environment, running

ADMIN_KEY = "the-key-of-the-administrator"
ADMIN = {"X-API-Key": ADMIN_KEY}
EVIL = "https://evil.example"


@asynccontextmanager
async def locked(folder: Path, **variables: str) -> AsyncIterator[Api]:
    async with opened(folder, LIGHTRAG_API_KEY=ADMIN_KEY, **variables) as api:
        yield api


def command(folder: Path, *arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lightrag_server", *arguments],
        cwd=folder,
        env=environment(**{**FAKE, **variables}),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def client_of(server: Server) -> Iterator[httpx.Client]:
    address = server.address.replace("0.0.0.0", "127.0.0.1")
    with httpx.Client(base_url=address, timeout=20, trust_env=False) as client:
        yield client


def files_below(folder: Path) -> set[Path]:
    return {Path(top) / name for top, _, names in os.walk(folder) for name in names}


# ----------------------------------------------------------------------------- 1


class TestPoint01WithoutCredentialLoopbackOnly:
    def test_a_server_without_any_credential_listens_on_this_machine_only(self, tmp_path: Path) -> None:
        with running(tmp_path) as server:
            assert server.address.startswith("http://127.0.0.1:")

    def test_accounts_or_a_key_row_let_it_listen_everywhere_also_when_the_key_is_revoked(self, tmp_path: Path) -> None:
        with running(tmp_path / ".", AUTH_ACCOUNTS="bob:builder") as server:
            assert server.address.startswith("http://0.0.0.0:")
        made = command(tmp_path, "keys", "create", "--name", "n")
        identifier = made.stderr.split()[1]
        assert command(tmp_path, "keys", "revoke", identifier).returncode == 0
        with running(tmp_path) as server:
            assert server.address.startswith("http://0.0.0.0:")
            with client_of(server) as client:
                assert client.get("/documents/status_counts").status_code == 403

    @pytest.mark.parametrize("origin", [EVIL, "null", "http://test:81", "http://test.evil.example"])
    async def test_pages_of_other_sites_change_nothing_through_a_visitors_browser(
        self, tmp_path: Path, origin: str
    ) -> None:
        async with opened(tmp_path) as api:
            headers = {"Origin": origin}
            for path in ("/documents/text", "/api/chat", "/query", "/v1/chat/completions"):
                assert (await api.client.post(path, json={"text": "x"}, headers=headers)).status_code == 403, path
            proxied = {"Origin": "https://rag.example", "X-Forwarded-Host": "rag.example"}
            said = {"Origin": "https://rag.example", "Sec-Fetch-Site": "same-origin"}
            for own in ({"Origin": "http://test"}, proxied, said):
                reply = await api.client.post("/documents/text", json={"text": "x"}, headers=own)
                assert reply.status_code == 200, own
        async with locked(tmp_path, WHITELIST_PATHS="/api/*") as api:
            assert (await api.client.post("/api/show", json={}, headers=headers)).status_code == 403
            assert (await api.client.post("/api/show", json={}, headers={**headers, **ADMIN})).status_code != 403

    async def test_a_name_that_was_made_to_point_here_is_not_served(self, tmp_path: Path) -> None:
        async with opened(tmp_path) as api:
            for host in ("evil.example", "evil.example:9621", "127.0.0.1.evil.example", "[", "[::1].evil.example"):
                reply = await api.client.get("/documents/status_counts", headers={"Host": host})
                assert reply.status_code == 403, host
            for host in ("localhost:9621", "127.0.0.1", "[::1]:9621", "nas.local", "host.docker.internal:9621"):
                reply = await api.client.get("/documents/status_counts", headers={"Host": host})
                assert reply.status_code == 200, host
        async with locked(tmp_path) as api:
            reply = await api.client.get("/documents/status_counts", headers={"Host": "rag.example", **ADMIN})
            assert reply.status_code == 200
            assert (await api.client.get("/health", headers={"Host": "rag.example"})).status_code == 200


# ----------------------------------------------------------------------------- 2


class TestPoint02Secrets:
    @pytest.mark.parametrize(
        "variables",
        [
            {"LIGHTRAG_API_KEY": "your-secure-api-key-here"},
            {"LIGHTRAG_API_KEY": "your-secure-api-key-here-123"},
            {"TOKEN_SECRET": "your-key", "AUTH_ACCOUNTS": "bob:builder"},
            {"TOKEN_SECRET": "your-key-for-LightRAG-API-Server-xxx"},
            {"AUTH_ACCOUNTS": "admin:admin123,user1:pass456"},
            {"AUTH_ACCOUNTS": '{"bob": {"password": "changeme"}}'},
            {"JWT_ALGORITHM": "none"},
            {"JWT_ALGORITHM": "RS256"},
        ],
    )
    async def test_secrets_that_everybody_knows_and_foreign_algorithms_are_refused(
        self, tmp_path: Path, variables: dict[str, str]
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            async with opened(tmp_path, **variables):
                pass
        assert next(iter(variables)) in str(caught.value)

    def test_with_such_a_secret_the_server_says_one_sentence_and_does_not_start(self, tmp_path: Path) -> None:
        result = command(tmp_path, "--port", "0", LIGHTRAG_API_KEY="your-secure-api-key-here")
        assert result.returncode == 2
        [line] = result.stderr.splitlines()
        assert (
            line == "lightrag-server: LIGHTRAG_API_KEY is a placeholder that everybody knows; choose one of your own."
        )

    async def test_the_first_start_makes_a_secret_that_others_cannot_read_and_later_ones_keep_it(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "rag_storage" / "token.secret"
        contents: list[bytes] = []
        for _ in range(2):
            async with opened(tmp_path):
                assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
                contents.append(await asyncio.to_thread(path.read_bytes))
        assert contents[0] == contents[1]
        assert len(contents[0]) == 64

    async def test_a_guests_token_opens_nothing_where_any_credential_exists(self, tmp_path: Path) -> None:
        async with opened(tmp_path) as api:
            guest = (await api.client.get("/auth-status")).json()["access_token"]
        headers = {"Authorization": f"Bearer {guest}"}
        for variables in ({"LIGHTRAG_API_KEY": ADMIN_KEY}, {"AUTH_ACCOUNTS": "guest:builder"}):
            async with opened(tmp_path, **variables) as api:
                status = 401 if "AUTH_ACCOUNTS" in variables else 403
                assert (await api.client.get("/documents/status_counts", headers=headers)).status_code == status
                as_key = {"X-API-Key": guest}
                assert (await api.client.get("/documents/status_counts", headers=as_key)).status_code == 403
        async with opened(tmp_path) as api:
            await api.app.state.opened.access.keys.create(NewKey("n"))
            assert (await api.client.get("/documents/status_counts", headers=headers)).status_code == 403

    async def test_a_forged_token_opens_nothing(self, tmp_path: Path) -> None:
        async with opened(tmp_path, AUTH_ACCOUNTS="bob:builder", TOKEN_SECRET="a secret of our own") as api:
            now = int(time.time())
            claims = {"sub": "bob", "iat": now, "exp": now + 999, "role": "user", "jti": "x", "proof": ""}
            forged = [
                jwt.encode(claims, "", algorithm="none"),
                jwt.encode(claims, "another secret that is long enough for the library", algorithm="HS256"),
                jwt.encode(claims, "a secret of our own".ljust(64, "\0"), algorithm="HS512"),
            ]
            for token in forged:
                reply = await api.client.get("/auth/verify", headers={"Authorization": f"Bearer {token}"})
                assert (reply.status_code, reply.json()) == (401, {"detail": "Invalid token"})

    async def test_a_bad_bearer_does_not_void_a_good_key_nor_a_bad_key_a_good_bearer(self, tmp_path: Path) -> None:
        async with locked(tmp_path, AUTH_ACCOUNTS="bob:builder") as api:
            token = (await api.client.post("/login", data={"username": "bob", "password": "builder"})).json()
            good = f"Bearer {token['access_token']}"
            for headers in ({**ADMIN, "Authorization": "Bearer a.b.c"}, {"X-API-Key": "wrong", "Authorization": good}):
                assert (await api.client.get("/auth/verify", headers=headers)).status_code == 200


# ----------------------------------------------------------------------------- 3


class TestPoint03OneAuthorisation:
    """Every route × every kind of caller is in test_every_route.py."""

    @pytest.mark.parametrize("path", ["/api/tags", "/v1/models", "/api/v1/models", "/openapi.json", "/documents"])
    async def test_all_families_take_the_key_as_a_bearer_and_nothing_without(self, tmp_path: Path, path: str) -> None:
        async with locked(tmp_path) as api:
            assert (await api.client.get(path)).status_code == 403
            reply = await api.client.get(path, headers={"Authorization": f"Bearer {ADMIN_KEY}"})
            assert reply.status_code in (200, 405)

    async def test_health_tells_strangers_nothing_about_the_installation(self, tmp_path: Path) -> None:
        async with locked(tmp_path) as api:
            reply = await api.client.get("/health")
            assert reply.status_code == 200
            assert "configuration" not in reply.json()
            assert str(tmp_path) not in reply.text

    async def test_the_whitelist_opens_what_the_seeds_say(self, tmp_path: Path) -> None:
        async with locked(tmp_path, WHITELIST_PATHS="/health,/api/*") as api:
            for path, status in (("/health", 200), ("/api/tags", 200), ("/api/version", 200)):
                assert (await api.client.get(path)).status_code == status, path
            for path in ("/api/v1/models", "/v1/models", "/documents/status_counts", "/auth/keys", "/auth/verify"):
                assert (await api.client.get(path)).status_code == 403, path
        async with locked(tmp_path, WHITELIST_PATHS="None") as api:
            assert (await api.client.get("/health")).status_code == 403

    async def test_the_whitelist_never_opens_what_is_for_administrators(self, tmp_path: Path) -> None:
        async with locked(tmp_path, WHITELIST_PATHS="/*") as api:
            for endpoint in endpoints(api.app):
                if endpoint.template.startswith(("/auth/keys", "/auth/audit", "/auth/verify", "/logout")):
                    reply = await api.client.request(endpoint.method, endpoint.path)
                    assert reply.status_code == 403, str(endpoint)
            assert (await api.client.get("/documents/status_counts")).status_code == 200

    async def test_who_comes_through_the_whitelist_stays_in_the_configured_workspace(self, tmp_path: Path) -> None:
        async with locked(tmp_path, WHITELIST_PATHS="/documents/*", WORKSPACE="main") as api:
            await api.client.post("/documents/text", json={"text": "x"}, headers={**ADMIN, "LIGHTRAG-WORKSPACE": "b"})
            reply = await api.client.get("/documents/status_counts", headers={"LIGHTRAG-WORKSPACE": "b"})
            assert reply.status_code == 404 or reply.json()["status_counts"]["all"] == 0

    def test_odd_spellings_of_a_path_get_around_nothing(self, tmp_path: Path) -> None:
        """On a real port and without a client that mends the path."""
        with running(tmp_path, LIGHTRAG_API_KEY=ADMIN_KEY, WHITELIST_PATHS="/health,/api/*") as server:
            port = int(server.address.rsplit(":", 1)[1])
            for path in (
                "/api/../documents/status_counts",
                "/api/%2e%2e/documents/status_counts",
                "/api//../documents/status_counts",
                "//documents/status_counts",
                "/documents//status_counts",
                "/%64ocuments/status_counts",
                "/documents/status_counts/",
                "/DOCUMENTS/status_counts",
                "/health/../documents/status_counts",
                "/health;/../documents/status_counts",
                "http://127.0.0.1/documents/status_counts",
                "/api/..%2fdocuments/status_counts",
                "/api/v1/../v1/models",
            ):
                answer = raw_request(port, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert not answer.startswith("HTTP/1.1 200"), path
                assert "status_counts" not in answer.partition("\r\n\r\n")[2], path

    async def test_behind_a_prefix_the_same_holds(self, tmp_path: Path) -> None:
        async with locked(tmp_path, LIGHTRAG_API_PREFIX="/rag") as api:
            for prefix in ("", "/rag"):
                assert (await api.client.get(f"{prefix}/health")).status_code == 200
                assert (await api.client.get(f"{prefix}/documents/status_counts")).status_code == 403
                assert (await api.client.get(f"{prefix}/auth/verify", headers=ADMIN)).status_code == 200

    async def test_the_pages_of_the_documentation_are_open_and_what_they_show_is_not(self, tmp_path: Path) -> None:
        async with locked(tmp_path) as api:
            for path in ("/docs", "/redoc", "/static/api-docs/api-docs.js"):
                assert (await api.client.get(path)).status_code == 200
            assert (await api.client.get("/openapi.json")).status_code == 403


def raw_request(port: int, text: str) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(text.encode())
        return b"".join(iter(lambda: connection.recv(65_536), b"")).decode("utf-8", "replace")


# ----------------------------------------------------------------------------- 4


class TestPoint04Cors:
    async def test_no_origin_is_let_in_unless_it_is_listed(self, tmp_path: Path) -> None:
        async with locked(tmp_path) as api:
            reply = await api.client.get("/health", headers={"Origin": EVIL})
            assert not [name for name in reply.headers if name.startswith("access-control")]
            preflight = {"Origin": EVIL, "Access-Control-Request-Method": "POST"}
            assert (await api.client.options("/query", headers=preflight)).status_code == 405

    @pytest.mark.parametrize("listed", ["*", "https://app.example"])
    async def test_credentials_are_never_allowed_and_the_new_token_can_be_read(
        self, tmp_path: Path, listed: str
    ) -> None:
        async with locked(tmp_path, CORS_ORIGINS=listed) as api:
            reply = await api.client.get("/health", headers={"Origin": "https://app.example"})
            assert reply.headers["access-control-allow-origin"] == listed
            assert "access-control-allow-credentials" not in reply.headers
            assert "X-New-Token" in reply.headers["access-control-expose-headers"]


# ----------------------------------------------------------------------------- 5


class TestPoint05Passwords:
    @pytest.mark.parametrize("algorithm", ["argon2", "bcrypt"])
    async def test_what_hash_password_prints_goes_into_accounts(self, tmp_path: Path, algorithm: str) -> None:
        result = await asyncio.to_thread(
            command, tmp_path, "hash-password", "--algorithm", algorithm, stdin="wörd, with comma\n"
        )
        assert result.returncode == 0, result.stderr
        hashed = result.stdout.strip()
        assert "wörd" not in hashed
        for accounts in (f"bob:{hashed},eve:other", json.dumps({"bob": {"password": hashed}})):
            async with opened(tmp_path, AUTH_ACCOUNTS=accounts) as api:
                good = {"username": "bob", "password": "wörd, with comma"}
                assert (await api.client.post("/login", data=good)).status_code == 200
                assert (await api.client.post("/login", data={**good, "password": hashed})).status_code == 401

    async def test_guesses_sent_at_once_count_each_other(self, tmp_path: Path) -> None:
        async with opened(tmp_path, AUTH_ACCOUNTS="bob:builder") as api:
            form = {"username": "bob", "password": "wrong"}
            replies = await asyncio.gather(*(api.client.post("/login", data=form) for _ in range(20)))
            assert sorted(reply.status_code for reply in replies) == [401] * 5 + [429] * 15
            late = await api.client.post("/login", data={**form, "password": "builder"})
            assert late.status_code == 429, "also for the right password, which a guesser might have found"
            assert 0 < int(late.headers["Retry-After"]) <= 300

    async def test_the_window_passes_and_users_do_not_lock_each_other_out(self, tmp_path: Path) -> None:
        variables = {"LOGIN_LOCKOUT_WINDOW_SECONDS": "1", "LOGIN_MAX_FAILED_ATTEMPTS": "1"}
        async with opened(tmp_path, AUTH_ACCOUNTS="bob:builder,eve:weaver", **variables) as api:
            bad = {"username": "bob", "password": "wrong"}
            statuses = [(await api.client.post("/login", data=bad)).status_code for _ in range(2)]
            assert statuses == [401, 429]
            good = await api.client.post("/login", data={"username": "eve", "password": "weaver"})
            assert good.status_code == 200
            await asyncio.sleep(1.1)
            again = await api.client.post("/login", data={"username": "bob", "password": "builder"})
            assert again.status_code == 200

    def test_the_address_behind_a_proxy_is_believed_only_from_proxies_that_are_named(self, tmp_path: Path) -> None:
        for trusted, second in (("127.0.0.1", 401), ("None", 429)):
            variables = {"FORWARDED_ALLOW_IPS": trusted, "LOGIN_MAX_FAILED_ATTEMPTS": "1"}
            folder = tmp_path / trusted
            folder.mkdir()
            with running(folder, AUTH_ACCOUNTS="bob:builder", **variables) as server, client_of(server) as client:
                statuses = [
                    client.post(
                        "/login",
                        data={"username": "bob", "password": "wrong"},
                        headers={"X-Forwarded-For": f"198.51.100.{n}"},
                    ).status_code
                    for n in range(2)
                ]
                assert statuses == [401, second]


# ----------------------------------------------------------------------------- 6


class TestPoint06Names:
    async def test_names_on_disk_are_ours_and_original_names_are_data(self, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        folder = tmp_path / "server"
        folder.mkdir()
        async with opened(folder) as api:
            for name in ("../../outside/escaped.txt", "/etc/escaped.txt", "..\\..\\escaped.txt", "escaped\0.txt"):
                files = {"file": (name, b"Ebenezer Scrooge lived in London.")}
                reply = await api.client.post("/documents/upload", files=files)
                assert reply.status_code in (200, 400, 422), name
            headers = {"LIGHTRAG-WORKSPACE": "../../outside"}
            await api.client.post("/documents/text", json={"text": "x", "file_source": "../y"}, headers=headers)
            await api.idle()
        assert os.listdir(outside) == []
        assert {path.parts[len(tmp_path.parts)] for path in files_below(tmp_path)} == {"server"}
        assert not any("escaped" in path.name for path in files_below(folder / "rag_storage"))


# ----------------------------------------------------------------------------- 7


class TestPoint07Parameters:
    @pytest.mark.parametrize("text", ["x'; DROP TABLE documents; --", '" OR 1=1 --', "%_*", "a\u2028b", "x MATCH y"])
    async def test_statements_in_values_stay_values(self, tmp_path: Path, text: str) -> None:
        async with opened(tmp_path) as api:
            await api.insert(STORY, "carol.txt")
            await api.insert(f"{text} is the name of a thing.", f"{text}.txt")
            for reply in (
                await api.client.get(f"/documents/track_status/{text.replace('%', '%25')}"),
                await api.client.get("/graph/label/search", params={"q": text}),
                await api.client.get("/graphs", params={"label": text}),
                await api.client.get("/auth/audit", params={"caller": text, "workspace": text}),
                await api.client.post("/query/data", json={"query": text + " and more"}),
                await api.client.post("/documents/paginated", json={"page": 1, "page_size": 10}),
            ):
                assert reply.status_code in (200, 404), reply.text
            counts = (await api.client.get("/documents/status_counts")).json()["status_counts"]
            assert counts["processed"] == 2


# ----------------------------------------------------------------------------- 8


class TestPoint08Pages:
    @pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect"])
    async def test_pages_run_no_script_but_ours(self, tmp_path: Path, path: str) -> None:
        async with opened(tmp_path, WEBUI_TITLE="</title><script>alert(1)</script>") as api:
            reply = await api.client.get(path)
        policy = dict(part.strip().split(" ", 1) for part in reply.headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert re.fullmatch(r"'self'( 'sha256-[^']+')*", policy["script-src"])
        assert "alert(1)" not in reply.text.replace("&lt;script&gt;alert(1)", "")
        if "sha256" not in policy["script-src"]:
            assert re.findall(r"<script[^>]*>(.+?)</script>", reply.text) == [], "no script inside of the page"

    async def test_html_in_requests_comes_back_as_data(self, tmp_path: Path) -> None:
        html = "<img src=x onerror=alert(1)>"
        async with opened(tmp_path) as api:
            for reply in (
                await api.client.get(f"/{html}"),
                await api.client.get(f"/documents/track_status/{html}"),
                await api.client.post("/query", json={"query": html, "mode": html}),
                await api.client.get("/documents/status_counts", headers={"LIGHTRAG-WORKSPACE": html * 9}),
                await api.client.request("DELETE", "/documents/delete_document", json={"doc_ids": [html]}),
            ):
                assert reply.headers["Content-Type"] == "application/json", reply.url


# ----------------------------------------------------------------------------- 9


class TestPoint09NoUrlIsFetched:
    async def test_links_in_documents_are_text(self, tmp_path: Path) -> None:
        connections = 0

        async def count(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            writer.close()

        listener = await asyncio.start_server(count, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}/picture.png"
        async with listener, opened(tmp_path) as api:
            await api.insert(url)
            await api.insert(f"A picture: ![alt]({url}) and <img src='{url}'>", url)
            for name in ("page.html", "note.md"):
                page = f"<html><body><p>Scrooge</p><img src='{url}'><iframe src='{url}'></iframe></body></html>"
                reply = await api.client.post("/documents/upload", files={"file": (name, page.encode())})
                await api.settled(reply.json()["track_id"])
        assert connections == 0

    async def test_addresses_of_images_are_refused(self, tmp_path: Path) -> None:
        url = "http://127.0.0.1:9/picture.png"
        parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}]
        async with opened(tmp_path) as api:
            body: dict[str, Any] = {"model": "lightrag:mix", "messages": [{"role": "user", "content": parts}]}
            assert (await api.client.post("/v1/chat/completions", json=body)).status_code == 400
            body = {"model": "lightrag:latest", "messages": [{"role": "user", "content": "What?", "images": [url]}]}
            assert (await api.client.post("/api/chat", json=body)).status_code == 400

    async def test_no_other_field_of_a_request_is_an_address_to_fetch(self, tmp_path: Path) -> None:
        async with opened(tmp_path) as api:
            schemas = (await api.client.get("/openapi.json")).json()["components"]["schemas"]
        names = {"url", "urls", "uri", "link", "links", "callback", "webhook"}
        found = {part for part, schema in schemas.items() if names & set(schema.get("properties", {}))}
        # the one is refused unless it holds the image itself, the other is what we send
        assert found == {"ImageAddress", "UrlCitation"}


# ----------------------------------------------------------------------------- 10


class TestPoint10Limits:
    async def test_bodies_and_uploads_are_limited(self, tmp_path: Path) -> None:
        async with opened(tmp_path, MAX_UPLOAD_SIZE="1000") as api:
            assert (await api.client.post("/query", content=b"x" * (1024**2 + 1))).status_code == 413
            upload = await api.client.post("/documents/upload", files={"file": ("a.txt", b"x" * 1001)})
            assert upload.status_code == 413
            login = await api.client.post("/login", data={"username": "x", "password": "y" * 1024**2})
            assert login.status_code == 413

    async def test_an_archive_that_grows_fails_as_a_document_and_the_server_goes_on(self, tmp_path: Path) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("[Content_Types].xml", "<Types/>")
            archive.writestr("word/document.xml", b"\0" * 20_000_000)
        async with opened(tmp_path, MAX_EXPANDED_SIZE="1000000") as api:
            reply = await api.client.post("/documents/upload", files={"file": ("bomb.docx", packed.getvalue())})
            [document] = await api.settled(reply.json()["track_id"])
            assert document["status"] == "failed"
            await api.insert(STORY)


# ----------------------------------------------------------------------------- 11


class TestPoint11GenericBodies:
    async def test_a_fault_of_ours_shows_an_id_and_nothing_else(self, tmp_path: Path) -> None:
        async with opened(tmp_path) as api:

            async def broken(*_: Any) -> None:
                raise RuntimeError("the password is t0p-s3cret")

            access = api.app.state.opened.access
            object.__setattr__(access, "store", type("Broken", (), {"audit": broken})())
            reply = await api.client.get("/auth/audit")
            identifier = reply.headers["X-Request-ID"]
            assert (reply.status_code, reply.json()) == (
                500,
                {"detail": f"Internal server error (error_id: {identifier})"},
            )

    async def test_refusals_do_not_tell_whether_a_user_or_a_workspace_exists(self, tmp_path: Path) -> None:
        async with opened(tmp_path, AUTH_ACCOUNTS="bob:builder") as api:
            bodies = [
                (await api.client.post("/login", data={"username": name, "password": "x"})).content
                for name in ("bob", "nobody")
            ]
            assert bodies[0] == bodies[1]
            _, secret = await api.app.state.opened.access.keys.create(NewKey("n", Scope.WRITE, ["mine"]))
            async with opened(tmp_path, AUTH_ACCOUNTS="bob:builder") as other:
                await other.app.state.opened.workspaces.named("theirs", will_write=True)
            replies = [
                await api.client.get(
                    "/documents/status_counts", headers={"X-API-Key": secret, "LIGHTRAG-WORKSPACE": name}
                )
                for name in ("theirs", "nones_")
            ]
            assert {reply.status_code for reply in replies} == {404}
            shown = [reply.json()["detail"].replace("nones_", "theirs") for reply in replies]
            assert shown[0] == shown[1]


# ----------------------------------------------------------------------------- 12


class TestPoint12Prompts:
    @pytest.mark.parametrize(
        "text", ["{0.__class__.__mro__}", "{question.__init__.__globals__}", "{{7*7}}", "%(x)s", "${HOME}", "{}"]
    )
    async def test_templates_in_requests_and_documents_are_not_carried_out(self, tmp_path: Path, text: str) -> None:
        async with opened(tmp_path) as api:
            await api.insert(f"{STORY} Marley wrote {text} on the wall.", "carol.txt")
            body = {
                "query": f"What did Jacob Marley write? {text}",
                "user_prompt": f"Answer in {text}.",
                "only_need_prompt": True,
            }
            prompt = (await api.client.post("/query", json=body)).json()["response"]
            assert prompt.count(text) >= 2
            assert "49" not in prompt
            assert "<class" not in prompt


# ----------------------------------------------------------------------------- 13


class TestPoint13OtherWorkspaces:
    """Every route is in test_every_route.py and test_workspace_leaks.py."""

    async def test_ids_of_another_workspace_are_unknown(self, tmp_path: Path) -> None:
        async with locked(tmp_path) as api:
            keys = api.app.state.opened.access.keys
            secrets = {name: (await keys.create(NewKey(name, Scope.WRITE, [name])))[1] for name in ("a", "b")}
            a, b = ({"X-API-Key": secrets[name]} for name in ("a", "b"))
            made = (await api.client.post("/documents/text", json={"text": STORY}, headers=a)).json()
            track = f"/documents/track_status/{made['track_id']}"
            own = (await api.client.get(track, headers=a)).json()
            assert len(own["documents"]) == 1
            reply = await api.client.get(track, headers=b)
            assert reply.status_code == 404 or reply.json()["documents"] == []
            identifier = own["documents"][0]["id"]
            removal = await api.client.request(
                "DELETE", "/documents/delete_document", json={"doc_ids": [identifier]}, headers=b
            )
            assert removal.status_code == 404
            assert (await api.client.get(track, headers={**b, "LIGHTRAG-WORKSPACE": "a"})).status_code == 404
