"""One process that works on documents and answers nobody; any number beside servers of the same working directory."""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections.abc import Sequence
from contextlib import suppress

from lightrag_server import __version__
from lightrag_server.bootstrap import open_app
from lightrag_server.pulse import STOPPED_BY, Beat, pulse, tell_systemd, watchdog
from lightrag_server.settings import Settings
from lightrag_server.settings.loader import Loaded

log = logging.getLogger(__name__)

NICENESS = 5
"""Questions come before indexing."""
LOOK_S = 1.0


def run(loaded: Loaded) -> None:
    """Work until SIGINT or SIGTERM. Raises what `open_app` does."""
    work(loaded, watchdog())


def work(loaded: Loaded, beats: Sequence[Beat] = ()) -> None:
    """As `run`; `beats` are called every second."""
    os.nice(NICENESS)
    asyncio.run(_work(loaded.settings, beats))


async def _work(settings: Settings, beats: Sequence[Beat]) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOPPED_BY:
        loop.add_signal_handler(number, stopping.set)
    await work_until(stopping, settings, beats)


async def work_until(
    stopping: asyncio.Event, settings: Settings, beats: Sequence[Beat], rest_s: float = math.inf
) -> None:
    """Open everything and work until `stopping` is set, or until there was nothing to do for `rest_s`."""
    async with pulse(beats), open_app(settings) as app:
        assert app.runner
        log.info("working on documents version=%s data=%s", __version__, app.settings.server.working_dir)
        tell_systemd("READY=1")
        while not stopping.is_set() and app.runner.rests_s < rest_s:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await stopping.wait()
        tell_systemd("STOPPING=1")
    log.info("worker stopped")
