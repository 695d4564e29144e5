"""Numbers of several real processes: whoever is asked gives the sums, whatever is killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lightrag_server.core.metrics import CACHE, HTTP_SECONDS, MODEL_TOKENS, PROCESSES, Metric
from lightrag_server.telemetry import totals
from lightrag_server.telemetry.meter import MAX_SEEN, OTHER, FileMeter
from tests.server import environment

WORKER = """
import sys
from pathlib import Path
from lightrag_server.core.metrics import CACHE, HTTP_SECONDS, MODEL_TOKENS, PROCESSES
from lightrag_server.telemetry.meter import FileMeter

meter = FileMeter(Path(sys.argv[1]))
meter.set(PROCESSES, 1.0)
for _ in range(1000):
    meter.count(CACHE, 1.0, "extract", "hit")
    meter.count(MODEL_TOKENS, 7.0, "w", "extract", "m", "in")
    meter.observe(HTTP_SECONDS, 0.03, "GET", "/health")
print("counted", flush=True)
sys.stdin.read()
"""


@contextmanager
def worker(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has counted and lives."""
    command = [sys.executable, "-c", WORKER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"counted\n"
        try:
            yield process
        finally:
            process.kill()


def value(
    meter: FileMeter, metric: Metric, *labels: str, part: str = "", workspaces: tuple[str, ...] = ("w",)
) -> float:
    samples = meter.read(workspaces)
    return sum(s.value for s in samples if (s.metric, s.labels, s.part) == (metric, labels, part))


def files(folder: Path) -> int:
    return len(list(folder.glob(f"*{totals.SUFFIX}")))


def test_sums_hold_over_processes_that_live_and_that_were_killed(tmp_path: Path) -> None:
    meter = FileMeter(tmp_path)
    meter.count(CACHE, 5.0, "extract", "hit")
    with worker(tmp_path), worker(tmp_path) as second:
        assert value(meter, CACHE, "extract", "hit") == 2005
        assert value(meter, PROCESSES) == 2
        second.kill()
        second.wait()
        assert value(meter, PROCESSES) == 1, "the gauge of a dead process is gone"
        assert value(meter, CACHE, "extract", "hit") == 2005, "what it counted is not"
        assert files(tmp_path) == 2
    for _ in range(3):
        with worker(tmp_path) as process:
            process.kill()
    assert value(meter, CACHE, "extract", "hit") == 5005
    assert value(meter, MODEL_TOKENS, "w", "extract", "m", "in") == 35_000
    assert value(meter, HTTP_SECONDS, "GET", "/health", part="3") == 5000, "in the bucket up to 0.05"
    assert value(meter, HTTP_SECONDS, "GET", "/health", part="sum") == pytest.approx(150)
    assert files(tmp_path) == 1
    meter.close()
    again = FileMeter(tmp_path)
    assert value(again, CACHE, "extract", "hit") == 5005, "totals survive a restart"
    again.close()


def test_a_crash_between_adding_up_and_removing_counts_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with worker(tmp_path) as process:
        process.kill()
    [left] = tmp_path.glob(f"*{totals.SUFFIX}")
    kept = left.read_bytes()
    meter = FileMeter(tmp_path)  # adds up and removes
    left.write_bytes(kept)  # as if it had died before the removal
    assert value(meter, CACHE, "extract", "hit") == 1000
    assert not left.exists()
    meter.close()


def test_a_torn_file_counts_as_far_as_it_is_whole(tmp_path: Path) -> None:
    with worker(tmp_path) as process:
        process.kill()
    [left] = tmp_path.glob(f"*{totals.SUFFIX}")
    left.write_bytes(left.read_bytes()[:-20] + b"\xff" * 30)
    meter = FileMeter(tmp_path)
    assert value(meter, CACHE, "extract", "hit") == 1000
    meter.close()


def test_workspaces_are_told_apart_within_bounds_and_while_they_exist(tmp_path: Path) -> None:
    meter = FileMeter(tmp_path)
    names = [f"w{n}" for n in range(MAX_SEEN + 20)]
    for name in names:
        meter.count(MODEL_TOKENS, 1.0, name, "extract", "m", "in")
    labels = ("extract", "m", "in")
    assert value(meter, MODEL_TOKENS, "w0", *labels) == 1
    assert value(meter, MODEL_TOKENS, OTHER, *labels) == 20
    meter.close()
    rest = FileMeter(tmp_path)
    few = tuple(names[:3])
    assert value(rest, MODEL_TOKENS, "w2", *labels, workspaces=few) == 1
    assert value(rest, MODEL_TOKENS, OTHER, *labels, workspaces=few) == MAX_SEEN + 20 - 3, "deleted ones"
    rest.close()


def test_a_full_disk_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written is in the file with the next change."""

    def full(file: int, data: bytes, offset: int) -> int:
        raise OSError(28, "No space left on device")

    meter = FileMeter(tmp_path)
    meter.count(CACHE, 1.0, "extract", "hit")
    with monkeypatch.context() as patched:
        patched.setattr("os.pwrite", full)
        meter.count(CACHE, 1.0, "extract", "hit")
        meter.count(CACHE, 1.0, "extract", "miss")
    assert value(meter, CACHE, "extract", "hit") == 1
    meter.count(CACHE, 1.0, "extract", "hit")
    meter.count(CACHE, 1.0, "extract", "miss")
    assert value(meter, CACHE, "extract", "hit") == 3
    assert value(meter, CACHE, "extract", "miss") == 2
    meter.close()
