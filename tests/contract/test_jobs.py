from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from lightrag_server.ports.jobs import Job, JobQueue, JobState, NewJob
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.memory_jobs import MemoryJobQueue
from lightrag_server.storages.sqlite.jobs import SQLiteJobQueue
from tests.contract.jobs import KINDS, LOOK_S, STALE_S, Clock, JobQueueContract, claimed, one, prepare, watched

JOBS = 400
LOCKS = 20
PROCESSES = 4

spawning = multiprocessing.get_context("spawn")


class TestMemoryJobs(JobQueueContract):
    @pytest.fixture
    def queue(self, clock: Clock) -> JobQueue:
        return MemoryJobQueue(clock, clock.ticks)


@asynccontextmanager
async def opened(path: Path, clock: Clock | None = None) -> AsyncIterator[SQLiteJobQueue]:
    queue = SQLiteJobQueue(path, SQLiteSettings(), *((clock, clock.ticks) if clock else ()))
    try:
        yield queue
    finally:
        await queue.close()


class TestSQLiteJobs(JobQueueContract):
    @pytest.fixture
    async def queue(self, tmp_path: Path, clock: Clock) -> AsyncIterator[JobQueue]:
        async with opened(tmp_path / "coordination.sqlite", clock) as queue:
            yield queue

    async def test_jobs_survive_reopening(self, tmp_path: Path):
        path = tmp_path / "coordination.sqlite"
        async with opened(path) as queue:
            await queue.enqueue([prepare("done"), prepare("waiting")])
            await queue.finish(await claimed(queue), JobState.DONE)
        async with opened(path) as queue:
            assert [job.subject for job in await queue.open_jobs()] == ["waiting"]

    async def test_fences_keep_growing_when_the_file_was_deleted(self, tmp_path: Path, clock: Clock):
        fences: list[int] = []
        for name in ("before.sqlite", "after.sqlite"):
            async with opened(tmp_path / name, clock) as queue:
                await queue.enqueue([prepare()])
                fences.append((await claimed(queue)).fence)
            clock.now += 1
        assert fences[0] < fences[1]

    async def test_the_database_itself_refuses_two_holders_of_a_lock(self, tmp_path: Path):
        path = tmp_path / "coordination.sqlite"
        async with opened(path) as queue:
            await queue.enqueue([prepare("a", lock="l"), prepare("b", lock="l")])
            await claimed(queue)
        connection = sqlite3.connect(path)
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute("UPDATE jobs SET state = 'doing'")
        connection.close()


# -- other processes


async def _work_until_empty(path: Path, owner: str, log: Path) -> None:
    """Append what was run and when, one line for each job; a lock is held from claim to finish."""
    async with opened(path) as queue:
        with log.open("w") as file:
            while job := await _next(queue, owner):
                start = time.monotonic()
                await asyncio.sleep(0.001)
                print(job.id, job.lock, job.attempt, start, time.monotonic(), file=file)
                assert await queue.finish(job, JobState.DONE)


async def _next(queue: JobQueue, owner: str) -> Job | None:
    while True:
        job = await queue.claim(owner, KINDS)
        if job is not None or not await queue.open_jobs():
            return job
        await asyncio.sleep(0.002)


def work_until_empty(path: Path, owner: str, log: Path) -> None:
    asyncio.run(_work_until_empty(path, owner, log))


async def _claim_and_hang(path: Path, has_claimed: Event) -> None:
    async with opened(path) as queue:
        await claimed(queue, "killed")
        has_claimed.set()
        await asyncio.sleep(60)


def claim_and_hang(path: Path, has_claimed: Event) -> None:
    asyncio.run(_claim_and_hang(path, has_claimed))


async def ended(processes: list[BaseProcess]) -> list[int | None]:
    for process in processes:
        await asyncio.to_thread(process.join)
    return [process.exitcode for process in processes]


async def test_processes_run_each_job_once_and_never_two_of_one_lock_at_once(tmp_path: Path):
    path = tmp_path / "coordination.sqlite"
    async with opened(path) as queue:
        ids = await queue.enqueue([prepare(str(n), lock=f"lock-{n % LOCKS}") for n in range(JOBS)])
    logs = [tmp_path / f"{n}.log" for n in range(PROCESSES)]
    processes = [spawning.Process(target=work_until_empty, args=(path, log.name, log)) for log in logs]
    for process in processes:
        process.start()
    assert await ended([*processes]) == [0] * PROCESSES
    rows = [line.split() for log in logs for line in log.read_text().splitlines()]
    assert sorted(int(row[0]) for row in rows) == ids
    assert {row[2] for row in rows} == {"1"}
    for lock in {row[1] for row in rows}:
        spans = sorted((float(row[3]), float(row[4])) for row in rows if row[1] == lock)
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    async with opened(path) as queue:
        assert {job.state for job in (await queue.get(ids)).values()} == {JobState.DONE}


async def test_the_job_of_a_killed_process_is_reaped_and_claimed_again(tmp_path: Path, clock: Clock):
    path = tmp_path / "coordination.sqlite"
    async with opened(path) as queue:
        [id] = await queue.enqueue([NewJob("commit", "w", lock="l")])
        has_claimed = spawning.Event()
        process = spawning.Process(target=claim_and_hang, args=(path, has_claimed))
        process.start()
        assert await asyncio.to_thread(has_claimed.wait, 30)
        held = await one(queue, id)
        assert held.owner == "killed"
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        assert await ended([process]) == [-signal.SIGKILL]
    async with opened(path, clock) as queue:
        assert await queue.claim("next", KINDS) is None
        assert await watched(queue, clock, STALE_S - LOOK_S) == 0, "it may still live"
        assert await watched(queue, clock, LOOK_S) == 1
        again = await claimed(queue, "next")
        assert (again.id, again.attempt) == (id, 2)
        assert again.fence > held.fence
        assert not await queue.finish(held, JobState.DONE)
        assert await queue.finish(again, JobState.DONE)


@pytest.fixture
def clock() -> Clock:
    return Clock()
