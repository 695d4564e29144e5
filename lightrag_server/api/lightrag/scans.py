"""How a scan of the input folder went, told from its job, its documents and its note: nothing is kept for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from lightrag_server.api.lightrag.schemas import ScanJobSampleBucket, ScanJobStatusResponse
from lightrag_server.core.records import DocStatus, Document
from lightrag_server.engine import job_kinds
from lightrag_server.engine.workspace import Workspace
from lightrag_server.errors import NotFound
from lightrag_server.ports.doc_status import Filter

MAX_SAMPLES = 20
ENDED = (DocStatus.PROCESSED, DocStatus.FAILED)
_TIME = re.compile(r"_(\d{8}_\d{6})_")


async def scan_status(workspace: Workspace, track_id: str) -> ScanJobStatusResponse:
    """Raise `NotFound` for a scan of which neither a job nor documents nor the history know."""
    documents = await workspace.stores.documents.find(Filter(track_id=track_id))
    state = await workspace.pipeline.state()
    is_scanning = any(job.kind == job_kinds.SCAN and job.subject == track_id for job in state.jobs)
    told = [note for note in state.notes if note.text.startswith(f"{track_id}:")]
    if not (documents or is_scanning or told):
        raise NotFound(f"no scan has the track id {track_id!r}")
    ended = [d for d in documents if d.status in ENDED]
    began = _began(track_id) or min((_epoch(d.created_at) for d in documents), default=state.now)
    return ScanJobStatusResponse(
        track_id=track_id,
        status="running" if is_scanning or len(ended) < len(documents) else "completed",
        counts=_counts(documents),
        samples=_samples(documents),
        created_at=began,
        updated_at=max([began, *(_epoch(d.updated_at) for d in documents), *(note.at for note in told)]),
        version=1 + len(ended),
        message=told[-1].text.partition(": ")[2] if told else "",
    )


def _counts(documents: Sequence[Document]) -> dict[str, int]:
    return {
        "discovered": len(documents),
        "claimed_new": len(documents),
        "processed": len(_names(documents, DocStatus.PROCESSED)),
        "errors": len(_names(documents, DocStatus.FAILED)),
    }


def _samples(documents: Sequence[Document]) -> dict[str, ScanJobSampleBucket]:
    named = {"processed": _names(documents, DocStatus.PROCESSED), "error": _names(documents, DocStatus.FAILED)}
    return {
        bucket: ScanJobSampleBucket(
            items=names[:MAX_SAMPLES],
            truncated=len(names) > MAX_SAMPLES,
            dropped=max(0, len(names) - MAX_SAMPLES),
        )
        for bucket, names in named.items()
    }


def _names(documents: Sequence[Document], status: DocStatus) -> list[str]:
    return [d.file_path for d in documents if d.status is status]


def _began(track_id: str) -> float | None:
    """Track ids carry the moment they were given."""
    found = _TIME.search(track_id)
    return datetime.strptime(found[1], "%Y%m%d_%H%M%S").replace(tzinfo=UTC).timestamp() if found else None


def _epoch(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
