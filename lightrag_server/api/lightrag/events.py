"""What happens to documents, as server-sent events: read from the stores, so that it does not matter who does the work.

Every event may come more than once: a stream that is taken up again begins a little before where it broke off.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from typing import Annotated, Any
from weakref import WeakValueDictionary

from fastapi import APIRouter, Header, Query, Request, Response

from lightrag_server.api.auth import GuardedRoute
from lightrag_server.api.deps import ChosenWorkspace, OpenedApp
from lightrag_server.api.errors import request_id, shown_message
from lightrag_server.api.lightrag.documents import pipeline, shown
from lightrag_server.api.lightrag.scans import ENDED
from lightrag_server.api.streaming import CLIENT_CLOSED_REQUEST, ClientGone, SSEResponse, begun, event
from lightrag_server.core.filters import moment
from lightrag_server.core.records import DocStatus, Document
from lightrag_server.engine import job_kinds
from lightrag_server.engine.status import PipelineState
from lightrag_server.engine.workspace import Workspace
from lightrag_server.errors import LightRAGError, Overloaded
from lightrag_server.ports.doc_status import Filter

logger = logging.getLogger(__name__)

router = APIRouter(prefix="/documents", tags=["documents"], route_class=GuardedRoute)

POLL_S = 0.5
HEARTBEAT_S = 15.0
HEARTBEAT = ": heartbeat\n\n"
OVERLAP = timedelta(seconds=2)
"""Rows are looked at again for so long: one may become visible after others that were written later."""
RECHECK_LOOKS = 10
RECONNECT_MS = 2000
MESSAGES_SHOWN = 50
EVENT_SCHEMA = {
    "type": "object",
    "description": "One event; `data` is the JSON text of a row, a pipeline state, or a summary.",
    "properties": {
        "event": {"type": "string", "enum": ["document", "pipeline", "done", "failure"]},
        "data": {"type": "string"},
        "id": {"type": "string", "description": "To be sent as Last-Event-ID."},
        "retry": {"type": "integer"},
    },
}


class Streams:
    """The open streams of one process."""

    def __init__(self, limit: int, longest_s: float) -> None:
        self.is_stopping = False
        self.longest_s = longest_s
        self._limit = limit
        self._open = 0
        self._pipelines: WeakValueDictionary[str, _Pipeline] = WeakValueDictionary()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Raise `Overloaded` when there are too many, or when the server stops."""
        if self.is_stopping or self._open >= self._limit:
            raise Overloaded("too many event streams are open", retry_after_s=5)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    def pipeline_of(self, workspace: Workspace) -> _Pipeline:
        return self._pipelines.setdefault(workspace.key, _Pipeline(workspace))


