"""A complete access store in memory: for tests and for servers that keep nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lightrag_server.core.access import ApiKey, AuditEntry, admitted, renamed_in
from lightrag_server.errors import Conflict
from lightrag_server.ports.access import Attempt, AuditFilter, Known


class MemoryAccessStore:
    """Every method runs to its end without waiting, so tasks of one event loop cannot come between."""

    def __init__(self) -> None:
        self._revision = 0
        self._keys: dict[str, ApiKey] = {}
        self._digests: dict[str, str] = {}
        self._revoked: dict[str, float] = {}
        self._attempts: list[tuple[int, str, float]] = []
        self._last_attempt = 0
        self._due: dict[str, float] = {}
        self._audit: list[AuditEntry] = []

    async def add_key(self, key: ApiKey, digest: str) -> None:
        if key.id in self._keys or digest in self._digests:
            raise Conflict(f"a key {key.id!r} exists")
        self._keys[key.id] = key
        self._digests[digest] = key.id
        self._revision += 1

    async def revoke_key(self, id: str, at: float) -> ApiKey | None:
        key = self._keys.get(id)
        if key and key.revoked_at is None:
            key = self._keys[id] = replace(key, revoked_at=at)
            self._revision += 1
        return key

    async def rename_workspace(self, old: str, new: str) -> None:
        for key in self._keys.values():
            if old in (key.workspaces or ()):
                self._keys[key.id] = renamed_in(key, old, new)
                self._revision += 1

    async def mark_used(self, uses: Mapping[str, float]) -> None:
        for id in uses.keys() & self._keys.keys():
            key = self._keys[id]
            self._keys[id] = replace(key, last_used_at=max(key.last_used_at or 0.0, uses[id]))

    async def keys(self) -> list[ApiKey]:
        return sorted(self._keys.values(), key=lambda key: key.created_at)

    async def revoke_token(self, id: str, at: float, until: float) -> None:
        self._revoked = {id: end for id, end in self._revoked.items() if end > at} | {id: until}
        self._revision += 1

    async def known(self, revision: int = -1) -> Known | None:
        if revision == self._revision:
            return None
        keys = {digest: self._keys[id] for digest, id in self._digests.items()}
        return Known(self._revision, keys, dict(self._revoked))

    async def attempt(self, limits: Mapping[str, int], at: float, window_s: float) -> Attempt:
        self._attempts = [row for row in self._attempts if row[2] > at - window_s]
        waits = [self._wait(subject, limit, at, window_s) for subject, limit in limits.items()]
        if any(waits):
            return Attempt(None, max(waits))
        self._last_attempt += 1
        self._attempts += [(self._last_attempt, subject, at) for subject in limits]
        return Attempt(self._last_attempt)

    def _wait(self, subject: str, limit: int, at: float, window_s: float) -> float:
        times = sorted(row[2] for row in self._attempts if row[1] == subject)
        return times[-limit] + window_s - at if len(times) >= limit else 0.0

    async def forgive(self, id: int, subjects: Sequence[str]) -> None:
        self._attempts = [row for row in self._attempts if row[0] != id and row[1] not in subjects]

    async def admit(self, subject: str, every_s: float, burst: int, at: float) -> float:
        self._due = {name: due for name, due in self._due.items() if due > at}
        wait_s, due = admitted(self._due.get(subject, at), every_s, burst, at)
        self._due[subject] = due
        return wait_s

    async def append_audit(self, entries: Sequence[AuditEntry]) -> None:
        self._audit += entries

    async def audit(self, which: AuditFilter, offset: int, limit: int) -> tuple[list[AuditEntry], int]:
        found = [entry for entry in reversed(self._audit) if _fits(entry, which)]
        return found[offset : offset + limit], len(found)

    async def prune_audit(self, before: float) -> None:
        self._audit = [entry for entry in self._audit if entry.at >= before]

    async def close(self) -> None:
        """Nothing is held but memory."""


def _fits(entry: AuditEntry, which: AuditFilter) -> bool:
    return (
        which.caller in (None, entry.caller)
        and which.workspace in (None, entry.workspace)
        and (which.since is None or entry.at >= which.since)
    )
