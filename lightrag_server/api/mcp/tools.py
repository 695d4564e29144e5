"""The tools. What is written here about them and their arguments is what models read."""

from __future__ import annotations

from contextlib import aclosing
from typing import Annotated, Any

from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context
from pydantic import Field

from lightrag_server.api.lightrag.schemas import MAX_QUERY_CHARS
from lightrag_server.api.lightrag.uploads import inserted
from lightrag_server.api.mcp import results
from lightrag_server.api.mcp.results import (
    Answer,
    DocumentList,
    DocumentText,
    EntityView,
    Evidence,
    Inserted,
)
from lightrag_server.api.mcp.seat import Seat
from lightrag_server.api.questions import collect
from lightrag_server.api.questions import question as question_with
from lightrag_server.core.encoding import chunk_from_row
from lightrag_server.core.records import Chunk, DocStatus, Document, Mode, Question
from lightrag_server.engine.browse import EntityDetail
from lightrag_server.engine.versions import served
from lightrag_server.engine.workspace import Workspace
from lightrag_server.errors import InvalidInput, NotFound
from lightrag_server.ports.doc_status import Filter, Page

DEFAULT_CHUNKS = 5
MAX_CHUNKS = 50
SUGGESTIONS = 5
MAX_TEXT_CHARS = 10_000_000


class Call(Context[Any, Any]):
    """The SDK's context of a call, and where the call comes from."""

    _seat: Seat

    def __init__(self, seat: Seat, request_context: ServerRequestContext[Any, Any]) -> None:
        super().__init__(request_context=request_context)
        self._seat = seat

    @property
    def seat(self) -> Seat:
        return self._seat


WorkspaceName = Annotated[
    str | None, Field(description="Workspace to look in. Leave it out unless the user names one.", max_length=64)
]
Asked = Annotated[
    str, Field(description="A whole question or statement in plain language.", min_length=1, max_length=MAX_QUERY_CHARS)
]
AskedMode = Annotated[
    Mode,
    Field(
        description="mix searches passages and graph and is best for nearly everything; naive passages only; local "
        "what is said of entities, global of relations, hybrid of both; bypass asks the model without documents."
    ),
]
Count = Annotated[int | None, Field(ge=1, le=1000)]


async def query(
    call: Call,
    question: Asked,
    mode: AskedMode = "mix",
    top_k: Annotated[Count, Field(description="Entities or relations to look at.")] = None,
    chunk_top_k: Annotated[Count, Field(description="Passages to look at.")] = None,
    workspace: WorkspaceName = None,
) -> Answer:
    """Answer a question from the user's documents, with numbered sources."""
    entered = await call.seat.enter(workspace)
    asked = _question(entered, question, mode, top_k, chunk_top_k)
    async with aclosing(entered.query.ask(asked)) as events:
        answer = await collect(events)
    return Answer(answer=answer.text, sources=results.sources(answer.context), written_by_model=answer.is_generated)


async def retrieve(
    call: Call,
    question: Asked,
    mode: AskedMode = "mix",
    top_k: Annotated[Count, Field(description="Entities or relations to look at.")] = None,
    chunk_top_k: Annotated[Count, Field(description="Passages to look at.")] = None,
    workspace: WorkspaceName = None,
) -> Evidence:
    """Find what the user's documents say about something: passages, entities, relations, without writing an answer.
    Quicker and cheaper than query; cite passages by the number of their source."""
    entered = await call.seat.enter(workspace)
    asked = _question(entered, question, mode, top_k, chunk_top_k, is_quoted=True)
    return results.evidence(await entered.query.retrieve(asked))


