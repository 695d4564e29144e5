"""What goes on after a restart, and what happens to documents that are deleted, cleared or cancelled in the middle."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest

from lightrag_server.bindings.local.fake import vectors_of
from tests.e2e.accounting import account
from tests.e2e.lives import job_runs, settings_of, text_of, wait_until, wait_until_idle
from tests.server import Server, running
from tests.vendor import Vendor, in_thread

DIMENSION = 64
CALLS_AT_ONCE = 2
PART_CHUNKS = 8


@pytest.fixture(scope="module")
def vendors() -> Iterator[Vendor]:
    with in_thread(DIMENSION) as started:
        yield started


@pytest.fixture
def vendor(vendors: Vendor) -> Vendor:
    vendors.reset()
    vendors.control(latency_s=0.05)
    return vendors


@contextmanager
def started(folder: Path, vendor: Vendor, **more: str) -> Iterator[tuple[Server, httpx.Client]]:
    with running(folder, **settings_of(vendor, **more)) as server, server.client() as client:
        yield server, client


def send(client: httpx.Client, name: str, text: str) -> httpx.Response:
    return client.post("/documents/text", json={"text": text, "file_source": name})


def long_text(number: int = 0, parts: int = 10) -> str:
    """About four chunks for each part."""
    chance = random.Random(number)
    return "\n".join(text_of(number * 1000 + n, chance) for n in range(parts))


def the_document(client: httpx.Client, name: str) -> dict[str, str]:
    rows = client.post("/documents/paginated", json={"page": 1, "page_size": 50}).json()["documents"]
    return next(row for row in rows if row["file_path"] == name)


def delete(client: httpx.Client, *ids: str) -> httpx.Response:
    return client.request("DELETE", "/documents/delete_document", json={"doc_ids": list(ids)})


def all_documents(client: httpx.Client) -> int:
    return client.get("/documents/status_counts").json()["status_counts"]["all"]


async def check(folder: Path, *names: str) -> None:
    found = await account(folder / "rag_storage", names, partial(vectors_of, dimension=DIMENSION))
    assert not found.faults, "\n".join(found.faults)
    assert bool(found.entities) == bool(names)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("has_cache", [True, False])
async def test_a_document_goes_on_behind_its_finished_chunks(
    tmp_path: Path, vendor: Vendor, has_cache: bool, number: signal.Signals
) -> None:
    cache = str(has_cache).lower()
    with started(tmp_path, vendor, ENABLE_LLM_CACHE_FOR_EXTRACT=cache) as (server, client):
        send(client, "long.txt", long_text())
        wait_until(lambda: vendor.stats()["chat"] >= 20, 20)
        vendor.control(latency_s=0.7)  # more work than a server that is asked to stop waits for
        assert server.stop(number) == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    wait_until(lambda: vendor.stats()["in_flight"] == 0, 5)
    before = vendor.stats()["chat"]
    vendor.control(latency_s=0.05)
    with started(tmp_path, vendor, ENABLE_LLM_CACHE_FOR_EXTRACT=cache) as (server, client):
        wait_until_idle(client, 1)
        chunks = int(the_document(client, "long.txt")["chunks_count"])
        server.stop()
    again = vendor.stats()["chat"] - (chunks - before) - before
    assert chunks > before
    assert again <= CALLS_AT_ONCE + (0 if has_cache else PART_CHUNKS), f"{again} of {chunks} chunks were asked twice"
    await check(tmp_path, "long.txt")


async def test_a_document_deleted_while_it_is_indexed_leaves_nothing(tmp_path: Path, vendor: Vendor) -> None:
    with started(tmp_path, vendor) as (server, client):
        send(client, "stays.txt", text_of(1, random.Random(1)))
        send(client, "goes.txt", long_text())
        wait_until(lambda: vendor.stats()["chat"] >= 15, 20)
        reply = delete(client, the_document(client, "goes.txt")["id"])
        assert reply.json()["status"] == "deletion_started"
        wait_until_idle(client, 1)
        calls = vendor.stats()["chat"]
        await asyncio.sleep(0.3)
        assert vendor.stats()["chat"] == calls
        server.stop()
    await check(tmp_path, "stays.txt")


async def test_a_name_sent_again_while_it_is_deleted_ends_as_the_new_document(tmp_path: Path, vendor: Vendor) -> None:
    """In both moments: while the old one is being worked on, and when it is stored."""
    with started(tmp_path, vendor) as (server, client):
        for number in range(3):
            send(client, "same.txt", long_text(number))
            if number:
                wait_until_idle(client, 1)
            else:
                wait_until(lambda: vendor.stats()["chat"] >= 10, 20)
            delete(client, the_document(client, "same.txt")["id"])
            wait_until(lambda n=number: _taken(client, f"Version {n} has Ada Harrow and Ivo Castellan."), 10)
            wait_until_idle(client, 1)
            assert the_document(client, "same.txt")["content_summary"].startswith(f"Version {number}")
            delete(client, the_document(client, "same.txt")["id"])
            wait_until(lambda: all_documents(client) == 0, 10)
        wait_until(lambda: _taken(client, "The last one names Ada Harrow and Ivo Castellan."), 10)
        wait_until_idle(client, 1)
        server.stop()
    await check(tmp_path, "same.txt")


def _taken(client: httpx.Client, text: str) -> bool:
    """Refused as long as the name is not free, and said so: never accepted and lost."""
    reply = send(client, "same.txt", text)
    if reply.status_code == 200:
        assert reply.json()["status"] == "success"
        return True
    assert reply.status_code == 409, reply.text
    return False


async def test_clear_while_documents_are_indexed_leaves_nothing(tmp_path: Path, vendor: Vendor) -> None:
    with started(tmp_path, vendor) as (server, client):
        send(client, "done.txt", text_of(1, random.Random(1)))
        wait_until_idle(client, 1)
        for number in range(6):
            send(client, f"{number}.txt", long_text(number, 2))
        wait_until(lambda: vendor.stats()["chat"] >= 10, 20)
        reply = client.delete("/documents")
        assert reply.json()["status"] == "success", reply.text
        assert all_documents(client) == 0
        assert reply.elapsed.total_seconds() < 5
        wait_until_idle(client, 0)
        send(client, "after.txt", text_of(1, random.Random(1)))
        wait_until_idle(client, 1)
        server.stop()
    await check(tmp_path, "after.txt")


async def test_a_clear_that_is_killed_is_completed_after_the_restart(tmp_path: Path, vendor: Vendor) -> None:
    with started(tmp_path, vendor) as (server, client):
        for number in range(4):
            send(client, f"{number}.txt", text_of(number, random.Random(number)))
        wait_until_idle(client, 4)
        send(client, "long.txt", long_text())
        wait_until(lambda: vendor.stats()["chat"] >= 15, 20)
        with pytest.raises(httpx.TransportError):
            _clear_and_kill(server, tmp_path)
    with started(tmp_path, vendor) as (server, client):
        wait_until(lambda: all_documents(client) == 0, 20)
        wait_until_idle(client, 0)
        server.stop()
    await check(tmp_path)


def _clear_and_kill(server: Server, folder: Path) -> None:
    def kill() -> None:
        wait_until(lambda: job_runs(folder / "rag_storage", "clear"), 5)
        server.kill_group()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with server.client() as client:
            client.delete("/documents")
    finally:
        killer.join()


async def test_cancelled_documents_can_be_tried_again_at_once(tmp_path: Path, vendor: Vendor) -> None:
    names = [f"{number}.txt" for number in range(6)]
    with started(tmp_path, vendor, ENABLE_LLM_CACHE_FOR_EXTRACT="false") as (server, client):
        for number, name in enumerate(names):
            send(client, name, long_text(number, 2))
        wait_until(lambda: vendor.stats()["chat"] >= 15, 20)
        assert client.post("/documents/cancel_pipeline").json()["status"] == "cancellation_requested"
        failed = client.get("/documents/status_counts").json()["status_counts"]["failed"]
        assert failed > 0
        assert "cancelled" in the_document(client, names[-1])["error_msg"]
        client.post("/documents/reprocess_failed")
        wait_until_idle(client, len(names))
        server.stop()
    await check(tmp_path, *names)


async def test_other_content_under_the_name_of_a_cancelled_document_is_not_mixed_with_it(
    tmp_path: Path, vendor: Vendor
) -> None:
    with started(tmp_path, vendor) as (server, client):
        send(client, "a.txt", long_text(1))
        wait_until(lambda: vendor.stats()["chat"] >= 20, 20)
        client.post("/documents/cancel_pipeline")
        assert send(client, "a.txt", long_text(2)).json()["status"] == "success"
        wait_until_idle(client, 1)
        server.stop()
    await check(tmp_path, "a.txt")


def test_no_worker_process_outlives_a_killed_server(tmp_path: Path) -> None:
    with running(tmp_path, INDEX_PROFILE="light", CPU_WORKERS="2") as server, server.client() as client:
        for number in range(4):
            send(client, f"{number}.txt", long_text(number))
        process = psutil.Process(server.process.pid)
        # the one that waits, the one that works on documents, and two of its own
        wait_until(lambda: len(process.children(recursive=True)) >= 4, 20)
        time.sleep(0.5)
        workers = process.children(recursive=True)
        server.process.kill()
        # as long as a stop may take
        gone, alive = psutil.wait_procs(workers, timeout=30)
    assert gone
    assert not alive
    with running(tmp_path, INDEX_PROFILE="light", CPU_WORKERS="2") as server, server.client() as client:
        wait_until_idle(client, 4)


def test_a_stop_lets_model_calls_end_and_their_replies_are_kept(tmp_path: Path, vendor: Vendor) -> None:
    """No call of the model is paid for twice, although no reply is cached."""
    vendor.control(latency_s=1.0)
    settings = {"MAX_ASYNC": "4", "ENABLE_LLM_CACHE_FOR_EXTRACT": "false"}
    with started(tmp_path, vendor, **settings) as (server, client):
        send(client, "long.txt", long_text(parts=4))
        wait_until(lambda: vendor.stats()["chat"] >= 6, 20, lambda: server.text)
        assert server.stop() == 0, server.text
    vendor.control(latency_s=0.0)
    with started(tmp_path, vendor, **settings) as (server, client):
        wait_until_idle(client, 1)
        chunks = int(the_document(client, "long.txt")["chunks_count"])
    assert chunks > 8
    assert vendor.stats()["chat"] == chunks
