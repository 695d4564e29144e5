"""Job kind → engine call, and what a failure means for the document."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from lightrag_server import logs
from lightrag_server.core.metrics import ERRORS
from lightrag_server.core.records import Document, Stage
from lightrag_server.engine import job_kinds
from lightrag_server.engine.clock import Clock
from lightrag_server.engine.costs import trace_ended
from lightrag_server.engine.versions import give_up
from lightrag_server.engine.workspace import Workspace, Workspaces
from lightrag_server.errors import ExtractionFailed, JobLost, LightRAGError, ProviderError, RetryableError
from lightrag_server.ports.jobs import Job, JobQueue
from lightrag_server.ports.telemetry import Telemetry

log = logging.getLogger(__name__)
MAX_DELAY_S = 300.0
MOST_DOUBLINGS = 30
EDITS_DELAY_S = 1.0

Handler = Callable[[Job], Awaitable[None]]


class RetryLater(Exception):
    """The job is to be tried again after `delay_s`."""

    def __init__(self, delay_s: float, reason: str) -> None:
        super().__init__(reason)
        self.delay_s = delay_s


class Handlers:
    def __init__(
        self,
        workspaces: Workspaces,
        queue: JobQueue,
        *,
        max_attempts: int,
        retry_delay_s: float,
        clock: Clock,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._workspaces = workspaces
        self._queue = queue
        self._max_attempts = max_attempts
        self._retry_delay_s = retry_delay_s
        self._clock = clock
        self._telemetry = telemetry or Telemetry()
        self._by_kind: dict[str, Handler] = {
            job_kinds.PREPARE: self._prepare,
            job_kinds.COMMIT: self._commit,
            job_kinds.SCAN: self._scan,
            job_kinds.CLEAR: self._clear,
            job_kinds.DROP: self._drop,
            job_kinds.RESOLVE: self._resolve,
            job_kinds.SUMMARIZE: self._summarize,
        }

    async def run(self, job: Job) -> None:
        """Carry a job out. Raises `RetryLater`, `JobLost`, or what ended it for good."""
        await self._by_kind[job.kind](job)

    async def _prepare(self, job: Job) -> None:
        workspace = await self._workspaces.get(job.workspace)
        document = (await workspace.stores.documents.get([job.subject])).get(job.subject)
        if document is None:
            return
        with logs.bind(document=job.subject):
            try:
                await workspace.prepare.run(job.subject)
            except JobLost:
                raise
            except Exception as error:
                await self._prepare_failed(workspace, document, error, job.attempt)

    async def _prepare_failed(self, workspace: Workspace, document: Document, error: Exception, attempt: int) -> None:
        """Back to the queue while trying again may help, else the acceptance is given up with the reason. An outage
        uses up no try: the document waits for its end. Where the row went on to another acceptance, that one has a
        job of its own."""
        is_outage = isinstance(error, RetryableError) and error.is_outage
        tries = int(document.metadata.get("tries", 0)) + (0 if is_outage else 1)
        noted: dict[str, Any] = {"tries": tries, **_failed_chunks(error)}
        message = _sentence(error)
        if isinstance(error, RetryableError) and error.retryable and tries < self._max_attempts:
            delay = self._delay_s(error, attempt)
            if await self._noted(workspace, document, message, noted):
                raise RetryLater(delay, message) from error
            return
        if not isinstance(error, LightRAGError):
            log.exception("preparing failed unexpectedly")
        code = getattr(error, "code", "internal_error")
        self._telemetry.meter.count(ERRORS, 1.0, "job", code)
        await self._fail(workspace, document, message, noted | {"error_type": code})

    def _delay_s(self, error: RetryableError, attempt: int) -> float:
        doubled = self._retry_delay_s * 2 ** min(attempt - 1, MOST_DOUBLINGS)
        return max(error.retry_after_s or 0.0, min(doubled, MAX_DELAY_S))

    async def _noted(self, workspace: Workspace, document: Document, message: str, noted: dict[str, Any]) -> bool:
        now = self._clock().isoformat()

        def change(row: Document) -> Document | None:
            if row.stage is not Stage.ACCEPTED or row.blob_key != document.blob_key:
                return None
            return row.with_(error=message, metadata=row.metadata | noted, updated_at=now)

        return await workspace.stores.documents.update(document.id, change) is not None

    async def _fail(self, workspace: Workspace, document: Document, message: str, noted: dict[str, Any]) -> None:
        if await give_up(workspace.stores, document, message, self._clock(), noted):
            trace_ended(self._telemetry.tracer, workspace.key, document, message)
            await self._queue.note(workspace.key, f"Failed {document.file_path}: {message}")
            log.warning("document failed error=%r", message)

    async def _commit(self, job: Job) -> None:
        workspace = await self._workspaces.get(job.workspace)
        try:
            count = await workspace.commit.run(job.fence)
        except RetryableError as error:
            if not error.retryable:
                raise
            raise RetryLater(self._delay_s(error, job.attempt), str(error)) from error
        await workspace.resolve.due()
        log.info("committed documents=%d", count)

    async def _resolve(self, job: Job) -> None:
        workspace = await self._workspaces.get(job.workspace)
        if not await workspace.resolve.run(job.subject):
            await self._queue.enqueue([job_kinds.resolve(job.workspace, delay_s=EDITS_DELAY_S)])

    async def _scan(self, job: Job) -> None:
        workspace = await self._workspaces.get(job.workspace)
        accepted, refused = await workspace.intake.accept_folder(job.subject)
        await self._queue.note(job.workspace, f"{job.subject}: {accepted} new file(s), {len(refused)} refused")
        for line in refused:
            await self._queue.note(job.workspace, f"Refused {line}")

    async def _clear(self, job: Job) -> None:
        workspace = await self._workspaces.get(job.workspace)
        await workspace.clear.run(job.fence)

    async def _drop(self, job: Job) -> None:
        workspace = await self._workspaces.get(job.workspace)
        await workspace.drop.run(job.fence)
        log.info("workspace deleted")

    async def _summarize(self, job: Job) -> None:
        """A model that fails is not asked again before a question needs the summaries again."""
        workspace = await self._workspaces.get(job.workspace)
        if workspace.summaries is None:
            return
        try:
            count = await workspace.summaries.make(job.subject)
        except ProviderError as error:
            log.warning("no summaries: %s", error)
            return
        if count:
            await self._queue.note(job.workspace, f"{count} description(s) summarised by one LLM call")


def _failed_chunks(error: Exception) -> dict[str, object]:
    if not isinstance(error, ExtractionFailed):
        return {}
    return {"failed_chunks": {str(i): _sentence(e) for i, e in sorted(error.failures.items())[:50]}}


def _sentence(error: Exception) -> str:
    """Our own errors may be shown as they are; anything else only by its kind."""
    return str(error) if isinstance(error, LightRAGError) else f"internal error ({type(error).__name__}); see the log"
