"""Slots at a vendor, shared by all processes of a host: bytes of a file, each locked while a call runs.

The system gives locks back when a process ends, whatever it dies of, so nobody has to clean up. They belong to the
process: its children inherit none, and the file is opened once and closed at the end only.
"""

from __future__ import annotations

import errno
import logging
import os
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Protocol

try:
    import fcntl
except ImportError:  # Windows: every process keeps to its share
    fcntl = None

log = logging.getLogger(__name__)

_ROW = struct.Struct("<7d")
_QUESTION = struct.Struct("<d")
_QUESTION_AT = 128
_SIGN = struct.Struct("<d")
_SIGNS_AT = 20_000
# bytes that stand for something, behind those that are written
_PRESENT, _UPDATE, _ASKING, _HUNGRY, _SLOTS = 1_000, 1_001, 1_002, 2_000, 10_000

SIGN_EVERY_S = 3.0
SILENT_AFTER_S = 15.0
SPARE = 5_000
"""A slot whose holder is silent has a second one, with this number more: locks cannot be taken away, and a process
that is frozen must not keep others from the vendor. When it comes back, there is a call too many for a moment."""


@dataclass(frozen=True, slots=True)
class Board:
    """What all processes know of a vendor. Times are seconds of the host's monotonic clock."""

    limit: float
    """Calls that may run now; what is behind the point is on the way to one more."""
    changed_at: float = -inf
    throttled_at: float = -inf
    ceiling: float = inf
    """What was too much, and is not tried again before `ceiling_until`."""
    ceiling_until: float = -inf
    paused_until: float = -inf


class Slots(Protocol):
    """Numbered from 0. `held` are those of this process. No method waits."""

    held: set[int]

    def read(self) -> Board: ...

    def update(self, change: Callable[[Board], Board]) -> Board:
        """Change the board. A change that meets one of another process is dropped: there will be another occasion."""
        ...

    def take(self, first: int, end: int) -> int | None:
        """The first free slot of these numbers, now held; None when there is none."""
        ...

    def give(self, slot: int) -> None: ...

    def show(self, now: float) -> None:
        """That the holder of what is held lives; to be called every `SIGN_EVERY_S`."""
        ...

    def taken(self) -> int:
        """By all processes."""
        ...

    def asked(self, now: float) -> None:
        """Note that somebody asks: slots are kept for questions for a while."""
        ...

    def last_asked(self) -> float: ...

    def wait(self, *, is_asking: bool) -> None:
        """Tell other processes that this one waits; until `rest`."""
        ...

    def rest(self) -> None: ...

    def has_question_elsewhere(self) -> bool: ...

    def has_poorer_elsewhere(self) -> bool:
        """Whether a process waits that has two slots fewer than this one, or none where this one has one."""
        ...

    def close(self) -> None: ...


