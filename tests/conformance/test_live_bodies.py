"""Each operation of LightRAG 1.5.7 called on a running server: its answer fits the schema that LightRAG recorded.

Where LightRAG records none, the form is written down below.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from tests.api.conftest import STORY
from tests.conformance.facts import Schema, inlined, lightrag, operations
from tests.server import running

THEIRS = lightrag()
THEIR_OPERATIONS = {f"{method} {path}": operation for method, path, operation in operations(THEIRS)}
QUESTION = {"query": "Who was Jacob Marley?", "mode": "mix", "include_chunk_content": True}
ELSEWHERE = {"LIGHTRAG-WORKSPACE": "elsewhere"}
"""Where a call may destroy what others need."""


@dataclass(frozen=True)
class Call:
    """`before` are calls that make what this one works on. `is_lines`: the answer is lines of JSON."""

    request: dict[str, Any] = field(default_factory=dict[str, Any])
    path: dict[str, str] = field(default_factory=dict[str, str])
    status: int = 200
    before: tuple[tuple[str, str, dict[str, Any]], ...] = ()
    is_lines: bool = False


def created(*names: str) -> tuple[tuple[str, str, dict[str, Any]], ...]:
    return tuple(
        ("POST", "/graph/entity/create", {"entity_name": name, "entity_data": {"description": f"{name}, by hand."}})
        for name in names
    )


def related(source: str, target: str) -> tuple[str, str, dict[str, Any]]:
    body = {"source_entity": source, "target_entity": target, "relation_data": {"description": "Both by hand."}}
    return ("POST", "/graph/relation/create", body)


CARD = {"model": "lightrag:latest", "messages": [{"role": "user", "content": "/naive Who was Jacob Marley?"}]}
CALLS: dict[str, Call] = {
    "POST /documents/scan": Call(),
    "GET /documents/scan/status/{track_id}": Call(path={"track_id": "scan"}),
    "GET /documents/source_conflicts": Call({"params": {"limit": 200}}),
    "POST /documents/source_conflicts/repair": Call(
        {"json": {"canonical_source_key": "carol.txt", "primary_doc_id": "{document}"}}
    ),
    "POST /documents/upload": Call({"files": {"file": ("note.txt", b"Fred invited his uncle Scrooge.")}}),
    "POST /documents/text": Call({"json": {"text": "Old Fezziwig gave a ball.", "file_source": "ball.txt"}}),
    "POST /documents/texts": Call(
        {"json": {"texts": ["Belle left Scrooge.", "Dick Wilkins was a clerk."], "file_sources": ["b.txt", "d.txt"]}}
    ),
    "DELETE /documents": Call({"headers": ELSEWHERE}),
    "GET /documents/pipeline_status": Call(),
    "DELETE /documents/delete_document": Call({"json": {"doc_ids": ["{victim}"]}}),
    "POST /documents/clear_cache": Call({"json": {}}),
    "GET /documents/track_status/{track_id}": Call(path={"track_id": "{track}"}),
    "POST /documents/paginated": Call({"json": {"page_size": 10, "sort_field": "file_path", "sort_direction": "asc"}}),
    "GET /documents/status_counts": Call(),
    "GET /documents/supported_file_types": Call(),
    "POST /documents/reprocess_failed": Call(),
    "POST /documents/recovery/force_reset": Call({"json": {"confirm": True}}),
    "POST /documents/cancel_pipeline": Call({"headers": ELSEWHERE}),
    "POST /query": Call({"json": QUESTION}),
    "POST /query/stream": Call({"json": QUESTION}, is_lines=True),
    "POST /query/data": Call({"json": QUESTION}),
    "GET /graph/label/list": Call(),
    "GET /graph/label/popular": Call({"params": {"limit": 10}}),
    "GET /graph/label/search": Call({"params": {"q": "marley", "limit": 5}}),
    "GET /graphs": Call({"params": {"label": "*", "max_depth": 2, "max_nodes": 50}}),
    "GET /graph/entity/exists": Call({"params": {"name": "Jacob Marley"}}),
    "POST /graph/entity/edit": Call(
        {"json": {"entity_name": "Ghost A", "updated_data": {"description": "Edited."}, "allow_rename": False}},
        before=created("Ghost A"),
    ),
    "POST /graph/relation/edit": Call(
        {"json": {"source_id": "Ghost B", "target_id": "Ghost C", "updated_data": {"description": "Edited."}}},
        before=(*created("Ghost B", "Ghost C"), related("Ghost B", "Ghost C")),
    ),
    "POST /graph/entity/create": Call(
        {"json": {"entity_name": "Ghost D", "entity_data": {"description": "By hand.", "entity_type": "Person"}}}
    ),
    "POST /graph/relation/create": Call(
        {
            "json": {
                "source_entity": "Ghost F",
                "target_entity": "Ghost E",
                "relation_data": {"description": "By hand.", "keywords": "made", "weight": 1.0},
            }
        },
        before=created("Ghost E", "Ghost F"),
    ),
    "POST /graph/entities/merge": Call(
        {"json": {"entities_to_change": ["Ghost G"], "entity_to_change_into": "Ghost H"}},
        before=created("Ghost G", "Ghost H"),
    ),
    "DELETE /graph/entity/delete": Call({"json": {"entity_name": "Ghost I"}}, before=created("Ghost I")),
    "DELETE /graph/relation/delete": Call(
        {"json": {"source_entity": "Ghost J", "target_entity": "Ghost K"}},
        before=(*created("Ghost J", "Ghost K"), related("Ghost J", "Ghost K")),
    ),
    "GET /ui/customization": Call({"params": {"locale": "en"}}),
    "GET /ui/customization/assets/{asset_hash}/{asset_id}": Call(
        path={"asset_hash": "abc", "asset_id": "logo"}, status=404
    ),
    "GET /api/version": Call(),
    "GET /api/tags": Call(),
    "GET /api/ps": Call(),
    "POST /api/generate": Call({"json": {"model": "lightrag:latest", "prompt": "Say a word.", "stream": False}}),
    "POST /api/chat": Call({"json": {**CARD, "stream": False}}),
    "GET /": Call(status=307),
    "GET /auth/verify": Call(),
    "GET /auth-status": Call(),
    "POST /login": Call({"data": {"username": "anybody", "password": "anything"}}),
    "GET /health": Call(),
}

TEXT, FLAG, NUMBER, ANY = {"type": "string"}, {"type": "boolean"}, {"type": "number"}, {}
TIME = {"type": ["integer", "null"]}


def rows(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def fields(**properties: Schema) -> Schema:
    """An object with all of these."""
    return {"type": "object", "properties": properties, "required": list(properties)}


NODE = fields(
    id=TEXT,
    labels=rows(TEXT),
    properties=fields(
        entity_id=TEXT, entity_type=TEXT, description=TEXT, source_id=TEXT, file_path=TEXT, created_at=TIME
    ),
)
EDGE = fields(
    id=TEXT,
    type={"const": "DIRECTED"},
    source=TEXT,
    target=TEXT,
    properties=fields(weight=NUMBER, description=TEXT, keywords=TEXT, source_id=TEXT, file_path=TEXT, created_at=TIME),
)
ENTITY = fields(
    status={"const": "success"},
    message=TEXT,
    data=fields(entity_name=TEXT, source_id=ANY, graph_data={"type": "object"}),
)
RELATION = fields(
    status={"const": "success"},
    message=TEXT,
    data=fields(src_entity=TEXT, tgt_entity=TEXT, source_id=ANY, graph_data={"type": "object"}),
)
ABOUT = fields(
    core_version=TEXT, api_version=TEXT, webui_title=ANY, webui_description=ANY, ai_content_notice_enabled=FLAG
)
TOKEN = fields(access_token=TEXT, token_type={"const": "bearer"}, auth_mode={"enum": ["enabled", "disabled"]})
MODEL = fields(
    name=TEXT,
    model=TEXT,
    size=NUMBER,
    digest=TEXT,
    details=fields(
        parent_model=TEXT, format=TEXT, family=TEXT, families=rows(TEXT), parameter_size=TEXT, quantization_level=TEXT
    ),
)
TIMES = "total_duration load_duration prompt_eval_count prompt_eval_duration eval_count eval_duration"
TIMINGS = dict.fromkeys(TIMES.split(), NUMBER)
CONFIGURATION = (
    "llm_binding llm_binding_host llm_model embedding_binding embedding_binding_host embedding_model "
    "summary_max_tokens summary_context_size kv_storage doc_status_storage graph_storage vector_storage "
    "enable_llm_cache_for_extract enable_llm_cache vlm_process_enable workspace storage_workspaces max_graph_nodes "
    "enable_rerank rerank_binding rerank_model rerank_binding_host rerank_max_async rerank_timeout summary_language "
    "force_llm_summary_on_merge max_parallel_insert cosine_threshold min_rerank_score related_chunk_number max_async "
    "llm_timeout embedding_func_max_async embedding_batch_num embedding_timeout role_llm_config parser_routing mineru "
    "docling"
)
HEALTH = (
    "status auth_mode core_version api_version webui_available workspace_available api_docs_available webui_title "
    "webui_description ai_content_notice_enabled pipeline_busy pipeline_active working_directory input_directory "
    "server_mode workers pipeline_scanning pipeline_destructive_busy pipeline_pending_enqueues scheduling capabilities "
    "scheduling_metrics keyed_locks llm_queue_status embedding_queue_status rerank_queue_status"
)
SHAPES: dict[str, Schema] = {
    "POST /query/stream": {"type": "object", "maxProperties": 1},
    "GET /graph/label/list": rows(TEXT),
    "GET /graph/label/popular": rows(TEXT),
    "GET /graph/label/search": rows(TEXT),
    "GET /graphs": fields(nodes=rows(NODE), edges=rows(EDGE), is_truncated=FLAG),
    "GET /graph/entity/exists": fields(exists=FLAG),
    "POST /graph/entity/edit": {
        "allOf": [
            ENTITY,
            fields(
                operation_summary=fields(
                    merged=FLAG,
                    merge_status={"enum": ["success", "failed", "not_attempted"]},
                    merge_error={"type": ["string", "null"]},
                    operation_status={"enum": ["success", "partial_success", "failure"]},
                    target_entity={"type": ["string", "null"]},
                    final_entity={"type": ["string", "null"]},
                    renamed=FLAG,
                )
            ),
        ]
    },
    "POST /graph/relation/edit": RELATION,
    "POST /graph/entity/create": ENTITY,
    "POST /graph/relation/create": RELATION,
    "POST /graph/entities/merge": fields(status={"const": "success"}, message=TEXT, data={"type": "object"}),
    "GET /ui/customization": fields(customized={"const": False}, brand=fields(title=ANY, description=ANY)),
    "GET /ui/customization/assets/{asset_hash}/{asset_id}": fields(detail={"const": "Unknown asset"}),
    "GET /api/version": fields(version=TEXT),
    "GET /api/tags": fields(models=rows(MODEL)),
    "GET /api/ps": fields(models=rows({"allOf": [MODEL, fields(expires_at=TEXT, size_vram=NUMBER)]})),
    "POST /api/generate": fields(model=TEXT, created_at=TEXT, response=TEXT, done={"const": True}, **TIMINGS),
    "POST /api/chat": fields(
        model=TEXT, created_at=TEXT, message=fields(role=TEXT, content=TEXT), done={"const": True}, **TIMINGS
    ),
    "GET /auth/verify": fields(status={"const": "ok"}),
    "GET /auth-status": {"allOf": [ABOUT, TOKEN, fields(auth_configured={"const": False})]},
    "POST /login": {"allOf": [ABOUT, TOKEN]},
    "GET /health": fields(
        configuration=fields(**dict.fromkeys(CONFIGURATION.split(), ANY)), **dict.fromkeys(HEALTH.split(), ANY)
    ),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running(tmp_path_factory.mktemp("server")) as server, server.client() as client:
        yield client


@pytest.fixture(scope="module")
def known(client: httpx.Client) -> dict[str, str]:
    """Names of what there is: fill in the placeholders of `CALLS`."""
    texts = {"text": STORY, "file_source": "carol.txt"}, {"text": "A door nail is dead.", "file_source": "nail.txt"}
    tracks = [client.post("/documents/text", json=text).json()["track_id"] for text in texts]
    documents = [indexed(client, track) for track in tracks]
    scan = client.post("/documents/scan").json()["track_id"]
    return {"track": tracks[0], "document": documents[0], "victim": documents[1], "scan": scan}


def indexed(client: httpx.Client, track: str) -> str:
    """The id of the one document of a track, once it is processed."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        documents = client.get(f"/documents/track_status/{track}").json()["documents"]
        if documents and documents[0]["status"] == "processed":
            return documents[0]["id"]
        time.sleep(0.02)
    raise AssertionError(f"{track} is not indexed")


