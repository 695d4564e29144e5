"""What routes are given: the opened application, the caller, and the workspace of the request."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Request

from lightrag_server import logs
from lightrag_server.api.auth import caller_of
from lightrag_server.bootstrap import App
from lightrag_server.core.access import Caller, Scope
from lightrag_server.engine.register import clean_name
from lightrag_server.engine.workspace import Workspace
from lightrag_server.errors import NotFound

WORKSPACE_HEADER = "LIGHTRAG-WORKSPACE"


# coroutines, though they wait for nothing: FastAPI sends plain functions to a thread
async def opened_app(request: Request) -> App:
    return request.app.state.opened


async def current_caller(request: Request) -> Caller:
    return caller_of(request)


OpenedApp = Annotated[App, Depends(opened_app)]
CurrentCaller = Annotated[Caller, Depends(current_caller)]


async def workspace_for(app: App, caller: Caller, name: str | None, *, will_write: bool = False) -> Workspace:
    """The workspace that a request names, else the caller's own, else the configured one. One that the caller may not
    enter is as unknown as one that does not exist: `NotFound`. Who gave no credential sees the configured one."""
    name = clean_name(name or "")
    if not name or not caller.is_known:
        name = caller.workspaces[0] if caller.workspaces else app.workspaces.register.default
    if not caller.may_enter(name):
        raise NotFound(f"no such workspace: {name!r}")
    logs.note(workspace=name)
    return await app.workspaces.named(name, will_write=will_write)


async def chosen_workspace(
    request: Request,
    app: OpenedApp,
    caller: CurrentCaller,
    name: Annotated[
        str | None,
        Header(alias=WORKSPACE_HEADER, description="Workspace of this request. Unset: the key's own, else WORKSPACE."),
    ] = None,
) -> Workspace:
    will_write = request.state.required is not Scope.READ
    workspace = await workspace_for(app, caller, name, will_write=will_write)
    request.state.workspace = workspace.name  # for the audit trail
    return workspace


ChosenWorkspace = Annotated[Workspace, Depends(chosen_workspace)]
