"""A write that fails, or a process that dies in it, at points spread over the indexing of a small corpus: afterwards
every document is processed once, nothing is orphaned, and nothing had to be done by hand.

The driver's connections are replaced by ones that count their writes and fail in one of them; everything else is real.
"""

from __future__ import annotations

import asyncio
import errno
import multiprocessing
import os
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from lightrag_server.bindings.local.fake import vectors_of
from lightrag_server.bootstrap import App, open_app
from lightrag_server.core.records import DocStatus
from lightrag_server.engine import blob_keys, commit, job_kinds
from lightrag_server.errors import StorageError
from lightrag_server.jobs import runner
from lightrag_server.settings.loader import load
from tests.e2e.accounting import account

T = TypeVar("T")

DIMENSION = 64
POINTS = 12
"""For each way to fail."""
WITHIN_S = 30.0
PAUSE_S = 0.05
DOCUMENTS = {
    f"{number}.txt": "\n\n".join(f"{a} met {b} in year {number}{n}, and {b} wrote of it." for n in range(6))
    for number, (a, b) in enumerate([("Ada Harrow", "Ivo Castellan"), ("Ada Harrow", "Greta Lindqvist")])
}
SETTINGS = {
    "LLM_BINDING": "fake",
    "EMBEDDING_BINDING": "fake",
    "EMBEDDING_DIM": str(DIMENSION),
    "CHUNK_SIZE": "60",
    "CHUNK_OVERLAP_SIZE": "0",
    "TOKENIZER": "estimate",
    "RETRY_DELAY": str(PAUSE_S),
}
WRITES = ("BEGIN IMMEDIATE", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "COMMIT")

forking = multiprocessing.get_context("forkserver")
forking.set_forkserver_preload(["lightrag_server.bootstrap", "tests.e2e.accounting"])


# ----------------------------------------------------------------------------- the driver that fails


@dataclass
class Plan:
    """`how` the write of number `at` fails; the writes are counted while it is armed."""

    how: str
    at: int
    is_armed: bool = False
    writes: list[str] = field(default_factory=list[str])

    @property
    def has_failed(self) -> bool:
        return len(self.writes) >= self.at

    def run(self, connection: sqlite3.Connection, sql: str, do: Callable[[], T]) -> T:
        text = sql.lstrip()
        if not self.is_armed or not text.startswith(WRITES) or (self.how == "unsure" and text != "COMMIT"):
            return do()
        self.writes.append(text.split(None, 1)[0])
        return self._fail(connection, do) if len(self.writes) == self.at else do()

    def _fail(self, connection: sqlite3.Connection, do: Callable[[], T]) -> T:
        self._die()
        if self.how == "unsure":
            do()
        if self.how == "full" and connection.in_transaction:
            connection.rollback()  # as SQLite itself does
        raise sqlite3.OperationalError("database or disk is full" if self.how == "full" else "disk I/O error")

    def sync(self, do: Callable[[int], None], descriptor: int) -> None:
        """In place of `os.fsync`, which ends the writing of a blob."""
        if self.is_armed and self.how != "unsure":
            self.writes.append("fsync")
            if len(self.writes) == self.at:
                self._die()
                number = errno.ENOSPC if self.how == "full" else errno.EIO
                raise OSError(number, os.strerror(number))
        do(descriptor)

    def _die(self) -> None:
        if self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)


class Failing(sqlite3.Connection):
    plan: Plan

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return self.plan.run(self, sql, lambda: super(Failing, self).execute(sql, *values))

    def executemany(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return self.plan.run(self, sql, lambda: super(Failing, self).executemany(sql, *values))


def install(patch: pytest.MonkeyPatch, plan: Plan) -> None:
    connections = type("Planned", (Failing,), {"plan": plan})
    patch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=connections))
    patch.setattr(os, "fsync", partial(plan.sync, os.fsync))
    patch.setattr(runner, "RETRY_S", PAUSE_S)
    patch.setattr(runner, "RECONCILE_S", 5 * PAUSE_S)
    patch.setattr(runner, "POLL_S", PAUSE_S)
    patch.setattr(commit, "SECONDS_BETWEEN_COMMITS", 0.0)


