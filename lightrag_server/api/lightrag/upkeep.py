"""LightRAG's maintenance routes. Most of what they mend cannot break here; they answer so, truthfully."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, model_validator

from lightrag_server.api.auth import GuardedRoute
from lightrag_server.api.deps import ChosenWorkspace
from lightrag_server.core import ids
from lightrag_server.core.records import Mode
from lightrag_server.engine.replies import ReplyKind, forget_replies
from lightrag_server.errors import Conflict, InvalidInput

router = APIRouter(prefix="/documents", tags=["documents"], route_class=GuardedRoute)


class ClearCacheRequest(BaseModel):
    modes: list[Mode | Literal["default"]] | None = Field(
        None,
        description="`default` stands for extraction and summaries, every query mode for questions. Unset or empty: "
        "everything.",
        examples=[["default"]],
    )

    def kinds(self) -> set[ReplyKind]:
        if not self.modes:
            return {"extract", "summary", "query"}
        of_mode: dict[bool, set[ReplyKind]] = {True: {"extract", "summary"}, False: {"query"}}
        return set[ReplyKind]().union(*(of_mode[mode == "default"] for mode in self.modes))


class ClearCacheResponse(BaseModel):
    status: Literal["success", "fail"]
    message: str


class SourceConflictItem(BaseModel):
    canonical_source_key: str
    candidate_count: int | None = None
    sample_doc_ids: list[str] = Field(default_factory=list[str])


class SourceConflictListResponse(BaseModel):
    conflicts: list[SourceConflictItem] = Field(default_factory=list[SourceConflictItem])
    next_cursor: str | None = None


class SourceConflictRepairRequest(BaseModel):
    canonical_source_key: str = Field(min_length=1, examples=["book.txt"])
    primary_doc_id: str = Field(min_length=1, examples=["doc-5d41402abc4b2a76b9719d911017c592"])
    expected_candidate_count: int | None = Field(None, ge=0, description="Needed unless dry_run.")
    expected_candidate_fingerprint: str | None = Field(None, description="Needed unless dry_run.")
    dry_run: bool = True

    @model_validator(mode="after")
    def _commit_knows_the_set(self) -> Self:
        if not self.dry_run and None in (self.expected_candidate_count, self.expected_candidate_fingerprint):
            raise ValueError("without dry_run both expected values are needed, as the dry run told them")
        return self


class SourceConflictRepairResponse(BaseModel):
    canonical_source_key: str
    primary_doc_id: str
    candidate_count: int
    fingerprint: str
    demoted_sample_doc_ids: list[str] = Field(default_factory=list[str])
    committed: bool


class ForceResetRecoveryRequest(BaseModel):
    confirm: bool = Field(False, description="Must be true.", examples=[True])


class ForceResetRecoveryResponse(BaseModel):
    status: Literal["reset", "no_recovery_required"]
    message: str
    cancelled_manual_retries: int = 0


@router.post("/clear_cache")
async def clear_cache(workspace: ChosenWorkspace, request: ClearCacheRequest) -> ClearCacheResponse:
    """Forget kept replies of the language model. Documents and their graph do not rest on them."""
    forgotten = await forget_replies(workspace.stores.cache, request.kinds())
    return ClearCacheResponse(status="success", message=f"{forgotten} kept replies were removed.")


@router.get("/source_conflicts")
async def source_conflicts(
    workspace: ChosenWorkspace,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
) -> SourceConflictListResponse:
    """Sources that several documents claim. A document's id follows from its source, so there are none."""
    if cursor:
        raise InvalidInput("cursor was not given by this server")
    return SourceConflictListResponse()


@router.post("/source_conflicts/repair", responses={409: {}})
async def repair_source_conflict(
    workspace: ChosenWorkspace, request: SourceConflictRepairRequest
) -> SourceConflictRepairResponse:
    """Make one document the owner of its source. It is the only one that can claim it, so none is demoted."""
    key, primary = request.canonical_source_key, request.primary_doc_id
    document = (await workspace.stores.documents.get([primary])).get(primary)
    if document is None or document.file_path != key:
        raise Conflict(f"{primary!r} is no document of the source {key!r}")
    fingerprint = ids.md5_hex(document.id)
    expected = (request.expected_candidate_count, request.expected_candidate_fingerprint)
    if not request.dry_run and expected != (1, fingerprint):
        raise Conflict(f"the documents of {key!r} are others than expected")
    return SourceConflictRepairResponse(
        canonical_source_key=key,
        primary_doc_id=primary,
        candidate_count=1,
        fingerprint=fingerprint,
        committed=not request.dry_run,
    )


@router.post("/recovery/force_reset")
async def force_reset(workspace: ChosenWorkspace, request: ForceResetRecoveryRequest) -> ForceResetRecoveryResponse:
    """Lift a recovery fence. Interrupted work is taken up again by itself, so that there never is one."""
    if not request.confirm:
        raise InvalidInput("confirm must be true")
    return ForceResetRecoveryResponse(
        status="no_recovery_required", message="Nothing waits for a recovery; interrupted work goes on by itself."
    )
