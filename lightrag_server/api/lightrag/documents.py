"""LightRAG's routes on documents in general. They translate; intake, stores and queue of the workspace do the work."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Body, Response

from lightrag_server.api.auth import GuardedRoute
from lightrag_server.api.deps import ChosenWorkspace, OpenedApp
from lightrag_server.api.jobs import ended
from lightrag_server.api.lightrag.scans import scan_status
from lightrag_server.api.lightrag.schemas import (
    CancelPipelineResponse,
    ClearDocumentsResponse,
    DeleteDocByIdResponse,
    DeleteDocRequest,
    DocsStatusesResponse,
    DocStatusResponse,
    DocumentsRequest,
    PaginatedDocsResponse,
    PaginationInfo,
    PipelineStatusResponse,
    ReprocessResponse,
    ScanJobStatusResponse,
    ScanResponse,
    StatusCountsResponse,
    SupportedFileTypesResponse,
    TrackStatusResponse,
)
from lightrag_server.core.records import DocStatus, Document
from lightrag_server.engine import job_kinds
from lightrag_server.engine.status import PipelineState
from lightrag_server.errors import InvalidInput, NotFound
from lightrag_server.ports.doc_status import Filter, Page

router = APIRouter(prefix="/documents", tags=["documents"], route_class=GuardedRoute)

CLEAR_WAIT_S = 60.0
MAX_LISTED = 1000


@router.post("/scan")
async def scan(workspace: ChosenWorkspace) -> ScanResponse:
    """Index the new files of the input folder and try failed documents again."""
    track = await workspace.intake.scan()
    retried = await workspace.intake.retry_failed()
    again = f" {retried} failed documents are tried again." if retried else ""
    return ScanResponse(status="scanning_started", message=f"The input folder is being scanned.{again}", track_id=track)


@router.get("/scan/status/{track_id}")
async def scan_job_status(workspace: ChosenWorkspace, track_id: str) -> ScanJobStatusResponse:
    """How far a scan is and what came of it."""
    return await scan_status(workspace, track_id)


@router.post("/paginated")
async def paginated(workspace: ChosenWorkspace, request: DocumentsRequest) -> PaginatedDocsResponse:
    """One page of documents, and how many there are in each state. `total_count` counts what the filters leave,
    `status_counts` all."""
    single = [request.status_filter] if request.status_filter else []
    statuses = frozenset(request.status_filters or single) or None
    page = Page(request.page, request.page_size, request.sort_field, request.sort_direction == "desc")
    where = Filter(
        statuses=statuses,
        track_id=(request.track_id or "").strip() or None,
        name_part=(request.search or "").strip(),
        tags=frozenset(request.tags or ()),
    )
    documents, total = await workspace.stores.documents.page(where, page)
    return PaginatedDocsResponse(
        documents=[shown(d) for d in documents],
        pagination=PaginationInfo.of(request.page, request.page_size, total),
        status_counts=await _counts(workspace),
    )


@router.get("")
async def list_documents(workspace: ChosenWorkspace) -> DocsStatusesResponse:
    """The documents by state, for older clients: the latest 1,000 in all. `/documents/paginated` gives every one."""
    documents, _ = await workspace.stores.documents.page(Filter(), Page(size=MAX_LISTED))
    statuses: dict[str, list[DocStatusResponse]] = {}
    for document in documents:
        statuses.setdefault(document.status.value, []).append(shown(document))
    return DocsStatusesResponse(statuses=statuses)


@router.get("/track_status/{track_id}")
async def track_status(workspace: ChosenWorkspace, track_id: str) -> TrackStatusResponse:
    """The documents accepted under a track id; an unknown one has none."""
    if not track_id.strip():
        raise InvalidInput("Track ID cannot be empty")
    documents = await workspace.stores.documents.find(Filter(track_id=track_id.strip()))
    tally = Counter(d.status for d in documents)
    summary = {f"DocStatus.{status.name}": n for status, n in tally.items()} | {s.value: n for s, n in tally.items()}
    return TrackStatusResponse(
        track_id=track_id.strip(),
        documents=[shown(d) for d in documents],
        total_count=len(documents),
        status_summary=summary,
    )


@router.get("/status_counts")
async def status_counts(workspace: ChosenWorkspace) -> StatusCountsResponse:
    """How many documents are in each state, and in all."""
    return StatusCountsResponse(status_counts=await _counts(workspace))


async def _counts(workspace: ChosenWorkspace) -> dict[str, int]:
    counts = await workspace.stores.documents.counts()
    return {status.value: counts.get(status, 0) for status in DocStatus} | {"all": sum(counts.values())}


@router.get("/pipeline_status")
async def pipeline_status(app: OpenedApp, workspace: ChosenWorkspace) -> PipelineStatusResponse:
    """What is being worked on, how far it is, and the last events."""
    state = await workspace.pipeline.state()
    return pipeline(state, is_autoscanned=app.settings.server.auto_scan_at_startup)


@router.get("/supported_file_types")
async def supported_file_types(app: OpenedApp, response: Response) -> SupportedFileTypesResponse:
    """Suffixes that can be read."""
    response.headers["Cache-Control"] = "no-store"
    extensions = app.parsers.extensions()
    return SupportedFileTypesResponse(supported_extensions=extensions, engines={"native": extensions})


@router.post("/reprocess_failed")
async def reprocess_failed(workspace: ChosenWorkspace) -> ReprocessResponse:
    """Try all failed documents again. Work that succeeded before is not repeated."""
    count = await workspace.intake.retry_failed()
    return ReprocessResponse(status="reprocessing_started", message=f"{count} failed documents are tried again.")


@router.post("/cancel_pipeline")
async def cancel_pipeline(workspace: ChosenWorkspace) -> CancelPipelineResponse:
    """Stop indexing. Documents that are not finished end as failed and can be tried again."""
    if count := await workspace.intake.cancel():
        return CancelPipelineResponse(status="cancellation_requested", message=f"{count} documents are being stopped.")
    return CancelPipelineResponse(status="not_busy", message="Nothing is being indexed.")


@router.delete("/delete_document")
async def delete_document(
    workspace: ChosenWorkspace, request: Annotated[DeleteDocRequest, Body()]
) -> DeleteDocByIdResponse:
    """Remove documents with everything that rests on them alone. Works at any time, without LLM calls."""
    forgotten = 0
    if request.delete_llm_cache and workspace.replies:
        forgotten = await workspace.replies.forget(request.doc_ids)
    unknown = await workspace.intake.delete(request.doc_ids, delete_file=request.delete_file)
    if len(unknown) == len(request.doc_ids):
        raise NotFound(f"no such document: {', '.join(unknown)}")
    told = f" Not known: {', '.join(unknown)}." if unknown else ""
    removed = f" {forgotten} kept replies of the model were removed." if request.delete_llm_cache else ""
    return DeleteDocByIdResponse(
        status="deletion_started",
        message=f"{len(request.doc_ids) - len(unknown)} documents are being deleted.{told}{removed}",
        doc_id=", ".join(request.doc_ids),
    )


@router.delete("")
async def clear_documents(app: OpenedApp, workspace: ChosenWorkspace) -> ClearDocumentsResponse:
    """Remove every document of the workspace and the files of its input folder. Answers when it is done."""
    await ended(app.queue, await workspace.intake.clear(), CLEAR_WAIT_S)
    return ClearDocumentsResponse(status="success", message="All documents were removed.")


def pipeline(state: PipelineState, *, is_autoscanned: bool) -> PipelineStatusResponse:
    """LightRAG's fields. A batch is one document: there is no larger unit that would have to end first."""
    messages = state.messages
    return PipelineStatusResponse.model_validate(
        {
            "autoscanned": is_autoscanned,
            "busy": state.is_busy,
            "job_name": state.name or "Default Job",
            "job_start": state.started_at,
            "docs": state.documents,
            "batchs": state.documents,
            "cur_batch": state.running,
            "request_pending": state.documents > state.running,
            "latest_message": messages[-1] if messages else "",
            "history_messages": messages,
            "update_status": {},
            "destructive_busy": state.is_open(job_kinds.CLEAR),
            "scanning": state.is_open(job_kinds.SCAN),
            "scanning_exclusive": False,
            "pending_enqueues": 0,
            "cancellation_requested": state.is_cancelling,
            "cancellation_reason": None,
            "cancellation_detail": None,
        }
    )


def shown(document: Document) -> DocStatusResponse:
    return DocStatusResponse(
        id=document.id,
        content_summary=document.content_summary,
        content_length=document.content_length,
        status=document.status,
        created_at=document.created_at,
        updated_at=document.updated_at,
        track_id=document.track_id,
        chunks_count=len(document.chunk_ids) or None,
        error_msg=document.error,
        metadata=document.metadata or None,
        file_path=document.file_path,
        attributes=document.attributes,
        tags=list(document.tags),
        enabled=document.is_enabled,
    )
