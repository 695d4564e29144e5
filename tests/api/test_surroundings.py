"""What holds for every route: keys, limits, errors, ids, documentation, health."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from lightrag_server import errors
from lightrag_server.api.app import create_app
from lightrag_server.api.errors import status_of
from lightrag_server.bootstrap import App
from lightrag_server.settings import Settings
from lightrag_server.settings.loader import load
from tests.api.conftest import Api, opened

KEY = "s3cret-key"

# ----------------------------------------------------------------------------- keys


@pytest.fixture
async def locked(tmp_path: Path) -> AsyncIterator[Api]:
    async with opened(tmp_path, LIGHTRAG_API_KEY=KEY) as api:
        yield api


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": KEY},
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer {KEY}"},
        {"X-API-Key": KEY, "Authorization": "Bearer expired"},
    ],
)
async def test_the_key_is_taken_from_either_header_and_a_bad_bearer_does_not_spoil_it(
    locked: Api, headers: dict[str, str]
) -> None:
    assert (await locked.client.get("/documents/status_counts", headers=headers)).status_code == 200


@pytest.mark.parametrize("value", [f"{KEY} x", KEY.upper(), KEY[:-1], f"Basic {KEY}"])
async def test_nothing_but_the_whole_key_opens(locked: Api, value: str) -> None:
    for name in ("X-API-Key", "Authorization"):
        assert (await locked.client.get("/documents/status_counts", headers={name: value})).status_code == 403


async def test_the_body_of_a_stranger_is_not_read(locked: Api) -> None:
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(20):
            read += 1
            yield b"x" * 1024

    async with httpx.AsyncClient(transport=Untouched(locked.app), base_url="http://test") as client:
        reply = await client.post("/documents/upload", content=body())
    assert reply.status_code == 403
    assert read == 0


class Untouched(httpx.AsyncBaseTransport):
    """Hands the body to the application piece by piece, only when it asks for it."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        stream = cast(httpx.AsyncByteStream, request.stream)
        pieces = stream.__aiter__()
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            piece = await anext(pieces, None)
            return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": request.method,
            "scheme": "http", "path": request.url.path, "raw_path": request.url.raw_path, "query_string": b"",
            "root_path": "", "headers": [(k.lower(), v) for k, v in request.headers.raw], "client": ("test", 1),
            "server": ("test", 80),
        }  # fmt: skip
        await self._app(scope, receive, send)
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return httpx.Response(sent[0]["status"], headers=sent[0]["headers"], content=body)


# ----------------------------------------------------------------------------- limits


async def test_a_body_whose_announced_length_is_too_large_is_refused(api: Api) -> None:
    reply = await api.client.post("/query", content=b"x" * (1024**2 + 1))
    assert reply.status_code == 413
    expected = "Request body too large. This endpoint accepts at most 1048576 bytes."
    assert reply.json() == {"detail": expected}


async def test_a_body_that_grows_too_large_is_refused_on_the_way(api: Api) -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b"x" * 65_536

    async with httpx.AsyncClient(transport=Untouched(api.app), base_url="http://test") as client:
        reply = await client.post("/query", content=body())
    assert reply.status_code == 413
    assert sent < 30


async def test_texts_and_uploads_have_limits_of_their_own(tmp_path: Path) -> None:
    async with opened(tmp_path, MAX_UPLOAD_SIZE="1000") as api:
        large = {"text": "word " * 400_000}
        assert (await api.client.post("/documents/text", json=large)).status_code == 200
        reply = await api.client.post("/documents/upload", files={"file": ("a.txt", b"x" * 1001)})
        assert reply.status_code == 413
        reply = await api.client.post("/documents/upload", files={"file": ("a.txt", b"x" * (1024**2 + 1001))})
        assert reply.status_code == 413
        assert "at most 1049576 bytes" in reply.json()["detail"]


