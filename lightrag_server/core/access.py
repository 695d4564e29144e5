"""Who calls, and what a caller may do."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

CallerKind = Literal["anonymous", "key", "user", "guest"]


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
    kind: CallerKind
    scope: Scope | None
    """The widest thing it may do; None when it may only use what is public."""
    workspaces: tuple[str, ...] | None = None
    key_id: str | None = None
    """The row of its API key, since names of keys may repeat."""

    def may(self, scope: Scope) -> bool:
        return self.scope is not None and _RANK[self.scope] >= _RANK[scope]

    def may_enter(self, workspace: str) -> bool:
        return self.workspaces is None or workspace in self.workspaces

    @property
    def is_known(self) -> bool:
        """Somebody with a credential, or anybody where there is none to have."""
        return self.kind in ("key", "user") or self == EVERYBODY


NOBODY = Caller("nobody", "anonymous", None)
EVERYBODY = Caller("anonymous", "anonymous", Scope.ADMIN)
"""The caller of a server without any credential: it listens on this machine only."""
ADMINISTRATOR = Caller("LIGHTRAG_API_KEY", "key", Scope.ADMIN)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept: what it opens, never the key itself. Times are epoch seconds."""

    id: str
    name: str
    scope: Scope
    workspaces: tuple[str, ...] | None
    created_at: float
    expires_at: float | None = None
    last_used_at: float | None = None
    """Coarse: some minutes may be missing."""
    revoked_at: float | None = None

    def is_valid(self, now: float) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    @property
    def caller(self) -> Caller:
        return Caller(self.name, "key", self.scope, self.workspaces, self.id)


def renamed_in(key: ApiKey, old: str, new: str) -> ApiKey:
    """The key after a workspace that it opens was renamed."""
    names = (new if name == old else name for name in key.workspaces or ())
    return replace(key, workspaces=tuple(dict.fromkeys(names)))


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """That somebody changed something or tried to. `at` is epoch seconds; `status` is what the caller was answered."""

    at: float
    caller: str
    kind: CallerKind
    key_id: str | None
    address: str
    workspace: str | None
    method: str
    path: str
    status: int
    request_id: str


def admitted(due: float, every_s: float, burst: int, at: float) -> tuple[float, float]:
    """Seconds to wait, and when one request after the other would be through: `due` is when those before are."""
    begin = min(max(due, at), at + burst * every_s)  # a clock that was set back keeps nobody out
    wait_s = begin - at - (burst - 1) * every_s
    return (wait_s, due) if wait_s > 0 else (0.0, begin + every_s)


def digest_of(secret: str) -> str:
    """What is kept of a random secret. Not for passwords: it is quick to compute."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
