"""How many calls a vendor is given at once: fewer when it refuses or gets no more done, one by one more again.

Calls per second are calls at once divided by seconds per call, so two limits are compared by how long calls take under
each, like with like: of about the same size. A limit is the best where a higher one makes calls longer and not more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from lightrag_server.bindings.slots import Board, Slots, monotonic

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rules:
    throttled_share: float = 0.7
    """What a refusal leaves of the calls that were too many."""
    lower_share: float = 0.75
    """What is tried, to see whether fewer calls get as much done."""
    kept_share: float = 0.88
    """Of calls per second: below it, too much was lost by going down."""
    gained_share: float = 0.25
    """Of the calls at once that were added: at least so much must come out in calls per second."""
    slower: float = 1.5
    """Calls that take so much longer than they did give a reason to look."""
    least_s: float = 0.1
    """Calls that are shorter are not compared: they tell more of this machine than of the vendor."""
    samples: int = 32
    """Calls under one limit that tell how long they take there: what models write differs a lot."""
    hold_s: float = 30.0
    """How long what was too much is not tried again."""
    first_look_calls: int = 256
    """So many before the first look, which costs about as much as eight: most batches of documents are smaller."""
    look_every_s: float = 600.0
    forget_s: float = 600.0
    """What was learnt is forgotten after so long a silence."""
    longest_pause_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A call that ended well. `size` tells which calls are alike, None of a call that tells nothing by its length;
    `is_full` that there would have been work for more calls, `is_steady` that when it began as many ran as the limit
    says, neither more nor fewer."""

    started_at: float
    seconds: float
    size: int | None
    is_full: bool
    is_steady: bool


Means = dict[int, tuple[float, int]]
"""Size class → seconds of a call, and how many calls."""


