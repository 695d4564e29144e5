"""A runner with a helper: what it leaves to it and what it does itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from lightrag_server.engine import job_kinds
from lightrag_server.jobs.handlers import Handlers
from lightrag_server.jobs.heart import Heart
from lightrag_server.jobs.liveness import Liveness
from lightrag_server.jobs.runner import Runner
from lightrag_server.ports.jobs import Job
from lightrag_server.settings import Settings
from lightrag_server.storages.memory_jobs import MemoryJobQueue

SLOTS = {(job_kinds.PREPARE,): 2, (job_kinds.COMMIT,): 1}
LONG_ENOUGH_S = 0.1


class Done:
    """Handlers that note what they carried out."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    async def run(self, job: Job) -> None:
        self.kinds.append(job.kind)


class FakeHelper:
    def __init__(self, *, can_come: bool = True) -> None:
        self.is_at_work = False
        self.can_come = can_come
        self.calls = 0

    def call(self) -> bool:
        self.calls += 1
        self.is_at_work = self.can_come
        return self.can_come

    def open(self, settings: Settings, ended: Callable[[], None]) -> None: ...

    async def close(self) -> None: ...


async def nothing() -> int:
    return 0


@asynccontextmanager
async def started(folder: Path, helper: FakeHelper) -> AsyncIterator[tuple[Runner, MemoryJobQueue, Done]]:
    queue, done, liveness = MemoryJobQueue(), Done(), Liveness(folder)
    heart = Heart(liveness.owner, MemoryJobQueue)
    runner = Runner(queue, cast(Handlers, done), liveness, SLOTS, nothing, heart, helper=helper)
    liveness.open()
    await runner.start()
    try:
        yield runner, queue, done
    finally:
        await runner.stop()
        liveness.close()


async def test_what_somebody_waits_for_is_done_without_a_helper_that_is_not_there(tmp_path: Path) -> None:
    helper = FakeHelper()
    async with started(tmp_path, helper) as (runner, queue, done):
        await queue.enqueue([job_kinds.commit("w")])
        runner.wake()
        await asyncio.sleep(LONG_ENOUGH_S)
        assert (done.kinds, helper.calls) == ([job_kinds.COMMIT], 0)


async def test_a_document_calls_the_helper_and_everything_is_left_to_it_until_it_has_ended(tmp_path: Path) -> None:
    helper = FakeHelper()
    async with started(tmp_path, helper) as (runner, queue, done):
        await queue.enqueue([job_kinds.prepare("w", "d"), job_kinds.commit("w")])
        runner.wake()
        await asyncio.sleep(LONG_ENOUGH_S)
        assert (done.kinds, helper.calls) == ([], 1)
        helper.is_at_work, helper.can_come = False, False
        runner.wake()
        await asyncio.sleep(LONG_ENOUGH_S)
        assert sorted(done.kinds) == [job_kinds.COMMIT, job_kinds.PREPARE]


async def test_where_no_helper_can_come_the_runner_does_everything(tmp_path: Path) -> None:
    async with started(tmp_path, FakeHelper(can_come=False)) as (runner, queue, done):
        await queue.enqueue([job_kinds.prepare("w", "d")])
        runner.wake()
        await asyncio.sleep(LONG_ENOUGH_S)
        assert done.kinds == [job_kinds.PREPARE]


async def test_a_job_that_is_not_due_yet_calls_nobody(tmp_path: Path) -> None:
    helper = FakeHelper()
    async with started(tmp_path, helper) as (runner, queue, _):
        await queue.enqueue([job_kinds.prepare("w", "d", delay_s=60)])
        runner.wake()
        await asyncio.sleep(LONG_ENOUGH_S)
        assert helper.calls == 0
        assert runner.rests_s > 0
