"""What a document's indexing took, as its row keeps it, and its trace."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from lightrag_server.core.records import Document, added_cost
from lightrag_server.ports.bills import Bill
from lightrag_server.ports.telemetry import Tracer

USAGE = "usage"
"""Key of a document's metadata: what this version took so far, tries that failed included. What a process spent that
was killed meanwhile is in the totals alone."""
_DIGITS = 6


def with_usage(metadata: Mapping[str, Any], bill: Bill) -> dict[str, Any]:
    """The metadata with the bill added to what they hold."""
    known: dict[str, Any] = metadata.get(USAGE, {})
    taken = {
        "llm_calls": bill.usage.calls,
        "llm_cached_calls": bill.cached_calls,
        "prompt_tokens": bill.usage.prompt_tokens,
        "completion_tokens": bill.usage.completion_tokens,
        "embedding_tokens": bill.embedding_tokens,
    }
    usage: dict[str, Any] = {name: known.get(name, 0) + number for name, number in taken.items()}
    usage["seconds"] = with_seconds(known.get("seconds", {}), bill.seconds)
    if (cost := added_cost(known.get("cost"), bill.cost)) is not None:
        usage["cost"] = round(cost, 9)
    return {**metadata, USAGE: usage}


def with_seconds(known: Mapping[str, float], more: Mapping[str, float]) -> dict[str, float]:
    return {name: round(known.get(name, 0.0) + more.get(name, 0.0), _DIGITS) for name in {**known, **more}}


def trace_key(workspace: str, document: Document) -> str:
    """The same for all work on one acceptance, in any process."""
    return f"{workspace}/{document.id}/{document.blob_key}"


def trace_ended(tracer: Tracer, workspace: str, document: Document, error: str | None = None) -> None:
    """Tell the root of the document's trace: from when its preparation last began to now."""
    began = float(document.metadata.get("parse_start_time") or time.time())
    attributes = {
        "lightrag.workspace": workspace,
        "lightrag.document": document.id,
        "lightrag.file": document.file_path,
        "lightrag.profile": document.profile or "",
        "lightrag.chunks": len(document.chunk_ids),
    }
    tracer.told(trace_key(workspace, document), "document", began, attributes, is_root=True, error=error)