class Pace:
    """Of one vendor, for the calls of this process; what comes of it is on the board that all processes share."""

    def __init__(
        self, slots: Slots, most: int, name: str, rules: Rules | None = None, clock: Callable[[], float] = monotonic
    ) -> None:
        self._slots = slots
        self._most = most
        self._name = name
        self._rules = rules or Rules()
        self._clock = clock
        self._last_end = clock()
        self._looked_at: float | None = None
        self._calls = 0
        self._forget_means()

    def begins(self) -> None:
        """To be told of a call where none was running."""
        if self._clock() - self._last_end > self._rules.forget_s:
            self._forget_means()
            self._change(lambda board, now: Board(self._most, paused_until=board.paused_until), "nothing was asked")

    def throttled(self, started_at: float, running: int, wait_s: float, *, is_settled: bool = True) -> None:
        """A call was refused since there are too many; nobody calls for `wait_s` seconds.

        Calls that began before the limit was lowered, or while more ran than it says, tell nothing new.
        """
        pause_s = min(wait_s, self._rules.longest_pause_s)

        def lower(board: Board, now: float) -> Board:
            board = replace(board, paused_until=max(board.paused_until, now + pause_s))
            if started_at < board.throttled_at or not is_settled:
                return board
            # few calls that are refused are a matter of calls per minute; one refusal does not decide alone
            too_many = max(min(board.limit, running), board.limit / 2)
            limit = max(1.0, self._rules.throttled_share * too_many)
            return replace(_held_below(board, int(too_many), now + self._rules.hold_s), limit=limit, throttled_at=now)

        self._last_end = self._clock()
        self._change(lower, f"refused, pause_s={pause_s:.1f}")

    def ended(self, call: Seen) -> None:
        self._last_end = now = self._clock()
        board = self._slots.read()
        if not call.is_full:
            return
        self._calls += 1
        if self._may_grow(board, now):
            board = self._change(lambda board, now: replace(board, limit=self._grown(board.limit)), "it keeps up")
        if call.size is None or not call.is_steady or call.started_at < max(board.changed_at, board.throttled_at):
            return
        if self._sums_since != board.changed_at:
            self._sums, self._sums_since = {}, board.changed_at
        seconds, count = self._sums.get(call.size.bit_length(), (0.0, 0))
        self._sums[call.size.bit_length()] = seconds + call.seconds, count + 1
        if sum(count for _, count in self._sums.values()) >= max(self._rules.samples, len(self._slots.held)):
            self._judge(board, now)

    def _may_grow(self, board: Board, now: float) -> bool:
        if board.limit >= self._most or (now < board.ceiling_until and int(board.limit) + 1 >= board.ceiling):
            return False
        if self._means is None or board.throttled_at > self._means_at:
            return True
        # one step beyond what is known, until that step has been judged
        return self._means_limit <= int(board.limit) < max(self._means_limit + 1, int(1.25 * self._means_limit))

    def _grown(self, limit: float) -> float:
        return min(float(self._most), limit + 1 / limit)

    def _judge(self, board: Board, now: float) -> None:
        fresh: Means = {size: (seconds / count, count) for size, (seconds, count) in self._sums.items()}
        self._sums = {}
        if _mean(fresh) < self._rules.least_s:
            self._means = None
            return
        limit = int(board.limit)
        if self._means is None or board.throttled_at > self._means_at:
            self._adopt(fresh, limit, now)
            return
        known = sum(count for size, (_, count) in fresh.items() if size in self._means)
        if 2 * known < sum(count for _, count in fresh.values()):
            self._learn(fresh, limit)
            return
        took = sum(n * s / self._means[size][0] for size, (s, n) in fresh.items() if size in self._means) / known
        self._compare(fresh, limit, took, now)

    def _compare(self, fresh: Means, limit: int, took: float, now: float) -> None:
        """`took` is how long calls take, in terms of the known ones."""
        known, gain = self._means_limit, limit / self._means_limit / took
        if limit < known:
            if gain < self._rules.kept_share:
                self._change(lambda board, now: replace(board, limit=float(known)), "fewer get less done")
            else:
                self._adopt(fresh, limit, now)
                self._change(lambda board, now: _held_below(board, limit + 1, now + self._rules.hold_s), "")
                self._look_lower(limit, now)
        elif limit > known:
            if gain < 1 + self._rules.gained_share * (limit / known - 1):
                self._change(
                    lambda board, now: replace(_held_below(board, limit, now + self._rules.hold_s), limit=float(known)),
                    "more get no more done",
                )
            else:
                self._adopt(fresh, limit, now)
        elif took > self._rules.slower or self._is_time_to_look(now):
            self._adopt(fresh, limit, now)
            self._look_lower(limit, now)
        else:
            self._learn(fresh, limit)

    def _adopt(self, fresh: Means, limit: int, now: float) -> None:
        self._means, self._means_limit, self._means_at = fresh, limit, now

    def _learn(self, fresh: Means, limit: int) -> None:
        """Take over what is new, and move slowly with what drifts, as far as it was seen under the same limit."""
        if self._means is None or limit != self._means_limit:
            return
        for size, (seconds, count) in fresh.items():
            before = self._means.get(size, (seconds, count))[0]
            self._means[size] = before + 0.1 * (seconds - before), count

    def _is_time_to_look(self, now: float) -> bool:
        if self._looked_at is None:
            return self._calls >= self._rules.first_look_calls
        return now - self._looked_at > self._rules.look_every_s

    def _look_lower(self, limit: int, now: float) -> None:
        self._looked_at = now
        if limit > 1:
            lower = max(1, int(self._rules.lower_share * limit))
            self._change(lambda board, now: replace(board, limit=float(lower)), "whether fewer get as much done")

    def _forget_means(self) -> None:
        self._means: Means | None = None
        self._means_limit, self._means_at = 0, 0.0
        self._sums: Means = {}
        self._sums_since = 0.0

    def _change(self, change: Callable[[Board, float], Board], why: str) -> Board:
        """Whole steps are noted with their time, so that calls under different limits are not taken together."""
        now = self._clock()
        before = 0

        def noted(board: Board) -> Board:
            nonlocal before
            before = int(board.limit)
            changed = change(board, now)
            return replace(changed, changed_at=now) if int(changed.limit) != before else changed

        board = self._slots.update(noted)
        if before and int(board.limit) != before:
            log.info(
                "calls at once vendor=%s limit=%d before=%d most=%d: %s",
                self._name, int(board.limit), before, self._most, why,
            )  # fmt: skip
        return board


def _mean(means: Means) -> float:
    return sum(seconds * count for seconds, count in means.values()) / sum(count for _, count in means.values())


def _held_below(board: Board, ceiling: float, until: float) -> Board:
    return replace(board, ceiling=ceiling, ceiling_until=until)
