"""Where a call comes from: what the tools know of HTTP and of standard input and output alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lightrag_server.api.deps import workspace_for
from lightrag_server.bootstrap import App
from lightrag_server.core.access import Caller, Scope
from lightrag_server.engine.workspace import Workspace
from lightrag_server.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Seat:
    """`workspace` is the one chosen for the connection; a tool's argument wins over it. `audit` is told the workspace
    of each call that writes, allowed or not."""

    app: App
    caller: Caller
    workspace: str | None
    request_id: str
    audit: Callable[[str | None], None]

    async def enter(self, named: str | None) -> Workspace:
        """Raise `NotFound` for a workspace that the caller may not enter."""
        return await workspace_for(self.app, self.caller, named or self.workspace)

    async def enter_to_write(self, named: str | None) -> Workspace:
        """As `enter`; also raise `InvalidInput` for a caller that may only read."""
        self.audit(named or self.workspace or next(iter(self.caller.workspaces or ()), None))
        if not self.caller.may(Scope.WRITE):
            raise InvalidInput(f"this credential may only {self.caller.scope}; inserting needs the scope write")
        return await workspace_for(self.app, self.caller, named or self.workspace, will_write=True)
