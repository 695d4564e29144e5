"""A process that sleeps beside the one that answers, and makes another that works on documents while there are any.

It is forked before anything is open and shares its pages, so that it costs little while nothing is indexed; a worker of
its kind is there after some tenths of a second, where a new interpreter would take a second more to load what it
needs. The three are tied by a socket: its end is how each learns that the others are gone.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from enum import IntEnum
from typing import NoReturn

import orjson

from lightrag_server.bindings import registry as bindings
from lightrag_server.errors import LightRAGError
from lightrag_server.pulse import STOPPED_BY, leave_systemd
from lightrag_server.settings import Settings
from lightrag_server.settings.loader import Loaded
from lightrag_server.storages import registry as storages
from lightrag_server.working import NICENESS, work_until

log = logging.getLogger(__name__)

REST_S = 300.0
"""So long a worker stays when there is nothing to do."""
NOT_AGAIN_S = 60.0
"""So long no worker is called after one that could not open what it needs."""
CLOSING_S = 15.0
"""Beyond the time that model calls are given to end."""
CAN_FORK = hasattr(os, "fork") and sys.platform != "darwin"
"""What the system's own libraries hold on macOS does not survive a fork."""
CALL_BYTES = 1024
"""More than a call is long."""
_WORD = struct.Struct("!Bi")


class _Tag(IntEnum):
    """What the server is told, each with a number."""

    ALIVE = 1
    """The process id of the worker: when it begins, and every second."""
    ENDED = 2
    """Its exit code."""


@contextmanager
def standing_by(loaded: Loaded) -> Iterator[Standby | None]:
    """Fork the process that waits; it and what it made are gone at the end. To be entered while this process has no
    threads and nothing open. None where the settings do not want it, or the storages or the system do not allow it."""
    settings = loaded.settings
    if not (settings.server.jobs_apart and CAN_FORK and storages.are_shared(settings)):
        yield None
        return
    standby = _forked(settings)
    try:
        yield standby
    finally:
        standby.reap()


def _forked(settings: Settings) -> Standby:
    for module in bindings.modules(settings.llm, settings.embedding) | storages.modules(settings):
        with suppress(ModuleNotFoundError):  # whoever opens what needs it says so
            importlib.import_module(module)
    ours, theirs = socket.socketpair()
    # what the collector moves between its lists it writes to, and what is written to is shared no more
    gc.collect()
    gc.freeze()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _exit_after(lambda: _stand_by(theirs, settings))
    theirs.close()
    return Standby(pid, ours, settings)


class Standby:
    """The end of the process that answers: a `Helper` of its runner."""

    def __init__(self, pid: int, line: socket.socket, settings: Settings) -> None:
        line.setblocking(False)
        self._pid = pid
        self._line = line
        self._silent_s = settings.server.worker_timeout_s
        self._closing_s = settings.server.stop_timeout_s + CLOSING_S
        self._call = choice(settings)
        self._worker: int | None = None
        self._heard_at: float | None = None
        self._not_before = 0.0
        self._is_closing = False
        self._gone = asyncio.Event()
        self._ended: Callable[[], None] = lambda: None

    @property
    def is_at_work(self) -> bool:
        if self._is_silent():
            self._read()  # who was frozen himself has not heard what was said meanwhile
        if self._is_silent():
            self._fell_silent()
        return self._heard_at is not None

    def call(self) -> bool:
        if self.is_at_work:
            return True
        if self._gone.is_set() or time.monotonic() < self._not_before:
            return False
        try:
            self._line.send(self._call)
        except OSError:
            return False
        self._heard_at = time.monotonic()
        return True

    def open(self, settings: Settings, ended: Callable[[], None]) -> None:
        self._call, self._ended = choice(settings), ended
        asyncio.get_running_loop().add_reader(self._line, self._read)

    async def close(self) -> None:
        self._is_closing = True
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_WR)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._closing_s):
                await self._gone.wait()
        asyncio.get_running_loop().remove_reader(self._line)

    def reap(self) -> None:
        """Whatever still lives is killed."""
        self._line.close()
        if not self._gone.is_set():
            for pid in (self._worker, self._pid):
                _kill(pid)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def _is_silent(self) -> bool:
        return self._heard_at is not None and time.monotonic() - self._heard_at > self._silent_s

    def _read(self) -> None:
        try:
            words = self._line.recv(_WORD.size * 100)
        except BlockingIOError:
            return
        except OSError:
            words = b""
        if not words:
            self._lost()
            return
        for tag, number in _WORD.iter_unpack(words):
            if tag == _Tag.ALIVE:
                self._worker, self._heard_at = number, time.monotonic()
            else:
                self._left(number)

    def _left(self, code: int) -> None:
        self._worker = self._heard_at = None
        if code > 0:
            self._not_before = time.monotonic() + NOT_AGAIN_S
            log.error("no process for documents can be opened, this one works on them; again in %.0f s", NOT_AGAIN_S)
        elif code:
            log.warning("the process that worked on documents was killed signal=%d", -code)
        self._ended()

    def _lost(self) -> None:
        """The one that waits has ended, and so has its worker: none can be made any more."""
        self._gone.set()
        self._worker = self._heard_at = None
        asyncio.get_running_loop().remove_reader(self._line)
        if not self._is_closing:
            log.error("no process for documents can be made any more, this one works on them until a restart")
        self._ended()

    def _fell_silent(self) -> None:
        """A frozen worker is killed, which makes its end known. Without a worker it is the one that waits that does not
        answer."""
        log.error("the process that works on documents gave no sign of life for %d s", self._silent_s)
        if self._worker:
            _kill(self._worker)
            self._worker, self._heard_at = None, time.monotonic()
        else:
            self._not_before = time.monotonic() + NOT_AGAIN_S
            self._heard_at = None


