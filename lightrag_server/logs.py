"""Log lines: one per event, with what they belong to (request, workspace, document, job) bound once by context."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

from lightrag_server.log_file import LogFile

_bound: ContextVar[dict[str, str]] = ContextVar("bound", default={})  # noqa: B039 (never mutated)

_CHATTY = (
    "httpx",
    "httpx2",
    "httpcore",
    "httpcore2",
    "openai",
    "asyncio",
    "urllib3",
    "multipart",
    "python_multipart",
    "mcp",
    "sse_starlette",
    "opentelemetry",
)


@contextmanager
def bind(**fields: str) -> Iterator[None]:
    """Add key=value pairs to every line that is logged inside, also from tasks started inside."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def note(**fields: str) -> None:
    """Add them from here on to the lines of this request, or of whatever task this is called in."""
    _bound.set({**_bound.get(), **fields})


class _Lines(logging.Formatter):
    """`2026-01-31T12:00:00Z INFO engine.commit: committed documents=3 workspace=default`"""

    converter = time.gmtime

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(origin)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")

    def format(self, record: logging.LogRecord) -> str:
        record.origin = record.name.removeprefix("lightrag_server.")
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record).replace("\n", "\\n")
        return line + "".join(f" {key}={quoted(value)}" for key, value in _bound.get().items())


class _Objects(logging.Formatter):
    """One JSON object in each line: ts, level, logger, message, what is bound, and the exception with its trace."""

    def format(self, record: logging.LogRecord) -> str:
        row: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_bound.get(),
        }
        if record.exc_info:
            row["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            row["stack"] = record.stack_info
        return json.dumps(row, ensure_ascii=False)


def quoted(value: object) -> str:
    """A value as it stands after `key=`: quoted when it has blanks, quotes or control characters."""
    text = str(value)
    is_plain = text.isprintable() and not any(c in text for c in " \"'=") and text
    return text if is_plain else repr(text)


def configure(
    level: str,
    *,
    verbose: bool = False,
    line_format: Literal["text", "json"] = "text",
    file: LogFile | None = None,
) -> None:
    """Log to standard error, and to the file where there is one. Other libraries' lines, those of the web server
    among them, have the same form; they are kept from INFO up to WARNING unless verbose."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr), *([file] if file else [])]
    for handler in handlers:
        handler.setFormatter(_Objects() if line_format == "json" else _Lines())
    logging.basicConfig(level="DEBUG" if verbose else level, handlers=handlers, force=True)
    logging.captureWarnings(True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(level if verbose else "WARNING")
    logging.getLogger("uvicorn").setLevel("WARNING")
