"""One process that works on documents and answers nobody; any number beside servers of the same working directory."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence

from lightrag_server import __version__
from lightrag_server.bootstrap import open_app
from lightrag_server.pulse import STOPPED_BY, Beat, pulse, tell_systemd, watchdog
from lightrag_server.settings.loader import Loaded

log = logging.getLogger(__name__)

NICENESS = 5
"""Questions come before indexing."""


def run(loaded: Loaded) -> None:
    """Work until SIGINT or SIGTERM. Raises what `open_app` does."""
    work(loaded, watchdog())


def work(loaded: Loaded, beats: Sequence[Beat] = ()) -> None:
    """As `run`; `beats` are called every second."""
    os.nice(NICENESS)
    asyncio.run(_work(loaded, beats))


async def _work(loaded: Loaded, beats: Sequence[Beat]) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOPPED_BY:
        loop.add_signal_handler(number, stopping.set)
    async with pulse(beats), open_app(loaded.settings) as app:
        log.info("working on documents version=%s data=%s", __version__, app.settings.server.working_dir)
        tell_systemd("READY=1")
        await stopping.wait()
        tell_systemd("STOPPING=1")
    log.info("worker stopped")
