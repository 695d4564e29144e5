"""`lightrag-server` and the process of its own for documents, as a user sees them who kills any of the three."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest

from lightrag_server.bindings.local.fake import vectors_of
from lightrag_server.working import NICENESS
from tests.e2e.accounting import account
from tests.e2e.lives import settings_of, wait_until, wait_until_idle
from tests.server import Server, running
from tests.vendor import Vendor, in_thread

DIMENSION = 64
NAMES = [f"{number}.txt" for number in range(6)]
RESTING_BRIEFLY = (
    "-c",
    "from lightrag_server import standby; standby.REST_S = 0.5; "
    "from lightrag_server.cli import main; raise SystemExit(main())",
)
ENTITY = {"entity_name": "Menabrea", "entity_data": {"description": "An engineer.", "entity_type": "person"}}


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with in_thread(DIMENSION) as vendor:
        yield vendor


@contextmanager
def serving(folder: Path, vendor: Vendor, **variables: str) -> Iterator[tuple[Server, httpx.Client]]:
    variables = settings_of(vendor, WORKING_DIR=str(folder / "rag_storage"), **variables)
    with running(folder, **variables) as server, server.client() as client:
        yield server, client


def send(client: httpx.Client, name: str) -> None:
    text = "\n\n".join(f"Ada Harrow met Felix Thorne in year {name} {n} of the journey." for n in range(8))
    assert client.post("/documents/text", json={"text": text, "file_source": name}).status_code == 200


def others(server: Server) -> dict[int, psutil.Process]:
    """The one that waits (niceness 0) and the one that works, while there is one."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.Process(server.process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found[process.nice()] = process
    return found


def worker_of(server: Server) -> psutil.Process:
    wait_until(lambda: NICENESS in others(server), 20, lambda: server.text)
    return others(server)[NICENESS]


def working_worker(server: Server, client: httpx.Client, vendor: Vendor) -> psutil.Process:
    """In the middle of calls to the model, for documents that have been sent."""
    vendor.control(latency_s=0.2)
    for name in NAMES:
        send(client, name)
    wait_until(lambda: vendor.stats()["chat"] >= 4, 20, lambda: server.text)
    return worker_of(server)


async def faults(folder: Path) -> str:
    embed = partial(vectors_of, dimension=DIMENSION)
    return "\n".join((await account(folder / "rag_storage", NAMES, embed)).faults)


async def test_a_worker_comes_with_documents_and_leaves_when_there_are_none(tmp_path: Path) -> None:
    with running(tmp_path, program=RESTING_BRIEFLY) as server, server.client() as client:
        for number in range(2):
            assert others(server).keys() == {0}, "at rest one process waits"
            send(client, f"{number}.txt")
            worker = worker_of(server)
            wait_until_idle(client, number + 1)
            psutil.wait_procs([worker], timeout=15)
        assert others(server).keys() == {0}
        left = list(others(server).values())
        assert server.stop() == 0, server.text
        assert not psutil.wait_procs(left, timeout=0)[1]


def test_what_somebody_waits_for_needs_no_worker(tmp_path: Path) -> None:
    with running(tmp_path) as server, server.client() as client:
        assert client.post("/graph/entity/create", json=ENTITY).status_code == 200
        assert others(server).keys() == {0}


async def test_a_killed_worker_is_followed_by_another(tmp_path: Path, vendor: Vendor) -> None:
    with serving(tmp_path, vendor) as (server, client):
        killed = working_worker(server, client, vendor)
        killed.kill()
        wait_until(lambda: others(server).get(NICENESS, killed) != killed, 20, lambda: server.text)
        wait_until_idle(client, len(NAMES))
        assert server.stop() == 0, server.text
    assert not await faults(tmp_path)


async def test_without_the_one_that_waits_the_server_works_itself(tmp_path: Path, vendor: Vendor) -> None:
    with serving(tmp_path, vendor) as (server, client):
        worker = working_worker(server, client, vendor)
        others(server)[0].kill()
        assert not psutil.wait_procs([worker], timeout=20)[1]
        wait_until_idle(client, len(NAMES))
        assert not others(server)
        assert server.stop() == 0, server.text
    assert not await faults(tmp_path)


async def test_the_others_end_with_a_killed_server_and_the_next_one_goes_on(tmp_path: Path, vendor: Vendor) -> None:
    with serving(tmp_path, vendor) as (server, client):
        working_worker(server, client, vendor)
        left = list(others(server).values())
        server.process.kill()
        assert len(left) == 2
        assert not psutil.wait_procs(left, timeout=20)[1]
    with serving(tmp_path, vendor) as (server, client):
        wait_until_idle(client, len(NAMES))
        assert server.stop() == 0, server.text
    assert not await faults(tmp_path)


async def test_a_frozen_worker_is_replaced(tmp_path: Path, vendor: Vendor) -> None:
    with serving(tmp_path, vendor, WORKER_TIMEOUT="10") as (server, client):
        frozen = working_worker(server, client, vendor)
        frozen.send_signal(signal.SIGSTOP)
        assert not psutil.wait_procs([frozen], timeout=30)[1]
        wait_until_idle(client, len(NAMES))
        assert server.stop() == 0, server.text


def test_a_stop_ends_a_worker_that_is_at_work(tmp_path: Path, vendor: Vendor) -> None:
    with serving(tmp_path, vendor) as (server, client):
        working_worker(server, client, vendor)
        left = list(others(server).values())
        # as Ctrl-C does, which reaches all of them
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.wait(30) == 0, server.text
        assert len(left) == 2
        assert not psutil.wait_procs(left, timeout=0)[1]
        assert "Traceback" not in server.text


@pytest.mark.parametrize(
    "variables",
    [
        {"JOBS_APART": "false"},
        {
            "LIGHTRAG_KV_STORAGE": "MemoryKVStorage",
            "LIGHTRAG_VECTOR_STORAGE": "MemoryVectorStorage",
            "LIGHTRAG_GRAPH_STORAGE": "MemoryGraphStorage",
            "LIGHTRAG_DOC_STATUS_STORAGE": "MemoryDocStatusStorage",
        },
    ],
)
def test_one_process_does_all_where_that_is_wished_or_nothing_is_shared(
    tmp_path: Path, variables: Mapping[str, str]
) -> None:
    with running(tmp_path, **variables) as server, server.client() as client:
        send(client, "a.txt")
        wait_until_idle(client, 1)
        assert not others(server)


def test_documents_are_indexed_by_the_server_where_no_worker_can_open_them(tmp_path: Path) -> None:
    """A limit on processes, here: none may be made any more."""
    program = (
        "-c",
        "import os; fork, made = os.fork, []\n"
        "def limited():\n"
        "    if made: raise BlockingIOError(11, 'Resource temporarily unavailable')\n"
        "    made.append(1); return fork()\n"
        "os.fork = limited\n"
        "from lightrag_server.cli import main; raise SystemExit(main())",
    )
    with running(tmp_path, program=program) as server, server.client() as client:
        send(client, "a.txt")
        wait_until_idle(client, 1)
        assert others(server).keys() == {0}
        assert "no process can be made" in server.text
        assert server.stop() == 0, server.text
