"""Requests and responses exactly as LightRAG's clients know them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self
from unicodedata import east_asian_width

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from lightrag_server.api.filters import DocumentsFilter, Tag
from lightrag_server.api.lightrag.chunking_schemas import TextChunkingConfig
from lightrag_server.api.lightrag.terms import InsertTermsFields
from lightrag_server.core.records import DocStatus, Mode

MAX_QUERY_CHARS = 65_536
MAX_MESSAGE_CHARS = 32_768
MAX_MESSAGES = 128
MAX_REQUEST_CHARS = 131_072
MIN_QUERY_WEIGHT = 3

# ----------------------------------------------------------------------------- documents


class InsertResponse(BaseModel):
    """`track_id` finds the documents of this request; of a duplicate it is the one under which it was stored."""

    status: Literal["success", "duplicated", "partial_success", "failure"]
    message: str
    track_id: str


class InsertTextRequest(InsertTermsFields):
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    file_source: str | None = Field(None, description="Where the text comes from. Unset: its content identifies it.")
    description: str | None = Field(None, description="Kept as metadata of this name.")
    chunking: TextChunkingConfig | None = None


class InsertTextsRequest(InsertTermsFields):
    texts: list[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]] = Field(min_length=1)
    file_sources: list[str] | None = Field(None, description="As many as texts.")
    chunking: TextChunkingConfig | None = None

    @model_validator(mode="after")
    def _one_source_each(self) -> Self:
        if self.file_sources and len(self.file_sources) != len(self.texts):
            raise ValueError(f"file_sources has {len(self.file_sources)} entries for {len(self.texts)} texts")
        return self


class DocStatusResponse(BaseModel):
    id: str
    content_summary: str
    content_length: int
    status: DocStatus
    created_at: str
    updated_at: str
    track_id: str | None = None
    chunks_count: int | None = None
    error_msg: str | None = None
    metadata: dict[str, Any] | None = Field(None, description="What the server notes of it.")
    file_path: str
    attributes: dict[str, Any] = Field(description="What its owner notes of it: `metadata` of the upload.")
    tags: list[str]
    enabled: bool = Field(description="Answers rest on enabled documents only.")


class DocsStatusesResponse(BaseModel):
    """States without a document are left out."""

    statuses: dict[str, list[DocStatusResponse]]


class DocumentsRequest(BaseModel):
    status_filter: DocStatus | None = None
    status_filters: list[DocStatus] | None = Field(None, description="Wins over status_filter.")
    page: int = Field(1, ge=1)
    page_size: int = Field(50, ge=10, le=200)
    sort_field: Literal["created_at", "updated_at", "id", "file_path"] = "updated_at"
    sort_direction: Literal["asc", "desc"] = "desc"
    search: str | None = Field(None, max_length=256, description="Part of the file path, whatever its case.")
    tags: list[Tag] | None = Field(None, max_length=64, description="Documents that have all of these.")
    track_id: str | None = Field(None, max_length=200, description="Documents of this request.")


class PaginationInfo(BaseModel):
    page: int
    page_size: int
    total_count: int
    total_pages: int
    has_next: bool
    has_prev: bool

    @classmethod
    def of(cls, page: int, page_size: int, total: int) -> PaginationInfo:
        """Of page `page`, from 1, of `total` rows."""
        pages = -(-total // page_size)
        return cls(
            page=page,
            page_size=page_size,
            total_count=total,
            total_pages=pages,
            has_next=page < pages,
            has_prev=page > 1,
        )


class PaginatedDocsResponse(BaseModel):
    documents: list[DocStatusResponse]
    pagination: PaginationInfo
    status_counts: dict[str, int]


class TrackStatusResponse(BaseModel):
    """`status_summary` counts under both spellings that clients look for: `DocStatus.FAILED` and `failed`."""

    track_id: str
    documents: list[DocStatusResponse]
    total_count: int
    status_summary: dict[str, int]


class StatusCountsResponse(BaseModel):
    status_counts: dict[str, int]


class PipelineStatusResponse(BaseModel):
    model_config = ConfigDict(extra="allow")

    autoscanned: bool = False
    busy: bool = False
    job_name: str = "Default Job"
    job_start: str | None = None
    docs: int = 0
    batchs: int = 0
    cur_batch: int = 0
    request_pending: bool = False
    latest_message: str = ""
    history_messages: list[str] | None = None
    update_status: dict[str, Any] | None = None
    recovery_required: bool = False
    recovery_kind: str | None = None
    recovery_message: str | None = None


class ScanResponse(BaseModel):
    status: Literal["scanning_started", "scanning_skipped_pipeline_busy"]
    message: str | None = None
    track_id: str


class ScanJobSampleBucket(BaseModel):
    items: list[str] = Field(default_factory=list[str])
    truncated: bool = False
    dropped: int = 0


class ScanJobStatusResponse(BaseModel):
    """Times are epoch seconds; `version` grows as documents end."""

    track_id: str
    status: Literal["running", "completed", "failed", "cancelled", "abandoned"]
    counts: dict[str, int] = Field(default_factory=dict[str, int])
    counters_dropped: int = 0
    samples: dict[str, ScanJobSampleBucket] = Field(default_factory=dict[str, ScanJobSampleBucket])
    created_at: float
    updated_at: float
    version: int
    message: str = ""


class DeleteDocRequest(BaseModel):
    doc_ids: list[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]] = Field(min_length=1)
    delete_file: bool = Field(False, description="Also remove the file of that name from the input folder.")
    delete_llm_cache: bool = Field(False, description="Also remove the model's kept replies about their chunks.")

    @field_validator("doc_ids")
    @classmethod
    def _unique(cls, ids: list[str]) -> list[str]:
        if len(set(ids)) != len(ids):
            raise ValueError("doc_ids must be unique")
        return ids


class DeleteDocByIdResponse(BaseModel):
    status: Literal["deletion_started", "busy", "not_allowed"]
    message: str
    doc_id: str


class ClearDocumentsResponse(BaseModel):
    status: Literal["success", "partial_success", "busy", "fail"]
    message: str


class SupportedFileTypesResponse(BaseModel):
    supported_extensions: list[str]
    engines: dict[str, list[str]]


class ReprocessResponse(BaseModel):
    status: Literal["reprocessing_started"]
    message: str
    track_id: str = ""


class CancelPipelineResponse(BaseModel):
    status: Literal["cancellation_requested", "not_busy"]
    message: str


# ----------------------------------------------------------------------------- questions


class Message(BaseModel):
    """One turn of the conversation; further keys are accepted and not used."""

    model_config = ConfigDict(extra="allow")

    role: str = Field(min_length=1, max_length=64)
    content: str = Field(max_length=MAX_MESSAGE_CHARS)


Keyword = Annotated[str, StringConstraints(max_length=512)]


class QueryRequest(BaseModel):
    query: str = Field(max_length=MAX_QUERY_CHARS)
    mode: Mode = "mix"
    only_need_context: bool | None = None
    only_need_prompt: bool | None = None
    response_type: str | None = Field(None, min_length=1, max_length=256)
    top_k: int | None = Field(None, ge=1, le=1000)
    chunk_top_k: int | None = Field(None, ge=1, le=1000)
    max_entity_tokens: int | None = Field(None, ge=1, le=1_000_000)
    max_relation_tokens: int | None = Field(None, ge=1, le=1_000_000)
    max_total_tokens: int | None = Field(None, ge=1, le=1_000_000)
    hl_keywords: list[Keyword] = Field(default_factory=list[str], max_length=64)
    ll_keywords: list[Keyword] = Field(default_factory=list[str], max_length=64)
    conversation_history: list[Message] | None = Field(None, max_length=MAX_MESSAGES)
    user_prompt: str | None = Field(None, max_length=65_536)
    disable_user_prompt_prefix: bool | None = Field(None, description="Accepted; no prefix is ever added.")
    enable_rerank: bool | None = None
    include_references: bool | None = True
    include_chunk_content: bool | None = False
    include_progress: bool | None = Field(False, description="Streams only: name the steps and the time they took.")
    stream: bool | None = Field(None, description="Streams only: false sends the answer as one line.")
    filters: DocumentsFilter | None = Field(None, description="Unset: every enabled document may serve.")
    answer: Literal["model", "quotes"] | None = Field(
        None,
        description="quotes answers with sentences of the documents and calls no language model, also not for keywords;"
        " model refuses where none is configured. Unset: the model where there is one.",
    )

    @field_validator("query", "response_type", "user_prompt")
    @classmethod
    def _trimmed(cls, text: str | None) -> str | None:
        return text.strip() if text is not None else None

    @model_validator(mode="after")
    def _within_bounds(self) -> Self:
        if not self.query:
            raise ValueError("query must not be blank")
        if self.mode == "bypass" and self.answer == "quotes":
            raise ValueError("mode bypass asks the model alone: there is nothing to quote")
        if self.mode != "bypass" and weight(self.query) < MIN_QUERY_WEIGHT:
            raise ValueError(f"query must have at least {MIN_QUERY_WEIGHT} characters; a Chinese one counts as two")
        history = [message.model_dump() for message in self.conversation_history or ()]
        total = len(self.query) + len(self.user_prompt or "") + len(json.dumps(history, ensure_ascii=False))
        if total > MAX_REQUEST_CHARS:
            raise ValueError(f"query, user_prompt and conversation_history exceed {MAX_REQUEST_CHARS} characters")
        return self


def weight(text: str) -> int:
    """Length of a question, wide (CJK) characters counted twice."""
    return sum(2 if east_asian_width(c) in "WF" else 1 for c in text)


class ReferenceSpan(BaseModel):
    """A place in the document's text, in characters; `page` where the format has pages."""

    start: int
    end: int
    page: int | None = None


class ReferenceItem(BaseModel):
    """`spans` are the places the answer rests on: the sentences that it cites, where they were found, else passages,
    best first. LightRAG names the file only."""

    reference_id: str
    file_path: str
    content: list[str] | None = None
    spans: list[ReferenceSpan] = Field(default_factory=list[ReferenceSpan])


class QueryResponse(BaseModel):
    response: str
    references: list[ReferenceItem] | None = None
    response_time: float | None = None
    llm_generated: bool = True
    usage: dict[str, float | int] = Field(
        default_factory=dict[str, float | int],
        description="What it took of language models: llm_calls, prompt_tokens, completion_tokens, and cost where the "
        "model has a price (MODEL_PRICES).",
    )
