"""One server process: address, listening sockets, banner, uvicorn, graceful stop."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from lightrag_server.api.app import create_app
from lightrag_server.banner import banner
from lightrag_server.entrance import is_protected
from lightrag_server.errors import ConfigError
from lightrag_server.settings import Settings
from lightrag_server.settings.loader import Loaded
from lightrag_server.settings.server import ServerSettings

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"
BACKLOG = 2048
GARBAGE_THRESHOLD = 20_000
SWITCH_S = 0.0005
"""A question goes through the event loop and threads in turn. At each crossing it waits as long as whoever is at work,
mostly indexing, may keep the interpreter: by default ten times as long."""


def listening_host(server: ServerSettings, is_protected: bool) -> str:
    """The address asked for; without one, everywhere only when a credential protects the server."""
    return server.host or (EVERYWHERE if is_protected else LOOPBACK)


def run(loaded: Loaded) -> None:
    """Serve until SIGINT or SIGTERM. Raises `ConfigError` when the address cannot be had."""
    settings = loaded.settings
    host = listening_host(settings.server, asyncio.run(is_protected(settings)))
    sockets = open_sockets(host, settings.server.port)
    try:
        config = uvicorn_config(create_app(settings), settings)
        _load(config)
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_serve(config, sockets, loaded))
    finally:
        for listener in sockets:
            listener.close()


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


def _load(config: uvicorn.Config) -> None:
    try:
        config.load()
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"SSL_CERTFILE and SSL_KEYFILE are no certificate and its key: {error}.") from error


async def _serve(config: uvicorn.Config, sockets: list[socket.socket], loaded: Loaded) -> None:
    app = config.app
    assert isinstance(app, FastAPI)
    server = _Server(config)
    with server.stopped_by_signals():
        async with app.router.lifespan_context(app):
            _spare_the_collector()
            sys.setswitchinterval(SWITCH_S)
            urls = addresses(sockets, loaded.settings.server)
            print(await banner(app.state.opened, loaded.origins, urls), flush=True)
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
        super().handle_exit(sig, frame)

    @contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


# ----------------------------------------------------------------------------- sockets


def open_sockets(host: str, port: int) -> list[socket.socket]:
    """Listening sockets on every address of the name. Connections queue until the server is ready."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise ConfigError(f"HOST is {host!r}, which is no address of this machine ({error.strerror}).") from error
    opened: list[socket.socket] = []
    failure: OSError | None = None
    for family, kind, protocol, _, address in dict.fromkeys(found[:1] if port == 0 else found):
        try:
            opened.append(_listening(family, kind, protocol, address))
        except OSError as error:
            failure = error
            if error.errno == errno.EADDRINUSE:
                break
    if failure is not None and (not opened or failure.errno == errno.EADDRINUSE):
        for listener in opened:
            listener.close()
        raise _unusable(host, port, failure)
    return opened


def _listening(family: int, kind: int, protocol: int, address: object) -> socket.socket:
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)  # pyright: ignore[reportArgumentType]
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _unusable(host: str, port: int, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(f"Port {port} of {host} is in use by another program; choose one with --port or PORT.")
    if error.errno == errno.EACCES:
        return ConfigError(f"Port {port} needs more rights than this process has; choose one with --port or PORT.")
    return ConfigError(f"HOST is {host!r}, which this machine cannot listen on ({error.strerror}).")


def addresses(sockets: Sequence[socket.socket], server: ServerSettings) -> list[str]:
    """URLs that reach the sockets."""
    scheme = "https" if server.ssl else "http"
    shown = [listener.getsockname()[:2] for listener in sockets]
    return [f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}" for host, port in shown]
