"""Job kind → engine call, and what a failure means for the document."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from lightrag_server.core.records import DocStatus, Document, Stage
from lightrag_server.engine import job_kinds
from lightrag_server.engine.clock import Clock
from lightrag_server.engine.workspace import Workspace, Workspaces
from lightrag_server.errors import ExtractionFailed, JobLost, LightRAGError, RetryableError
from lightrag_server.ports.jobs import Job, JobQueue

log = logging.getLogger(__name__)
MAX_DELAY_S = 300.0

Handler = Callable[[Job], Awaitable[None]]


class RetryLater(Exception):
    """The job is to be tried again after `delay_s`."""

    def __init__(self, delay_s: float, reason: str) -> None:
        super().__init__(reason)
        self.delay_s = delay_s


class Handlers:
    def __init__(
        self, workspaces: Workspaces, queue: JobQueue, *, max_attempts: int, retry_delay_s: float, clock: Clock
    ) -> None:
        self._workspaces = workspaces
        self._queue = queue
        self._max_attempts = max_attempts
        self._retry_delay_s = retry_delay_s
        self._clock = clock
        self._by_kind: dict[str, Handler] = {
            job_kinds.PREPARE: self._prepare,
            job_kinds.COMMIT: self._commit,
            job_kinds.SCAN: self._scan,
            job_kinds.CLEAR: self._clear,
        }

    async def run(self, job: Job) -> None:
        """Carry a job out. Raises `RetryLater`, `JobLost`, or what ended it for good."""
        await self._by_kind[job.kind](job)

    async def _prepare(self, job: Job) -> None:
        workspace = await self._workspaces.get(job.workspace)
        try:
            await workspace.prepare.run(job.subject)
        except JobLost:
            raise
        except Exception as error:
            await self._prepare_failed(workspace, job, error)

    async def _prepare_failed(self, workspace: Workspace, job: Job, error: Exception) -> None:
        """Back to the queue while trying again may help, else the document is marked failed with the reason."""
        document = (await workspace.stores.documents.get([job.subject])).get(job.subject)
        if document is None or document.stage is not Stage.ACCEPTED:
            return
        tries = int(document.metadata.get("tries", 0)) + 1
        document = document.with_(
            metadata=document.metadata | {"tries": tries} | _failed_chunks(error), updated_at=self._clock().isoformat()
        )
        message = _sentence(error)
        if isinstance(error, RetryableError) and error.retryable and tries < self._max_attempts:
            await workspace.stores.documents.update(document.with_(error=message), {Stage.ACCEPTED})
            delay = max(error.retry_after_s or 0.0, min(self._retry_delay_s * 2 ** (tries - 1), MAX_DELAY_S))
            raise RetryLater(delay, message) from error
        if not isinstance(error, LightRAGError):
            log.exception(
                "job failed unexpectedly kind=%s workspace=%s subject=%s", job.kind, job.workspace, job.subject
            )
        await self._fail(workspace, document, message, error)

    async def _fail(self, workspace: Workspace, document: Document, message: str, error: Exception) -> None:
        failed = document.with_(
            stage=Stage.FAILED,
            status=DocStatus.FAILED,
            error=message,
            metadata=document.metadata | {"error_type": getattr(error, "code", "internal_error")},
        )
        if await workspace.stores.documents.update(failed, {Stage.ACCEPTED}):
            await self._queue.note(workspace.name, f"Failed {document.file_path}: {message}")
            log.warning("document failed workspace=%s document=%s error=%r", workspace.name, document.id, message)

    async def _commit(self, job: Job) -> None:
        workspace = await self._workspaces.get(job.workspace)
        try:
            count = await workspace.commit.run(job.fence)
        except RetryableError as error:
            if not error.retryable:
                raise
            delay = max(error.retry_after_s or 0.0, min(self._retry_delay_s * 2 ** (job.attempt - 1), MAX_DELAY_S))
            raise RetryLater(delay, str(error)) from error
        log.info("committed workspace=%s documents=%d", job.workspace, count)

    async def _scan(self, job: Job) -> None:
        workspace = await self._workspaces.get(job.workspace)
        accepted, refused = await workspace.intake.accept_folder(job.subject)
        await self._queue.note(job.workspace, f"{job.subject}: {accepted} new file(s), {len(refused)} refused")
        for line in refused:
            await self._queue.note(job.workspace, f"Refused {line}")

    async def _clear(self, job: Job) -> None:
        workspace = await self._workspaces.get(job.workspace)
        await workspace.clear.run(job.fence)


def _failed_chunks(error: Exception) -> dict[str, object]:
    if not isinstance(error, ExtractionFailed):
        return {}
    return {"failed_chunks": {str(i): _sentence(e) for i, e in sorted(error.failures.items())[:50]}}


def _sentence(error: Exception) -> str:
    """Our own errors may be shown as they are; anything else only by its kind."""
    return str(error) if isinstance(error, LightRAGError) else f"internal error ({type(error).__name__}); see the log"
