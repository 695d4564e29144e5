"""Where a server listens."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

from lightrag_server.errors import ConfigError
from lightrag_server.settings.server import ServerSettings

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"
BACKLOG = 2048


def listening_host(server: ServerSettings, is_protected: bool) -> str:
    """The address asked for; without one, everywhere only when a credential protects the server."""
    return server.host or (EVERYWHERE if is_protected else LOOPBACK)


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