async def list_documents(
    call: Call,
    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1,
    page_size: Annotated[int, Field(ge=1, le=100)] = 20,
    status: Annotated[DocStatus | None, Field(description="Only those in this state.")] = None,
    name_contains: Annotated[str, Field(description="Only those with this in their name.", max_length=256)] = "",
    workspace: WorkspaceName = None,
) -> DocumentList:
    """List documents, the last changed first, with id, name, state and first lines."""
    entered = await call.seat.enter(workspace)
    where = Filter(statuses=frozenset({status}) if status else None, name_part=name_contains)
    documents, total = await entered.stores.documents.page(where, Page(page, page_size))
    return DocumentList(
        documents=[results.document(d) for d in documents], page=page, pages=-(-total // page_size), total=total
    )


async def read_document(
    call: Call,
    document: Annotated[str, Field(description="Id or file name, as list_documents shows them.", max_length=512)],
    first_chunk: Annotated[int, Field(description="Where to begin, from 0.", ge=0)] = 0,
    chunks: Annotated[int, Field(description="How many chunks of about 1,000 words.", ge=1, le=MAX_CHUNKS)] = (
        DEFAULT_CHUNKS
    ),
    workspace: WorkspaceName = None,
) -> DocumentText:
    """Read a document's text piece by piece; next_chunk says where to go on."""
    entered = await call.seat.enter(workspace)
    found = await _document(entered, document)
    version = served(found)
    chunk_ids = version.chunk_ids if version else ()
    wanted = chunk_ids[first_chunk : first_chunk + chunks]
    rows = await entered.stores.chunks.get(wanted)
    end = first_chunk + len(wanted)
    return DocumentText(
        id=found.id,
        file=found.file_path,
        text=_joined([chunk_from_row(rows[i]) for i in wanted if i in rows]),
        first_chunk=first_chunk,
        chunks=len(chunk_ids),
        next_chunk=end if end < len(chunk_ids) else None,
    )


async def insert_text(
    call: Call,
    text: Annotated[str, Field(description="The whole text.", min_length=1, max_length=MAX_TEXT_CHARS)],
    file_source: Annotated[str, Field(description="A short name for it, such as notes.md. Unique.", max_length=255)],
    workspace: WorkspaceName = None,
) -> Inserted:
    """Keep a text as a document. It is stored when this returns and can be found some seconds later."""
    entered = await call.seat.enter_to_write(workspace)
    accepted = await entered.intake.accept_texts([(text, file_source)])
    told = inserted(accepted, "The text is kept and is being indexed.")
    return Inserted(status=told.status, message=told.message, track_id=told.track_id)


async def explore_entity(
    call: Call,
    name: Annotated[str, Field(description="A person, place, thing or idea.", min_length=1, max_length=256)],
    relations: Annotated[int, Field(description="How many relations at most.", ge=1, le=200)] = 20,
    workspace: WorkspaceName = None,
) -> EntityView:
    """Show what is known of one entity: description, relations, neighbours, and the documents that mention it."""
    entered = await call.seat.enter(workspace)
    found = await _entity(entered, name, relations)
    ends = [results.relation(r, found.ends) for r in found.relations]
    own = found.entity.name
    return EntityView(
        name=own,
        type=found.entity.type,
        description=found.entity.description,
        relations=ends,
        relation_count=found.degree,
        neighbours=list(dict.fromkeys(name for relation in ends for name in relation.entities if name != own)),
        documents=[results.Mention(id=m.document_id, file=m.file_path, chunks=m.chunks) for m in found.documents],
    )


def _question(
    entered: Workspace, text: str, mode: Mode, top_k: int | None, chunk_top_k: int | None, *, is_quoted: bool = False
) -> Question:
    defaults = entered.query_settings
    if not text.strip():
        raise InvalidInput("the question is blank")
    return question_with(
        text.strip(),
        mode,
        defaults,
        top_k=top_k or defaults.top_k,
        chunk_top_k=chunk_top_k or defaults.chunk_top_k,
        is_quoted=is_quoted,
    )


async def _document(entered: Workspace, named: str) -> Document:
    """By id, else by file name. Raises `NotFound`."""
    documents = entered.stores.documents
    by_id = await documents.get([named])
    found = by_id.get(named) or next(iter(await documents.find(Filter(file_path=named), limit=1)), None)
    if found is None:
        raise NotFound(f"no such document: {named!r}; list_documents shows ids and names")
    return found


def _joined(chunks: list[Chunk]) -> str:
    """The text they cover; neighbours overlap."""
    parts: list[str] = []
    end = 0
    for chunk in chunks:
        parts.append(chunk.text[max(0, end - chunk.start) :] if parts else chunk.text)
        end = max(end, chunk.end)
    return "".join(parts)


async def _entity(entered: Workspace, name: str, relations: int) -> EntityDetail:
    """Raises `NotFound`, naming what is spelled alike."""
    try:
        return await entered.browse.entity(name, relations)
    except NotFound as error:
        alike = await entered.browse.search(name, SUGGESTIONS)
        raise NotFound(f"{error}; there are {', '.join(alike)}" if alike else str(error)) from error


READING = (query, retrieve, list_documents, read_document, explore_entity)
WRITING = (insert_text,)
