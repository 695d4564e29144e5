"""`lightrag-gunicorn` and `lightrag-server worker`: several processes over one folder, as a user sees them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lightrag_server.access.keys import MAX_AGE_S
from tests.e2e.lives import wait_until, wait_until_idle
from tests.server import MANY, WORKER, Server, running

KEY = "an-administrators-own-key"
WITH_KEY = {"X-API-Key": KEY}
TEXT = "Ada Lovelace met Charles Babbage in London."


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path, "--workers", "2", program=MANY) as server:
        wait_until(lambda: is_up(server), 30, lambda: server.text)
        yield server


def is_up(server: Server) -> bool:
    try:
        with server.client() as client:
            return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


def members(server: Server) -> dict[int, int]:
    """Niceness by process id: only those that work on documents stand back."""
    return {child.pid: child.nice() for child in psutil.Process(server.process.pid).children()}


def insert(client: httpx.Client, name: str, text: str = TEXT) -> None:
    reply = client.post("/documents/text", json={"text": text, "file_source": name})
    assert (reply.status_code, reply.json()["status"]) == (200, "success"), reply.text


def scraped(server: Server) -> dict[str, float]:
    """Sums by the name of the metric, and of jobs; from whichever process answers."""
    found: dict[str, float] = {}
    with server.client() as client:
        for family in text_string_to_metric_families(client.get("/metrics").text):
            for sample in family.samples:
                name = f"{sample.name} {sample.labels.get('kind', '')} {sample.labels.get('outcome', '')}".strip()
                found[name] = found.get(name, 0.0) + sample.value
    return found


def test_metrics_are_those_of_all_processes_whichever_answers_and_whoever_was_killed(many: Server) -> None:
    with many.client() as client:
        insert(client, "a.txt")
        wait_until_idle(client, 1)
    for _ in range(6):
        found = scraped(many)
        assert found["lightrag_jobs_total prepare done"] == 1, "counted by the process that works, told by another"
        assert found["lightrag_processes"] == 3
    for nice in (5, 0):
        victim = next(pid for pid, own in members(many).items() if own == nice)
        os.kill(victim, signal.SIGKILL)
        wait_until(partial(is_replaced, many, victim), 30, lambda: many.text)
    found = scraped(many)
    assert found["lightrag_jobs_total prepare done"] == 1
    assert found["lightrag_model_calls_total extract ok"] >= 1


def is_replaced(server: Server, victim: int) -> bool:
    """Whether there are as many as before; no answer where the one that was asked is the victim."""
    try:
        return victim not in members(server) and scraped(server)["lightrag_processes"] == 3
    except httpx.TransportError:
        return False


def test_two_answer_and_one_works(many: Server) -> None:
    assert sorted(members(many).values()) == [0, 0, 5]
    with many.client() as client:
        told = client.get("/health").json()
        assert (told["server_mode"], told["workers"]) == ("gunicorn", 2)
        insert(client, "a.txt")
        wait_until_idle(client, 1)
        reply = client.post("/query", json={"query": "Whom did Ada Lovelace meet?", "only_need_context": True})
        assert "Charles Babbage" in reply.json()["response"]
        body = {"entity_name": "Menabrea", "entity_data": {"description": "An engineer.", "entity_type": "person"}}
        assert client.post("/graph/entity/create", json=body).status_code == 200
    assert many.stop() == 0


def test_hup_takes_new_settings_without_refusing_a_request(many: Server, tmp_path: Path) -> None:
    before = members(many)
    (tmp_path / ".env").write_text("MAX_GRAPH_NODES=7\n")
    os.kill(many.process.pid, signal.SIGHUP)
    with many.client() as client:
        wait_until(lambda: client.get("/health").status_code == 200 and not before.keys() & members(many), 30)
        assert client.get("/health").json()["configuration"]["max_graph_nodes"] == 7
    assert sorted(members(many).values()) == [0, 0, 5]


def test_hup_with_settings_that_cannot_work_changes_nothing(many: Server, tmp_path: Path) -> None:
    before = members(many)
    (tmp_path / ".env").write_text("TOP_K=many\n")
    os.kill(many.process.pid, signal.SIGHUP)
    wait_until(lambda: "TOP_K" in many.text, 10, lambda: many.text)
    assert members(many) == before
    assert is_up(many)


def test_a_killed_process_is_replaced_by_one_of_its_kind(many: Server) -> None:
    for niceness in (5, 0):
        before = members(many)
        victim = next(pid for pid, nice in before.items() if nice == niceness)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda b=before, v=victim: v not in members(many) and len(members(many)) == len(b), 15)
        wait_until(lambda: sorted(members(many).values()) == [0, 0, 5], 15)
    with many.client() as client:
        insert(client, "after.txt")
        wait_until_idle(client, 1)


def test_a_frozen_process_is_replaced(tmp_path: Path) -> None:
    with running(tmp_path, "--workers", "1", program=MANY, WORKER_TIMEOUT="10") as server:
        wait_until(lambda: is_up(server), 30, lambda: server.text)
        frozen = next(pid for pid, niceness in members(server).items() if niceness)
        os.kill(frozen, signal.SIGSTOP)
        with server.client() as client:
            insert(client, "frozen.txt")
            wait_until(lambda: frozen not in members(server), 30, lambda: server.text)
            wait_until_idle(client, 1)


def test_processes_end_when_the_one_that_looks_after_them_is_killed(many: Server) -> None:
    left = [psutil.Process(pid) for pid in members(many)]
    many.process.kill()
    many.process.wait()
    _, alive = psutil.wait_procs(left, timeout=20)
    assert not alive


def test_settings_that_cannot_work_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with running(tmp_path, program=MANY, WORKING_DIR="file/below") as server:
        assert server.process.wait(30) == 2
    assert "cannot be made" in server.text
    assert "Traceback" not in server.text


def test_every_process_knows_what_another_was_told(tmp_path: Path) -> None:
    """Workspaces and keys; each request goes to any of three processes. A revoked key is refused a second later."""
    with running(tmp_path, "--workers", "3", program=MANY, LIGHTRAG_API_KEY=KEY, HOST="127.0.0.1") as server:
        wait_until(lambda: is_up(server), 30, lambda: server.text)
        for n in range(4):
            name = f"w{n}"
            assert post(server, "/workspaces", {"name": name}).status_code in (200, 201)
            made = post(server, "/auth/keys", {"name": name, "scope": "read", "workspaces": [name]}).json()
            held = {"X-API-Key": made["key"], "LIGHTRAG-WORKSPACE": name}
            url = "/documents/status_counts"
            assert set(many_times(server, url, held)) == {200}
            with server.client() as client:
                assert client.delete(f"/auth/keys/{made['id']}", headers=WITH_KEY).status_code in (200, 204)
            time.sleep(MAX_AGE_S)
            assert set(many_times(server, url, held)) == {403}


def post(server: Server, path: str, body: dict[str, object]) -> httpx.Response:
    with server.client() as client:
        return client.post(path, json=body, headers=WITH_KEY)


def many_times(server: Server, path: str, headers: dict[str, str]) -> list[int]:
    """Statuses over connections of their own, so that different processes answer."""

    def once(_: int) -> int:
        with server.client() as client:
            return client.get(path, headers=headers).status_code

    with ThreadPoolExecutor(6) as threads:
        return list(threads.map(once, range(12)))


def test_a_worker_beside_processes_that_do_no_jobs(tmp_path: Path) -> None:
    with running(tmp_path, "--workers", "1", program=MANY, JOB_WORKERS="0") as server:
        wait_until(lambda: is_up(server), 30, lambda: server.text)
        with server.client() as client:
            insert(client, "waits.txt")
            assert client.get("/documents/status_counts").json()["status_counts"]["pending"] == 1
            with running(tmp_path, program=WORKER) as worker:
                wait_until_idle(client, 1)
                assert worker.stop() == 0
