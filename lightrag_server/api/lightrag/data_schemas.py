"""The answer of /query/data: LightRAG's fields and, of passages and references, where in the file they are."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lightrag_server.api.lightrag.schemas import ReferenceSpan
from lightrag_server.core.records import Mode


class DataEntity(BaseModel):
    """`source_id` and `file_path` are joined by `<SEP>`; `created_at` is in epoch seconds."""

    entity_name: str
    entity_type: str
    description: str
    source_id: str
    file_path: str
    created_at: int | None


class DataRelation(BaseModel):
    """As entities. Undirected: the ends are in the order of their names."""

    src_id: str
    tgt_id: str
    description: str
    keywords: str
    weight: float
    source_id: str
    file_path: str
    created_at: int | None


class DataChunk(BaseModel):
    """A passage: `content` is the document's text from `start` to `end`."""

    reference_id: str
    content: str
    file_path: str
    chunk_id: str
    headings: list[str] = Field(default_factory=list[str])
    first_page: int | None = None
    last_page: int | None = None
    start: int
    end: int


class DataReference(BaseModel):
    reference_id: str
    file_path: str
    spans: list[ReferenceSpan] = Field(default_factory=list[ReferenceSpan])


class QueryData(BaseModel):
    entities: list[DataEntity]
    relationships: list[DataRelation]
    chunks: list[DataChunk]
    references: list[DataReference]


class UsedKeywords(BaseModel):
    high_level: list[str]
    low_level: list[str]


class GraphCounts(BaseModel):
    total_entities_found: int
    total_relations_found: int
    entities_after_truncation: int
    relations_after_truncation: int
    merged_chunks_count: int
    final_chunks_count: int


class ChunkCounts(BaseModel):
    """Of mode naive."""

    total_chunks_found: int
    final_chunks_count: int


class QueryMetadata(BaseModel):
    model_config = ConfigDict(extra="allow")

    query_mode: Mode
    keywords: UsedKeywords
    processing_info: GraphCounts | ChunkCounts


class FailureMetadata(BaseModel):
    failure_reason: str
    mode: Mode


class Nothing(BaseModel):
    """An object without fields."""

    model_config = ConfigDict(extra="forbid")


class QueryDataResponse(BaseModel):
    """On failure `data` is empty."""

    status: Literal["success", "failure"]
    message: str
    data: QueryData | Nothing
    metadata: QueryMetadata | FailureMetadata | Nothing
