"""Bounds how many calls a vendor gets at once: questions first, and all processes of the host together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from lightrag_server.bindings.pace import Pace, Seen
from lightrag_server.bindings.slots import SIGN_EVERY_S, OwnSlots, Slots, monotonic
from lightrag_server.errors import ProviderThrottled

POLL_S = 0.01
POLL_ASKING_S = 0.003
"""How often is looked for a slot that another process gives back."""
YIELD_S = 0.025
"""How long a process that gives a slot back leaves it to a poorer one."""
GIVE_WAY_S = 1.0
"""How long a free slot is left to a question of another process: one that is alive takes it in milliseconds."""
ASKED_LATELY_S = 60.0
KEPT_FOR_QUESTIONS = 8
"""While questions come, one slot in so many, and at least one of several, takes no work in the background."""
LONGEST_PAUSE_S = 60.0


@dataclass(slots=True)
class Call:
    """`size` is to be set when it has ended, to what tells how long it may take: the length of what was written, or
    of what was read where nothing is written."""

    started_at: float
    running: int
    is_settled: bool
    """Whether no more ran than the limit says when it began."""
    began_full: bool
    size: int | None = None


class Limiter:
    """At most `limit` at once; questions go before work in the background, else first come, first served. Several
    models may share one.

    With `slots` of a host, `limit` holds for all its processes together. A `pace` moves the limit below that, and a
    pause that the vendor asked for is kept by everybody; whoever would wait longer than `longest_pause_s` for its end
    gets the vendor's refusal at once.
    """

    def __init__(
        self,
        limit: int,
        slots: Slots | None = None,
        pace: Pace | None = None,
        *,
        longest_pause_s: float = LONGEST_PAUSE_S,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.limit = limit
        self.queued = 0
        self.running = 0
        self._slots = slots or OwnSlots(limit)
        self._pace = pace
        self._longest_pause_s = longest_pause_s
        self._clock = clock
        self._questions: deque[asyncio.Future[int]] = deque()
        self._others: deque[asyncio.Future[int]] = deque()
        self._yields_until = 0.0
        self.is_draining = False
        self._in_background = 0
        self._idle = asyncio.Event()
        self._gives_way_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._showing: asyncio.TimerHandle | None = None

    @property
    def current_limit(self) -> int:
        return min(self.limit, int(self._slots.read().limit)) if self._pace else self.limit

    @asynccontextmanager
    async def slot(self, *, in_background: bool = False) -> AsyncIterator[Call]:
        """Hold a slot. Raises `ProviderThrottled` when the vendor asked all to wait for too long."""
        slot = await self._slot(in_background)
        self._in_background += in_background
        call = Call(self._clock(), self.running, self._is_settled(), self._is_full())
        try:
            yield call
        except ProviderThrottled as error:
            if self._pace:
                running = max(call.running, self._slots.taken())
                wait_s = error.retry_after_s or 0.0
                self._pace.throttled(call.started_at, running, wait_s, is_settled=call.is_settled)
            raise
        else:
            if self._pace:
                seconds, is_steady = self._clock() - call.started_at, call.is_settled and call.began_full
                self._pace.ended(Seen(call.started_at, seconds, call.size, self._is_full(), is_steady))
        finally:
            self.running -= 1
            self._in_background -= in_background
            if not self._in_background:
                self._idle.set()
            self._give(slot)

    async def drain(self, seconds: float) -> None:
        """Begin no more work in the background, and wait so long at most until what runs of it has ended. What waits
        for its turn goes on waiting, until it is cancelled."""
        self.is_draining = True
        self._idle.clear()
        if self._in_background:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._idle.wait()

    def close(self) -> None:
        """Give up the file; nothing may be running or waiting any more."""
        self._rest()
        if self._showing is not None:
            self._showing.cancel()
        self._slots.close()

    async def _slot(self, in_background: bool) -> int:
        self._refuse_long_pause()
        if self._pace and not self.running:
            self._pace.begins()
        if not in_background and self._clock() - self._slots.last_asked() > 1.0:
            self._slots.asked(self._clock())
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        (self._others if in_background else self._questions).append(future)
        self.queued += 1
        self._hand_out()
        try:
            slot = await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._give(future.result())
            else:
                self._hand_out()
            raise
        finally:
            self.queued -= 1
        self.running += 1
        if self._showing is None:
            self._showing = asyncio.get_running_loop().call_later(SIGN_EVERY_S, self._show)
        return slot

    def _show(self) -> None:
        self._showing = None
        if self.running:
            self._slots.show(self._clock())
            self._showing = asyncio.get_running_loop().call_later(SIGN_EVERY_S, self._show)

    def _refuse_long_pause(self) -> None:
        left = self._slots.read().paused_until - self._clock() if self._pace else 0.0
        if left > self._longest_pause_s:
            raise ProviderThrottled("the vendor asked to wait", retry_after_s=left)

    def _hand_out(self) -> None:
        """Slots to those who wait, as far as there are any."""
        while (waiting := self._next()) is not None:
            slot = self._take(in_background=waiting is self._others)
            if slot is None:
                self._look_again(is_asking=waiting is self._questions)
                return
            waiting.popleft().set_result(slot)
        self._rest()

    def _next(self) -> deque[asyncio.Future[int]] | None:
        for waiting in (self._questions, self._others):
            while waiting and waiting[0].done():  # whoever waited has left
                waiting.popleft()
            if waiting:
                return waiting
        return None

    def _take(self, *, in_background: bool) -> int | None:
        now = self._clock()
        is_paused = self._pace and now < self._slots.read().paused_until
        if is_paused or (in_background and self.is_draining):
            return None
        end = self.current_limit
        if not in_background:
            return self._slots.take(0, end)
        if now < self._yields_until:
            return None
        slot = self._slots.take(self._kept(end, now), end)
        return self._unless_asked_elsewhere(slot, now)

    def _unless_asked_elsewhere(self, slot: int | None, now: float) -> int | None:
        if slot is None or not self._slots.has_question_elsewhere():
            self._gives_way_since = None
            return slot
        self._gives_way_since = now if self._gives_way_since is None else self._gives_way_since
        if now - self._gives_way_since >= GIVE_WAY_S:
            return slot
        self._slots.give(slot)
        return None

    def _kept(self, end: int, now: float) -> int:
        is_asked = 0.0 <= now - self._slots.last_asked() < ASKED_LATELY_S
        return max(1, end // KEPT_FOR_QUESTIONS) if is_asked and end > 1 else 0

    def _give(self, slot: int) -> None:
        is_for_others = bool(self.queued and not self._questions and self._slots.has_poorer_elsewhere())
        self._slots.give(slot)
        if is_for_others:
            self._yields_until = self._clock() + YIELD_S
        self._hand_out()

    def _look_again(self, *, is_asking: bool) -> None:
        """A slot that this process gives back is handed on at once; others have to be looked for."""
        self._slots.wait(is_asking=is_asking)
        self._stop_timer()
        now, end = self._clock(), self.current_limit
        first = 0 if is_asking else self._kept(end, now)
        wait_s = max(self._slots.read().paused_until if self._pace else now, self._yields_until) - now
        if wait_s <= 0 and self._slots.held and self._slots.held.issuperset(range(first, end)):
            return
        poll_s = POLL_ASKING_S if is_asking else POLL_S
        self._timer = asyncio.get_running_loop().call_later(max(poll_s, wait_s), self._hand_out)

    def _rest(self) -> None:
        self._stop_timer()
        self._slots.rest()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_settled(self) -> bool:
        return len(self._slots.held) <= self.current_limit

    def _is_full(self) -> bool:
        return self.queued > 0 or len(self._slots.held) >= self.current_limit