class _Pipeline:
    """The pipeline's state, read about every `POLL_S` however many streams of a workspace there are."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._state: PipelineState | None = None
        self._read_at = 0.0
        self._reading = asyncio.Lock()

    async def state(self, oldest: float) -> PipelineState:
        """Read at `oldest` (monotonic seconds) or later."""
        async with self._reading:
            if self._state is None or self._read_at < oldest:
                self._read_at = time.monotonic()
                self._state = await self._workspace.pipeline.state()
            return self._state


class _Watch:
    """The documents of one stream: what it has told of them, and which are under way."""

    def __init__(self, workspace: Workspace, track_id: str | None, since: datetime) -> None:
        self.track_id = track_id
        self._documents = workspace.stores.documents
        self._status: dict[str, DocStatus] = {}
        self._since = since
        self._looks = 0
        self._told: dict[str, str] = {}

    async def look(self) -> list[str]:
        """An event for each document whose row is not the one told of last, in order of change."""
        began = datetime.now(UTC)
        changed = sorted(await self._changed(), key=lambda d: (d.updated_at, d.id))
        self._since = began - OVERLAP
        self._looks += 1
        return [self._tell(d, text) for d in changed if self._told.get(d.id) != (text := shown(d).model_dump_json())]

    def _tell(self, document: Document, text: str) -> str:
        self._told[document.id] = text
        return event(text, name="document", id=document.updated_at)

    async def _changed(self) -> list[Document]:
        """Of a track all of it now and then, for documents may also leave it."""
        is_whole = self.track_id is not None and self._looks % RECHECK_LOOKS == 0
        since = None if is_whole else self._since.isoformat()
        found = await self._documents.find(Filter(track_id=self.track_id, updated_from=since))
        status = {d.id: d.status for d in found}
        if self.track_id is None:
            self._told = {i: text for i, text in self._told.items() if i in status}
        else:
            self._status = status if is_whole else self._status | status
        return found

    def is_done(self, state: PipelineState) -> bool:
        """Whether nothing more happens to the documents of the track; `state` was read before the last look."""
        if self.track_id is None:
            return False
        is_scanning = any(j.kind == job_kinds.SCAN and j.subject == self.track_id for j in state.jobs)
        return not is_scanning and all(status in ENDED for status in self._status.values())

    def summary(self) -> dict[str, Any]:
        return {"track_id": self.track_id, "status_summary": dict(Counter(s.value for s in self._status.values()))}


@router.get(
    "/events",
    response_class=Response,
    responses={
        200: {"content": {"text/event-stream": {"schema": EVENT_SCHEMA}}},
        503: {"description": "Too many streams are open in this process."},
    },
)
async def document_events(
    request: Request,
    app: OpenedApp,
    workspace: ChosenWorkspace,
    track_id: Annotated[
        str | None,
        Query(max_length=200, description="Only the documents of this request; ends with `done` when all have ended."),
    ] = None,
    last_event_id: Annotated[
        str | None, Header(max_length=64, description="Id of the last event seen, to go on from there.")
    ] = None,
) -> Response:
    """Follow the indexing as it happens: events `pipeline`, `document`, `done`.

    `pipeline` carries what `/documents/pipeline_status` answers (the last messages only), `document` the row of a
    document that changed. An event may come more than once.
    """
    streams: Streams = request.app.state.streams
    since = _moment_of(last_event_id) or datetime.now(UTC)
    story = _Story(
        streams,
        workspace,
        _Watch(workspace, (track_id or "").strip() or None, since - OVERLAP),
        is_autoscanned=app.settings.server.auto_scan_at_startup,
    )
    try:
        return SSEResponse(await begun(request, story.told(request_id(request))))
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED_REQUEST)


def _moment_of(last_event_id: str | None) -> datetime | None:
    """Ids that are not ours are no ids."""
    found = moment(last_event_id or "")
    return found.astimezone(UTC) if found and MINYEAR < found.year < MAXYEAR else None


class _Story:
    """One stream, until the client leaves, the track has ended, or the server stops."""

    def __init__(self, streams: Streams, workspace: Workspace, watch: _Watch, *, is_autoscanned: bool) -> None:
        self._streams = streams
        self._pipeline = streams.pipeline_of(workspace)
        self._watch = watch
        self._is_autoscanned = is_autoscanned
        self._shown_pipeline = ""

    async def told(self, identifier: str) -> AsyncGenerator[str, None]:
        with self._streams.opened():
            yield f"retry: {RECONNECT_MS}\n\n"
            try:
                async with aclosing(self._looks()) as looks:
                    async for text in with_heartbeats(looks, HEARTBEAT_S):
                        yield text
            except LightRAGError as error:
                logger.warning("event stream broke off code=%s error=%r", error.code, error.message)
                yield event({"detail": shown_message(error, identifier), "code": error.code}, name="failure")

    async def _looks(self) -> AsyncGenerator[list[str], None]:
        """What is new, every `POLL_S`: nothing most of the time."""
        ends_at = time.monotonic() + self._streams.longest_s
        while not self._streams.is_stopping and time.monotonic() < ends_at:
            state = await self._pipeline.state(self._oldest_state())
            events = [*await self._watch.look(), *self._pipeline_event(state)]
            if self._watch.is_done(state):
                yield [*events, event(self._watch.summary(), name="done")]
                return
            yield events
            await asyncio.sleep(POLL_S)

    def _oldest_state(self) -> float:
        """A track ends by what the state says, so it has to be of now: read before the documents are looked at."""
        return time.monotonic() - (0.0 if self._watch.track_id else POLL_S / 2)

    def _pipeline_event(self, state: PipelineState) -> list[str]:
        latest = replace(state, notes=state.notes[-MESSAGES_SHOWN:])
        text = pipeline(latest, is_autoscanned=self._is_autoscanned).model_dump_json()
        if text == self._shown_pipeline:
            return []
        self._shown_pipeline = text
        return [event(text, name="pipeline")]


async def with_heartbeats(looks: AsyncIterator[list[str]], silence_s: float) -> AsyncGenerator[str, None]:
    """A comment when nothing was said for so long: what stands between us and the client must not think us dead."""
    last = time.monotonic()
    async for texts in looks:
        for text in texts or ([HEARTBEAT] if time.monotonic() - last >= silence_s else []):
            last = time.monotonic()
            yield text
