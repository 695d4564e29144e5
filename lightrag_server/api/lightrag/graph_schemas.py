"""Requests and responses of the graph routes. Those of LightRAG's routes are as its clients know them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from lightrag_server.api.lightrag.schemas import PaginationInfo

MAX_NAME_CHARS = 256
MAX_DESCRIPTION_CHARS = 100_000

Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_DESCRIPTION_CHARS)]
FilledText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_DESCRIPTION_CHARS)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_NAME_CHARS)]

# ----------------------------------------------------------------------------- LightRAG's views


class GraphNode(BaseModel):
    id: str
    labels: list[str]
    properties: dict[str, Any] = Field(
        description="entity_id, entity_type, description, source_id, file_path, created_at, truncate"
    )


class GraphEdge(BaseModel):
    id: str
    type: str
    source: str
    target: str
    properties: dict[str, Any] = Field(
        description="weight, description, keywords, source_id, file_path, created_at, truncate"
    )


class KnowledgeGraph(BaseModel):
    nodes: list[GraphNode]
    edges: list[GraphEdge]
    is_truncated: bool = Field(description="There is more within the depth than max_nodes.")


class ExistsResponse(BaseModel):
    exists: bool


# ----------------------------------------------------------------------------- LightRAG's edits


class EntityUpdateRequest(BaseModel):
    entity_name: str
    updated_data: dict[str, Any] = Field(
        description="Any of entity_name (with allow_rename), entity_type, description, source_id, file_path."
    )
    allow_rename: bool = Field(False, description="Whether updated_data may give the entity another name.")
    allow_merge: bool = Field(False, description="Whether an entity that has the new name already takes this one in.")


class EntityMergeRequest(BaseModel):
    entities_to_change: list[str] = Field(min_length=1, description="They end; their relations move.")
    entity_to_change_into: str = Field(min_length=1, description="Made when it does not exist.")


class EntityCreateRequest(BaseModel):
    entity_name: str = Field(min_length=1)
    entity_data: dict[str, Any] = Field(description="description, and any of entity_type, source_id, file_path.")


class RelationUpdateRequest(BaseModel):
    source_id: str = Field(description="Name of one end.")
    target_id: str = Field(description="Name of the other end.")
    updated_data: dict[str, Any] = Field(description="Any of description, keywords, weight, source_id, file_path.")


class RelationCreateRequest(BaseModel):
    source_entity: str = Field(min_length=1)
    target_entity: str = Field(min_length=1)
    relation_data: dict[str, Any] = Field(description="description, and any of keywords, weight, source_id, file_path.")


class DeleteEntityRequest(BaseModel):
    entity_name: str


class DeleteRelationRequest(BaseModel):
    source_entity: str
    target_entity: str


class EntityData(BaseModel):
    """What `entity_data` may hold; the rest is passed over."""

    description: FilledText
    entity_type: Text = "UNKNOWN"
    source_id: Text = "manual_creation"
    file_path: Text = "manual_creation"


class EntityChanges(BaseModel):
    """What `updated_data` of an entity may hold."""

    model_config = ConfigDict(extra="forbid")

    entity_name: Name | None = None
    entity_type: FilledText | None = None
    description: FilledText | None = None
    source_id: Text | None = None
    file_path: Text | None = None


class RelationData(BaseModel):
    """What `relation_data` may hold; the rest is passed over."""

    description: FilledText
    keywords: Text = ""
    weight: float = Field(1.0, ge=0, allow_inf_nan=False)
    source_id: Text = "manual_creation"
    file_path: Text = "manual_creation"


class RelationChanges(BaseModel):
    """What `updated_data` of a relation may hold."""

    model_config = ConfigDict(extra="forbid")

    description: FilledText | None = None
    keywords: Text | None = None
    weight: float | None = Field(None, ge=0, allow_inf_nan=False)
    source_id: Text | None = None
    file_path: Text | None = None


class EntityInfo(BaseModel):
    entity_name: str
    source_id: str
    graph_data: dict[str, Any] = Field(description="The properties of a node as in /graphs.")


class RelationInfo(BaseModel):
    src_entity: str
    tgt_entity: str
    source_id: str
    graph_data: dict[str, Any] = Field(description="The properties of an edge as in /graphs.")


class OperationSummary(BaseModel):
    merged: bool
    merge_status: Literal["success", "failed", "not_attempted"]
    merge_error: str | None
    operation_status: Literal["success", "partial_success", "failure"]
    target_entity: str | None = Field(description="The name that was asked for, if any.")
    final_entity: str = Field(description="Where the entity is found now.")
    renamed: bool


class EntityResponse(BaseModel):
    status: Literal["success"] = "success"
    message: str
    data: EntityInfo


class EntityEditResponse(EntityResponse):
    operation_summary: OperationSummary


class RelationResponse(BaseModel):
    status: Literal["success"] = "success"
    message: str
    data: RelationInfo


class DeletionResult(BaseModel):
    status: Literal["success", "not_found", "not_allowed", "fail"]
    doc_id: str
    message: str
    status_code: int = 200
    file_path: str | None = None


# ----------------------------------------------------------------------------- lists and details


class ListedRelation(BaseModel):
    source: str
    target: str
    description: str
    keywords: list[str]
    weight: float
    mentions: int = Field(description="Chunks that tell of it.")
    is_curated: bool = Field(description="Whether people created or changed it.")
    file_paths: list[str]
    created_at: str | None


class ListedEntity(BaseModel):
    name: str
    type: str
    description: str
    degree: int = Field(description="Number of its relations.")
    mentions: int = Field(description="Chunks that mention it.")
    is_curated: bool = Field(description="Whether people created or changed it.")
    file_paths: list[str]
    created_at: str | None


class EntitiesPage(BaseModel):
    entities: list[ListedEntity]
    pagination: PaginationInfo


class RelationsPage(BaseModel):
    relations: list[ListedRelation]
    pagination: PaginationInfo


class SourcedText(BaseModel):
    text: str
    chunk_id: str = Field(description="manual_creation for what people wrote.")
    document_id: str | None
    file_path: str


class MentioningDocument(BaseModel):
    id: str
    file_path: str
    chunks: int = Field(description="How many of its chunks speak of it.")


class EntityDetails(ListedEntity):
    names: list[SourcedText] = Field(description="Spellings, the shown one first.")
    types: dict[str, int] = Field(description="How many chunks vote for each type.")
    descriptions: list[SourcedText]
    relations: list[ListedRelation] = Field(description="The strongest; /graph/relations has them all.")
    documents: list[MentioningDocument] = Field(description="Those that mention it most come first.")


class RelationDetails(ListedRelation):
    descriptions: list[SourcedText]
    told_keywords: list[SourcedText]
    documents: list[MentioningDocument]


class ImportResponse(BaseModel):
    status: Literal["success"] = "success"
    message: str
    entities: int = Field(description="Entities of the file.")
    relations: int = Field(description="Relations of the file.")
    implied_entities: int = Field(description="Ends of relations that were neither in the file nor in the graph.")