def choice(settings: Settings) -> bytes:
    """What the server found out when it opened: which models it uses where the settings leave that open."""
    return orjson.dumps([settings.llm.binding, settings.embedding.binding]) + b"\n"


def chosen(settings: Settings, call: bytes) -> Settings:
    """With the models of the server: a model host that appeared since must not make vectors that it cannot compare."""
    llm, embedding = orjson.loads(call.splitlines()[0])
    return replace(
        settings,
        llm=settings.llm.model_copy(update={"binding": llm}),
        embedding=settings.embedding.model_copy(update={"binding": embedding}),
    )


def _stand_by(line: socket.socket, settings: Settings) -> None:
    """Until the server has ended: make a worker for each call, one after another."""
    # Ctrl-C reaches the whole process group; the server decides when the others end
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    leave_systemd()
    # new files are looked for when the server starts, not whenever there is work
    settings = replace(settings, server=settings.server.model_copy(update={"auto_scan_at_startup": False}))
    with suppress(ConnectionError):
        while call := line.recv(CALL_BYTES):
            _tell(line, _Tag.ENDED, _worker_ended(line, chosen(settings, call)))


def _worker_ended(line: socket.socket, settings: Settings) -> int:
    """The exit code of a worker, after its end; negative for a signal."""
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        log.error("no process can be made: %s", error)
        return 1
    if pid == 0:
        os.nice(NICENESS)
        _exit_after(lambda: asyncio.run(_work(line, settings, parent)))
    _tell(line, _Tag.ALIVE, pid)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


async def _work(line: socket.socket, settings: Settings, parent: int) -> None:
    """Until there is nothing to do, or one of the others has ended."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()

    def server_ended() -> None:
        loop.remove_reader(line)
        stopping.set()

    def beat() -> None:
        if os.getppid() != parent:
            stopping.set()
        with suppress(OSError):
            _tell(line, _Tag.ALIVE, os.getpid(), socket.MSG_DONTWAIT)

    # nothing is ever sent to a worker: there is something to be read when the other end is closed
    loop.add_reader(line, server_ended)
    for number in STOPPED_BY:
        if number is not signal.SIGINT:
            loop.add_signal_handler(number, stopping.set)
    await work_until(stopping, settings, [beat], REST_S)


def _tell(line: socket.socket, tag: _Tag, number: int, flags: int = 0) -> None:
    line.sendall(_WORD.pack(tag, number), flags)


def _exit_after(body: Callable[[], None]) -> NoReturn:
    """Nothing of the parent's is run or written again on the way out."""
    code = 1
    try:
        body()
        code = 0
    except LightRAGError as error:
        log.error("a process for documents cannot work: %s", error)
    except BaseException:
        log.exception("a process for documents failed")
    finally:
        os._exit(code)


def _kill(pid: int | None) -> None:
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
