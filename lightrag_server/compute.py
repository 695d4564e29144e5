"""Worker processes for work that would block the event loop: local models and text analysis."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

from lightrag_server.errors import ProviderUnavailable

P = ParamSpec("P")
T = TypeVar("T")

NICENESS = 5
"""Queries come before indexing."""
CLOSE_GRACE_S = 5.0
_THREAD_LIMITS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class Compute:
    """A pool of low-priority processes, started at first use; `workers` defaults to one per core, and `niceness` says
    how far they stand back for others.

    The processes end with this one, however it ends.
    """

    def __init__(self, workers: int | None = None, niceness: int = NICENESS) -> None:
        self.workers = workers or _cores()
        self._niceness = niceness
        self._pool: _Pool | None = None
        self._is_closed = False

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a module-level function in a worker. Its exceptions are raised here.

        Cancelling drops work that no worker has taken. When a worker dies, the jobs it shared the pool with fail as
        `ProviderUnavailable`; later ones get a new pool.
        """
        pool, future = self._submit(lambda pool: pool.submit(function, *args, **kwargs))
        try:
            return await asyncio.wrap_future(future)
        except BrokenProcessPool as error:
            self._discard(pool)
            raise ProviderUnavailable("a worker process died") from error

    async def close(self) -> None:
        """Drop queued work and end the processes; running jobs get `CLOSE_GRACE_S`. Idempotent."""
        self._is_closed = True
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.close)

    def _submit(self, submit: Callable[[_Pool], Future[T]]) -> tuple[_Pool, Future[T]]:
        pool = self._started()
        try:
            return pool, submit(pool)
        except BrokenProcessPool:
            self._discard(pool)
            pool = self._started()
            return pool, submit(pool)

    def _started(self) -> _Pool:
        if self._is_closed:
            raise ProviderUnavailable("the worker processes are closed")
        if self._pool is None:
            self._pool = _Pool(self.workers, self._niceness)
        return self._pool

    def _discard(self, pool: _Pool) -> None:
        if self._pool is pool:
            self._pool = None
        pool.shutdown(wait=False, cancel_futures=True)


class _Pool(ProcessPoolExecutor):
    def __init__(self, workers: int, niceness: int) -> None:
        # Children read these when they import numpy; ours is loaded already and does not change.
        for name in _THREAD_LIMITS:
            os.environ.setdefault(name, "1")
        self._context = _Context()
        super().__init__(workers, mp_context=self._context, initializer=_settle, initargs=(niceness,))

    def close(self) -> None:
        self.shutdown(wait=False, cancel_futures=True)
        deadline = time.monotonic() + CLOSE_GRACE_S
        running = {process.sentinel for process in self._context.started}
        while running and (left := deadline - time.monotonic()) > 0:
            running.difference_update(wait(list(running), timeout=left))
        for process in self._context.started:
            process.kill()
            process.join()


class _Context(SpawnContext):
    """Spawns processes that do not import the main program again, and remembers them."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[SpawnProcess] = []

    def Process(self, *args: Any, **kwargs: Any) -> SpawnProcess:  # type: ignore[override]
        process = _Process(*args, **kwargs)
        self.started.append(process)
        return process


class _Process(SpawnProcess):
    def start(self) -> None:
        with _anonymous_main():
            super().start()


@contextmanager
def _anonymous_main() -> Iterator[None]:
    """Workers run functions of this package only. Importing the main program there too would cost each of them the
    whole server, and would run again a script that lacks the `__name__` guard."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _settle(niceness: int) -> None:
    """Runs first in every worker."""
    if hasattr(os, "nice"):
        os.nice(niceness)
    # Ctrl-C reaches the whole process group; the parent decides when workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent cannot tell: idle workers would wait for ever on a pipe that they hold open themselves."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
