"""Changes to the graph by hand: queued like every change to shared stores, and waited for."""

from __future__ import annotations

from lightrag_server.api.jobs import ended
from lightrag_server.bootstrap import App
from lightrag_server.core.edits import Edit, Edited
from lightrag_server.engine.workspace import Workspace
from lightrag_server.errors import LightRAGError

EDIT_WAIT_S = 60.0


async def applied(app: App, workspace: Workspace, edit: Edit) -> Edited:
    """The edit's result. Raises `NotFound`, `Conflict` (the name is taken) or `InvalidInput` as the edit itself does,
    `Overloaded` when no worker lives, and `StillWaiting` after a minute (it goes on)."""
    return await finished(app, workspace, *await workspace.edits.submit(edit))


async def finished(app: App, workspace: Workspace, edit_id: str, job: int) -> Edited:
    """The result of an edit that was submitted; raises as `applied`."""
    await ended(app.queue, job, EDIT_WAIT_S, lambda: _is_done(workspace, edit_id))
    edited = await workspace.edits.outcome(edit_id)
    if edited is None:
        raise LightRAGError("the job ended without the edit")
    return edited


async def _is_done(workspace: Workspace, edit_id: str) -> bool:
    """A commit under way takes edits between documents: the edit may be done long before the job is."""
    return bool(await workspace.stores.edit_outcomes.get([edit_id]))