class OwnSlots:
    """Of this process alone."""

    def __init__(self, limit: int) -> None:
        self.held: set[int] = set()
        self._board = Board(limit)
        self._asked_at = -inf

    def read(self) -> Board:
        return self._board

    def update(self, change: Callable[[Board], Board]) -> Board:
        self._board = change(self._board)
        return self._board

    def take(self, first: int, end: int) -> int | None:
        slot = next((n for n in range(first, end) if n not in self.held), None)
        if slot is not None:
            self.held.add(slot)
        return slot

    def give(self, slot: int) -> None:
        self.held.discard(slot)

    def show(self, now: float) -> None:
        """Nobody else is there."""

    def taken(self) -> int:
        return len(self.held)

    def asked(self, now: float) -> None:
        self._asked_at = now

    def last_asked(self) -> float:
        return self._asked_at

    def wait(self, *, is_asking: bool) -> None:
        """Nobody else is there."""

    def rest(self) -> None:
        """Nobody else is there."""

    def has_question_elsewhere(self) -> bool:
        return False

    def has_poorer_elsewhere(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing is held but memory."""


class HostSlots:
    """Of all processes that open the same file. Raises `OSError` where files cannot be locked.

    Taking and giving back costs some ten calls of the system, about ten microseconds. The first of all processes
    begins with a new board.
    """

    def __init__(self, path: Path, limit: int) -> None:
        if fcntl is None:
            raise OSError(errno.ENOTSUP, "no locks")
        self.held: set[int] = set()
        self._most = limit
        self._hungry: int | None = None
        self._is_asking = False
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            self._join()
        except OSError:
            os.close(self._file)
            raise

    def read(self) -> Board:
        row = os.pread(self._file, _ROW.size, 0)
        if len(row) < _ROW.size:
            return Board(self._most)
        most, limit, *times = _ROW.unpack(row)
        is_sound = most == self._most and 1 <= limit <= most
        return Board(limit, *times) if is_sound else Board(self._most)

    def update(self, change: Callable[[Board], Board]) -> Board:
        if not self._lock(_UPDATE):
            return self.read()
        try:
            board = change(self.read())
            self._write(board)
            return board
        finally:
            self._unlock(_UPDATE)

    def take(self, first: int, end: int) -> int | None:
        for slot in range(first, end):
            if slot not in self.held and self._lock(_SLOTS + slot):
                return self._taken(slot)
        now = monotonic()
        for slot in range(first, end):
            if slot not in self.held and self._is_silent(slot, now) and self._lock(_SLOTS + SPARE + slot):
                return self._taken(SPARE + slot)
        return None

    def give(self, slot: int) -> None:
        self.held.discard(slot)
        self._unlock(_SLOTS + slot)

    def show(self, now: float) -> None:
        for slot in self.held:
            with suppress(OSError):  # a full disk
                os.pwrite(self._file, _SIGN.pack(now), _SIGNS_AT + _SIGN.size * slot)

    def _taken(self, slot: int) -> int:
        self.held.add(slot)
        self.show(monotonic())
        return slot

    def _is_silent(self, slot: int, now: float) -> bool:
        row = os.pread(self._file, _SIGN.size, _SIGNS_AT + _SIGN.size * slot)
        return len(row) == _SIGN.size and now - _SIGN.unpack(row)[0] > SILENT_AFTER_S

    def taken(self) -> int:
        now = monotonic()
        return len(self.held) + sum(
            self._is_locked_elsewhere(_SLOTS + slot) and not self._is_silent(slot, now)
            for slot in range(self._most)
            if slot not in self.held
        )

    def asked(self, now: float) -> None:
        with suppress(OSError):  # a full disk
            os.pwrite(self._file, _QUESTION.pack(now), _QUESTION_AT)

    def last_asked(self) -> float:
        row = os.pread(self._file, _QUESTION.size, _QUESTION_AT)
        return _QUESTION.unpack(row)[0] if len(row) == _QUESTION.size else -inf

    def wait(self, *, is_asking: bool) -> None:
        if is_asking and not self._is_asking:
            self._is_asking = self._lock(_ASKING, is_shared=True)
        elif self._is_asking and not is_asking:
            self._stop_asking()
        if self._hungry != (count := len(self.held)):
            self._eat()
            self._hungry = count if self._lock(_HUNGRY + count, is_shared=True) else None

    def rest(self) -> None:
        self._stop_asking()
        self._eat()

    def has_question_elsewhere(self) -> bool:
        return not self._is_asking and self._is_locked_elsewhere(_ASKING)

    def has_poorer_elsewhere(self) -> bool:
        return self._is_locked_elsewhere(_HUNGRY, max(1, len(self.held) - 1))

    def close(self) -> None:
        os.close(self._file)

    def _join(self) -> None:
        assert fcntl is not None
        with suppress(BlockingIOError, PermissionError):
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _PRESENT)
            self._write(Board(self._most))
        with suppress(BlockingIOError, PermissionError):  # another that joins this very moment
            fcntl.lockf(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, _PRESENT)

    def _write(self, board: Board) -> None:
        row = (board.limit, board.changed_at, board.throttled_at, board.ceiling, board.ceiling_until)
        with suppress(OSError):  # a full disk
            os.pwrite(self._file, _ROW.pack(self._most, *row, board.paused_until), 0)

    def _stop_asking(self) -> None:
        if self._is_asking:
            self._is_asking = False
            self._unlock(_ASKING)

    def _eat(self) -> None:
        if self._hungry is not None:
            self._unlock(_HUNGRY + self._hungry)
            self._hungry = None

    def _lock(self, start: int, length: int = 1, *, is_shared: bool = False) -> bool:
        assert fcntl is not None
        try:
            fcntl.lockf(self._file, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB, length, start)
        except (BlockingIOError, PermissionError):
            return False
        except OSError as error:  # the disk went away: what is held here still bounds this process
            log.warning("a vendor's slots cannot be locked: %s", error.strerror)
        return True

    def _unlock(self, start: int, length: int = 1) -> None:
        assert fcntl is not None
        with suppress(OSError):
            fcntl.lockf(self._file, fcntl.LOCK_UN, length, start)

    def _is_locked_elsewhere(self, start: int, length: int = 1) -> bool:
        if not self._lock(start, length):
            return True
        self._unlock(start, length)
        return False


def monotonic() -> float:
    """The clock of boards: the same for all processes of a host."""
    return time.monotonic()
