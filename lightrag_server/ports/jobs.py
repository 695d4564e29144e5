from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class JobState(StrEnum):
    TODO = "todo"
    DOING = "doing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_open(self) -> bool:
        return self in (JobState.TODO, JobState.DOING)


NOTES_KEPT = 1000
LONGEST_DELAY_S = 600.0
"""Longer ones are shortened, so that a due time further ahead is known to be of a clock that was set back."""
WORKER_DIED = "the worker that ran it stopped without a word"


@dataclass(frozen=True, slots=True)
class Job:
    """`attempt` counts claims from 1. `fence` grows with every claim in the queue: of two holders the later wins."""

    id: int
    kind: str
    workspace: str
    subject: str
    lock: str | None
    state: JobState
    attempt: int = 0
    fence: int = 0
    owner: str | None = None
    error: str | None = None
    is_cancelled: bool = False
    """Somebody asked for it to stop."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """`lock`: one job with this lock runs at a time. One todo job exists per (kind, workspace, subject)."""

    kind: str
    workspace: str
    subject: str = ""
    lock: str | None = None
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running document is; `since` and `updated` are epoch seconds."""

    subject: str
    name: str
    stage: str
    done: int
    total: int
    since: float
    updated: float


@dataclass(frozen=True, slots=True)
class Note:
    at: float
    text: str


class JobQueue(Protocol):
    """Durable jobs, workers' heartbeats, progress and notes, shared by all processes of one installation."""

    async def enqueue(self, jobs: Sequence[NewJob]) -> list[int]:
        """Add jobs; where an equal todo job exists its id is returned instead (its delay becomes the shorter one)."""
        ...

    async def claim(self, owner: str, kinds: Collection[str]) -> Job | None:
        """Take the oldest due job whose lock is free. Exactly one owner gets it. What is due later than
        `LONGEST_DELAY_S` from now is due at once."""
        ...

    async def has_due(self, kinds: Collection[str]) -> bool:
        """Whether `claim` would find a job. Changes nothing."""
        ...

    async def beat(self, owner: str, holding: Collection[int]) -> tuple[set[int], set[int]]:
        """Show that the owner lives; return which of the held jobs were lost and which were asked to stop."""
        ...

    async def finish(self, job: Job, state: JobState, error: str | None = None) -> bool:
        """End a job. False, and nothing changed, when it is no longer this owner's at this attempt; `InvalidInput` for
        a state that is no end."""
        ...

    async def retry(self, job: Job, delay_s: float, error: str | None = None) -> bool:
        """Put a job back to todo, due after the delay. False as `finish`.

        Wherever jobs are put back (here, `reap`, `release`): one that was asked to stop ends as cancelled instead; one
        that has an equal todo job by now is joined to that one, which takes over the larger attempt.
        """
        ...

    async def cancel(self, workspace: str, kinds: Collection[str], subject: str | None = None) -> int:
        """End todo jobs as cancelled and ask running ones to stop; return how many were touched."""
        ...

    async def reap(self, stale_after_s: float) -> int:
        """Put back the jobs of owners whose heartbeat was seen not to change for so long, with `WORKER_DIED`; return
        how many. A claim is a heartbeat too. To be called every few seconds: silence is what this queue watched itself,
        since clocks may be set forward and back, and who did not look cannot tell."""
        ...

    async def release(self, owner: str) -> None:
        """Put back all jobs of an owner that stops, and forget the owner."""
        ...

    async def get(self, ids: Collection[int]) -> dict[int, Job]:
        """Unknown ids are absent. The id of a job that was joined to another answers with that other job."""
        ...

    async def open_jobs(self, workspace: str | None = None) -> list[Job]:
        """Todo and doing jobs, oldest first."""
        ...

    async def depths(self) -> dict[tuple[str, JobState], int]:
        """How many jobs are open, by kind and state; of all workspaces. None there are is absent."""
        ...

    async def prune(self, keep_s: float) -> None:
        """Forget ended jobs older than this."""
        ...

    async def live_owners(self, stale_after_s: float) -> list[str]:
        """Those whose last heartbeat is not further than this from now."""
        ...

    async def set_progress(self, workspace: str, progress: Progress) -> None: ...

    async def clear_progress(self, workspace: str, subject: str) -> None: ...

    async def progress(self, workspace: str) -> list[Progress]: ...

    async def note(self, workspace: str, text: str) -> None:
        """Append a line to the workspace's history; the last `NOTES_KEPT` are kept."""
        ...

    async def notes(self, workspace: str) -> list[Note]:
        """Oldest first."""
        ...

    async def forget(self, workspace: str) -> None:
        """Remove the ended jobs, the progress and the notes of a workspace; open jobs stay."""
        ...

    async def close(self) -> None:
        """Release files and threads. Idempotent; the jobs stay."""
        ...
