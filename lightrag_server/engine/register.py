"""The names of workspaces and what belongs to them: which there are, which may be entered, and under which key."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import chain, count

from lightrag_server.engine.clock import Clock
from lightrag_server.errors import Conflict, InvalidInput, NotFound
from lightrag_server.ports.directory import Directory, WorkspaceRow

MAX_NAME_CHARS = 64
KEPT_S = 1.0
"""What other processes change is seen after at most so long; this one's own changes are seen at once."""
_ODD = re.compile(r"[^A-Za-z0-9_-]")

Stored = Callable[[], Awaitable[list[str]]]
"""Gives the keys under which anything is stored."""


def clean_name(name: str) -> str:
    """The name that a request means: odd characters become underscores (LightRAG's rule)."""
    clean = _ODD.sub("_", name.strip())
    if len(clean) > MAX_NAME_CHARS:
        raise InvalidInput(f"a workspace name has at most {MAX_NAME_CHARS} characters")
    return clean


def checked_name(name: str) -> str:
    """A name for a workspace, or `InvalidInput`: what is named on purpose is not bent."""
    if not name or clean_name(name) != name:
        raise InvalidInput(f"a workspace name has letters, digits, _ and -, and at most {MAX_NAME_CHARS} of them")
    return name


@dataclass(frozen=True, slots=True)
class _Snapshot:
    by_key: dict[str, WorkspaceRow] = field(default_factory=dict[str, WorkspaceRow])
    by_name: dict[str, WorkspaceRow] = field(default_factory=dict[str, WorkspaceRow])
    until: float = float("-inf")


