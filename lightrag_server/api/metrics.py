"""What /metrics shows: the numbers of all processes, and what is so at the moment."""

from __future__ import annotations

import asyncio

from lightrag_server.bootstrap import App
from lightrag_server.core.access import Caller
from lightrag_server.core.metrics import Metric
from lightrag_server.ports.directory import WorkspaceRow
from lightrag_server.telemetry import exposition
from lightrag_server.telemetry.meter import MAX_WORKSPACES, OTHER, WORKSPACE, FileMeter, Sample

DEFAULT = "default"
"""Shown for the workspace whose name is empty."""
JOBS = Metric("lightrag_jobs_open", "gauge", "Open jobs of all workspaces: todo or doing.", ("kind", "state"))
LIMITS = Metric(
    "lightrag_model_limit",
    "gauge",
    "Calls to a role's model that may run on this host: configured, current.",
    ("role", "which"),
)
DOCUMENTS = Metric("lightrag_documents", "gauge", "Documents by state.", (WORKSPACE, "status"))


async def text(app: App, caller: Caller) -> str:
    """Series of workspaces that the caller may not enter are left out."""
    oldest_first = sorted(await app.workspaces.register.all(), key=lambda row: (row.created_at or "", row.name))
    rows = oldest_first[:MAX_WORKSPACES]
    shown = [row for row in rows if caller.may_enter(row.name)]
    samples = [*await _counted(app, rows, shown, sees_all=caller.workspaces is None), *await _jobs(app), *_limits(app)]
    for row in shown:
        samples += await _documents(app, row)
    return await asyncio.to_thread(exposition.text, samples)


async def _counted(app: App, rows: list[WorkspaceRow], shown: list[WorkspaceRow], *, sees_all: bool) -> list[Sample]:
    """Keys of workspaces become names, and those beyond the first ones `OTHER`."""
    meter = app.telemetry.meter
    if not isinstance(meter, FileMeter):
        return []
    app.sampler.sample()
    names = {row.key: row.name or DEFAULT for row in shown}
    found: list[Sample] = []
    for sample in await asyncio.to_thread(meter.read, [row.key for row in rows]):
        if sample.metric.labels[:1] != (WORKSPACE,):
            found.append(sample)
        elif (name := names.get(sample.labels[0])) or sees_all:
            labels = (name or OTHER, *sample.labels[1:])
            found.append(Sample(sample.metric, labels, sample.part, sample.value))
    return found


async def _jobs(app: App) -> list[Sample]:
    depths = await app.queue.depths()
    return [Sample(JOBS, (kind, state.value), "", float(count)) for (kind, state), count in depths.items()]


def _limits(app: App) -> list[Sample]:
    """They hold for the host, so they are not added up."""
    found = app.sampler.slots().items()
    pairs = [
        (role, which, n) for role, s in found for which, n in (("configured", s.limit), ("current", s.current_limit))
    ]
    return [Sample(LIMITS, (role, which), "", float(number)) for role, which, number in pairs]


async def _documents(app: App, row: WorkspaceRow) -> list[Sample]:
    counts = await app.workspaces.opened(row).stores.documents.counts()
    name = row.name or DEFAULT
    return [Sample(DOCUMENTS, (name, status.value), "", float(count)) for status, count in counts.items()]
