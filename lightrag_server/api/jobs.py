"""Requests that answer with the result of a job: enqueued, then waited for within bounds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from lightrag_server.errors import Conflict, LightRAGError, Overloaded
from lightrag_server.ports.jobs import JobQueue, JobState

POLL_S = 0.02
LIVE_OWNER_S = 30.0
FIRST_BEAT_S = 3.0
"""A worker that has just started may not have shown itself yet."""


class StillWaiting(Conflict):
    """What was asked for has not been carried out yet; it will be."""


async def _never() -> bool:
    return False


async def ended(queue: JobQueue, job_id: int, wait_s: float, is_done: Callable[[], Awaitable[bool]] = _never) -> None:
    """Return when the job is done, or earlier what the caller waits for. Raises `Overloaded` when no worker lives,
    `StillWaiting` when it is still at work after `wait_s` (it goes on), and an error when it failed."""
    began = time.monotonic()
    while not await is_done():
        job = (await queue.get([job_id])).get(job_id)
        if job is None or job.state is JobState.DONE:
            return
        if job.state is JobState.CANCELLED:
            raise Conflict("this was cancelled by a later request, such as the deletion of the workspace")
        if job.state is JobState.FAILED:
            raise LightRAGError(f"the job ended as {job.state.value}: {job.error}")
        waited = time.monotonic() - began
        if waited >= FIRST_BEAT_S and not await queue.live_owners(LIVE_OWNER_S):
            raise Overloaded("no worker is running that could carry this out; it will be done when one starts")
        if waited >= wait_s:
            raise StillWaiting(
                "other work has to end first; this will be carried out after it without a further request"
            )
        await asyncio.sleep(POLL_S)
