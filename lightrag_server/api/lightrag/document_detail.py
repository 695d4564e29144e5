"""Routes on one document: what is known and kept of it, its next version, and the change of what its owner notes."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

from fastapi import APIRouter, File, Path, Query, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.convertors import Convertor, register_url_convertor

from lightrag_server.api.auth import GuardedRoute
from lightrag_server.api.deps import ChosenWorkspace
from lightrag_server.api.lightrag.documents import shown
from lightrag_server.api.lightrag.schemas import DeleteDocByIdResponse, DocStatusResponse, InsertResponse
from lightrag_server.api.lightrag.terms import METADATA, TAGS, Attributes, FormTerms, Tags, TermsFields
from lightrag_server.api.lightrag.uploads import inserted
from lightrag_server.core.records import Chunk, Document, Profile
from lightrag_server.engine.costs import USAGE
from lightrag_server.engine.incoming import BYTES
from lightrag_server.engine.versions import VERSION, served
from lightrag_server.errors import NotFound

M = TypeVar("M", bound=BaseModel)

JSON_TYPE = "application/json"
SAFE_TYPES = {
    ".pdf": "application/pdf",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".txt": "text/plain",
    ".md": "text/plain",
    ".csv": "text/plain",
}
"""Kinds of files that no browser runs. All others are bytes to it."""
BYTES_TYPE = "application/octet-stream"
_BYTES_SCHEMA: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


class _DocumentIds(Convertor[str]):
    """Other paths below /documents are not meant for these routes, whatever their method."""

    regex = "doc-[0-9a-f]{32}"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("document", _DocumentIds())

router = APIRouter(prefix="/documents", tags=["documents"], route_class=GuardedRoute)
ONE = "/{document_id:document}"

DocumentId = Annotated[
    str,
    Path(
        pattern="^doc-[0-9a-f]{32}$", examples=["doc-5d41402abc4b2a76b9719d911017c592"], description="Of the document."
    ),
]


class DocumentDetail(DocStatusResponse):
    """A document as in lists, and more."""

    profile: Profile | None = Field(description="How deep it is indexed. null: as configured, it has not begun.")
    version: int = Field(description="Counts from 1; a replacement makes the next one.")
    is_replacing: bool = Field(description="A new version is being prepared; answers rest on the one before.")
    original_bytes: int | None = Field(description="Length of the file or text that was sent.")
    usage: dict[str, Any] | None = Field(
        description="What this version took so far: calls and tokens of models, seconds by stage, and cost where the "
        "models have prices (MODEL_PRICES). null: nothing yet."
    )


class DocumentChange(BaseModel):
    """Fields that are left out stay as they are."""

    model_config = ConfigDict(extra="forbid")

    attributes: Attributes | None = Field(None, description=f"{METADATA} Merged; null removes a name.")
    tags: Tags | None = Field(None, description=f"{TAGS} They replace the ones before.")
    enabled: bool | None = Field(None, description="Answers rest on enabled documents only.")


class ReplaceTextRequest(TermsFields):
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class ReindexRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    profile: Profile | None = Field(None, description="full, light or vector. null: as configured.")


class ChunkItem(BaseModel):
    """`start` and `end` are characters of the document's text."""

    id: str
    index: int
    text: str
    tokens: int
    start: int
    end: int
    headings: list[str]
    first_page: int | None
    last_page: int | None
    windows: int = Field(description="Places inside it that are embedded and cited.")


class ChunksPage(BaseModel):
    chunks: list[ChunkItem]
    page: int
    page_size: int
    total_count: int
    total_pages: int


@router.get(ONE)
async def document_detail(workspace: ChosenWorkspace, document_id: DocumentId) -> DocumentDetail:
    """One document."""
    return detail(await workspace.documents.get(document_id))


@router.patch(ONE)
async def change_document(
    workspace: ChosenWorkspace, document_id: DocumentId, change: DocumentChange
) -> DocumentDetail:
    """Change what the owner notes. Attributes are merged, tags replaced; it holds from the next question on."""
    tags = None if change.tags is None else tuple(change.tags)
    return detail(await workspace.documents.change(document_id, change.attributes, tags, change.enabled))