async def test_one_limit_can_replace_the_others_and_zero_lifts_all(tmp_path: Path) -> None:
    async with opened(tmp_path, MAX_REQUEST_BODY_BYTES="100") as api:
        assert (await api.client.post("/documents/text", json={"text": "x" * 200})).status_code == 413
        upload = await api.client.post("/documents/upload", files={"file": ("a.txt", b"word " * 100)})
        assert upload.status_code == 200
    async with opened(tmp_path, MAX_REQUEST_BODY_BYTES="0") as api:
        assert (await api.client.post("/query", content=b"x" * (2 * 1024**2))).status_code == 422


async def test_the_number_of_texts_can_be_limited(tmp_path: Path) -> None:
    async with opened(tmp_path, MAX_TEXTS_PER_REQUEST="1") as api:
        reply = await api.client.post("/documents/texts", json={"texts": ["first text", "second text"]})
        assert reply.status_code == 413


# ----------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidInput("x"), 400),
        (errors.UnsupportedFile("x"), 400),
        (errors.UnreadableFile("x"), 400),
        (errors.TooLarge("x"), 413),
        (errors.BadQuery("x"), 422),
        (errors.NotFound("x"), 404),
        (errors.Conflict("x"), 409),
        (errors.Overloaded("x"), 503),
        (errors.ProviderTimeout("x"), 504),
        (errors.ProviderRejected("x"), 502),
        (errors.ProviderUnavailable("x"), 503),
        (errors.BadReply("x"), 502),
        (errors.StorageUnavailable("x"), 503),
        (errors.StorageCorrupt("x"), 500),
        (errors.DimensionMismatch("x"), 502),
        (errors.JobLost("x"), 500),
    ],
)
def test_each_class_of_error_has_its_status(error: errors.LightRAGError, status: int) -> None:
    assert status_of(error) == status


@asynccontextmanager
async def nothing(settings: Settings) -> AsyncIterator[App]:
    """An application whose parts are missing: every use of them is an error nobody foresaw."""
    yield cast(App, None)


async def test_an_unforeseen_error_shows_its_id_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(load([], environ={}, start_dir=tmp_path), nothing)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
    ):
        reply = await client.post("/query", json={"query": "anything"})
    identifier = reply.headers["X-Request-ID"]
    assert reply.status_code == 500
    assert reply.json() == {"detail": f"Internal server error (error_id: {identifier})"}
    assert re.fullmatch("[0-9a-f]{12}", identifier)
    assert f"error_id={identifier}" in caplog.text
    assert "Traceback" in caplog.text


async def test_a_callers_own_request_id_is_kept_when_it_is_harmless(api: Api) -> None:
    reply = await api.client.get("/health", headers={"X-Request-ID": "trace-00000001"})
    assert reply.headers["X-Request-ID"] == "trace-00000001"
    reply = await api.client.get("/health", headers={"X-Request-ID": "a b<script>"})
    assert re.fullmatch("[0-9a-f]{12}", reply.headers["X-Request-ID"])


async def test_errors_carry_a_code_and_the_id_of_the_request(api: Api) -> None:
    reply = await api.client.request("DELETE", "/documents/delete_document", json={"doc_ids": ["doc-x"]})
    assert reply.json() == {
        "detail": "no such document: doc-x",
        "code": "not_found",
        "request_id": reply.headers["X-Request-ID"],
    }


async def test_large_or_broken_input_is_not_echoed(api: Api) -> None:
    reply = await api.client.post("/query", json={"query": 1, "mode": "x" * 10_000, "user_prompt": ["y"] * 10_000})
    assert reply.status_code == 422
    assert len(reply.content) < 1_000
    headers = {"Content-Type": "application/json"}
    for body in (b'{"query": "ab\\ud800cd", "mode": "\\udfff"}', b"{", b"\xff\xfe", b'{"query": NaN}'):
        assert (await api.client.post("/query", content=body, headers=headers)).status_code == 422, body


async def test_unknown_paths_and_methods_keep_the_familiar_form(api: Api) -> None:
    reply = await api.client.get("/no/such/path")
    assert (reply.status_code, reply.json()) == (404, {"detail": "Not Found"})
    reply = await api.client.put("/query")
    assert (reply.status_code, reply.json()) == (405, {"detail": "Method Not Allowed"})


# ----------------------------------------------------------------------------- documentation


