"""What the pipeline is doing, read from jobs, progress and notes: nothing is kept in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lightrag_server.engine import job_kinds
from lightrag_server.ports.jobs import Job, JobQueue, JobState, Note, Progress

_NAMES = {
    job_kinds.PREPARE: "Indexing documents",
    job_kinds.COMMIT: "Writing the graph",
    job_kinds.SCAN: "Scanning the input folder",
    job_kinds.CLEAR: "Clearing the workspace",
    job_kinds.DROP: "Deleting the workspace",
}
"""Work on documents; summaries are made beside it, and nobody waits for them."""


@dataclass(frozen=True, slots=True)
class PipelineState:
    """`documents` are open, `running` of them are under way; `progress` tells how far each running one is."""

    jobs: tuple[Job, ...]
    progress: tuple[Progress, ...]
    notes: tuple[Note, ...]
    now: float

    @property
    def is_busy(self) -> bool:
        return bool(self.jobs)

    @property
    def name(self) -> str:
        running = [j for j in self.jobs if j.state is JobState.DOING] or list(self.jobs)
        return _NAMES[running[0].kind] if running else ""

    @property
    def documents(self) -> int:
        return sum(1 for j in self.jobs if j.kind == job_kinds.PREPARE)

    @property
    def running(self) -> int:
        return sum(1 for j in self.jobs if j.kind == job_kinds.PREPARE and j.state is JobState.DOING)

    def is_open(self, *kinds: str) -> bool:
        return any(j.kind in kinds for j in self.jobs)

    @property
    def is_cancelling(self) -> bool:
        return any(j.is_cancelled for j in self.jobs)

    @property
    def started_at(self) -> str | None:
        begun = [p.since for p in self.progress]
        return datetime.fromtimestamp(min(begun), UTC).isoformat() if begun else None

    @property
    def messages(self) -> list[str]:
        """History, then one line per running document."""
        return [*(n.text for n in self.notes), *(progress_line(p, self.now) for p in self.progress)]


class Pipeline:
    def __init__(self, workspace: str, queue: JobQueue, now: Callable[[], float] = time.time) -> None:
        self._workspace = workspace
        self._queue = queue
        self._now = now

    async def state(self) -> PipelineState:
        jobs: Sequence[Job] = [j for j in await self._queue.open_jobs(self._workspace) if j.kind in _NAMES]
        progress = await self._queue.progress(self._workspace)
        notes = await self._queue.notes(self._workspace)
        return PipelineState(tuple(jobs), tuple(progress), tuple(notes), self._now())


def progress_line(progress: Progress, now: float) -> str:
    """Stage, n of m, rate and time left: `extracting 12/34 chunks of a.pdf, 3.1/s, 7 s left`."""
    line = f"{progress.stage} {progress.done}/{progress.total} chunks of {progress.name}"
    seconds = progress.updated - progress.since
    if progress.done and seconds > 0:
        rate = progress.done / seconds
        left = max(0.0, (progress.total - progress.done) / rate - (now - progress.updated))
        line += f", {rate:.1f}/s, {left:.0f} s left"
    return line
