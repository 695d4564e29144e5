"""A process that is frozen for longer than the others wait for it, and comes back: it does not win."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import httpx

from lightrag_server.bindings.local.fake import vectors_of
from lightrag_server.jobs.runner import STALE_AFTER_S
from tests.e2e.accounting import account
from tests.e2e.lives import job_runs, settings_of, wait_until, wait_until_idle
from tests.server import Server, running
from tests.vendor import in_thread

DIMENSION = 64
NAMES = [f"{number}.txt" for number in range(6)]


def send(client: httpx.Client, name: str) -> None:
    text = "\n\n".join(f"Ada Harrow met Felix Thorne in year {name} {n} of the journey." for n in range(8))
    assert client.post("/documents/text", json={"text": text, "file_source": name}).status_code == 200


def freeze(server: Server, working_dir: Path) -> None:
    """Stop its processes between transactions: SQLite itself has everybody wait for one that is stopped in one."""
    for _ in range(200):
        os.killpg(server.process.pid, signal.SIGSTOP)
        if all(is_free(working_dir / name) for name in ("coordination.sqlite", "default.sqlite")):
            return
        os.killpg(server.process.pid, signal.SIGCONT)
        time.sleep(0.01)
    raise AssertionError("the server is always inside a transaction")


def is_free(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path, timeout=0.05, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    return True


async def test_a_frozen_process_loses_its_jobs_and_what_it_says_later_is_not_heard(tmp_path: Path) -> None:
    working_dir = tmp_path / "rag_storage"
    with in_thread(DIMENSION) as vendor:
        vendor.control(latency_s=0.3)
        settings = settings_of(vendor, WORKING_DIR=str(working_dir))
        with running(tmp_path, **settings) as frozen, frozen.client() as client:
            for name in NAMES:
                send(client, name)
            wait_until(lambda: vendor.stats()["chat"] >= 4 and job_runs(working_dir, "prepare"), 20)
            freeze(frozen, working_dir)
            began = time.monotonic()
            with running(tmp_path, **settings) as other, other.client() as also:
                wait_until_idle(also, len(NAMES), STALE_AFTER_S + 60)
                assert time.monotonic() - began > STALE_AFTER_S, "nobody may take what is held before"
                os.killpg(frozen.process.pid, signal.SIGCONT)
                wait_until(lambda: client.get("/health").status_code == 200, 10)
                send(client, "later.txt")
                wait_until_idle(also, len(NAMES) + 1)
                assert other.stop() == 0
            assert frozen.stop() == 0
    told = await account(working_dir, [*NAMES, "later.txt"], partial(vectors_of, dimension=DIMENSION))
    assert not told.faults, "\n".join(told.faults)
