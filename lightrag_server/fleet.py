"""`lightrag-gunicorn`: gunicorn looks after processes that answer and processes that work on documents.

All are equal in what they open and share nothing in memory; whichever is killed, the others go on and gunicorn
replaces it. HUP reads the settings anew and, when they can work, replaces all processes without refusing a request.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.sock import TCPSocket
from gunicorn.workers.base import Worker

from lightrag_server.banner import banner
from lightrag_server.bootstrap import Duty, open_app
from lightrag_server.errors import ConfigError, LightRAGError
from lightrag_server.pulse import watchdog
from lightrag_server.serving import answer, listeners
from lightrag_server.settings.loader import Loaded
from lightrag_server.sockets import addresses
from lightrag_server.working import work

log = logging.getLogger(__name__)

Load = Callable[[], Loaded]

NAME = "lightrag-gunicorn"
CLOSING_S = 15
"""Beyond the time that requests and model calls are given to end."""
BEFORE_ANOTHER_TRY_S = 2.0
IN_MEMORY = Path("/dev/shm")


def run(loaded: Loaded, load: Load) -> int:
    """Serve until INT or TERM; the exit code. `load` reads the settings anew. Raises `ConfigError` when the address
    cannot be had."""
    sockets = listeners(loaded.settings)
    urls = addresses(sockets, loaded.settings.server)
    if code := _tried(loaded, urls):
        return code
    # gunicorn makes sockets of its own of what these listen on
    fleet = _Fleet(loaded, load, [listener.detach() for listener in sockets], urls)
    try:
        _Arbiter(fleet).run()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _tried(loaded: Loaded, urls: Sequence[str]) -> int:
    """Whether everything opens, found out by a process that ends: gunicorn would start one that cannot again and again,
    and what is opened here must not be inherited. It prints the banner. Its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        asyncio.run(_introduced(loaded, urls))
        code = 0
    except (ConfigError, LightRAGError) as error:
        print(f"{NAME}: cannot start: {error}", file=sys.stderr)
        code = 2 if isinstance(error, ConfigError) else 1
    except BaseException:
        log.exception("cannot start")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


async def _introduced(loaded: Loaded, urls: Sequence[str]) -> None:
    async with open_app(loaded.settings, duty=Duty.READING) as app:
        print(await banner(app, loaded.origins, urls), flush=True)


class _Fleet(BaseApplication):
    """What gunicorn knows of us."""

    def __init__(self, loaded: Loaded, load: Load, listening: Sequence[int], urls: Sequence[str]) -> None:
        """`listening` are descriptors of listening sockets."""
        self.loaded = loaded
        self._load = load
        self._listening = listening
        self._urls = urls
        super().__init__(prog=NAME)

    def load_config(self) -> None:
        server = self.loaded.settings.server
        chosen: dict[str, Any] = {
            "bind": [f"fd://{number}" for number in self._listening],
            "workers": server.workers + server.job_workers,
            "worker_class": _Member,
            "timeout": server.worker_timeout_s,
            "graceful_timeout": 2 * server.stop_timeout_s + CLOSING_S,
            "logger_class": _Log,
            "proc_name": NAME,
            "control_socket_disable": True,
            # signs of life are file times, which a slow disk must not hold up
            "worker_tmp_dir": str(IN_MEMORY) if IN_MEMORY.is_dir() else None,
        }
        for name, value in chosen.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Nothing before the fork: each process opens its own."""

    def read_anew(self) -> None:
        """Raises `ConfigError`, and `LightRAGError` for settings with which nothing opens; then the old ones stay."""
        loaded = self._load()
        server, before = loaded.settings.server, self.loaded.settings.server
        if (server.host, server.port) != (before.host, before.port):
            log.warning("HOST and PORT stay as they are until a restart")
        if _tried(loaded, self._urls):
            raise ConfigError("what the settings name cannot be opened")
        self.loaded = loaded


class _Arbiter(Arbiter):
    """Keeps both kinds of processes at their number."""

    def __init__(self, app: _Fleet) -> None:
        self._fleet = app
        self._generation = 0
        self._beats = watchdog()
        super().__init__(app)

    def assign(self, _arbiter: Arbiter, member: _Member) -> None:
        """Decide what a new process is for."""
        members = cast("Iterable[_Member]", self.WORKERS.values())
        working = sum(m.is_for_jobs for m in members if m.generation == self._generation)
        member.generation = self._generation
        member.is_for_jobs = working < self._fleet.loaded.settings.server.job_workers

    def reload(self) -> None:
        try:
            self._fleet.read_anew()
        except LightRAGError as error:
            log.error("the processes stay as they are: %s", error)
            return
        self._generation += 1
        super().reload()

    def setup(self, app: BaseApplication) -> None:
        super().setup(app)
        self.cfg.set("pre_fork", self.assign)

    def murder_workers(self) -> None:
        for beat in self._beats:
            beat()
        super().murder_workers()

    def handle_ttin(self) -> None:
        log.warning("the number of processes is WORKERS and JOB_WORKERS; change them and send HUP")

    handle_ttou = handle_ttin


class _Member(Worker):
    """One process."""

    is_for_jobs = False
    generation = 0

    def init_signals(self) -> None:
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        # ABRT ends a process that hangs: where it hangs is worth knowing
        faulthandler.enable()

    def load_wsgi(self) -> None:
        """What is served is made by `run`."""

    def run(self) -> None:
        loaded = cast(_Fleet, self.app).loaded
        beats = (self.notify, self._end_with_parent)
        try:
            if self.is_for_jobs:
                work(loaded, beats)
            else:
                answer(loaded, [cast(TCPSocket, listener).sock for listener in self.sockets], beats)
        except LightRAGError as error:
            log.error("a process cannot start: %s", error)
            time.sleep(BEFORE_ANOTHER_TRY_S)
            sys.exit(1)

    def _end_with_parent(self) -> None:
        if os.getppid() != self.ppid:
            log.error("the parent process is gone")
            os.kill(os.getpid(), signal.SIGTERM)


class _Log(Logger):
    """Gunicorn's lines go where ours go, in our format."""

    def setup(self, cfg: Any) -> None:
        self.cfg = cfg
        self._access_log_enabled = False
        self.error_log.propagate = True

    def reopen_files(self) -> None:
        """There are none."""