async def test_the_start_page_leads_to_the_documentation(api: Api) -> None:
    reply = await api.client.get("/")
    assert (reply.status_code, reply.headers["Location"]) == (307, "/docs")


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_the_documentation_needs_no_other_host(api: Api, path: str) -> None:
    page = (await api.client.get(path)).text
    sources = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page)
    assert sources
    for source in sources:
        assert source.startswith("/"), source
        assert (await api.client.get(source)).status_code == 200


async def test_no_file_but_those_of_the_documentation_is_served(api: Api) -> None:
    for name in ("__init__.py", "..%2f__init__.py", "%2e%2e/core.py", "swagger-ui.css/"):
        assert (await api.client.get(f"/static/api-docs/{name}")).status_code in (307, 404)


async def test_the_documentation_can_be_switched_off(tmp_path: Path) -> None:
    async with opened(tmp_path, ENABLE_API_DOCS="false") as api:
        for path in ("/docs", "/redoc", "/openapi.json"):
            assert (await api.client.get(path)).status_code == 404
        assert (await api.client.get("/")).json()["status"] == "healthy"


async def test_the_schema_names_every_route_and_the_key(api: Api) -> None:
    schema = (await api.client.get("/openapi.json")).json()
    assert {"/query", "/query/stream", "/query/data", "/documents/upload", "/health"} <= set(schema["paths"])
    assert set(schema["components"]["securitySchemes"]) == {"APIKeyHeader", "HTTPBearer", "OAuth2PasswordBearer"}


async def test_behind_a_prefix_links_carry_it(tmp_path: Path) -> None:
    async with opened(tmp_path, LIGHTRAG_API_PREFIX="rag/") as api:
        assert (await api.client.get("/")).headers["Location"] == "/rag/docs"
        assert "/rag/openapi.json" in (await api.client.get("/docs")).text
        assert (await api.client.get("/rag/health")).status_code == 200
        assert (await api.client.post("/rag/query", content=b"x" * (1024**2 + 1))).status_code == 413


async def test_other_origins_are_shut_out_unless_listed(tmp_path: Path) -> None:
    origin = {"Origin": "https://app.example"}
    async with opened(tmp_path) as api:
        assert "access-control-allow-origin" not in (await api.client.get("/health", headers=origin)).headers
    async with opened(tmp_path, CORS_ORIGINS="https://app.example, https://b.example") as api:
        reply = await api.client.get("/health", headers=origin)
        assert reply.headers["access-control-allow-origin"] == "https://app.example"
        assert "access-control-allow-credentials" not in reply.headers
        other = await api.client.get("/health", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


# ----------------------------------------------------------------------------- health

SHORT = {
    "status", "auth_mode", "core_version", "api_version", "webui_available", "workspace_available",
    "api_docs_available", "webui_title", "webui_description", "ai_content_notice_enabled", "pipeline_busy",
    "pipeline_active",
}  # fmt: skip


async def test_strangers_see_that_the_server_lives_and_holders_of_the_key_how_it_is_set(locked: Api) -> None:
    short = (await locked.client.get("/health")).json()
    assert set(short) == SHORT
    assert short["auth_mode"] == "disabled", "there are no accounts"
    wrong = await locked.client.get("/health", headers={"X-API-Key": "wrong"})
    assert (wrong.status_code, set(wrong.json())) == (200, SHORT)
    whole = (await locked.client.get("/health", headers={"X-API-Key": KEY})).json()
    assert set(whole) > SHORT
    assert whole["configuration"]["llm_binding"] == "fake"
    assert KEY not in str(whole)


async def test_readiness_is_its_own_question(api: Api) -> None:
    reply = await api.client.get("/health/ready")
    for _ in range(100):
        if reply.status_code == 200:
            break
        await asyncio.sleep(0.05)
        reply = await api.client.get("/health/ready")
    assert reply.json() == {"status": "ready", "missing": []}


async def test_auth_status_says_that_there_are_no_accounts(api: Api) -> None:
    reply = (await api.client.get("/auth-status")).json()
    assert reply["auth_configured"] is False
    assert reply["auth_mode"] == "disabled"
