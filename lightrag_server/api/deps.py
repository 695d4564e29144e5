"""What routes are given: the opened application, the caller, and the workspace of the request."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Request

from lightrag_server.api.auth import caller_of
from lightrag_server.bootstrap import App
from lightrag_server.core.access import Caller
from lightrag_server.engine.workspace import Workspace
from lightrag_server.errors import NotFound

WORKSPACE_HEADER = "LIGHTRAG-WORKSPACE"


def opened_app(request: Request) -> App:
    return request.app.state.opened


OpenedApp = Annotated[App, Depends(opened_app)]
CurrentCaller = Annotated[Caller, Depends(caller_of)]


async def workspace_for(app: App, caller: Caller, name: str | None) -> Workspace:
    """The workspace that a request names, else the caller's own, else the configured one. One that the caller may not
    enter is as unknown as one that does not exist: `NotFound`."""
    name = (name or "").strip()
    if not name:
        name = caller.workspaces[0] if caller.workspaces else app.settings.server.workspace
    workspace = await app.workspaces.get(name)
    if not caller.may_enter(workspace.name):
        raise NotFound(f"no such workspace: {name!r}")
    return workspace


async def chosen_workspace(
    app: OpenedApp,
    caller: CurrentCaller,
    name: Annotated[
        str | None,
        Header(alias=WORKSPACE_HEADER, description="Workspace of this request. Unset: the key's own, else WORKSPACE."),
    ] = None,
) -> Workspace:
    return await workspace_for(app, caller, name)


ChosenWorkspace = Annotated[Workspace, Depends(chosen_workspace)]
