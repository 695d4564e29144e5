"""The rows that all formats share, and what a row must hold to be taken in."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightrag_server.core.curation import SEPARATOR
from lightrag_server.core.edits import CreateEntity, CreateRelation, EntityFields, RelationFields
from lightrag_server.core.folding import UNKNOWN_TYPE
from lightrag_server.core.ids import display_name, entity_key, name_flaw
from lightrag_server.core.records import Entity, Relation
from lightrag_server.errors import InvalidInput

MAX_TEXT_CHARS = 100_000
_HALF = re.compile("[\ud800-\udfff]")
"""Surrogates: JSON can write them alone, and no storage takes them."""

ENTITY_COLUMNS = ("entity_name", "entity_type", "description", "source_id", "file_path")
RELATION_COLUMNS = (
    "source_entity",
    "target_entity",
    "description",
    "keywords",
    "weight",
    "source_id",
    "file_path",
)
_OTHER_NAMES = {
    "entity_name": ("entity_id", "name"),
    "entity_type": ("type",),
    "source_entity": ("src_id", "source"),
    "target_entity": ("tgt_id", "target"),
}
"""Under which LightRAG and others write a column."""


@dataclass(frozen=True, slots=True)
class EntityRow:
    """`place` says where in a file it stands; "" while writing."""

    name: str
    type: str
    description: str
    source_id: str
    file_path: str
    place: str = ""

    def values(self) -> tuple[str, ...]:
        """In the order of `ENTITY_COLUMNS`."""
        return self.name, self.type, self.description, self.source_id, self.file_path

    def creation(self) -> CreateEntity:
        """What is empty or unknown is left to documents."""
        fields = EntityFields(
            type=self.type if self.type not in ("", UNKNOWN_TYPE) else None,
            description=self.description or None,
            source_id=self.source_id or None,
            file_path=self.file_path or None,
        )
        return CreateEntity(self.name, fields, may_exist=True)


@dataclass(frozen=True, slots=True)
class RelationRow:
    source: str
    target: str
    description: str
    keywords: str
    weight: float | None
    source_id: str
    file_path: str
    place: str = ""

    def values(self) -> tuple[str | float | None, ...]:
        """In the order of `RELATION_COLUMNS`."""
        told = (self.description, self.keywords, self.weight, self.source_id, self.file_path)
        return self.source, self.target, *told

    def creation(self) -> CreateRelation:
        fields = RelationFields(
            description=self.description or None,
            keywords=self.keywords or None,
            weight=self.weight,
            source_id=self.source_id or None,
            file_path=self.file_path or None,
        )
        return CreateRelation(self.source, self.target, fields, may_exist=True)


def entity_row(entity: Entity) -> EntityRow:
    return EntityRow(
        entity.name,
        entity.type,
        entity.description,
        SEPARATOR.join(entity.chunk_ids),
        SEPARATOR.join(entity.file_paths),
    )


def relation_row(relation: Relation, names: Mapping[str, str]) -> RelationRow:
    """`names` has the spellings of the ends, by key."""
    a, b = relation.pair
    return RelationRow(
        names.get(a, a),
        names.get(b, b),
        relation.description,
        relation.keyword_text,
        relation.weight,
        SEPARATOR.join(relation.chunk_ids),
        SEPARATOR.join(relation.file_paths),
    )


def entity_from(values: Mapping[str, Any], place: str) -> EntityRow:
    """Raises `InvalidInput`, naming the place and the field."""
    return EntityRow(
        _name(values, "entity_name", place),
        _text(values, "entity_type", place),
        _joined(_text(values, "description", place)),
        _text(values, "source_id", place),
        _text(values, "file_path", place),
        place,
    )


def relation_from(values: Mapping[str, Any], place: str) -> RelationRow:
    source, target = _name(values, "source_entity", place), _name(values, "target_entity", place)
    if entity_key(source) == entity_key(target):
        raise InvalidInput(f"{place}: the relation leads from {source!r} to itself")
    return RelationRow(
        source,
        target,
        _joined(_text(values, "description", place)),
        _text(values, "keywords", place).replace(SEPARATOR, ","),
        _weight(values, place),
        _text(values, "source_id", place),
        _text(values, "file_path", place),
        place,
    )


def _value(values: Mapping[str, Any], column: str) -> Any:
    names = (column, *_OTHER_NAMES.get(column, ()))
    return next((values[name] for name in names if values.get(name) is not None), None)


def _text(values: Mapping[str, Any], column: str, place: str) -> str:
    value = _value(values, column)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidInput(f"{place}: {column} must be a text")
    if len(value) > MAX_TEXT_CHARS:
        raise InvalidInput(f"{place}: {column} has more than {MAX_TEXT_CHARS} characters")
    if _HALF.search(value):
        raise InvalidInput(f"{place}: {column} holds half of a character")
    return value.strip()


def _name(values: Mapping[str, Any], column: str, place: str) -> str:
    name = _text(values, column, place)
    if not name:
        raise InvalidInput(f"{place}: {column} is missing")
    if flaw := name_flaw(name):
        raise InvalidInput(f"{place}: {column} {flaw}")
    return display_name(name)


def _joined(description: str) -> str:
    """Several descriptions as lines, in place of LightRAG's separator."""
    return "\n".join(part.strip() for part in description.split(SEPARATOR))


def _weight(values: Mapping[str, Any], place: str) -> float | None:
    value = _value(values, "weight")
    if value is None or value == "":
        return None
    try:
        weight = float(value)
    except (TypeError, ValueError, OverflowError):
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise InvalidInput(f"{place}: weight must be a number of at least 0")
    return weight
