"""Gate point 13: every route × the wrong workspace.

Two workspaces, `aspen` and `birch`. A caller who may read and write birch, and nothing elsewhere, calls every route:
once naming aspen, and once in birch with ids of aspen. What it may have seen of aspen are the ids that it sends;
nothing else of aspen may come back, and aspen must be as it was. A route with a parameter that the tables below do not
know fails.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest

from lightrag_server.api.app import create_app
from lightrag_server.api.auth import PUBLIC_PATHS, required_scope
from lightrag_server.core.access import Scope
from lightrag_server.settings.loader import load
from tests.server import FAKE, running

ADMIN = {"X-API-Key": "the-administrators-own-key"}
THEIRS, OURS = "aspen", "birch"
HEADER = "LIGHTRAG-WORKSPACE"
WAIT_S = 30.0
STREAM_S = 1.0
"""Streams that end only with the server are read for so long."""

TEXT = """Quillon Vardeck founded the Obsidian Foundry in Tharsis Bay, and its password is zyxomma.
Quillon Vardeck hired Mirabeau Thistlewood, who sailed the Plumbago Star to Tharsis Bay."""
OUR_TEXT = "Ebenezer Scrooge kept a counting house in London with Jacob Marley."
SENT = ("Quillon Vardeck", "Mirabeau Thistlewood")
SECRETS = (
    "obsidian",
    "tharsis",
    "zyxomma",
    "plumbago",
    "foundry",
    "vermilion-tag",
    "carmine-key",
    "cobalt-description",
)
"""Words of aspen that no request below sends: in a text, a name, a file name, a tag, a key, a description."""

IGNORED = frozenset(
    re.findall(
        r"\S+",
        """
    LIGHTRAG-WORKSPACE allow_merge allow_rename answer attributes caller chunk_top_k chunking client_id client_secret
    confirm conversation_history cursor delete_file delete_llm_cache description dimensions disable_user_prompt_prefix
    dry_run enable_rerank enabled encoding_format entities expected_candidate_count expected_candidate_fingerprint
    expires_days file_sources format grant_type images include_chunk_content include_progress include_references
    input_type keep_alive last-event-id lightrag limit locale max_completion_tokens max_depth max_entity_tokens
    max_nodes max_relation_tokens max_relations max_tokens max_total_tokens metadata min_score mode modes n on_conflict
    only_need_context only_need_prompt options page page_size profile relations response_type scope search settings
    since sort sort_direction sort_field status status_filter status_filters stop stream stream_options system tags
    temperature think tools top_k truncate type user user_prompt verbose
    """,
    )
)
"""Parameters that select nothing by an id; they are left out."""


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    parameters: tuple[tuple[str, str], ...]
    """(place, name), place as in OpenAPI: path, query or header."""
    body_kind: str | None
    body: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def names_a_workspace(self) -> bool:
        named = {("header", HEADER), ("path", "model")} & {*self.parameters} or self.path.startswith("/workspaces/")
        return bool(named) and self.path not in PUBLIC_PATHS


@cache
def routes(folder: Path) -> list[Route]:
    """Every route of the application, with what its description says of its parameters."""
    app = create_app(load([], environ=FAKE, start_dir=folder))
    spec, served = app.openapi(), _served(app.routes)
    found = [_route(spec, method, path) for path, methods in served for method in sorted(methods)]
    described = {f"{method.upper()} {path}" for path, methods in spec["paths"].items() for method in methods}
    assert described <= {str(route) for route in found}, "the walk misses a route"
    return sorted(found, key=lambda r: (["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"].index(r.method), r.path))


def _served(routes: Iterable[Any]) -> Iterator[tuple[str, set[str]]]:
    """Path templates and methods; routers that were included keep their routes to themselves."""
    for route in routes:
        if hasattr(route, "effective_route_contexts"):
            yield from ((inner.path_format, inner.methods) for inner in route.effective_route_contexts())
        else:
            yield route.path_format, route.methods


def _route(spec: dict[str, Any], method: str, path: str) -> Route:
    operation = spec["paths"].get(path, {}).get(method.lower())
    if operation is None:
        return Route(method, path, tuple(("path", name) for name in _between_braces(path)), None, ())
    parameters = tuple((p["in"], p["name"]) for p in operation.get("parameters", ()))
    content = operation.get("requestBody", {}).get("content", {})
    for kind in ("multipart/form-data", "application/x-www-form-urlencoded", "application/json"):
        if kind in content:
            return Route(method, path, parameters, kind, _properties(spec, content[kind]["schema"]))
    return Route(method, path, parameters, None, ())


def _between_braces(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def _properties(spec: dict[str, Any], schema: dict[str, Any]) -> tuple[str, ...]:
    if "$ref" in schema:
        schema = spec["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return tuple(schema.get("properties", {}))


# -- two workspaces on a real server


@dataclass
class Grove:
    """`examples` are what a parameter of that name would be in aspen; ours is the key for birch alone."""

    client: httpx.Client
    ours: dict[str, str]
    examples: dict[str, Any]

    def example(self, route: Route, name: str, workspace: str) -> Any:
        """`workspace` is the one to name where the workspace itself is the parameter."""
        if name == "name" and route.path.startswith("/workspaces"):
            return workspace
        if name == "model":
            return f"{workspace}/lightrag:mix"
        return self.examples[name]

    def call(self, route: Route, key: dict[str, str], workspace: str) -> tuple[int, str]:
        path, query, body = route.path, dict[str, Any](), dict[str, Any]()
        for place, name in route.parameters:
            if name in IGNORED and place != "path":
                continue
            value = self.example(route, name, workspace)
            if place == "path":
                path = path.replace("{" + name + "}", str(value))
            elif place == "query":
                query[name] = value
        for name in route.body:
            if name not in IGNORED:
                body[name] = self.example(route, name, workspace)
        return self._sent(route, path, params=query, headers={**key, HEADER: workspace}, **_encoded(route, body))

    def _sent(self, route: Route, path: str, **request: Any) -> tuple[int, str]:
        request["headers"]["Accept"] = "application/json, text/event-stream"
        parts: list[str] = []
        began = time.monotonic()
        with self.client.stream(route.method, path, **request) as reply:
            try:
                for text in reply.iter_text():
                    parts.append(text)
                    if time.monotonic() - began > STREAM_S and "event-stream" in reply.headers["content-type"]:
                        break
            except httpx.ReadTimeout:
                assert "event-stream" in reply.headers["content-type"], route
            headers = json.dumps(dict(reply.headers))
        return reply.status_code, headers + "".join(parts)

    def tool_call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of an MCP request."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        headers = {**self.ours, "Accept": "application/json, text/event-stream"}
        reply = self.client.post("/mcp", json=body, headers=headers)
        assert reply.status_code == 200, reply.text
        return json.loads(reply.text[reply.text.index("{") :])["result"]


def _encoded(route: Route, body: dict[str, Any]) -> dict[str, Any]:
    match route.body_kind:
        case "multipart/form-data":
            files = {name: body.pop(name) for name in ("file", "files") if name in body}
            return {"files": files, "data": body}
        case "application/x-www-form-urlencoded":
            return {"data": body}
        case "application/json":
            return {"json": body}
        case _:
            return {}


@pytest.fixture(scope="module")
def grove(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grove]:
    folder = tmp_path_factory.mktemp("grove")
    with running(folder, LIGHTRAG_API_KEY=ADMIN["X-API-Key"]) as server, server.client() as client:
        client.timeout = httpx.Timeout(20, read=5)
        theirs = _planted(client, THEIRS, TEXT, "plumbago-ledger.txt")
        _planted(client, OURS, OUR_TEXT, "ours.txt")
        described = {"description": "cobalt-description"}
        assert client.patch(f"/workspaces/{THEIRS}", json=described, headers=ADMIN).status_code == 200
        their_key = _key(client, "carmine-key", THEIRS)
        ours = _key(client, "ours", OURS)
        yield Grove(client, {"X-API-Key": ours["key"]}, examples(theirs, their_key["id"]))


def _planted(client: httpx.Client, workspace: str, text: str, source: str) -> dict[str, Any]:
    """Insert a text; its document."""
    headers = {**ADMIN, HEADER: workspace}
    reply = client.post("/documents/text", json={"text": text, "file_source": source}, headers=headers)
    assert reply.status_code == 200, reply.text
    deadline = time.monotonic() + WAIT_S
    while True:
        found = client.get(f"/documents/track_status/{reply.json()['track_id']}", headers=headers).json()["documents"]
        if found and found[0]["status"] == "processed":
            return found[0]
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def _key(client: httpx.Client, name: str, workspace: str) -> dict[str, Any]:
    body = {"name": name, "scope": "write", "workspaces": [workspace]}
    reply = client.post("/auth/keys", json=body, headers=ADMIN)
    assert reply.status_code in (200, 201), reply.text
    return reply.json()


def examples(theirs: dict[str, Any], key_id: str) -> dict[str, Any]:
    person, other = SENT
    document = theirs["id"]
    return {
        "asset_hash": "0" * 16,
        "asset_id": "logo",
        "canonical_source_key": "x",
        "document": document,
        "doc_id": document,
        "document_id": document,
        "doc_ids": [document],
        "chunk_id": f"{document}-chunk-000",
        "filters": {"document_ids": [document]},
        "alias": person,
        "pairs": [{"a": person, "b": other}],
        "entity": person,
        "entity_name": person,
        "entity_data": {"description": "Ours.", "entity_type": "Person"},
        "updated_data": {"description": "Ours."},
        "relation_data": {"description": "Ours.", "keywords": "ours", "weight": 1.0},
        "entities_to_change": [person],
        "entity_to_change_into": other,
        "source": person,
        "target": other,
        "source_entity": person,
        "target_entity": other,
        "source_id": person,
        "target_id": other,
        "file": ("ours-too.txt", b"A file of ours."),
        "files": ("ours-three.txt", b"Another file of ours."),
        "file_source": "ours-too.txt",
        "hl_keywords": [person],
        "ll_keywords": [other],
        "id": key_id,
        "input": "A text.",
        "label": person,
        "messages": [{"role": "user", "content": f"What did {person} found?"}],
        "name": person,
        "password": "wrong",
        "username": "nobody",
        "primary_doc_id": document,
        "prompt": f"What did {person} found?",
        "q": person[:6],
        "question": f"What did {person} found?",
        "query": f"What did {person} found?",
        "text": "A text of ours.",
        "texts": ["Another text of ours."],
        "track_id": theirs["track_id"],
        "workspace": THEIRS,
        "workspaces": [THEIRS],
    }


# -- the walk


def secrets_in(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text.lower()]


def test_every_parameter_of_every_route_is_known(tmp_path: Path) -> None:
    known = IGNORED | set(examples({"id": "", "track_id": ""}, "")) | {"model"}
    unknown = {
        f"{route}: {name}"
        for route in routes(tmp_path)
        for name in (*(name for _, name in route.parameters), *route.body)
        if name not in known
    }
    assert not unknown, "give an example of what it would be in another workspace"


def test_no_route_shows_or_changes_anything_of_another_workspace(grove: Grove, tmp_path: Path) -> None:
    before = state_of(grove)
    leaks: list[str] = []
    for route in routes(tmp_path):
        status, text = grove.call(route, {}, THEIRS)
        leaks += [f"{route} without a key shows {secret}" for secret in secrets_in(text)]
        status, text = grove.call(route, grove.ours, THEIRS)
        leaks += [f"{route} naming {THEIRS} shows {secret}" for secret in secrets_in(text)]
        if route.names_a_workspace and status != (403 if is_for_administrators(route) else 404):
            leaks.append(f"{route} naming {THEIRS} is {status}: {text[-300:]}")
        status, text = grove.call(route, grove.ours, OURS)
        leaks += [f"{route} with ids of {THEIRS} shows {secret}: {text[-300:]}" for secret in secrets_in(text)]
        if status >= 500:
            leaks.append(f"{route} with ids of {THEIRS} is {status}: {text[-300:]}")
    assert leaks == []
    assert state_of(grove) == before


def test_no_tool_shows_anything_of_another_workspace(grove: Grove) -> None:
    before = state_of(grove)
    leaks: list[str] = []
    tools = grove.tool_call("tools/list")["tools"]
    assert len(tools) > 3
    for tool in tools:
        wanted = (
            tool["inputSchema"]["properties"].keys() - IGNORED - {"chunks", "first_chunk", "name_contains", "status"}
        )
        arguments = {name: grove.examples[name] for name in wanted}
        for workspace in (THEIRS, OURS):
            result = grove.tool_call("tools/call", name=tool["name"], arguments=arguments | {"workspace": workspace})
            leaks += [f"{tool['name']} in {workspace} shows {secret}" for secret in secrets_in(json.dumps(result))]
            if workspace == THEIRS and not result["isError"]:
                leaks.append(f"{tool['name']} enters {workspace}: {result}")
    assert leaks == []
    assert state_of(grove) == before


def is_for_administrators(route: Route) -> bool:
    return required_scope(route.method, route.path) is Scope.ADMIN


def state_of(grove: Grove) -> dict[str, Any]:
    """What an administrator sees of aspen, and who may enter it."""
    headers = {**ADMIN, HEADER: THEIRS}

    def seen(method: str, path: str, **request: Any) -> Any:
        reply = grove.client.request(method, path, headers=headers, **request)
        assert reply.status_code == 200, (path, reply.text)
        return reply.json()

    data = seen("POST", "/query/data", json={"query": "Who sailed to Tharsis Bay?"})["data"]
    assert secrets_in(json.dumps(data)), "the words are there for those who may read them"
    keys = seen("GET", "/auth/keys")["keys"]
    return {
        "workspace": seen("GET", f"/workspaces/{THEIRS}"),
        "documents": seen("POST", "/documents/paginated", json={})["documents"],
        "labels": seen("GET", "/graph/label/list"),
        "graph": seen("GET", "/graphs", params={"label": "*"}),
        "data": data,
        "keys": [k["id"] for k in keys if not k["revoked_at"] and (not k["workspaces"] or THEIRS in k["workspaces"])],
    }
