"""Engine values in LightRAG's words. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from lightrag_server.core.records import Context, Entity, Mode, Relation, Span, Usage

SEPARATOR = "<SEP>"
NAIVE_INFO = ("total_chunks_found", "final_chunks_count")
GRAPH_INFO = (
    "total_entities_found",
    "total_relations_found",
    "entities_after_truncation",
    "relations_after_truncation",
    "merged_chunks_count",
    "final_chunks_count",
)


def references(context: Context, *, with_content: bool = False) -> list[dict[str, Any]]:
    """The numbered sources; with content also the passages of each, best first."""
    rows: list[dict[str, Any]] = []
    for reference in context.references:
        row: dict[str, Any] = {
            "reference_id": reference.id,
            "file_path": reference.file_path,
            "spans": places(reference.spans),
        }
        if with_content:
            row["content"] = [p.text for p in context.passages if p.reference_id == reference.id]
        rows.append(row)
    return rows


def places(spans: Iterable[Span]) -> list[dict[str, int | None]]:
    return [{"start": start, "end": end, "page": page} for start, end, page in spans]


def usage(taken: Usage) -> dict[str, float | int]:
    """Of kept replies nothing; without a price no cost."""
    told: dict[str, float | int] = {
        "llm_calls": taken.calls,
        "prompt_tokens": taken.prompt_tokens,
        "completion_tokens": taken.completion_tokens,
    }
    return told if taken.cost is None else told | {"cost": taken.cost}


def data(context: Context) -> dict[str, Any]:
    return {
        "entities": [_entity(entity) for entity in context.entities],
        "relationships": [_relation(relation) for relation in context.relations],
        "chunks": [
            {
                "reference_id": p.reference_id,
                "content": p.text,
                "file_path": p.file_path,
                "chunk_id": p.chunk_id,
                "headings": list(p.headings),
                "first_page": p.first_page,
                "last_page": p.last_page,
                "start": p.start,
                "end": p.end,
            }
            for p in context.passages
        ],
        "references": references(context),
    }


def metadata(context: Context, mode: Mode) -> dict[str, Any]:
    names = NAIVE_INFO if mode == "naive" else GRAPH_INFO
    found: dict[str, Any] = {
        "query_mode": mode,
        "keywords": {"high_level": list(context.high_keywords), "low_level": list(context.low_keywords)},
        "processing_info": {name: context.found.get(name, 0) for name in names},
    }
    if context.warnings:
        found["warnings"] = list(context.warnings)
    return found


def _entity(entity: Entity) -> dict[str, Any]:
    return {
        "entity_name": entity.name,
        "entity_type": entity.type,
        "description": entity.description,
        "source_id": SEPARATOR.join(entity.chunk_ids),
        "file_path": SEPARATOR.join(entity.file_paths),
        "created_at": epoch(entity.created_at),
    }


def _relation(relation: Relation) -> dict[str, Any]:
    return {
        "src_id": relation.names[0],
        "tgt_id": relation.names[1],
        "description": relation.description,
        "keywords": relation.keyword_text,
        "weight": relation.weight,
        "source_id": SEPARATOR.join(relation.chunk_ids),
        "file_path": SEPARATOR.join(relation.file_paths),
        "created_at": epoch(relation.created_at),
    }


@lru_cache(maxsize=4096)
def epoch(moment: str) -> int | None:
    """Seconds since 1970 of an ISO time, as LightRAG keeps graph times; None where none is known."""
    if not moment:
        return None
    parsed = datetime.fromisoformat(moment)
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())
