"""Keeps a process alive for the others while its event loop is busy with one long step, such as a big fold."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lightrag_server.errors import LightRAGError
from lightrag_server.ports.jobs import JobQueue

log = logging.getLogger(__name__)

LATE_S = 5.0
LONGEST_STEP_S = 120.0


@dataclass(slots=True)
class Heart:
    """A thread that beats for `owner` while the event loop does not, for `longest_step_s` at most: a loop that is stuck
    for ever must not keep its jobs. `open_queue` opens a queue for one beat, since that of the loop belongs to it."""

    owner: str
    open_queue: Callable[[], JobQueue]
    every_s: float = 1.0
    late_s: float = LATE_S
    longest_step_s: float = LONGEST_STEP_S
    _turned: float = 0.0
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self.loop_turned()
        self._thread = threading.Thread(target=self._watch, name="heart", daemon=True)
        self._thread.start()

    def loop_turned(self) -> None:
        """The loop has beaten itself."""
        self._turned = time.monotonic()

    def stop(self) -> None:
        """Returns when no beat can come any more."""
        self._stopped.set()
        if self._thread:
            self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(self.every_s):
            if self.late_s <= time.monotonic() - self._turned < self.longest_step_s:
                self._beat()

    def _beat(self) -> None:
        try:
            asyncio.run(self._beat_once())
        except LightRAGError as error:
            log.warning("heartbeat beside a busy event loop failed: %s", error)

    async def _beat_once(self) -> None:
        queue = self.open_queue()
        try:
            await queue.beat(self.owner, [])
        finally:
            await queue.close()
