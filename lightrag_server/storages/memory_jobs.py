"""A complete job queue in memory: for tests and for servers that keep nothing."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from lightrag_server.errors import InvalidInput
from lightrag_server.ports.jobs import LONGEST_DELAY_S, NOTES_KEPT, WORKER_DIED, Job, JobState, NewJob, Note, Progress
from lightrag_server.storages.silence import Silence


@dataclass(slots=True)
class _Row:
    job: Job
    due: float
    ended: float = 0.0
    joined: int | None = None


def _no_notes() -> deque[Note]:
    return deque(maxlen=NOTES_KEPT)


class MemoryJobQueue:
    """Every method runs to its end without waiting, so tasks of one event loop cannot come between."""

    def __init__(self, clock: Callable[[], float] = time.time, ticks: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._silence = Silence(ticks)
        self._rows: dict[int, _Row] = {}
        self._last_id = 0
        self._last_fence = 0
        self._owners: dict[str, float] = {}
        self._progress: dict[tuple[str, str], Progress] = {}
        self._notes: defaultdict[str, deque[Note]] = defaultdict(_no_notes)

    async def enqueue(self, jobs: Sequence[NewJob]) -> list[int]:
        now = self._clock()
        return [self._enqueue(job, now + min(job.delay_s, LONGEST_DELAY_S)) for job in jobs]

    async def claim(self, owner: str, kinds: Collection[str]) -> Job | None:
        row = self._oldest_due(kinds)
        return None if row is None else self._take(row, owner, self._clock())

    async def has_due(self, kinds: Collection[str]) -> bool:
        return self._oldest_due(kinds) is not None

    async def beat(self, owner: str, holding: Collection[int]) -> tuple[set[int], set[int]]:
        self._owners[owner] = self._clock()
        held = {row.job.id: row.job.is_cancelled for row in self._held_by(owner)}
        return set(holding) - held.keys(), {id for id in holding if held.get(id)}

    async def finish(self, job: Job, state: JobState, error: str | None = None) -> bool:
        if state.is_open:
            raise InvalidInput(f"a job cannot end as {state.value!r}")
        row = self._still_held(job)
        if row is not None:
            self._end(row, state, error)
        return row is not None

    async def retry(self, job: Job, delay_s: float, error: str | None = None) -> bool:
        row = self._still_held(job)
        if row is not None:
            self._put_back(row, delay_s, error)
        return row is not None

    async def cancel(self, workspace: str, kinds: Collection[str], subject: str | None = None) -> int:
        touched = [
            row
            for row in self._rows.values()
            if row.job.state.is_open
            and not row.job.is_cancelled
            and row.job.workspace == workspace
            and row.job.kind in kinds
            and subject in (None, row.job.subject)
        ]
        for row in touched:
            row.job = replace(row.job, is_cancelled=True)
            if row.job.state is JobState.TODO:
                self._end(row, JobState.CANCELLED, row.job.error)
        return len(touched)

    async def reap(self, stale_after_s: float) -> int:
        for owner in self._silence.of(self._owners, stale_after_s):
            del self._owners[owner]
        orphans = [row for row in self._in_state(JobState.DOING) if row.job.owner not in self._owners]
        for row in orphans:
            self._put_back(row, 0.0, WORKER_DIED)
        return len(orphans)

    async def release(self, owner: str) -> None:
        for row in self._held_by(owner):
            self._put_back(row, 0.0, None)
        self._owners.pop(owner, None)

    async def get(self, ids: Collection[int]) -> dict[int, Job]:
        found = {id: self._followed(id) for id in ids}
        return {id: row.job for id, row in found.items() if row is not None}

    async def open_jobs(self, workspace: str | None = None) -> list[Job]:
        jobs = (row.job for row in self._rows.values())
        return [job for job in jobs if job.state.is_open and workspace in (None, job.workspace)]

    async def depths(self) -> dict[tuple[str, JobState], int]:
        jobs = (row.job for state in (JobState.TODO, JobState.DOING) for row in self._in_state(state))
        return dict(Counter((job.kind, job.state) for job in jobs))

    async def prune(self, keep_s: float) -> None:
        before = self._clock() - keep_s
        self._rows = {id: row for id, row in self._rows.items() if row.job.state.is_open or row.ended >= before}

    async def live_owners(self, stale_after_s: float) -> list[str]:
        now = self._clock()
        return sorted(owner for owner, beat in self._owners.items() if abs(beat - now) <= stale_after_s)

    async def set_progress(self, workspace: str, progress: Progress) -> None:
        self._progress[workspace, progress.subject] = progress

    async def clear_progress(self, workspace: str, subject: str) -> None:
        self._progress.pop((workspace, subject), None)

    async def progress(self, workspace: str) -> list[Progress]:
        found = [progress for (owner, _), progress in self._progress.items() if owner == workspace]
        return sorted(found, key=lambda progress: (progress.since, progress.subject))

    async def note(self, workspace: str, text: str) -> None:
        self._notes[workspace].append(Note(self._clock(), text))

    async def notes(self, workspace: str) -> list[Note]:
        return list(self._notes.get(workspace, ()))

    async def forget(self, workspace: str) -> None:
        self._rows = {id: r for id, r in self._rows.items() if r.job.state.is_open or r.job.workspace != workspace}
        self._progress = {place: progress for place, progress in self._progress.items() if place[0] != workspace}
        self._notes.pop(workspace, None)

    async def close(self) -> None:
        """Nothing to release."""

    # -- rows

    def _in_state(self, state: JobState) -> list[_Row]:
        return [row for row in self._rows.values() if row.job.state is state]

    def _held_by(self, owner: str) -> list[_Row]:
        return [row for row in self._in_state(JobState.DOING) if row.job.owner == owner]

    def _equal_todo(self, job: Job | NewJob) -> _Row | None:
        key = (job.kind, job.workspace, job.subject)
        return _first(r for r in self._in_state(JobState.TODO) if (r.job.kind, r.job.workspace, r.job.subject) == key)

    def _still_held(self, job: Job) -> _Row | None:
        row = self._rows.get(job.id)
        if row is None or row.job.state is not JobState.DOING:
            return None
        return row if (row.job.owner, row.job.attempt) == (job.owner, job.attempt) else None

    def _followed(self, id: int) -> _Row | None:
        row = self._rows.get(id)
        while row is not None and row.joined is not None:
            row = self._rows.get(row.joined)
        return row

    def _oldest_due(self, kinds: Collection[str]) -> _Row | None:
        now = self._clock()
        busy = {row.job.lock for row in self._in_state(JobState.DOING) if row.job.lock is not None}
        return _first(
            row
            for row in self._in_state(JobState.TODO)
            if not now < row.due <= now + LONGEST_DELAY_S and row.job.kind in kinds and row.job.lock not in busy
        )

    def _enqueue(self, job: NewJob, due: float) -> int:
        equal = self._equal_todo(job)
        if equal is not None:
            equal.due = min(equal.due, due)
            return equal.job.id
        self._last_id += 1
        added = Job(self._last_id, job.kind, job.workspace, job.subject, job.lock, JobState.TODO)
        self._rows[added.id] = _Row(added, due)
        return added.id

    def _take(self, row: _Row, owner: str, now: float) -> Job:
        self._owners[owner] = now
        self._last_fence = max(self._last_fence + 1, int(now * 1000))
        attempt = row.job.attempt + 1
        row.job = replace(row.job, state=JobState.DOING, attempt=attempt, owner=owner, fence=self._last_fence)
        return row.job

    def _end(self, row: _Row, state: JobState, error: str | None) -> None:
        row.job = replace(row.job, state=state, error=error)
        row.ended = self._clock()

    def _put_back(self, row: _Row, delay_s: float, error: str | None) -> None:
        twin = self._equal_todo(row.job)
        if twin is None and not row.job.is_cancelled:
            row.job = replace(row.job, state=JobState.TODO, owner=None, error=error)
            row.due = self._clock() + min(delay_s, LONGEST_DELAY_S)
            return
        self._end(row, JobState.CANCELLED, error)
        if twin is not None and not row.job.is_cancelled:
            row.joined = twin.job.id
            twin.job = replace(twin.job, attempt=max(twin.job.attempt, row.job.attempt))


def _first(rows: Iterable[_Row]) -> _Row | None:
    return next(iter(rows), None)
