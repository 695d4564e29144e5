"""Log lines: one per event, with what they belong to (request, workspace, document, job) bound once by context."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

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
)


@contextmanager
def bind(**fields: str) -> Iterator[None]:
    """Add key=value pairs to every line that is logged inside, also from tasks started inside."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


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


def quoted(value: object) -> str:
    """A value as it stands after `key=`: quoted when it has blanks, quotes or control characters."""
    text = str(value)
    is_plain = text.isprintable() and not any(c in text for c in " \"'=") and text
    return text if is_plain else repr(text)


def configure(level: str, *, verbose: bool = False) -> None:
    """Log to standard error. Other libraries' lines are kept from INFO up to WARNING unless verbose."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    logging.basicConfig(level="DEBUG" if verbose else level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(level if verbose else "WARNING")
    logging.getLogger("uvicorn").setLevel("WARNING")
