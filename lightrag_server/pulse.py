"""Signs of life, to systemd and to whoever watches a process, and the signals that end it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import cast

from gunicorn.glogging import Logger
from gunicorn.systemd import sd_notify

log = logging.getLogger(__name__)

EVERY_S = 1.0
STOPPED_BY = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)

Beat = Callable[[], None]


def tell_systemd(state: str) -> None:
    """READY=1, STOPPING=1, WATCHDOG=1 (sd_notify); nothing where systemd did not start us with Type=notify."""
    sd_notify(state, cast(Logger, log))


def leave_systemd() -> None:
    """For a process that systemd did not start itself: what it said would be refused, and noted."""
    os.environ.pop("NOTIFY_SOCKET", None)


def watchdog() -> list[Beat]:
    """What keeps systemd's watchdog quiet, where this process has one."""
    is_meant = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return [lambda: tell_systemd("WATCHDOG=1")] if is_meant and os.environ.get("WATCHDOG_USEC") else []


@asynccontextmanager
async def pulse(beats: Sequence[Beat]) -> AsyncIterator[None]:
    """Beat every second as long as the event loop turns: one that is stuck gives no sign."""
    if not beats:
        yield
        return
    beating = asyncio.create_task(_beating(beats), name="pulse")
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


async def _beating(beats: Sequence[Beat]) -> None:
    while True:
        for beat in beats:
            beat()
        await asyncio.sleep(EVERY_S)