@router.put(
    ONE,
    openapi_extra={
        "requestBody": {
            "content": {
                JSON_TYPE: {
                    "schema": {
                        "type": "object",
                        "required": ["text"],
                        "properties": {
                            "text": {"type": "string", "minLength": 1},
                            "metadata": {"type": ["object", "null"]},
                            "tags": {"type": ["array", "null"], "items": {"type": "string"}},
                            "profile": {"enum": [*Profile, None]},
                        },
                    }
                }
            }
        }
    },
)
async def replace_document(
    request: Request,
    workspace: ChosenWorkspace,
    document_id: DocumentId,
    terms: FormTerms,
    file: Annotated[
        UploadFile | None, File(description="Of the same kind as the one before; its name is ignored.")
    ] = None,
) -> InsertResponse:
    """Take a file or a text as the next version. Only what changed is worked out again, and the version before answers
    until the new one is indexed. Content that is there already is answered as duplicated."""
    if _is_json(request):
        asked = await _read(request, ReplaceTextRequest)
        accepted = await workspace.intake.replace_text(document_id, asked.text, asked.terms())
    elif file is not None:
        accepted = await workspace.intake.replace_file(document_id, file.filename or "", await file.read(), terms)
    else:
        raise RequestValidationError([{"type": "missing", "loc": ("body", "file"), "msg": "Field required"}])
    return inserted(accepted, "The new version was accepted and is being indexed.")


@router.delete(ONE)
async def delete_one(
    workspace: ChosenWorkspace,
    document_id: DocumentId,
    delete_file: Annotated[bool, Query(description="Also remove the file of this name from the input folder.")] = False,
) -> DeleteDocByIdResponse:
    """Remove a document with everything that rests on it alone."""
    if await workspace.intake.delete([document_id], delete_file=delete_file):
        raise NotFound(f"no such document: {document_id!r}")
    return DeleteDocByIdResponse(
        status="deletion_started", message="The document is being deleted.", doc_id=document_id
    )


@router.get(f"{ONE}/chunks")
async def document_chunks(
    workspace: ChosenWorkspace,
    document_id: DocumentId,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    page_size: Annotated[int, Query(ge=1, le=200)] = 50,
) -> ChunksPage:
    """The chunks that the document is cut into, in text order."""
    chunks, total = await workspace.documents.chunks(document_id, page, page_size)
    return ChunksPage(
        chunks=[_chunk(c) for c in chunks],
        page=page,
        page_size=page_size,
        total_count=total,
        total_pages=-(-total // page_size),
    )


@router.get(f"{ONE}/content", response_class=PlainTextResponse)
async def document_content(workspace: ChosenWorkspace, document_id: DocumentId) -> Response:
    """The text that was read from the document: what positions of chunks and references count in."""
    return PlainTextResponse(await workspace.documents.text(document_id), headers={"X-Content-Type-Options": "nosniff"})


@router.get(
    f"{ONE}/file",
    response_class=Response,
    responses={200: {"content": dict.fromkeys((BYTES_TYPE, *SAFE_TYPES.values()), _BYTES_SCHEMA)}},
)
async def document_file(workspace: ChosenWorkspace, document_id: DocumentId) -> Response:
    """The bytes that were sent, to be saved."""
    original = await workspace.documents.original(document_id)
    kind = SAFE_TYPES.get(PurePosixPath(original.name).suffix.lower(), BYTES_TYPE)
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(original.name, safe='', errors='replace')}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(original.data, media_type=kind, headers=headers)


@router.post(f"{ONE}/reindex")
async def reindex_document(
    workspace: ChosenWorkspace, document_id: DocumentId, request: ReindexRequest
) -> InsertResponse:
    """Index a document again, with another profile, without reading it again. The version before answers meanwhile."""
    document = await workspace.intake.reindex(document_id, request.profile)
    return InsertResponse(
        status="success", message="The document is being indexed again.", track_id=document.track_id or ""
    )


@router.post(f"{ONE}/cancel")
async def cancel_document(workspace: ChosenWorkspace, document_id: DocumentId) -> DocumentDetail:
    """Stop indexing one document. A new one ends as failed and can be tried again; of a replacement nothing stays."""
    return detail(await workspace.intake.cancel_one(document_id))


@router.post(f"{ONE}/retry")
async def retry_document(workspace: ChosenWorkspace, document_id: DocumentId) -> DocumentDetail:
    """Try a failed document again. Work that succeeded before is not repeated."""
    return detail(await workspace.intake.retry(document_id))


def detail(document: Document) -> DocumentDetail:
    return DocumentDetail(
        **shown(document).model_dump(),
        profile=document.profile,
        version=document.metadata.get(VERSION, 1),
        is_replacing=document.serving is not None,
        original_bytes=(served(document) or document).metadata.get(BYTES),
        usage=document.metadata.get(USAGE),
    )


def _chunk(chunk: Chunk) -> ChunkItem:
    return ChunkItem(
        id=chunk.id,
        index=chunk.index,
        text=chunk.text,
        tokens=chunk.tokens,
        start=chunk.start,
        end=chunk.end,
        headings=list(chunk.headings),
        first_page=chunk.first_page,
        last_page=chunk.last_page,
        windows=len(chunk.windows),
    )


def _is_json(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == JSON_TYPE


async def _read(request: Request, model: type[M]) -> M:
    """The body of a route that takes JSON beside forms."""
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        raise RequestValidationError([{**item, "loc": ("body", *item["loc"])} for item in found]) from error
