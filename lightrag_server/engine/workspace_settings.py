"""What a workspace sets for itself, laid over the settings of the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lightrag_server.core.records import Profile
from lightrag_server.errors import InvalidInput
from lightrag_server.settings.ingest import ChunkStrategy, IngestSettings
from lightrag_server.settings.query import QuerySettings

G = TypeVar("G", bound=BaseModel)

MAX_TYPES = 100
MAX_WORDS = 200
"""Characters of an entity type, a language or a response type: all of them go into prompts."""


def _own(group: type[BaseModel], field: str, **limits: Any) -> Any:
    """A field with the help of the setting that it stands in for; the setting itself checks the range."""
    return Field(default=None, description=group.model_fields[field].description, **limits)


class WorkspaceSettings(BaseModel):
    """None leaves a setting to the server. A change holds for documents and questions that begin after it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    index_profile: Profile | None = _own(IngestSettings, "profile")
    chunk_strategy: ChunkStrategy | None = _own(IngestSettings, "chunk_strategy")
    chunk_size: int | None = _own(IngestSettings, "chunk_size")
    chunk_overlap: int | None = _own(IngestSettings, "chunk_overlap")
    entity_types: list[str] | None = Field(
        default=None, description="Types offered to the LLM.", min_length=1, max_length=MAX_TYPES
    )
    summary_language: str | None = _own(IngestSettings, "summary_language", min_length=1, max_length=MAX_WORDS)
    top_k: int | None = _own(QuerySettings, "top_k")
    chunk_top_k: int | None = _own(QuerySettings, "chunk_top_k")
    max_total_tokens: int | None = _own(QuerySettings, "max_total_tokens")
    max_entity_tokens: int | None = _own(QuerySettings, "max_entity_tokens")
    max_relation_tokens: int | None = _own(QuerySettings, "max_relation_tokens")
    cosine_threshold: float | None = _own(QuerySettings, "cosine_threshold")
    response_type: str | None = _own(QuerySettings, "response_type", min_length=1, max_length=MAX_WORDS)

    def given(self) -> dict[str, Any]:
        """What is set, as it is stored."""
        return self.model_dump(mode="json", exclude_none=True)

    def changed(self, changes: WorkspaceSettings) -> WorkspaceSettings:
        """With the fields that `changes` was given; a None among them takes one back."""
        return self.model_copy(update={name: getattr(changes, name) for name in changes.model_fields_set})


def stored_settings(row: Mapping[str, Any]) -> WorkspaceSettings:
    """Those of a directory row; names that this version does not know are left out, and a value that it cannot read
    raises `InvalidInput`."""
    known = {name: value for name, value in row.items() if name in WorkspaceSettings.model_fields}
    try:
        return WorkspaceSettings.model_validate(known)
    except ValidationError as error:
        raise InvalidInput(f"a stored setting cannot be read: {error.errors()[0]['loc'][0]}") from None


def overlaid(
    own: WorkspaceSettings, ingest: IngestSettings, query: QuerySettings
) -> tuple[IngestSettings, QuerySettings]:
    """The settings that hold in a workspace. Raises `InvalidInput` for values out of a setting's range."""
    values = {name: value for name in own.model_fields_set if (value := getattr(own, name)) is not None}
    if "index_profile" in values:
        values["profile"] = values.pop("index_profile")
    if "entity_types" in values:
        values["entity_types"] = _joined(values["entity_types"])
    if "chunk_size" in values and "chunk_overlap" not in values:
        # who only makes chunks small does not have to think of the overlap
        values["chunk_overlap"] = min(ingest.chunk_overlap, values["chunk_size"] // 4)
    ingest, query = _with(ingest, values), _with(query, values)
    if ingest.chunk_overlap >= ingest.chunk_size:
        raise InvalidInput(f"chunk_overlap is {ingest.chunk_overlap}; it must be less than chunk_size")
    return ingest, query


def in_force(ingest: IngestSettings, query: QuerySettings) -> WorkspaceSettings:
    """The settings that hold in a workspace, under the names by which it may set them."""
    types = [name for part in ingest.entity_types.split(",") if (name := part.strip())]
    values = ingest.model_dump() | query.model_dump() | {"index_profile": ingest.profile, "entity_types": types}
    return WorkspaceSettings().model_copy(update={name: values[name] for name in WorkspaceSettings.model_fields})


def _with(group: G, values: Mapping[str, Any]) -> G:
    known = {name: value for name, value in values.items() if name in type(group).model_fields}
    try:
        return type(group).model_validate(group.model_dump() | known)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInput(f"the setting {first['loc'][0]} is out of range: {first['msg']}") from None


def _joined(types: list[str]) -> str:
    """As ENTITY_TYPES_HINT has them."""
    for name in types:
        if not name.strip() or len(name) > MAX_WORDS or not name.isprintable() or any(c in name for c in ",[]"):
            raise InvalidInput(f"{name[:MAX_WORDS]!r} cannot be an entity type: words without commas or brackets can")
    return ",".join(name.strip() for name in types)