def test_every_operation_is_called() -> None:
    assert set(CALLS) == set(THEIR_OPERATIONS)
    bare = {name for name, operation in THEIR_OPERATIONS.items() if not recorded(operation)}
    unrecorded = {name for name in bare if CALLS[name].status != 307}
    assert unrecorded <= set(SHAPES)


@pytest.mark.parametrize("name", CALLS)
def test_the_answer_has_the_recorded_form(client: httpx.Client, known: dict[str, str], name: str) -> None:
    call = CALLS[name]
    method, path = name.split(" ")
    for made in call.before:
        reply = client.request(made[0], made[1], json=made[2])
        assert reply.status_code == 200, reply.text
    path = path.format(**{part: filled(value, known) for part, value in call.path.items()})
    reply = client.request(method, path, **filled(call.request, known))
    assert reply.status_code == call.status, reply.text
    if call.status == 307:
        return
    texts = reply.text.splitlines() if call.is_lines else [reply.text]
    for schema in (recorded(THEIR_OPERATIONS[name]), SHAPES.get(name, {})):
        for text in texts:
            Draft202012Validator(inlined(schema, THEIRS)).validate(json.loads(text))


def recorded(operation: Schema) -> Schema:
    """The schema of a success; empty where LightRAG names none."""
    return operation["responses"]["200"].get("content", {}).get("application/json", {}).get("schema", {})


def filled(value: Any, known: dict[str, str]) -> Any:
    match value:
        case str():
            return known.get(value.strip("{}"), value)
        case dict():
            return {k: filled(v, known) for k, v in value.items()}
        case list():
            return [filled(item, known) for item in value]
        case _:
            return value
