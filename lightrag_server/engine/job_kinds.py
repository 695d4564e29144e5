"""The kinds of work and how their jobs are made."""

from __future__ import annotations

from lightrag_server.ports.jobs import NewJob

PREPARE = "prepare"
COMMIT = "commit"
SCAN = "scan"
CLEAR = "clear"
DROP = "drop"
RESOLVE = "resolve"
SUMMARIZE = "summarize"

RESOLVE_DELAY_S = 5.0

ALL = (DROP, COMMIT, CLEAR, SCAN, PREPARE, RESOLVE, SUMMARIZE)
AWAITED = frozenset({DROP, COMMIT, CLEAR, SCAN})
"""What somebody may be waiting for, and what is done quickly."""
UNAWAITED = frozenset(ALL) - AWAITED
BACKGROUND = frozenset({RESOLVE, SUMMARIZE})
"""What nobody waits for: a workspace that does no more than this is not busy."""


def prepare(workspace: str, document_id: str, delay_s: float = 0.0) -> NewJob:
    """Parse, chunk, extract and embed one document; alone with it. Touches nothing shared."""
    return NewJob(PREPARE, workspace, document_id, lock=f"prepare:{workspace}:{document_id}", delay_s=delay_s)


def commit(workspace: str, delay_s: float = 0.0) -> NewJob:
    """Write everything prepared and remove everything marked; alone in its workspace."""
    return NewJob(COMMIT, workspace, lock=f"write:{workspace}", delay_s=delay_s)


def clear(workspace: str) -> NewJob:
    return NewJob(CLEAR, workspace, lock=f"write:{workspace}")


def drop(workspace: str) -> NewJob:
    """Remove the workspace, which nobody may enter any more."""
    return NewJob(DROP, workspace, lock=f"write:{workspace}")


def scan(workspace: str, track_id: str) -> NewJob:
    """Accept the new files of the input folder under one track id."""
    return NewJob(SCAN, workspace, track_id)


def resolve(workspace: str, subject: str = "", delay_s: float = 0.0) -> NewJob:
    """Look for entities that may be one; alone with that in its workspace, beside everything else."""
    return NewJob(RESOLVE, workspace, subject, lock=f"resolve:{workspace}", delay_s=delay_s)


def summarize(workspace: str, wish: str) -> NewJob:
    """Have the model shorten the descriptions of a kept wish. Nothing waits for it."""
    return NewJob(SUMMARIZE, workspace, wish)
