"""The Model Context Protocol on standard input and output: a client starts this process and speaks with it alone."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from typing import TYPE_CHECKING, cast

from mcp.server.stdio import stdio_server

from lightrag_server.api.mcp.seat import Seat
from lightrag_server.api.mcp.server import make_server
from lightrag_server.bootstrap import App, open_app
from lightrag_server.core.access import EVERYBODY, AuditEntry, Caller, Scope
from lightrag_server.errors import ConfigError
from lightrag_server.settings import Settings

if TYPE_CHECKING:
    import anyio

logger = logging.getLogger(__name__)

ADDRESS = "stdio"
"""Stands in the audit trail where requests have their client's address."""


@dataclass(frozen=True, slots=True)
class Acting:
    """`key` is the one whose rights hold; without it those of whoever may read the folder, which are all."""

    key: str | None
    workspace: str | None


def run(settings: Settings, acting: Acting) -> None:
    """Serve until the client closes our input, or a signal. Raises `ConfigError` for a key that opens nothing, and
    `NotFound` for a workspace that it may not enter."""
    asyncio.run(_serve(settings, acting))


async def _serve(settings: Settings, acting: Acting) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # there are none on Windows
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    lines = _Lines(_own_input())
    async with open_app(settings) as app:
        seat = _seat(app, await _caller(app, acting.key), acting.workspace)
        entered = await seat.enter(None)
        logger.info("speaking on stdio caller=%s workspace=%r", seat.caller.name, entered.name)
        speaking = asyncio.ensure_future(_speak(seat, lines))
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({speaking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not speaking.done():
            speaking.cancel()
            with suppress(asyncio.CancelledError):
                await speaking
        else:
            speaking.result()


async def _speak(seat: Seat, lines: _Lines) -> None:
    server = make_server(lambda _: seat)
    async with stdio_server(stdin=cast("anyio.AsyncFile[str]", lines)) as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


async def _caller(app: App, key: str | None) -> Caller:
    if key is None:
        return EVERYBODY
    caller = (await app.access.identify([key])).caller
    if caller is None or caller == EVERYBODY:
        raise ConfigError("--key is no key of this folder; `lightrag-server keys` lists and makes them.")
    return caller


def _seat(app: App, caller: Caller, workspace: str | None) -> Seat:
    def audit(named: str | None) -> None:
        entry = AuditEntry(
            at=app.access.clock(),
            caller=caller.name,
            kind=caller.kind,
            key_id=caller.key_id,
            address=ADDRESS,
            workspace=named,
            method="POST",
            path="/mcp",
            status=200 if caller.may(Scope.WRITE) else 403,
            request_id="",
        )
        app.access.ledger.record(entry)

    return Seat(app, caller, workspace, ADDRESS, audit)


# ----------------------------------------------------------------------------- input


def _own_input() -> BufferedReader:
    """Our input for us alone: processes that we start read nothing of it."""
    own = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
    return own


class _Lines:
    """Lines as they come. They are read by a thread that does not outlive us, for a read cannot be called off."""

    def __init__(self, source: BufferedReader) -> None:
        self._source = source
        self._ready: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def __aiter__(self) -> _Lines:
        return self

    async def __anext__(self) -> str:
        line = await self._ready.get()
        if line is None:
            raise StopAsyncIteration
        return line.decode("utf-8", "replace")

    def _read(self) -> None:
        with suppress(RuntimeError):  # the loop has ended
            for line in self._source:
                self._loop.call_soon_threadsafe(self._ready.put_nowait, line)
            self._loop.call_soon_threadsafe(self._ready.put_nowait, None)
