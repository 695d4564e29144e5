"""A disk that is full, and data that another model made."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from lightrag_server.bindings.local.fake import vectors_of
from tests.e2e.accounting import account
from tests.e2e.lives import settings_of, wait_until, wait_until_idle
from tests.server import running
from tests.vendor import Vendor, in_thread

DIMENSION = 64
DISK = "6m"
FULL = re.compile("No space left on device|disk is full")
TEXT = "Ada Harrow met Felix Thorne at Coldwater Station. "


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with in_thread(DIMENSION) as started:
        yield started


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own; skips where the system does not let us mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("a small disk cannot be mounted: there is no program `mount`")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Take all the space that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65_536, 4096, 512):
            try:
                while True:
                    file.write(os.urandom(size))
            except OSError:
                continue
    return filler


def send(client: httpx.Client, name: str, repeats: int = 20) -> httpx.Response:
    text = "\n\n".join(f"{TEXT} {name} {n}" for n in range(repeats))
    return client.post("/documents/upload", files={"file": (name, text.encode())})


def names_of(client: httpx.Client) -> set[str]:
    rows = client.post("/documents/paginated", json={"page": 1, "page_size": 50}).json()["documents"]
    return {row["file_path"] for row in rows}


async def test_a_full_disk_refuses_uploads_in_words_and_is_survived(tmp_path: Path, vendor: Vendor) -> None:
    settings = settings_of(vendor, WORKING_DIR=str(tmp_path / "disk"))
    with small_disk(tmp_path / "disk") as disk:
        with running(tmp_path, **settings) as server, server.client() as client:
            send(client, "before.txt")
            wait_until_idle(client, 1)
            filler = fill(disk)
            for number in range(3):
                reply = send(client, f"refused-{number}.txt")
                assert reply.status_code == 503, reply.text
                assert reply.json()["code"] == "storage_unavailable"
                assert FULL.search(reply.json()["detail"])
            assert names_of(client) == {"before.txt"}
            asked = client.post("/query", json={"query": "Whom did Ada Harrow meet?", "mode": "mix"})
            assert asked.status_code == 200, asked.text
            assert client.get("/health").status_code == 200
            filler.unlink()
            assert send(client, "refused-0.txt").json()["status"] == "success"
            wait_until_idle(client, 2)
            assert server.stop() == 0
        found = await account(disk, ["before.txt", "refused-0.txt"], partial(vectors_of, dimension=DIMENSION))
        assert not found.faults, "\n".join(found.faults)


async def test_a_disk_that_fills_up_while_documents_are_indexed_delays_them(tmp_path: Path, vendor: Vendor) -> None:
    settings = settings_of(vendor, WORKING_DIR=str(tmp_path / "disk"))
    names = [f"{number}.txt" for number in range(4)]
    with small_disk(tmp_path / "disk") as disk:
        with running(tmp_path, **settings) as server, server.client() as client:
            send(client, "before.txt")
            wait_until_idle(client, 1)
            vendor.control(latency_s=0.1)
            for name in names:
                assert send(client, name).status_code == 200
            filler = fill(disk)
            wait_until(lambda: FULL.search(server.text) is not None, 20)
            assert client.get("/health").status_code == 200
            filler.unlink()
            client.post("/documents/reprocess_failed")
            wait_until_idle(client, 5)
            assert server.stop() == 0
        found = await account(disk, ["before.txt", *names], partial(vectors_of, dimension=DIMENSION))
        assert not found.faults, "\n".join(found.faults)


def test_data_of_another_model_or_length_is_refused_at_start_in_one_sentence(tmp_path: Path, vendor: Vendor) -> None:
    made = settings_of(vendor, EMBEDDING_MODEL="first-model", EMBEDDING_DIM=str(DIMENSION))
    with running(tmp_path, **made) as server, server.client() as client:
        send(client, "a.txt", 2)
        wait_until_idle(client, 1)
        server.stop()
    for change, said in ({"EMBEDDING_DIM": "32"}, "(32)"), ({"EMBEDDING_MODEL": "second-model"}, "second-model"):
        with running(tmp_path, **made | change) as server:
            assert server.process.wait(20) == 2
        assert "Traceback" not in server.text
        sentence = next(line for line in server.text.splitlines() if "was embedded with" in line)
        assert "first-model (64 dimensions)" in sentence
        assert said in sentence
        assert "EMBEDDING_DIM" in sentence
    with running(tmp_path, **made) as server, server.client() as client:
        assert client.post("/query", json={"query": "Whom did Ada meet?", "mode": "mix"}).status_code == 200


def test_a_model_that_changed_unseen_fails_questions_in_words(tmp_path: Path, vendor: Vendor) -> None:
    with running(tmp_path, **settings_of(vendor)) as server, server.client() as client:
        send(client, "a.txt", 2)
        wait_until_idle(client, 1)
        server.stop()
    vendor.control(dimension=DIMENSION * 2)
    with running(tmp_path, **settings_of(vendor)) as server, server.client() as client:
        reply = client.post("/query", json={"query": "Whom did Ada meet?", "mode": "mix"})
        assert reply.status_code == 502, reply.text
        assert reply.json()["code"] == "dimension_mismatch"
        assert str(DIMENSION) in reply.json()["detail"]


def test_a_disk_that_cannot_be_written_ends_the_start_in_one_sentence_and_is_survived(
    tmp_path: Path, vendor: Vendor
) -> None:
    settings = settings_of(vendor, WORKING_DIR=str(tmp_path / "disk"))
    with small_disk(tmp_path / "disk") as disk:
        with running(tmp_path, **settings) as server, server.client() as client:
            send(client, "a.txt", 2)
            wait_until_idle(client, 1)
            assert server.stop() == 0
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with running(tmp_path, **settings) as server:
            assert server.process.wait(20) == 1
        assert "Traceback" not in server.text
        assert "cannot start" in server.text
        assert "Read-only file system" in server.text
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        with running(tmp_path, **settings) as server, server.client() as client:
            assert client.post("/query", json={"query": "Whom did Ada Harrow meet?"}).status_code == 200
