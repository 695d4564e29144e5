"""What is so at a moment: this process, and the calls to models that are under way."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lightrag_server.core import metrics
from lightrag_server.ports.telemetry import Meter

EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Slots:
    """Calls of this process that are running and that wait; how many of the whole host may run, at most and now."""

    running: int
    queued: int
    limit: int
    current_limit: int


_PROCESS = Path("/proc/self")


class Sampler:
    """`roles` are the models of this process by what they are used for."""

    def __init__(self, meter: Meter, roles: Mapping[str, Callable[[], Slots]]) -> None:
        self._meter = meter
        self._roles = roles
        self._cpu_s = 0.0

    async def run(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            self.sample()
            asked = time.monotonic()
            await asyncio.sleep(EVERY_S)
            self._meter.set(metrics.LOOP_LAG, max(0.0, time.monotonic() - asked - EVERY_S))

    def sample(self) -> None:
        meter = self._meter
        meter.set(metrics.PROCESSES, 1.0)
        cpu_s = time.process_time()
        meter.count(metrics.PROCESS_CPU, cpu_s - self._cpu_s)
        self._cpu_s = cpu_s
        with suppress(OSError, ValueError):  # only Linux tells
            pages = int((_PROCESS / "statm").read_text().split()[1])
            meter.set(metrics.PROCESS_MEMORY, float(pages * os.sysconf("SC_PAGE_SIZE")))
            meter.set(metrics.PROCESS_FILES, float(len(os.listdir(_PROCESS / "fd"))))
        for role, slots in self.slots().items():
            meter.set(metrics.MODEL_SLOTS, float(slots.running), role, "running")
            meter.set(metrics.MODEL_SLOTS, float(slots.queued), role, "queued")

    def slots(self) -> dict[str, Slots]:
        return {role: slots() for role, slots in self._roles.items()}
