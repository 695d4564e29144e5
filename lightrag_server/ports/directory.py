from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class WorkspaceRow:
    """What is known of a workspace beside its data. People use the `name`, which may change; stores, jobs, blobs and
    input folders the `key`, which never does. `settings` are the workspace's own, by their public names."""

    key: str
    name: str
    created_at: str | None = None
    description: str = ""
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    is_leaving: bool = False
    """It is being deleted: nobody may enter it any more."""


class Directory(Protocol):
    """Workspaces by key and by name, each of which is unique; shared by all processes of one installation."""

    async def rows(self) -> list[WorkspaceRow]:
        """All, by name."""
        ...

    async def add(self, row: WorkspaceRow) -> bool:
        """Insert a row unless its key or its name is taken; say whether it was. Atomic."""
        ...

    async def change(self, key: str, edit: Callable[[WorkspaceRow], WorkspaceRow]) -> WorkspaceRow | None:
        """Replace a row by what `edit`, a quick pure function, makes of it, and return that; None where there is no
        such row. Atomic. Raises `Conflict`, and changes nothing, when the new name is another's."""
        ...

    async def remove(self, key: str) -> None:
        """Forget a row; an unknown one is no error."""
        ...

    async def close(self) -> None:
        """Release files and threads. Idempotent."""
        ...
