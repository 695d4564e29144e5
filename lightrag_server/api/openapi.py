"""The API's description: what all operations share is added here, so that routes say only what is their own."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from lightrag_server.api.auth import PUBLIC_PATHS
from lightrag_server.api.errors import body_for, invalid_status
from lightrag_server.api.examples import EXAMPLES

Json = dict[str, Any]

SECURITY: Json = {
    "APIKeyHeader": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "OAuth2PasswordBearer": {"type": "oauth2", "flows": {"password": {"scopes": {}, "tokenUrl": "login"}}},
    "HTTPBearer": {"type": "http", "scheme": "bearer", "description": "An API key or a token of /login."},
}
BODIES = frozenset({"post", "put", "patch", "delete"})
REASONS = {
    400: "The request cannot be carried out as it stands.",
    401: "No credentials, or bad ones.",
    403: "No API key or a wrong one, or a caller who may not do this.",
    404: "There is no such thing, or not for this caller.",
    409: "The name is taken, or the state of things forbids it.",
    413: "The body is too large.",
    422: "A field is missing or has a value that is not allowed.",
    429: "Too many tries; `Retry-After` says when to come again.",
    500: "A fault of this server. The log has it under the id of the request.",
    502: "The model's vendor refused, or its answer was of no use.",
    503: "A model or storage is away for now; `Retry-After` may say when to come again.",
    504: "The model's vendor did not answer in time.",
}
REFUSED_BEFORE = frozenset({401, 403, 413})
"""What is answered before a route has a say."""
_TEXT = {"type": "string"}
_ITEM = {
    "type": "object",
    "required": ["type", "loc", "msg"],
    "properties": {
        "type": _TEXT,
        "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
        "msg": _TEXT,
        "input": {},
        "ctx": {"type": "object"},
    },
}
_DETAIL = {"anyOf": [_TEXT, {"type": "array", "items": {"$ref": "#/components/schemas/InvalidField"}}]}
SCHEMAS: Json = {
    "InvalidField": _ITEM,
    "Error": {
        "type": "object",
        "required": ["detail"],
        "properties": {"detail": _DETAIL, "code": _TEXT, "request_id": _TEXT},
    },
    "OllamaError": {
        "type": "object",
        "required": ["error", "detail"],
        "properties": {"error": _TEXT, "detail": _DETAIL, "code": _TEXT, "request_id": _TEXT},
    },
    "OpenAIError": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "param", "code"],
                "properties": {
                    "message": _TEXT,
                    "type": _TEXT,
                    "param": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]},
                },
            }
        },
    },
}


class Application(FastAPI):
    """FastAPI with a description of its own."""

    def openapi(self) -> Json:
        if self.openapi_schema is None:
            self.openapi_schema = described(super().openapi())
        return self.openapi_schema


def operation_id(route: APIRoute) -> str:
    """Of method and path, which do not change when functions are renamed."""
    method = min(route.methods or {"GET"}).lower()
    words = "".join(c if c.isalnum() else "_" for c in route.path_format).strip("_")
    return f"{method}_{words}" if words else method


def described(document: Json) -> Json:
    """FastAPI's description with credentials, errors, summaries and examples. Changes what it is given."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas |= SCHEMAS
    components["securitySchemes"] = SECURITY
    document["security"] = [{name: []} for name in SECURITY]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            _complete(path, method, operation)
    _drop_unused(schemas, document["paths"])
    return document


def _complete(path: str, method: str, operation: Json) -> None:
    if path in PUBLIC_PATHS:
        operation["security"] = []
    if text := operation.get("description"):
        operation["summary"] = _first_sentence(text)
    for status in sorted(_documented(path, method, operation)):
        _document(operation["responses"], path, status)
    operation["responses"] = dict(sorted(operation["responses"].items()))
    for media in operation.get("requestBody", {}).get("content", {}).values():
        if example := EXAMPLES.get(f"{method.upper()} {path}"):
            media.setdefault("example", example)


def _first_sentence(text: str) -> str:
    return text.split("\n")[0].split(". ")[0].rstrip(".")


def _documented(path: str, method: str, operation: Json) -> set[int]:
    """The errors to describe. A range that describes no body (another protocol's) stands for what it covers, save
    what is refused before; any other range is dropped, so that every status is named."""
    responses: Json = operation["responses"]
    if invalid_status(path) != 422:
        responses.pop("422", None)
    found = _statuses(path, method, operation)
    for status_range in ("4XX", "5XX"):
        if responses.get(status_range, {}).get("content"):
            del responses[status_range]
        elif status_range in responses:
            found = {s for s in found if s in REFUSED_BEFORE or str(s)[0] != status_range[0]}
    return found | {int(status) for status in responses if status.isdigit() and int(status) >= 400}


def _statuses(path: str, method: str, operation: Json) -> set[int]:
    """The errors that an operation can give by its nature; others are its own to declare."""
    found = {500}
    if path not in PUBLIC_PATHS:
        found |= {401, 403, 429}
    if method in BODIES:
        found |= {409, 413}
    if "requestBody" in operation or operation.get("parameters"):
        found |= {400, invalid_status(path)}
    if any(p["name"] == "LIGHTRAG-WORKSPACE" for p in operation.get("parameters", ())) or "{" in path:
        found |= {404, 502, 503, 504}
    return found


def _document(responses: Json, path: str, status: int) -> None:
    """Add the error in the form of the path's family, beside the form that the route describes itself."""
    known = responses.setdefault(str(status), {})
    known.setdefault("description", REASONS[status])
    content: Json = known.setdefault("content", {})
    own: Json = content.get("application/json", {}).get("schema", {})
    family = {"$ref": f"#/components/schemas/{_family(path)}"}
    is_own = bool(own) and not own.get("$ref", "").endswith("/HTTPValidationError")
    content["application/json"] = {"schema": {"anyOf": [own, family]} if is_own else family}


def _drop_unused(schemas: Json, paths: Json) -> None:
    """Remove the schemas that nothing refers to."""
    used: set[str] = set()
    waiting = _references(paths)
    while waiting:
        name = waiting.pop()
        if name not in used:
            used.add(name)
            waiting |= _references(schemas[name])
    for name in schemas.keys() - used:
        del schemas[name]


def _references(value: Any) -> set[str]:
    match value:
        case dict():
            own = {value["$ref"].rpartition("/")[2]} if isinstance(value.get("$ref"), str) else set[str]()
            return own.union(*map(_references, value.values()))
        case list():
            return set[str]().union(*map(_references, value))
        case _:
            return set()


def _family(path: str) -> str:
    """The schema of this path's errors: told by the body that would be sent."""
    match body_for(path, 400, ""):
        case {"error": dict()}:
            return "OpenAIError"
        case {"error": _}:
            return "OllamaError"
        case _:
            return "Error"
