"""What an LLM is asked so that it extracts a chunk. Replies are read by `extraction_reply.read_reply`.

The rows, their delimiter and end marker, and the JSON keys are LightRAG's, which models and stand-ins know.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from lightrag_server.core import ids
from lightrag_server.core.extraction_reply import END_MARKER, read_reply
from lightrag_server.core.prompts import prompt, template
from lightrag_server.core.records import Chunk, EntityMention, Extraction, RelationMention, Turn

__all__ = [
    "ExtractionSpec",
    "Messages",
    "build_request",
    "gleaning_request",
    "merged",
    "read_reply",
    "reminder_request",
    "reply_schema",
]

Messages = tuple[Turn, ...]

MAX_PLACE_CHARS = 600


@dataclass(frozen=True, slots=True)
class ExtractionSpec:
    """What is asked for. The last type is the one for whatever fits no other."""

    entity_types: tuple[str, ...]
    language: str = "English"
    max_entities: int = 40
    max_rows: int = 100
    """Entities and relations together."""
    structured: bool = False
    """Ask for JSON, with a schema where the vendor takes one, rather than rows."""


def build_request(chunk: Chunk, spec: ExtractionSpec) -> Messages:
    """The instructions, equal for all chunks so that vendors can cache them, and the chunk with its headings."""
    closing = "The JSON object:" if spec.structured else "The rows:"
    passage = prompt("extraction_passage", place=_place(chunk), text=chunk.text, closing=closing)
    return (Turn("system", _instructions(spec)), Turn("user", passage))


def gleaning_request(request: Messages, reply: str, spec: ExtractionSpec) -> Messages:
    """Ask for what `reply` to `request` lacks."""
    nothing = "an object with empty lists" if spec.structured else END_MARKER
    return (*request, Turn("assistant", reply), Turn("user", prompt("extraction_gleaning", nothing=nothing)))


def reminder_request(request: Messages, reply: str, spec: ExtractionSpec) -> Messages:
    """Ask again after a `reply` that could not be read."""
    rows = f"rows with <|#|> between fields, and {END_MARKER} after the last"
    wanted = "one JSON object with both lists" if spec.structured else rows
    return (*request, Turn("assistant", reply), Turn("user", prompt("extraction_reminder", format=wanted)))


def reply_schema(spec: ExtractionSpec) -> dict[str, Any] | None:
    """The JSON schema of replies; None when rows are asked for."""
    return _SCHEMA if spec.structured else None


def merged(first: Extraction, more: Extraction) -> Extraction:
    """Both together. Of two descriptions of one entity or pair the longer one stays, at the place of the first."""
    entities: dict[str, EntityMention] = {}
    for entity in (*first.entities, *more.entities):
        key = ids.entity_key(entity.name)
        if key not in entities or len(entity.description) > len(entities[key].description):
            entities[key] = entity
    relations: dict[ids.Pair, RelationMention] = {}
    for relation in (*first.relations, *more.relations):
        pair = ids.pair_of(ids.entity_key(relation.source), ids.entity_key(relation.target))
        if pair not in relations or len(relation.description) > len(relations[pair].description):
            relations[pair] = relation
    return Extraction(tuple(entities.values()), tuple(relations.values()), first.repairs + more.repairs)


@cache
def _instructions(spec: ExtractionSpec) -> str:
    task = prompt(
        "extraction_task",
        types=", ".join(spec.entity_types),
        language=spec.language,
        max_entities=spec.max_entities,
        max_rows=spec.max_rows,
    )
    return f"{task}\n\n{template('extraction_json' if spec.structured else 'extraction_rows')}"


def _place(chunk: Chunk) -> str:
    """A line with the headings above the chunk, the innermost ones when they are too long; empty without headings."""
    path = " > ".join(chunk.headings)
    return f"Section: {path[-MAX_PLACE_CHARS:]}\n\n" if path else ""


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_TEXT = {"type": "string"}
_SCHEMA: dict[str, Any] = _object(
    entities={"type": "array", "items": _object(name=_TEXT, type=_TEXT, description=_TEXT)},
    relationships={
        "type": "array",
        "items": _object(source=_TEXT, target=_TEXT, keywords=_TEXT, description=_TEXT),
    },
)
