"""Counters, histograms and gauges in this process' file, and the sums over all processes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lightrag_server.core.metrics import ALL, Metric
from lightrag_server.telemetry.totals import close_cells, open_cells, read_all

WORKSPACE = "workspace"
MAX_WORKSPACES = 100
"""Told apart at most; all others are added up under `OTHER`."""
MAX_SEEN = 10 * MAX_WORKSPACES
"""Told apart in the file of one process, which does not know which of them are to be shown."""
OTHER = "other"
_BY_NAME = {metric.name: metric for metric in ALL}
_JOIN = "\x1f"
_SUM = "sum"


@dataclass(frozen=True, slots=True)
class Sample:
    """`part` is the number of a histogram's bucket, or "sum"; empty for other metrics."""

    metric: Metric
    labels: tuple[str, ...]
    part: str
    value: float


class FileMeter:
    """A `Meter`. What was counted for workspaces that are not shown (any more) becomes `OTHER`."""

    def __init__(self, folder: Path) -> None:
        """Raises `OSError` where nothing can be written."""
        self._folder = folder
        self._cells = open_cells(folder, partial(_kept, None))
        self._workspaces: set[str] = set()

    def count(self, metric: Metric, value: float, *labels: str) -> None:
        self._cells.add(self._key(metric, labels), value)

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        key = self._key(metric, labels)
        self._cells.add(f"{key}{_JOIN}{bisect_left(metric.buckets, value)}", 1.0)
        self._cells.add(f"{key}{_JOIN}{_SUM}", value)

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        self._cells.set(self._key(metric, labels), value)

    def read(self, workspaces: Collection[str]) -> list[Sample]:
        """The sums over all processes; `workspaces` are the keys of those that are told apart. Reads files."""
        sums = read_all(self._folder, partial(_kept, frozenset(workspaces)))
        return [sample for key, value in sums.items() if (sample := _sample(key, value))]

    def close(self) -> None:
        close_cells(self._cells, partial(_kept, None))

    def _key(self, metric: Metric, labels: tuple[str, ...]) -> str:
        if metric.labels and metric.labels[0] == WORKSPACE:
            labels = (self._admitted(labels[0]), *labels[1:])
        return _JOIN.join((metric.name, *labels))

    def _admitted(self, workspace: str) -> str:
        if workspace not in self._workspaces:
            if len(self._workspaces) >= MAX_SEEN:
                return OTHER
            self._workspaces.add(workspace)
        return workspace


def _kept(workspaces: Collection[str] | None, key: str) -> str | None:
    """Gauges end with their process, and so does what an older release measured."""
    name, *labels = key.split(_JOIN)
    metric = _BY_NAME.get(name)
    if metric is None or metric.kind == "gauge":
        return None
    if workspaces is not None and metric.labels[:1] == (WORKSPACE,) and labels[0] not in workspaces:
        return _JOIN.join((name, OTHER, *labels[1:]))
    return key


def _sample(key: str, value: float) -> Sample | None:
    name, *rest = key.split(_JOIN)
    metric = _BY_NAME.get(name)
    if metric is None or len(rest) != len(metric.labels) + (metric.kind == "histogram"):
        return None
    size = len(metric.labels)
    return Sample(metric, tuple(rest[:size]), rest[size] if len(rest) > size else "", value)
