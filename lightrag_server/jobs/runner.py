"""Claims jobs and runs them: a number of slots in this process, a heartbeat, and an orderly stop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial

from lightrag_server import logs
from lightrag_server.core.metrics import ERRORS, JOB_SECONDS, JOBS_ENDED
from lightrag_server.engine import job_kinds
from lightrag_server.errors import JobLost, LightRAGError
from lightrag_server.jobs.handlers import Handlers, RetryLater
from lightrag_server.jobs.heart import Heart
from lightrag_server.jobs.helper import Helper
from lightrag_server.jobs.liveness import Liveness
from lightrag_server.ports.jobs import Job, JobQueue, JobState
from lightrag_server.ports.telemetry import Meter, NoMeter

log = logging.getLogger(__name__)

POLL_S = 0.5
BEAT_S = 1.0
STALE_AFTER_S = 20.0
STOP_GRACE_S = 5.0
RECONCILE_S = 60.0
KEEP_ENDED_S = 24 * 3600.0
RETRY_S = 5.0
"""The wait of a job that was stopped by something that may pass, such as a full disk, where nothing else is said."""

End = Callable[[], Awaitable[object]]
"""Records how a job ended."""


class Runner:
    """`slots` maps a group of job kinds to how many of them run at once in this process."""

    def __init__(
        self,
        queue: JobQueue,
        handlers: Handlers,
        liveness: Liveness,
        slots: Mapping[tuple[str, ...], int],
        reconcile: Callable[[], Awaitable[int]],
        heart: Heart,
        drain: Callable[[], Awaitable[None]] | None = None,
        meter: Meter | None = None,
        helper: Helper | None = None,
    ) -> None:
        """`drain` lets what models are doing for running jobs come to its end, at the stop. A `helper` is called when
        there is work that nobody waits for, and while it is there everything is left to it."""
        self._queue = queue
        self._handlers = handlers
        self._liveness = liveness
        self._slots = slots
        self._reconcile = reconcile
        self._drain = drain
        self._meter = meter or NoMeter()
        self._helper = helper
        self._heart = heart
        self._wake = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._running: dict[int, asyncio.Task[None]] = {}
        self._may_have_strays = False
        self._ended_at = time.monotonic()

    @property
    def rests_s(self) -> float:
        """For how long there has been nothing to do here."""
        return 0.0 if self._running else time.monotonic() - self._ended_at

    def wake(self) -> None:
        """Look for work now rather than at the next poll."""
        woken, self._wake = self._wake, asyncio.Event()
        woken.set()

    async def start(self) -> None:
        await self.recover()
        self._heart.start()
        self._loops = [asyncio.create_task(self._dispatch(kinds, count)) for kinds, count in self._slots.items()]
        self._loops += [asyncio.create_task(self._beat()), asyncio.create_task(self._look_after())]

    async def stop(self) -> None:
        """Stop claiming, let model calls end, give running jobs a moment, hand the rest back."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        if self._drain and self._running:
            await self._drain()
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=STOP_GRACE_S)
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        await asyncio.to_thread(self._heart.stop)
        await self._queue.release(self._liveness.owner)

    async def recover(self) -> None:
        """Put back the jobs of processes that ended without handing them back, and of those that fell silent."""
        for owner in await asyncio.to_thread(self._liveness.dead_owners):
            await self._queue.release(owner)
            await asyncio.to_thread(self._liveness.forget, owner)
        await self._queue.reap(STALE_AFTER_S)

    # -- loops

    async def _dispatch(self, kinds: tuple[str, ...], count: int) -> None:
        """Keep `count` jobs of these kinds running while there are any."""
        free = asyncio.Semaphore(count)
        while True:
            await free.acquire()
            woken = self._wake
            job = await self._claimed(kinds)
            if job is None:
                free.release()
                await _set_or_late(woken, POLL_S)
                continue
            task = asyncio.create_task(self._run(job), name=f"{job.kind} {job.subject}")
            self._running[job.id] = task
            task.add_done_callback(partial(self._left, job.id, free))

    def _left(self, job_id: int, free: asyncio.Semaphore, _task: asyncio.Task[None]) -> None:
        self._running.pop(job_id, None)
        self._ended_at = time.monotonic()
        free.release()
        self.wake()

    async def _claimed(self, kinds: tuple[str, ...]) -> Job | None:
        try:
            is_ours = self._helper is None or await self._is_ours(self._helper, kinds)
            return await self._queue.claim(self._liveness.owner, kinds) if is_ours else None
        except LightRAGError as error:
            log.warning("cannot claim jobs: %s", error)
            self._may_have_strays = True
            return None

    async def _is_ours(self, helper: Helper, kinds: tuple[str, ...]) -> bool:
        """Without a helper that could come all is; while none is needed, what somebody may wait for."""
        if helper.is_at_work:
            return False
        if await self._queue.has_due(job_kinds.UNAWAITED):
            return not helper.call()
        return job_kinds.AWAITED.issuperset(kinds)

    async def _beat(self) -> None:
        """Tell that this process lives; stop what was lost or cancelled; look after jobs of the dead."""
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                lost, cancelled = await self._queue.beat(self._liveness.owner, list(self._running))
                self._heart.loop_turned()
                for job_id in lost | cancelled:
                    if task := self._running.get(job_id):
                        task.cancel()
                await self.recover()
                await self._return_strays()
            except LightRAGError as error:
                log.warning("heartbeat failed: %s", error)

    async def _return_strays(self) -> None:
        """A claim that failed may have taken effect all the same, where the failure came last; while this process
        lives, nobody else would put that job back."""
        if not self._may_have_strays:
            return
        self._may_have_strays = False
        for job in await self._queue.open_jobs():
            if job.owner == self._liveness.owner and job.id not in self._running:
                await self._queue.retry(job, 0.0)

    async def _look_after(self) -> None:
        """Close the gaps that a crash left between documents, jobs and blobs: at start and every minute."""
        while True:
            try:
                if await self._reconcile():
                    self.wake()
                await self._queue.prune(KEEP_ENDED_S)
            except LightRAGError as error:
                log.warning("cannot reconcile: %s", error)
            await asyncio.sleep(RECONCILE_S)

    # -- one job

    async def _run(self, job: Job) -> None:
        with logs.bind(workspace=job.workspace, job=str(job.id), kind=job.kind):
            try:
                end = await self._measured(job)
            except asyncio.CancelledError:
                await asyncio.shield(self._given_back(job))
                raise
            await self._recorded(end)

    async def _measured(self, job: Job) -> End:
        began, outcome = time.perf_counter(), "stopped"
        try:
            outcome, end = await self._ran(job)
            return end
        finally:
            self._meter.count(JOBS_ENDED, 1.0, job.kind, outcome)
            self._meter.observe(JOB_SECONDS, time.perf_counter() - began, job.kind)

    async def _ran(self, job: Job) -> tuple[str, End]:
        """Run the job; return in a word how it ended and how that is to be recorded."""
        try:
            await self._handlers.run(job)
        except RetryLater as later:
            log.info("again in %.1f s: %s", later.delay_s, later)
            return "retried", partial(self._queue.retry, job, later.delay_s, str(later))
        except JobLost as lost:
            return "lost", partial(self._queue.finish, job, JobState.CANCELLED, str(lost))
        except Exception as error:
            self._meter.count(ERRORS, 1.0, "job", error.code if isinstance(error, LightRAGError) else "internal_error")
            if isinstance(error, LightRAGError) and error.retryable:
                log.warning("stopped: %s", error)
                return "retried", partial(self._queue.retry, job, RETRY_S, str(error))
            log.exception("job failed")
            return "failed", partial(self._queue.finish, job, JobState.FAILED, f"{type(error).__name__}: {error}")
        return "done", partial(self._queue.finish, job, JobState.DONE)

    async def _recorded(self, end: End) -> None:
        """Try until the queue takes it: while this process lives, nobody else would put the job back."""
        while True:
            try:
                await end()
                return
            except LightRAGError as error:
                log.warning("the job's end cannot be recorded yet: %s", error)
                await asyncio.sleep(RETRY_S)

    async def _given_back(self, job: Job) -> None:
        """A cancelled job ends; one that this process only lets go of at its own stop is put back."""
        current = (await self._queue.get([job.id])).get(job.id)
        if current and current.is_cancelled:
            await self._queue.finish(job, JobState.CANCELLED)
        else:
            await self._queue.retry(job, 0.0)


async def _set_or_late(event: asyncio.Event, seconds: float) -> None:
    """Not `asyncio.wait_for`: in Python 3.11 it swallows a cancellation that comes together with the event."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
