"""Workspaces seen, made, changed and deleted. Reading is for those who may enter, the rest for administrators."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from lightrag_server.api.auth import GuardedRoute
from lightrag_server.api.deps import CurrentCaller, OpenedApp
from lightrag_server.api.jobs import ended
from lightrag_server.bootstrap import App
from lightrag_server.core.access import Caller
from lightrag_server.core.records import DocStatus
from lightrag_server.engine.workspace import WorkspaceEdit
from lightrag_server.engine.workspace_settings import WorkspaceSettings, in_force
from lightrag_server.errors import Conflict, NotFound
from lightrag_server.ports.directory import WorkspaceRow
from lightrag_server.ports.doc_status import Filter

router = APIRouter(prefix="/workspaces", tags=["workspaces"], route_class=GuardedRoute)

DELETE_WAIT_S = 60.0
UNNAMED = "~"
"""Stands for the empty name in paths; no name can be this."""
MAX_DESCRIPTION_CHARS = 2000

Name = Annotated[str, Path(description=f"The workspace's name; {UNNAMED} for the one without a name.")]
_REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"description": "A name or a setting that cannot be used."},
    404: {"description": "No such workspace, or none that the caller may enter."},
    409: {"description": "The name is taken, the workspace is being deleted, or it is the default one."},
}


class WorkspaceInfo(BaseModel):
    """One workspace."""

    name: str = Field(description="Empty for the default workspace while WORKSPACE is unset.")
    description: str
    created_at: str | None = Field(description="ISO time; of the oldest document where the workspace itself has none.")
    is_default: bool = Field(description="Whether it serves the requests that name none.")
    documents: dict[str, int] = Field(description="Documents by state, and `all`.")
    settings: dict[str, Any] = Field(description="What the workspace sets for itself.")
    effective_settings: WorkspaceSettings = Field(description="What holds: its own settings over the server's.")


class WorkspacesResponse(BaseModel):
    workspaces: list[WorkspaceInfo]


class CreateWorkspaceRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="Letters, digits, _ and -, at most 64.", examples=["contracts"])
    description: str = Field(default="", max_length=MAX_DESCRIPTION_CHARS)
    settings: WorkspaceSettings = Field(default=WorkspaceSettings(), examples=[{"index_profile": "light", "top_k": 20}])


class ChangeWorkspaceRequest(BaseModel):
    """What is left out stays."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(default=None, description="The new name.")
    description: str | None = Field(default=None, max_length=MAX_DESCRIPTION_CHARS)
    settings: WorkspaceSettings = Field(
        default=WorkspaceSettings(),
        description="Settings to change; null leaves one to the server again.",
        examples=[{"top_k": 20, "response_type": None}],
    )


class WorkspaceDeleted(BaseModel):
    status: Literal["success"]
    message: str


@router.get("")
async def list_workspaces(app: OpenedApp, caller: CurrentCaller) -> WorkspacesResponse:
    """The workspaces that the caller may enter."""
    rows = [row for row in await app.workspaces.register.all() if caller.may_enter(row.name)]
    return WorkspacesResponse(workspaces=[await _shown(app, row) for row in rows])


@router.post("", status_code=201, responses={400: _REFUSED[400], 409: _REFUSED[409]})
async def create_workspace(app: OpenedApp, request: CreateWorkspaceRequest) -> WorkspaceInfo:
    """Make an empty workspace."""
    edit = WorkspaceEdit(description=request.description, settings=request.settings)
    return await _shown(app, await app.workspaces.create(request.name, edit))


@router.get("/{name}", responses={404: _REFUSED[404], 409: _REFUSED[409]})
async def get_workspace(app: OpenedApp, caller: CurrentCaller, name: Name) -> WorkspaceInfo:
    """One workspace."""
    row = await app.workspaces.register.existing(_enterable(caller, name))
    if row.is_leaving:
        raise Conflict(f"the workspace {row.name!r} is being deleted")
    return await _shown(app, row)


@router.patch("/{name}", responses=_REFUSED)
async def change_workspace(
    app: OpenedApp, caller: CurrentCaller, name: Name, request: ChangeWorkspaceRequest
) -> WorkspaceInfo:
    """Rename a workspace, describe it, or change its settings, which hold for what begins after that."""
    old = _enterable(caller, name)
    row = await app.workspaces.change(old, WorkspaceEdit(request.name, request.description, request.settings))
    if row.name != old:
        await app.access.keys.rename_workspace(old, row.name)
    return await _shown(app, row)


@router.delete("/{name}", responses={404: _REFUSED[404], 409: _REFUSED[409]})
async def delete_workspace(app: OpenedApp, caller: CurrentCaller, name: Name) -> WorkspaceDeleted:
    """Remove a workspace with everything in it: documents, graph, files, caches, history. Answers when it is done."""
    row = await app.workspaces.register.leave(_enterable(caller, name))
    job = await app.workspaces.opened(row).drop.submit()
    app.bell.ring()
    await ended(app.queue, job, DELETE_WAIT_S)
    return WorkspaceDeleted(status="success", message=f"The workspace {row.name!r} was deleted.")


def _enterable(caller: Caller, name: str) -> str:
    """The name behind a path. `NotFound` also for a workspace that the caller may not enter."""
    name = "" if name == UNNAMED else name
    if not caller.may_enter(name):
        raise NotFound(f"no such workspace: {name!r}")
    return name


async def _shown(app: App, row: WorkspaceRow) -> WorkspaceInfo:
    workspace = app.workspaces.opened(row)
    counts = await workspace.stores.documents.counts()
    created = row.created_at
    if created is None and (oldest := await workspace.stores.documents.find(Filter(), limit=1)):
        created = oldest[0].created_at
    return WorkspaceInfo(
        name=row.name,
        description=row.description,
        created_at=created,
        is_default=row.name == app.workspaces.register.default,
        documents={status.value: counts.get(status, 0) for status in DocStatus} | {"all": sum(counts.values())},
        settings=row.settings,
        effective_settings=in_force(workspace.ingest_settings, workspace.query_settings),
    )
