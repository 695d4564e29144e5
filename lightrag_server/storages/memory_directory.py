from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lightrag_server.errors import Conflict
from lightrag_server.ports.directory import WorkspaceRow


class MemoryDirectory:
    """Every method runs to its end without waiting, so tasks of one event loop cannot come between."""

    def __init__(self) -> None:
        self._rows: dict[str, WorkspaceRow] = {}

    async def rows(self) -> list[WorkspaceRow]:
        return sorted(self._rows.values(), key=lambda row: row.name)

    async def add(self, row: WorkspaceRow) -> bool:
        if row.key in self._rows or self._is_named(row.name):
            return False
        self._rows[row.key] = row
        return True

    async def change(self, key: str, edit: Callable[[WorkspaceRow], WorkspaceRow]) -> WorkspaceRow | None:
        if (row := self._rows.get(key)) is None:
            return None
        changed = replace(edit(row), key=key)
        if changed.name != row.name and self._is_named(changed.name):
            raise Conflict(f"there is a workspace {changed.name!r} already")
        self._rows[key] = changed
        return changed

    async def remove(self, key: str) -> None:
        self._rows.pop(key, None)

    async def close(self) -> None:
        """Nothing to release."""

    def _is_named(self, name: str) -> bool:
        return any(row.name == name for row in self._rows.values())
