from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lightrag_server.core.access import ApiKey, AuditEntry


@dataclass(frozen=True, slots=True)
class Known:
    """All keys ever made by the digest of their secret, and when each revoked token would have expired."""

    revision: int
    keys: Mapping[str, ApiKey]
    revoked_tokens: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A try that was counted, or refused for `wait_s` seconds: then `id` is None."""

    id: int | None
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """`since` is epoch seconds. None does not restrict."""

    caller: str | None = None
    workspace: str | None = None
    since: float | None = None


class AccessStore(Protocol):
    """Keys, revoked tokens, login attempts and the audit trail, shared by all processes of one installation.

    Times are epoch seconds and given by the caller.
    """

    async def add_key(self, key: ApiKey, digest: str) -> None:
        """Keep a key under the digest of its secret; `Conflict` when its id or digest is taken."""
        ...

    async def revoke_key(self, id: str, at: float) -> ApiKey | None:
        """The key as it is now; the first revocation's time stays. None for an unknown id."""
        ...

    async def rename_workspace(self, old: str, new: str) -> None:
        """Put the new name in place of the old one in what all keys open; no error where none names it."""
        ...

    async def mark_used(self, uses: Mapping[str, float]) -> None:
        """Note when keys were used, by id; the latest time wins, unknown ids are no error."""
        ...

    async def keys(self) -> list[ApiKey]:
        """All ever made, oldest first."""
        ...

    async def revoke_token(self, id: str, at: float, until: float) -> None:
        """Remember a token until it would expire anyway; those that have expired `at` that time are forgotten."""
        ...

    async def known(self, revision: int = -1) -> Known | None:
        """What was known when last anything was added or revoked; None when nothing was since `revision`.

        Use of a key moves no revision.
        """
        ...

    async def attempt(self, limits: Mapping[str, int], at: float, window_s: float) -> Attempt:
        """Count a try for every subject, unless one had as many as its limit within the window: then for none.

        Tries that run at the same time count each other.
        """
        ...

    async def forgive(self, id: int, subjects: Sequence[str]) -> None:
        """Take back one try, and all tries of these subjects."""
        ...

    async def admit(self, subject: str, every_s: float, burst: int, at: float) -> float:
        """Count a request of which there may be one every so many seconds, and `burst` at once after a silence. 0.0, or
        the seconds to wait: then it is not counted.

        Requests that come at the same time, to any process, count each other.
        """
        ...

    async def append_audit(self, entries: Sequence[AuditEntry]) -> None: ...

    async def audit(self, which: AuditFilter, offset: int, limit: int) -> tuple[list[AuditEntry], int]:
        """Entries newest first, and how many there are in all."""
        ...

    async def prune_audit(self, before: float) -> None:
        """Forget older entries."""
        ...

    async def close(self) -> None:
        """Release files and threads. Idempotent; what was kept stays."""
        ...
