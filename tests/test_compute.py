from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lightrag_server.compute import NICENESS, Compute
from lightrag_server.errors import InvalidInput, ProviderUnavailable

SCRIPT = """\
import asyncio, os, sys
from lightrag_server.compute import Compute

print("main program runs", flush=True)


async def main():
    compute = Compute(2)
    pids = await asyncio.gather(*[compute.run(os.getpid) for _ in range(8)])
    print("workers", *sorted(set(pids)), flush=True)
    if "wait" in sys.argv:
        await asyncio.sleep(60)
    await compute.close()

asyncio.run(main())
"""


def double(number: int) -> int:
    return 2 * number


def refuse() -> None:
    raise InvalidInput("no")


def die() -> None:
    os._exit(3)


def touch_after(path: str, seconds: float) -> None:
    time.sleep(seconds)
    Path(path).touch()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def surroundings() -> tuple[int, int, str | None, list[str]]:
    return os.getpid(), os.nice(0), os.environ.get("OPENBLAS_NUM_THREADS"), sorted(sys.modules)


async def test_many_calls_at_once_run_in_other_processes() -> None:
    compute = Compute(2)
    assert await asyncio.gather(*[compute.run(double, n) for n in range(50)]) == [2 * n for n in range(50)]
    pid, niceness, threads, _ = await compute.run(surroundings)
    assert pid != os.getpid()
    assert niceness >= NICENESS
    assert threads == os.environ["OPENBLAS_NUM_THREADS"]
    await compute.close()


async def test_an_exception_in_a_worker_reaches_the_caller_with_its_class() -> None:
    compute = Compute(1)
    with pytest.raises(InvalidInput, match="no"):
        await compute.run(refuse)
    assert await compute.run(double, 4) == 8
    await compute.close()


async def test_a_job_that_kills_its_worker_fails_retryably_and_later_jobs_run() -> None:
    compute = Compute(1)
    with pytest.raises(ProviderUnavailable) as caught:
        await compute.run(die)
    assert caught.value.retryable
    assert await asyncio.gather(*[compute.run(double, n) for n in range(5)]) == [0, 2, 4, 6, 8]
    await compute.close()


async def test_a_cancelled_call_that_no_worker_took_never_runs(tmp_path: Path) -> None:
    compute = Compute(1)
    await compute.run(double, 1)
    busy = [asyncio.create_task(compute.run(touch_after, str(tmp_path / f"busy{n}"), 0.2)) for n in range(3)]
    queued = asyncio.create_task(compute.run(touch_after, str(tmp_path / "queued"), 0))
    await asyncio.sleep(0.05)
    queued.cancel()
    await asyncio.gather(*busy)
    await compute.run(double, 1)
    assert queued.cancelled()
    assert names_in(tmp_path) == ["busy0", "busy1", "busy2"]
    await compute.close()


async def test_after_close_no_process_is_left_and_calls_are_refused() -> None:
    compute = Compute(2)
    pids = {pid for pid, *_ in await asyncio.gather(*[compute.run(surroundings) for _ in range(8)])}
    await compute.close()
    await compute.close()
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    with pytest.raises(ProviderUnavailable):
        await compute.run(double, 1)


def start(script: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, str(script), *arguments], stdout=subprocess.PIPE, text=True)


def script_in(folder: Path) -> Path:
    """Without a .py suffix, as console scripts are."""
    script = folder / "lightrag-like"
    script.write_text(SCRIPT)
    return script


def test_a_killed_parent_leaves_no_worker(tmp_path: Path) -> None:
    with start(script_in(tmp_path), "wait") as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        pids = [int(word) for word in parent.stdout.readline().split()[1:]]
        assert pids
        assert all(psutil.pid_exists(pid) for pid in pids)
        parent.kill()
    deadline = time.monotonic() + 5
    while any(map(psutil.pid_exists, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


def test_workers_do_not_run_the_main_program_again(tmp_path: Path) -> None:
    with start(script_in(tmp_path)) as program:
        output, _ = program.communicate(timeout=30)
    assert output.count("main program runs") == 1
    assert program.returncode == 0
