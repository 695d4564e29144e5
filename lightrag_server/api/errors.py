"""Errors → HTTP. The one table of statuses, and bodies in the form that each API family's clients read.

Bodies tell the caller what is the caller's and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from lightrag_server import errors
from lightrag_server.core.metrics import ERRORS

STATUS: dict[type[errors.LightRAGError], int] = {
    errors.TooLarge: 413,
    errors.BadQuery: 422,
    errors.InvalidInput: 400,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Overloaded: 503,
    errors.ProviderTimeout: 504,
    errors.ProviderUnavailable: 503,
    errors.ProviderError: 502,
    errors.ExtractionFailed: 502,
    errors.StorageUnavailable: 503,
    # the model's vectors do not fit those stored: the model's side is what can be mended
    errors.DimensionMismatch: 502,
    errors.StorageError: 500,
    errors.LightRAGError: 500,
}
_CODES: Mapping[int, str] = {
    400: "invalid_input",
    401: "invalid_credentials",
    403: "invalid_api_key",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    422: "invalid_input",
    429: "rate_limit_exceeded",
    500: "internal_error",
}
"""Codes of what is refused before our own errors have a say."""
MAX_ECHO_CHARS = 200
REQUEST_ID_HEADER = "X-Request-ID"


def status_of(error: errors.LightRAGError) -> int:
    """The status of the nearest class above the error that the table knows."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


Body = Callable[[int, Any, str], dict[str, Any]]
"""(status, detail, code) → body. The detail is a sentence, or FastAPI's list of what is wrong with a request."""


def _lightrag(status: int, detail: Any, code: str) -> dict[str, Any]:
    return {"detail": detail}


def _ollama(status: int, detail: Any, code: str) -> dict[str, Any]:
    """Ollama's clients read `error`, LightRAG's `detail`."""
    return {"error": _sentence(detail), "detail": detail}


def _openai(status: int, detail: Any, code: str) -> dict[str, Any]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": _sentence(detail), "type": kind, "param": _parameter(detail), "code": code}}


@dataclass(frozen=True, slots=True)
class Family:
    """Paths whose errors have a form of their own. `invalid` is the status of input that cannot be used."""

    beginnings: tuple[str, ...]
    body: Body
    invalid: int = 422


FAMILIES = (Family(("/v1/", "/api/v1/"), _openai, invalid=400), Family(("/api/",), _ollama, invalid=400))
"""Longest beginnings first."""
_LIGHTRAG = Family(("/",), _lightrag)


def body_for(path: str, status: int, detail: Any, code: str = "") -> dict[str, Any]:
    """The body of an error at this path (without the prefix of a reverse proxy)."""
    return _family(path).body(status, detail, code or _CODES.get(status, "error"))


def invalid_status(path: str) -> int:
    """The status of input that cannot be used, at this path."""
    return _family(path).invalid


def _family(path: str) -> Family:
    return next((family for family in FAMILIES if path.startswith(family.beginnings)), _LIGHTRAG)


def path_of(scope: Scope) -> str:
    """Without the prefix of a reverse proxy and without a trailing slash."""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path.rstrip("/") or "/"


def install(app: FastAPI) -> None:
    app.add_exception_handler(errors.LightRAGError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)


def request_id(request: Request) -> str:
    return request.scope.get("request_id", "")


def internal_detail(identifier: str) -> str:
    return f"Internal server error (error_id: {identifier})"


def shown_message(error: errors.LightRAGError, identifier: str) -> str:
    """What a caller may read: our own failures are only named by the request's id."""
    return internal_detail(identifier) if status_of(error) == 500 else error.message


def _known(request: Request, error: Exception) -> Response:
    known = cast(errors.LightRAGError, error)
    path = path_of(request.scope)
    request.app.state.opened.telemetry.meter.count(ERRORS, 1.0, "http", known.code)
    status = _family(path).invalid if isinstance(known, errors.BadQuery) else status_of(known)
    if status == 500:
        # logged with its trace where the request id is bound, and answered there
        raise known
    body = body_for(path, status, known.message, known.code)
    if "detail" in body:
        body |= {"code": known.code, "request_id": request_id(request)}
    return JSONResponse(body, status, _retry_after(known, status))


def _refused(request: Request, error: Exception) -> Response:
    """What routes and Starlette refuse themselves: credentials, unknown paths, wrong methods, large bodies."""
    refused = cast(HTTPException, error)
    body = body_for(path_of(request.scope), refused.status_code, refused.detail)
    return JSONResponse(body, refused.status_code, refused.headers)


def _retry_after(error: errors.LightRAGError, status: int) -> dict[str, str]:
    wait = error.retry_after_s if isinstance(error, errors.RetryableError) else None
    if wait is None:
        return {"Retry-After": "5"} if isinstance(error, errors.Overloaded) else {}
    return {"Retry-After": str(math.ceil(wait))} if status in (429, 503) else {}


def _invalid(request: Request, error: Exception) -> Response:
    found = [_shown(item) for item in cast(RequestValidationError, error).errors()]
    if request.url.path.endswith("/query/data"):
        return JSONResponse(failure(f"Validation error: {'; '.join(map(_as_text, found))}"), 400)
    path = path_of(request.scope)
    status = _family(path).invalid
    return JSONResponse(body_for(path, status, found), status)


def failure(message: str, metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    """LightRAG's form of a retrieval without result."""
    return {"status": "failure", "message": message, "data": {}, "metadata": metadata or {}}


def _sentence(detail: Any) -> str:
    return detail if isinstance(detail, str) else "; ".join(_as_text(item) for item in detail)


def _parameter(detail: Any) -> str | None:
    """The first field that a validation error names."""
    if isinstance(detail, str):
        return None
    return ".".join(str(part) for part in detail[0]["loc"][1:]) or None


def _as_text(item: dict[str, Any]) -> str:
    return f"{' -> '.join(str(part) for part in item['loc'])}: {item['msg']}"


def _shown(item: dict[str, Any]) -> dict[str, Any]:
    """A validation error without large or unprintable input, and without objects that have no JSON form."""
    shown: dict[str, Any] = {"type": item["type"], "loc": [_printable(part) for part in item["loc"]]}
    shown["msg"] = _printable(item["msg"])
    value = item.get("input")
    if isinstance(value, str | int | float | bool | None) and len(str(value)) <= MAX_ECHO_CHARS:
        shown["input"] = _printable(value)
    if context := item.get("ctx"):
        shown["ctx"] = {key: _printable(part) for key, part in context.items()}
    return shown


def _printable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value).encode("utf-8", "replace").decode()
