"""Routes that take documents in. What they accept is kept durably when they answer, and indexed in the background."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Form, UploadFile

from lightrag_server.api.auth import GuardedRoute
from lightrag_server.api.deps import ChosenWorkspace, OpenedApp
from lightrag_server.api.lightrag.schemas import (
    InsertResponse,
    InsertTextRequest,
    InsertTextsRequest,
)
from lightrag_server.api.lightrag.terms import UploadTerms
from lightrag_server.core.attributes import checked_attributes
from lightrag_server.engine.acceptance import Accepted
from lightrag_server.engine.incoming import Terms
from lightrag_server.engine.workspace import Workspace
from lightrag_server.errors import InvalidInput, TooLarge

router = APIRouter(prefix="/documents", tags=["documents"], route_class=GuardedRoute)

DESCRIPTION = "description"
"""Name of the metadata that the field of this name is kept under."""


@router.post("/upload")
async def upload(workspace: ChosenWorkspace, terms: UploadTerms, file: UploadFile) -> InsertResponse:
    """Accept one file. It is kept durably when this answers, and indexed in the background."""
    return await _uploaded(workspace, file, terms)


@router.post("/file")
async def upload_file(
    workspace: ChosenWorkspace,
    terms: UploadTerms,
    file: UploadFile,
    description: Annotated[str | None, Form(description="Kept as metadata of this name.")] = None,
) -> InsertResponse:
    """Accept one file, as /documents/upload, under the name older clients use."""
    return await _uploaded(workspace, file, _described(terms, description))


@router.post("/batch")
async def upload_batch(workspace: ChosenWorkspace, terms: UploadTerms, files: list[UploadFile]) -> InsertResponse:
    """Accept several files under one track id. A file that is refused does not stop the others; the message says which
    and why."""
    accepted = await workspace.intake.accept_files([(file.filename or "", file.read) for file in files], terms)
    return inserted(accepted, f"{len(accepted.documents)} of {len(files)} files were accepted and are being indexed.")


@router.post("/text")
async def insert_text(workspace: ChosenWorkspace, request: InsertTextRequest) -> InsertResponse:
    """Accept one text. Without file_source its content is its identity."""
    terms = _described(request.terms(request.on_conflict), request.description)
    texts = [(request.text, request.file_source)]
    accepted = await workspace.intake.accept_texts(
        texts, request.chunking.as_spec() if request.chunking else None, terms
    )
    return inserted(accepted, "The text was accepted and is being indexed.")


@router.post("/texts")
async def insert_texts(app: OpenedApp, workspace: ChosenWorkspace, request: InsertTextsRequest) -> InsertResponse:
    """Accept several texts under one track id."""
    most = app.settings.server.max_texts
    if most and len(request.texts) > most:
        raise TooLarge(f"{len(request.texts)} texts were sent; at most {most} are accepted in one request")
    sources = request.file_sources or [None] * len(request.texts)
    texts = list(zip(request.texts, sources, strict=True))
    terms = request.terms(request.on_conflict)
    accepted = await workspace.intake.accept_texts(
        texts, request.chunking.as_spec() if request.chunking else None, terms
    )
    return inserted(accepted, f"{len(accepted.documents)} texts were accepted and are being indexed.")


async def _uploaded(workspace: Workspace, file: UploadFile, terms: Terms) -> InsertResponse:
    accepted = await workspace.intake.accept_file(file.filename or "", await file.read(), terms=terms)
    return inserted(accepted, f"File {file.filename!r} was accepted and is being indexed.")


def _described(terms: Terms, description: str | None) -> Terms:
    if not description or not description.strip():
        return terms
    return replace(terms, attributes=checked_attributes({DESCRIPTION: description.strip(), **(terms.attributes or {})}))


def inserted(accepted: Accepted, message: str) -> InsertResponse:
    """LightRAG's answer, with the seeds' word for what was there already. `InvalidInput` when all was refused."""
    told = [message]
    if accepted.duplicates:
        known = ", ".join(f"{d.file_path!r} ({d.status.value})" for d in accepted.duplicates)
        told.append(f"Already stored: {known}.")
    if accepted.refused:
        told.append(f"Refused: {'; '.join(accepted.refused)}.")
    if accepted.documents:
        status = "success" if len(told) == 1 else "partial_success"
        return InsertResponse(status=status, message=" ".join(told), track_id=accepted.track_id)
    if not accepted.duplicates:
        raise InvalidInput(" ".join(told[1:]))
    status = "partial_success" if accepted.refused else "duplicated"
    track = accepted.duplicates[0].track_id or accepted.track_id
    return InsertResponse(status=status, message=" ".join(told[1:]), track_id=track)
