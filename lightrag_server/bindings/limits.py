"""The limiters of a process: one for each vendor's host and what its model is asked for."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from lightrag_server.bindings.limiter import LONGEST_PAUSE_S, Limiter
from lightrag_server.bindings.pace import Pace
from lightrag_server.bindings.slots import HostSlots, OwnSlots, Slots

log = logging.getLogger(__name__)

IN_PROCESS = ("local", "fake", "null")
"""Bindings without a vendor: what they may do at once is a matter of each process."""


class VendorLimits:
    """`processes` of this host share a limit where files in `folder` cannot be locked."""

    def __init__(self, folder: Path, *, is_adaptive: bool, processes: int = 1) -> None:
        self._folder = folder
        self._is_adaptive = is_adaptive
        self._processes = processes
        self._open: list[Limiter] = []

    def limiter(
        self, role: str, binding: str | None, host: str | None, limit: int, longest_pause_s: float = LONGEST_PAUSE_S
    ) -> Limiter:
        if binding is None or binding in IN_PROCESS:
            return Limiter(limit)
        name = f"{role}-{binding}-{hashlib.sha256((host or binding).encode()).hexdigest()[:12]}"
        limit, slots = self._slots(name, limit)
        pace = Pace(slots, limit, name) if self._is_adaptive else None
        limiter = Limiter(limit, slots, pace, longest_pause_s=longest_pause_s)
        self._open.append(limiter)
        return limiter

    def close(self) -> None:
        for limiter in self._open:
            limiter.close()

    def _slots(self, name: str, limit: int) -> tuple[int, Slots]:
        try:
            return limit, HostSlots(self._folder / name, limit)
        except OSError as error:
            share = max(1, limit // self._processes)
            if self._processes > 1:
                log.warning(
                    "no locks in %s (%s): each of %d processes makes at most %d calls at once vendor=%s",
                    self._folder, error.strerror, self._processes, share, name,
                )  # fmt: skip
            return share, OwnSlots(share)
