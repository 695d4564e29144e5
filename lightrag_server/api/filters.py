"""The filter on documents that questions of every API family take."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StringConstraints,
    model_validator,
)

from lightrag_server.core.filters import moment
from lightrag_server.core.records import DocumentFilter

MAX_IDS = 1000
MAX_PATHS = 100
MAX_TAGS = 64
MAX_FIELDS = 32
MAX_VALUES = 64
MAX_VALUE_CHARS = 1000

Id = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=512, pattern=r"^[^\x00]*$")]
Path = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00]*$")]
Tag = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=128, pattern=r"^[^\x00]*$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Value = Annotated[str, StringConstraints(max_length=MAX_VALUE_CHARS)] | StrictBool | StrictInt | StrictFloat
Values = Annotated[list[Value], Field(min_length=1, max_length=MAX_VALUES)]
Moment = Annotated[str, StringConstraints(strip_whitespace=True, max_length=64)]


class DocumentsFilter(BaseModel):
    """Which documents an answer may rest on: all conditions that are given must hold. Disabled ones never serve."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "tags_any": ["finance"],
                    "metadata": {"year": [2024, 2025], "language": "en"},
                    "created_from": "2026-01-01",
                }
            ]
        },
    )

    document_ids: list[Id] | None = Field(None, min_length=1, max_length=MAX_IDS, description="One of these.")
    file_paths: list[Path] | None = Field(None, min_length=1, max_length=MAX_PATHS, description="One of these names.")
    tags_any: list[Tag] | None = Field(None, min_length=1, max_length=MAX_TAGS, description="At least one of these.")
    tags_all: list[Tag] | None = Field(None, min_length=1, max_length=MAX_TAGS, description="All of these.")
    metadata: dict[Name, Value | Values] | None = Field(
        None,
        max_length=MAX_FIELDS,
        description="By name the value, or several of which one must be there, of the documents' own metadata.",
    )
    created_from: Moment | None = Field(
        None, description="Accepted at this time or later: an ISO 8601 date or time, UTC where it names no zone."
    )
    created_before: Moment | None = Field(None, description="Accepted before this time.")

    @model_validator(mode="after")
    def _times_are_times(self) -> Self:
        start, end = _time("created_from", self.created_from), _time("created_before", self.created_before)
        if start and end and start >= end:
            raise ValueError("created_from must be before created_before")
        return self

    def as_filter(self) -> DocumentFilter:
        return DocumentFilter(
            document_ids=None if self.document_ids is None else frozenset(self.document_ids),
            file_paths=None if self.file_paths is None else frozenset(self.file_paths),
            tags_any=frozenset(self.tags_any or ()),
            tags_all=frozenset(self.tags_all or ()),
            attributes={
                name: tuple(value) if isinstance(value, list) else (value,)
                for name, value in (self.metadata or {}).items()
            },
            created_from=self.created_from,
            created_before=self.created_before,
        )


def _time(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    if (parsed := moment(text)) is None:
        raise ValueError(f"{name} must be an ISO 8601 date or time, such as 2026-01-31 or 2026-01-31T12:00:00Z")
    return parsed
