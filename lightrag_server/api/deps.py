"""What routes are given: the opened application and the workspace of the request."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Request

from lightrag_server.bootstrap import App
from lightrag_server.engine.workspace import Workspace

WORKSPACE_HEADER = "LIGHTRAG-WORKSPACE"


def opened_app(request: Request) -> App:
    return request.app.state.opened


OpenedApp = Annotated[App, Depends(opened_app)]


async def chosen_workspace(
    app: OpenedApp,
    name: Annotated[
        str | None, Header(alias=WORKSPACE_HEADER, description="Workspace of this request. Unset: WORKSPACE.")
    ] = None,
) -> Workspace:
    """The workspace that the request names, else the configured one."""
    return await app.workspaces.get((name or "").strip() or app.settings.server.workspace)


ChosenWorkspace = Annotated[Workspace, Depends(chosen_workspace)]