class Register:
    """A workspace without a row exists as soon as anything is stored under its name, which then is its key: data of
    before there were rows, and what is made by its first use."""

    def __init__(self, directory: Directory, stored: Stored, clock: Clock, *, default: str, auto_create: bool) -> None:
        self._directory = directory
        self._stored = stored
        self._clock = clock
        self._auto_create = auto_create
        self._seen = _Snapshot()
        self.default = clean_name(default)

    async def by_key(self, key: str) -> WorkspaceRow:
        """For jobs and for looking after what is stored: also a workspace that is being deleted, or has no row."""
        return (await self._rows()).by_key.get(key) or WorkspaceRow(key, key)

    async def has_row(self, key: str) -> bool:
        return key in (await self._rows()).by_key

    async def is_leaving(self, key: str) -> bool:
        """As it is now: the answer allows a deletion to go on."""
        self._forget()
        return (await self.by_key(key)).is_leaving

    async def keys(self) -> list[str]:
        """All that hold anything or have a row, sorted."""
        return sorted({*await self._stored(), *(await self._rows()).by_key})

    async def entered(self, name: str, *, will_write: bool) -> WorkspaceRow:
        """The workspace that a request means. One that does not exist is made by its first write, and empty until
        then. Raises `NotFound` where that is switched off, `Conflict` while it is being deleted."""
        rows = await self._rows()
        row = rows.by_name.get(name) or await self._without_row(name, rows, will_write)
        return _unless_leaving(row)

    async def existing(self, name: str) -> WorkspaceRow:
        """Raises `NotFound` for one that is neither the default, nor has a row or anything stored."""
        rows = await self._rows()
        if row := rows.by_name.get(name):
            return row
        if name not in rows.by_key and (name == self.default or name in await self._stored()):
            return WorkspaceRow(name, name)
        raise NotFound(f"no such workspace: {name!r}")

    async def all(self) -> list[WorkspaceRow]:
        """Every workspace, by name, those that are being deleted left out."""
        rows = await self._rows()
        found = [row for row in rows.by_key.values() if not row.is_leaving]
        for key in {*await self._stored(), self.default} - rows.by_key.keys():
            if key not in rows.by_name:
                found.append(WorkspaceRow(key, key))
            elif key != self.default:
                found.append(await self._added(_free(key, rows.by_name), key=key))
        return sorted(found, key=lambda row: row.name)

    async def create(self, name: str, edit: Callable[[WorkspaceRow], WorkspaceRow]) -> WorkspaceRow:
        """A new workspace as `edit` fills it in. Raises `InvalidInput` or `Conflict` for its name."""
        await self._check_free(checked_name(name))
        row = edit(WorkspaceRow(await self._free_key(name), name, self._now()))
        if not await self._directory.add(row):
            self._forget()
            raise _taken(name)
        self._forget()
        return row

    async def change(self, name: str, edit: Callable[[WorkspaceRow], WorkspaceRow]) -> WorkspaceRow:
        """The workspace as `edit`, a quick pure function, makes it. Raises what `existing` and `edit` raise, and
        `Conflict` while it is being deleted, when a new name is taken, and when the default would be renamed."""
        self._forget()
        row = _unless_leaving(await self.existing(name))
        renamed = edit(row).name
        if renamed != name:
            self._refuse_default(name, "renamed")
            await self._check_free(checked_name(renamed))
        await self._directory.add(row)
        changed = await self._directory.change(row.key, lambda current: edit(_unless_leaving(_still(current, name))))
        self._forget()
        if changed is None:
            raise NotFound(f"no such workspace: {name!r}")
        return changed

    async def leave(self, name: str) -> WorkspaceRow:
        """Let nobody enter it any more; for one that is left already that is so. Raises `NotFound`, and `Conflict`
        for the default workspace."""
        self._forget()
        row = await self.existing(name)
        self._refuse_default(name, "deleted")
        await self._directory.add(row)
        left = await self._directory.change(row.key, lambda current: replace(_still(current, name), is_leaving=True))
        self._forget()
        return left or row

    async def remove(self, key: str) -> None:
        await self._directory.remove(key)
        self._forget()

    # -- rows

    async def _rows(self) -> _Snapshot:
        seen = self._seen
        if time.monotonic() < seen.until:
            return seen
        until = time.monotonic() + KEPT_S
        rows = await self._directory.rows()
        fresh = _Snapshot({row.key: row for row in rows}, {row.name: row for row in rows}, until)
        if self._seen is seen:  # else it was changed while we read
            self._seen = fresh
        return fresh

    def _forget(self) -> None:
        self._seen = _Snapshot()

    async def _without_row(self, name: str, rows: _Snapshot, will_write: bool) -> WorkspaceRow:
        is_there = self._auto_create or name == self.default
        if name not in rows.by_key and (is_there or name in await self._stored()):
            return WorkspaceRow(name, name)
        if not is_there:
            raise NotFound(f"no such workspace: {name!r}")
        # its key is that of a workspace that was renamed
        key = await self._free_key(name)
        return await self._added(name, key=key) if will_write else WorkspaceRow(key, name)

    async def _added(self, name: str, *, key: str) -> WorkspaceRow:
        """A row for these, or the one that somebody else was faster with."""
        row = WorkspaceRow(key, name, self._now())
        is_ours = await self._directory.add(row)
        self._forget()
        if is_ours:
            return row
        rows = await self._rows()
        found = rows.by_name.get(name) or rows.by_key.get(key)
        if found is None:
            raise Conflict(f"the workspace {name!r} has just been deleted; try again")
        return found

    async def _free_key(self, name: str) -> str:
        """The name itself where nothing is and was stored under it for another workspace."""
        self._forget()
        return _free(name, {*(await self._rows()).by_key, *await self._stored()})

    async def _check_free(self, name: str) -> None:
        self._forget()
        rows = await self._rows()
        if name in rows.by_name or name == self.default:
            raise _taken(name)
        if name not in rows.by_key and name in await self._stored():
            raise _taken(name)

    def _refuse_default(self, name: str, what: str) -> None:
        if name == self.default:
            raise Conflict(f"the default workspace cannot be {what}: WORKSPACE names it; DELETE /documents empties it")

    def _now(self) -> str:
        return self._clock().isoformat()


def _unless_leaving(row: WorkspaceRow) -> WorkspaceRow:
    if row.is_leaving:
        raise Conflict(f"the workspace {row.name!r} is being deleted")
    return row


def _still(row: WorkspaceRow, name: str) -> WorkspaceRow:
    """What was asked of a name is not done to what has just lost it."""
    if row.name != name:
        raise Conflict(f"the workspace {name!r} has just been renamed")
    return row


def _taken(name: str) -> Conflict:
    return Conflict(f"there is a workspace {name!r} already")


def _free(name: str, taken: Iterable[str]) -> str:
    """The name, else with the first number that makes it free."""
    used = set(taken)
    numbered = (f"{name[: MAX_NAME_CHARS - 4]}-{n}" for n in count(2))
    return next(candidate for candidate in chain([name], numbered) if candidate not in used)
