"""Our own description of the API: whole, stable, and of use to whoever reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lightrag_server.api.auth import PUBLIC_PATHS
from tests.conformance.facts import Schema, inlined, operations
from tests.conformance.served import DOCUMENT

OPERATIONS = list(operations(DOCUMENT))
IDS = [f"{method} {path}" for method, path, _ in OPERATIONS]
FAMILIES = {"/v1/": "OpenAIError", "/api/v1/": "OpenAIError", "/api/": "OllamaError"}


def test_names_of_operations_are_unique_and_follow_from_method_and_path() -> None:
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(names)) == len(names)
    assert all(name.startswith(method.lower()) for name, (method, _, _) in zip(names, OPERATIONS, strict=True))
    assert "post_documents_text" in names


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=IDS)
def test_every_operation_says_what_it_does(method: str, path: str, operation: Schema) -> None:
    assert operation["tags"]
    assert len(operation["summary"].split()) > 1
    assert not operation["summary"].endswith(".")
    assert operation["description"]


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=IDS)
def test_every_operation_names_its_errors_in_the_form_of_its_family(method: str, path: str, operation: Schema) -> None:
    family = next((name for beginning, name in FAMILIES.items() if path.startswith(beginning)), "Error")
    statuses = {int(status) for status in operation["responses"] if status.isdigit()}
    assert 500 in statuses
    if path not in PUBLIC_PATHS:
        assert statuses >= {401, 403}
    for status, response in operation["responses"].items():
        assert response["description"], status
        if status.isdigit() and int(status) >= 400:
            schema = response["content"]["application/json"]["schema"]
            assert {"$ref": f"#/components/schemas/{family}"} in schema.get("anyOf", [schema]), status


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=IDS)
def test_every_request_body_has_an_example(method: str, path: str, operation: Schema) -> None:
    for kind, media in operation.get("requestBody", {}).get("content", {}).items():
        if kind == "application/json":
            assert "example" in media or "examples" in media or has_examples(inlined(media["schema"], DOCUMENT)), path


def has_examples(schema: Any) -> bool:
    """An example of the whole, or of each field that must be given."""
    if "examples" in schema or "example" in schema:
        return True
    fields = schema.get("properties", {})
    wanted = schema.get("required", ())
    return bool(wanted) and all("examples" in fields[name] or "default" in fields[name] for name in wanted)


def test_credentials_are_described() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert schemes["APIKeyHeader"] == {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    assert schemes["OAuth2PasswordBearer"]["flows"]["password"]["tokenUrl"] == "login"
    assert {name for wanted in DOCUMENT["security"] for name in wanted} == set(schemes)
    for method, path, operation in OPERATIONS:
        assert (operation.get("security") == []) == (path in PUBLIC_PATHS), (method, path)


def test_every_reference_leads_somewhere_and_nothing_is_left_over() -> None:
    text = json.dumps(DOCUMENT)
    for name in DOCUMENT["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in text, f"{name} is used nowhere"
    inlined(DOCUMENT["paths"], DOCUMENT)
