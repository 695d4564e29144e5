"""One process that answers: banner, uvicorn, graceful stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType

import uvicorn
from fastapi import FastAPI

from lightrag_server.api.app import create_app
from lightrag_server.banner import banner
from lightrag_server.bootstrap import Duty, open_app
from lightrag_server.entrance import is_protected
from lightrag_server.errors import ConfigError
from lightrag_server.jobs.helper import Helper
from lightrag_server.pulse import STOPPED_BY, Beat, pulse, tell_systemd, watchdog
from lightrag_server.settings import Settings
from lightrag_server.settings.loader import Loaded
from lightrag_server.sockets import BACKLOG, addresses, listening_host, open_sockets

logger = logging.getLogger(__name__)

GARBAGE_THRESHOLD = 20_000
SWITCH_S = 0.0005
"""A question goes through the event loop and threads in turn. At each crossing it waits as long as whoever is at work,
mostly indexing, may keep the interpreter: by default ten times as long."""


def run(loaded: Loaded, helper: Helper | None = None) -> None:
    """Answer and work on documents, with or without a helper, until SIGINT or SIGTERM. Raises `ConfigError` when the
    address cannot be had."""
    sockets = listeners(loaded.settings)
    try:
        app = create_app(loaded.settings, partial(open_app, helper=helper))
        config = loaded_config(app, loaded.settings)
        _run(config, _serve_alone(config, sockets, loaded))
    finally:
        for listener in sockets:
            listener.close()


def answer(loaded: Loaded, sockets: list[socket.socket], beats: Sequence[Beat]) -> None:
    """Answer as one of several processes that share the sockets; others work on documents."""
    app = create_app(loaded.settings, partial(open_app, duty=Duty.REQUESTS), is_one_of_many=True)
    config = loaded_config(app, loaded.settings)
    _run(config, _serve(config, sockets, beats))


def listeners(settings: Settings) -> list[socket.socket]:
    """Open where the settings say. Raises `ConfigError` when the address cannot be had."""
    host = listening_host(settings.server, asyncio.run(is_protected(settings)))
    return open_sockets(host, settings.server.port)


def loaded_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """Raises `ConfigError` for certificates that are none."""
    config = uvicorn_config(app, settings)
    try:
        config.load()
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"SSL_CERTFILE and SSL_KEYFILE are no certificate and its key: {error}.") from error
    return config


def uvicorn_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    server = settings.server
    return uvicorn.Config(
        app,
        # entered by _serve, so that a failure to start is an exception and not a log line
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        forwarded_allow_ips=settings.access.trusted_proxies,
        backlog=BACKLOG,
        timeout_keep_alive=server.keep_alive_s,
        timeout_graceful_shutdown=server.stop_timeout_s,
        ssl_certfile=server.ssl_certfile if server.ssl else None,
        ssl_keyfile=server.ssl_keyfile if server.ssl else None,
    )


def _run(config: uvicorn.Config, serving: Coroutine[None, None, None]) -> None:
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(serving)


async def _serve_alone(config: uvicorn.Config, sockets: list[socket.socket], loaded: Loaded) -> None:
    async def ready(app: FastAPI) -> None:
        urls = addresses(sockets, loaded.settings.server)
        print(await banner(app.state.opened, loaded.origins, urls), flush=True)
        tell_systemd("READY=1")

    await _serve(config, sockets, watchdog(), ready)


async def _serve(
    config: uvicorn.Config,
    sockets: list[socket.socket],
    beats: Sequence[Beat],
    ready: Callable[[FastAPI], Awaitable[None]] | None = None,
) -> None:
    app = config.app
    assert isinstance(app, FastAPI)
    server = _Server(config)
    with server.stopped_by_signals():
        async with pulse(beats), app.router.lifespan_context(app):
            _spare_the_collector()
            sys.setswitchinterval(SWITCH_S)
            if ready:
                await ready(app)
            await server.serve(sockets)
    logger.info("server stopped")


def _spare_the_collector() -> None:
    """What is loaded by now stays: looking through it again and again costs queries a tenth of their time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Leave signals to `stopped_by_signals`: uvicorn raises them again before our own resources are closed."""
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Streams that have no end of their own are told first: uvicorn waits for what is being answered."""
        app = self.config.app
        assert isinstance(app, FastAPI)
        app.state.streams.is_stopping = True
        tell_systemd("STOPPING=1")
        super().handle_exit(sig, frame)

    @contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in STOPPED_BY}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