# ----------------------------------------------------------------------------- one life


async def index(folder: Path, plan: Plan) -> None:
    """Send all documents as a client that repeats what was refused; return when they are indexed."""
    async with open_app(load([], environ=SETTINGS, start_dir=folder)) as app:
        plan.is_armed = True
        for name in DOCUMENTS:
            await persistently(partial(send, app, name))
        await persistently(partial(idle, app))
        plan.is_armed = False


async def send(app: App, name: str) -> bool:
    await (await app.workspaces.get("")).intake.accept_texts([(DOCUMENTS[name], name)])
    return True


async def idle(app: App) -> bool:
    """Indexed, and what reconcile has to remove is gone."""
    stores = (await app.workspaces.get("")).stores
    counts = await stores.documents.counts()
    assert not counts.get(DocStatus.FAILED), await why(app)
    jobs = [job for job in await app.queue.open_jobs() if job.kind not in job_kinds.BACKGROUND]
    parts = await stores.blobs.list("", blob_keys.PREPARED)
    return counts[DocStatus.PROCESSED] == len(DOCUMENTS) and not jobs and not parts


async def why(app: App) -> list[str]:
    return [note.text for note in await app.queue.notes("")]


async def persistently(holds: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            if await holds():
                return
        except StorageError:
            pass  # not acknowledged
        assert time.monotonic() < deadline, f"not within {WITHIN_S:.0f} s"
        await asyncio.sleep(PAUSE_S)


def live(folder: Path, plan: Plan) -> None:
    with pytest.MonkeyPatch.context() as patch:
        install(patch, plan)
        asyncio.run(index(folder, plan))


def spread(count: int) -> Iterator[int]:
    """Points from the first write to one near the end: heartbeats and looks for work are writes too, so that the number
    differs from run to run."""
    yield from sorted({1 + round(n * 0.8 * count / POINTS) for n in range(POINTS)})


def check(folder: Path, plan: Plan) -> None:
    told = asyncio.run(account(folder / "rag_storage", list(DOCUMENTS), partial(vectors_of, dimension=DIMENSION)))
    write = plan.writes[plan.at - 1] if plan.has_failed else "a write"
    assert not told.faults, f"after {write} ({plan.at}) was {plan.how}: {told.faults}"
    assert told.relations


@pytest.fixture(scope="module")
def writes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """How many there are when none fails; of all, and of commits."""
    plan = Plan("not at all", at=0)
    live(tmp_path_factory.mktemp("undisturbed"), plan)
    assert len(plan.writes) > 100
    return {"all": len(plan.writes), "unsure": plan.writes.count("COMMIT")}


@pytest.mark.parametrize("how", ["full", "unreadable", "unsure"])
def test_a_write_that_fails_once_is_made_up_for(tmp_path: Path, writes: dict[str, int], how: str) -> None:
    for at in spread(writes.get(how, writes["all"])):
        folder, plan = tmp_path / str(at), Plan(how, at)
        folder.mkdir()
        live(folder, plan)
        check(folder, plan)


def test_a_process_that_dies_in_a_write_leaves_nothing_half_done(tmp_path: Path, writes: dict[str, int]) -> None:
    deaths = 0
    for at in spread(writes["all"]):
        folder = tmp_path / str(at)
        folder.mkdir()
        process = forking.Process(target=live, args=(folder, Plan("killed", at)))
        process.start()
        process.join(WITHIN_S)
        deaths += process.exitcode == -signal.SIGKILL
        plan = Plan("killed", at=0)
        live(folder, plan)
        check(folder, plan)
    assert deaths > POINTS / 2
