"""The graph as a file, out and in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from tempfile import SpooledTemporaryFile
from typing import Annotated, BinaryIO, TypeVar, cast

from fastapi import APIRouter, Query, Request
from starlette.datastructures import UploadFile
from starlette.responses import StreamingResponse

from lightrag_server.api.auth import GuardedRoute
from lightrag_server.api.deps import ChosenWorkspace, OpenedApp
from lightrag_server.api.edits import applied
from lightrag_server.api.lightrag.graph_schemas import ImportResponse
from lightrag_server.bootstrap import App
from lightrag_server.core.edits import CreateEntity, EntityFields, Import
from lightrag_server.core.folding import Aliases, key_of
from lightrag_server.core.graph_formats import FORMATS, Format, Reader, Writer, format_of
from lightrag_server.core.graph_formats.rows import EntityRow, RelationRow
from lightrag_server.engine.workspace import Workspace
from lightrag_server.errors import InvalidInput

router = APIRouter(tags=["graph"], route_class=GuardedRoute)

T = TypeVar("T")
Row = TypeVar("Row", EntityRow, RelationRow)
HELD_BYTES = 1 << 20
"""What of an import is held in memory; the rest lies in a temporary file."""
BATCH_ROWS = 400
HEAD_BYTES = 256

_FILE = {"type": "string", "format": "binary"}
IMPORT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["file"], "properties": {"file": _FILE}},
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "entities": {"type": "array", "items": {"type": "object"}},
                        "relations": {"type": "array", "items": {"type": "object"}},
                    },
                },
            },
            "application/octet-stream": {"schema": _FILE},
        },
    }
}


# ----------------------------------------------------------------------------- out


@router.get(
    "/graph/export",
    response_class=StreamingResponse,
    responses={200: {"content": {form.media_type: {} for form in FORMATS.values()}}},
)
async def export_graph(
    workspace: ChosenWorkspace,
    format: Annotated[Format, Query(description="csv is a zip of entities.csv and relations.csv.")] = "graphml",
) -> StreamingResponse:
    """All entities and relations as one file, sent as it is made."""
    form = FORMATS[format]
    headers = {"Content-Disposition": f'attachment; filename="graph{form.suffix}"'}
    return StreamingResponse(_file(workspace, form.writer()), media_type=form.media_type, headers=headers)


async def _file(workspace: Workspace, writer: Writer) -> AsyncIterator[bytes]:
    yield writer.begin()
    async for entities in workspace.browse.entity_rows():
        yield await asyncio.to_thread(writer.entities, entities)
    async for relations in workspace.browse.relation_rows():
        yield await asyncio.to_thread(writer.relations, relations)
    yield writer.end()


# ----------------------------------------------------------------------------- in


@router.post("/graph/import", responses={400: {}, 409: {}, 503: {}}, openapi_extra=IMPORT_BODY)
async def import_graph(
    request: Request,
    app: OpenedApp,
    workspace: ChosenWorkspace,
    format: Annotated[Format | None, Query(description="Unset: told by the file's name or its beginning.")] = None,
) -> ImportResponse:
    """Take in a graph that was exported here or by LightRAG: the file as form field `file` or as the whole body.

    What exists already is changed to what the file says. Nothing is taken of a file with a mistake.
    """
    async with _received(request) as upload:
        graph = await asyncio.to_thread(_Graph.of, upload.file, upload.filename or "", format)
        aliases = await workspace.browse.aliases()
        entities, relations = await asyncio.to_thread(graph.check, aliases)
        implied = await _take_in(app, workspace, graph)
    return ImportResponse(
        message=f"{entities} entities and {relations} relations were taken in.",
        entities=entities,
        relations=relations,
        implied_entities=implied,
    )


@asynccontextmanager
async def _received(request: Request) -> AsyncIterator[UploadFile]:
    """The file of a form, or the body itself; what is large lies on disk."""
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        async with request.form(max_files=1) as form:
            part = form.get("file")
            if not isinstance(part, UploadFile):
                raise InvalidInput("the form has no file in its field 'file'")
            yield part
        return
    with SpooledTemporaryFile(max_size=HELD_BYTES) as file:
        upload = UploadFile(cast(BinaryIO, file), filename="")
        async for piece in request.stream():
            await upload.write(piece)
        yield upload


async def _take_in(app: App, workspace: Workspace, graph: _Graph) -> int:
    """All entities, then all relations, some hundred rows an edit; the number of ends that had to be made."""
    implied = 0
    async for entities in _stepped(graph.batches(EntityRow)):
        await applied(app, workspace, Import(tuple(row.creation() for row in entities)))
    async for relations in _stepped(graph.batches(RelationRow)):
        absent = await workspace.browse.absent(end for row in relations for end in (row.source, row.target))
        ends = tuple(CreateEntity(name, EntityFields(), may_exist=True) for name in sorted(absent))
        await applied(app, workspace, Import(ends, tuple(row.creation() for row in relations)))
        implied += len(ends)
    return implied


async def _stepped(items: Iterator[T]) -> AsyncIterator[T]:
    """Each item as it is made in a thread."""
    while (item := await asyncio.to_thread(next, items, None)) is not None:
        yield item


class _Graph:
    """A file as rows, read anew from its beginning each time: once for mistakes, then for each kind of row."""

    def __init__(self, file: BinaryIO, read: Reader) -> None:
        self._file = file
        self._read = read

    @classmethod
    def of(cls, file: BinaryIO, name: str, format: Format | None) -> _Graph:
        file.seek(0)
        return cls(file, FORMATS[format or format_of(name, file.read(HEAD_BYTES))].read)

    def check(self, aliases: Aliases) -> tuple[int, int]:
        """The numbers of entities and relations. Raises `InvalidInput` with the place of the first mistake."""
        entities = relations = 0
        for row in self._rows():
            if isinstance(row, EntityRow):
                entities += 1
                continue
            relations += 1
            if key_of(row.source, aliases) == key_of(row.target, aliases):
                raise InvalidInput(f"{row.place}: {row.source!r} and {row.target!r} have become one entity here")
        return entities, relations

    def batches(self, kind: type[Row]) -> Iterator[list[Row]]:
        batch: list[Row] = []
        for row in self._rows():
            if isinstance(row, kind):
                batch.append(row)
            if len(batch) == BATCH_ROWS:
                yield batch
                batch = []
        if batch:
            yield batch

    def _rows(self) -> Iterator[EntityRow | RelationRow]:
        self._file.seek(0)
        return self._read(self._file)
