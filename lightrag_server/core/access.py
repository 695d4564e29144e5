"""Who calls, and what a caller may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Scope(StrEnum):
    """Each includes those before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


_RANK = {scope: rank for rank, scope in enumerate(Scope)}


@dataclass(frozen=True, slots=True)
class Caller:
    """The one behind a request. `workspaces` are those it may touch, its own first; None means all of them."""

    name: str
    kind: Literal["anonymous", "key", "user", "guest"]
    scope: Scope | None
    """The widest thing it may do; None when it may only use what is public."""
    workspaces: tuple[str, ...] | None = None

    def may(self, scope: Scope) -> bool:
        return self.scope is not None and _RANK[self.scope] >= _RANK[scope]

    def may_enter(self, workspace: str) -> bool:
        return self.workspaces is None or workspace in self.workspaces


NOBODY = Caller("nobody", "anonymous", None)
EVERYBODY = Caller("anonymous", "anonymous", Scope.ADMIN)
"""The caller of a server without any credential: it listens on this machine only."""
