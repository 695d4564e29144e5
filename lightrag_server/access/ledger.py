"""The record of who changed what, written behind the requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from lightrag_server.core.access import ApiKey, AuditEntry
from lightrag_server.errors import LightRAGError
from lightrag_server.ports.access import AccessStore

logger = logging.getLogger(__name__)

USE_RESOLUTION_S = 300.0
PRUNE_EVERY_S = 6 * 3600.0
RETRY_S = 1.0
MAX_WAITING = 10_000
REFUSED = (401, 403, 429)
MAX_REFUSED_PER_MINUTE = 300
"""Of strangers: they shall not be able to fill the disk."""


class Ledger:
    """Takes entries at once and writes them soon; `close` writes the rest. A store that is away is tried again."""

    def __init__(self, store: AccessStore, clock: Callable[[], float], keep_s: float) -> None:
        self._store = store
        self._clock = clock
        self._keep_s = keep_s
        self._entries: list[AuditEntry] = []
        self._uses: dict[str, float] = {}
        self._last_use: dict[str, float] = {}
        self._pruned_at = float("-inf")
        self._minute = float("-inf")
        self._refused = 0
        self._writer: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def record(self, entry: AuditEntry) -> None:
        if entry.kind == "anonymous" and entry.status in REFUSED and not self._has_room(entry.at):
            return
        if len(self._entries) >= MAX_WAITING:
            logger.error("audit entries are lost: the store is away for too long")
            return
        self._entries.append(entry)
        self._wake()

    def used(self, key: ApiKey) -> None:
        now = self._clock()
        if now - self._last_use.get(key.id, key.last_used_at or 0.0) >= USE_RESOLUTION_S:
            self._last_use[key.id] = self._uses[key.id] = now
            self._wake()

    async def flush(self) -> None:
        """Wait until everything taken so far is written."""
        if self._writer:
            await asyncio.wait([self._writer])

    async def close(self) -> None:
        """What a store that is away does not take is lost, and said to be."""
        self._closing.set()
        await self.flush()
        if self._entries:
            logger.error("audit entries are lost count=%s", len(self._entries))

    def _has_room(self, now: float) -> bool:
        if now - self._minute >= 60:
            if self._refused > MAX_REFUSED_PER_MINUTE:
                logger.warning("refusals without audit entries count=%s", self._refused - MAX_REFUSED_PER_MINUTE)
            self._minute, self._refused = now, 0
        self._refused += 1
        return self._refused <= MAX_REFUSED_PER_MINUTE

    def _wake(self) -> None:
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all(), name="ledger")

    async def _write_all(self) -> None:
        try:
            while self._entries or self._uses:
                try:
                    await self._write()
                except LightRAGError as error:
                    logger.warning("audit entries wait count=%s error=%s", len(self._entries), error)
                    if self._closing.is_set():
                        break
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._closing.wait(), RETRY_S)
        finally:
            self._writer = None

    async def _write(self) -> None:
        count, uses = len(self._entries), dict(self._uses)
        if count:
            await self._store.append_audit(self._entries[:count])
            del self._entries[:count]
        if uses:
            await self._store.mark_used(uses)
            self._uses = {id: at for id, at in self._uses.items() if uses.get(id) != at}
        if count and self._clock() - self._pruned_at > PRUNE_EVERY_S:
            await self._store.prune_audit(self._clock() - self._keep_s)
            self._pruned_at = self._clock()
