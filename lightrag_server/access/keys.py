"""API keys: made, shown once, found again by their digest."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lightrag_server.core.access import ApiKey, Scope, digest_of
from lightrag_server.errors import InvalidInput, NotFound
from lightrag_server.ports.access import AccessStore, Known

PREFIX = "lrk_"
SECRET_BYTES = 32
MAX_AGE_S = 1.0
MAX_NAME_CHARS = 100


@dataclass(frozen=True, slots=True)
class NewKey:
    """`workspaces`: None means all; the first is used when a request names none. `life_s`: None means for ever."""

    name: str
    scope: Scope = Scope.READ
    workspaces: Sequence[str] | None = None
    life_s: float | None = None


class Keys:
    """All keys and revoked tokens, as they were at most `MAX_AGE_S` ago; changes of this process hold at once.

    `clean` makes of a workspace's name the one that requests end up with.
    """

    def __init__(self, store: AccessStore, clock: Callable[[], float], clean: Callable[[str], str]) -> None:
        self._store = store
        self._clock = clock
        self._clean = clean
        self._known = Known(-1, {}, {})
        self._read_at = float("-inf")
        self._changes = 0
        self._reading = asyncio.Lock()

    async def find(self, secret: str) -> ApiKey | None:
        """The valid key of this secret."""
        digest, now = digest_of(secret), time.monotonic()
        key = (await self.known()).keys.get(digest)
        if key is None:  # another process may have made it a moment ago
            key = (await self._read_since(now)).keys.get(digest)
        return key if key and key.is_valid(self._clock()) else None

    async def create(self, new: NewKey) -> tuple[ApiKey, str]:
        """The key and its secret, which is kept nowhere."""
        _check(new)
        secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        now = self._clock()
        key = ApiKey(
            id=secrets.token_hex(8),
            name=new.name.strip(),
            scope=new.scope,
            workspaces=tuple(dict.fromkeys(map(self._clean, new.workspaces))) if new.workspaces else None,
            created_at=now,
            expires_at=now + new.life_s if new.life_s is not None else None,
        )
        await self._store.add_key(key, digest_of(secret))
        self._forget()
        return key, secret

    async def revoke(self, id: str) -> ApiKey:
        key = await self._store.revoke_key(id, self._clock())
        self._forget()
        if key is None:
            raise NotFound(f"no such key: {id!r}")
        return key

    async def rename_workspace(self, old: str, new: str) -> None:
        """Keys go on opening a workspace that was renamed."""
        await self._store.rename_workspace(old, new)
        self._forget()

    async def revoke_token(self, id: str, until: float) -> None:
        await self._store.revoke_token(id, self._clock(), until)
        self._forget()

    async def is_revoked(self, token_id: str) -> bool:
        return token_id in (await self.known()).revoked_tokens

    async def exist(self) -> bool:
        """Whether one was ever made, valid or not."""
        return bool((await self.known()).keys)

    async def all(self) -> list[ApiKey]:
        """Oldest first."""
        return await self._store.keys()

    async def get(self, id: str) -> ApiKey:
        for key in await self.all():
            if key.id == id:
                return key
        raise NotFound(f"no such key: {id!r}")

    async def known(self) -> Known:
        return await self._read_since(time.monotonic() - MAX_AGE_S)

    async def _read_since(self, moment: float) -> Known:
        """Who waits for another's read, begun after the moment, is content with it: guesses do not add up."""
        if self._read_at < moment:
            async with self._reading:
                if self._read_at < moment:
                    await self._read()
        return self._known

    async def _read(self) -> None:
        begun, changes = time.monotonic(), self._changes
        self._known = await self._store.known(self._known.revision) or self._known
        if changes == self._changes:
            self._read_at = begun

    def _forget(self) -> None:
        self._changes += 1
        self._read_at = float("-inf")


def _check(new: NewKey) -> None:
    if not 0 < len(new.name.strip()) <= MAX_NAME_CHARS:
        raise InvalidInput(f"the name of a key has 1 to {MAX_NAME_CHARS} characters")
    if new.workspaces and new.scope is Scope.ADMIN:
        raise InvalidInput("a key with workspaces has the scope read or write: an administrator reaches all of them")
    if new.life_s is not None and new.life_s <= 0:
        raise InvalidInput("a key cannot expire before it is made")
