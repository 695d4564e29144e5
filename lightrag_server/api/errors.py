"""Errors → HTTP. The one table, and bodies that tell the caller what is the caller's and nothing else."""

from __future__ import annotations

import math
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.responses import Response

from lightrag_server import errors

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
MAX_ECHO_CHARS = 200
REQUEST_ID_HEADER = "X-Request-ID"


def status_of(error: errors.LightRAGError) -> int:
    """The status of the nearest class above the error that the table knows."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def install(app: FastAPI) -> None:
    app.add_exception_handler(errors.LightRAGError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)


def request_id(request: Request) -> str:
    return request.scope.get("request_id", "")


def internal_detail(identifier: str) -> str:
    return f"Internal server error (error_id: {identifier})"


def shown_message(error: errors.LightRAGError, identifier: str) -> str:
    """What a caller may read: our own failures are only named by the request's id."""
    return internal_detail(identifier) if status_of(error) == 500 else error.message


def _known(request: Request, error: Exception) -> Response:
    known = cast(errors.LightRAGError, error)
    status = status_of(known)
    if status == 500:
        # logged with its trace where the request id is bound, and answered there
        raise known
    identifier = request_id(request)
    body = {"detail": known.message, "code": known.code, "request_id": identifier}
    return JSONResponse(body, status, _retry_after(known, status))


def _retry_after(error: errors.LightRAGError, status: int) -> dict[str, str]:
    wait = error.retry_after_s if isinstance(error, errors.RetryableError) else None
    if wait is None:
        return {"Retry-After": "5"} if isinstance(error, errors.Overloaded) else {}
    return {"Retry-After": str(math.ceil(wait))} if status in (429, 503) else {}


def _invalid(request: Request, error: Exception) -> Response:
    found = [_shown(item) for item in cast(RequestValidationError, error).errors()]
    if request.url.path.endswith("/query/data"):
        return JSONResponse(failure(f"Validation error: {'; '.join(map(_as_text, found))}"), 400)
    return JSONResponse({"detail": found}, 422)


def failure(message: str, metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    """LightRAG's form of a retrieval without result."""
    return {"status": "failure", "message": message, "data": {}, "metadata": metadata or {}}


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
