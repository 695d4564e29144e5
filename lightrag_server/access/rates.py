"""How many requests a caller may make; counted in the store, so for all processes."""

from __future__ import annotations

from collections.abc import Callable

from lightrag_server.access.throttle import network_of
from lightrag_server.core.access import Caller
from lightrag_server.ports.access import AccessStore

MINUTE_S = 60.0


class Rates:
    """`per_minute` on average and `burst` at once; 0 per minute means any number. One small transaction per request,
    and none without a limit."""

    def __init__(self, store: AccessStore, clock: Callable[[], float], per_minute: int, burst: int | None) -> None:
        self._store = store
        self._clock = clock
        self._per_minute = per_minute
        self._burst = burst or max(1, per_minute // 4)

    async def wait_s(self, caller: Caller, address: str) -> float:
        """Count a request: 0.0, or how long to wait before the next may come."""
        if not self._per_minute:
            return 0.0
        subject = _subject(caller, address)
        return await self._store.admit(subject, MINUTE_S / self._per_minute, self._burst, self._clock())


def _subject(caller: Caller, address: str) -> str:
    if caller.kind in ("key", "user"):
        return f"{caller.kind} {caller.key_id or caller.name}"
    return f"address {network_of(address)}"
