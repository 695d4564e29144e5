"""Bad files and bad requests over a real port: a clear error, the right status, and nothing left behind."""

from __future__ import annotations

import io
import random
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.e2e.lives import wait_until
from tests.parsers.samples import pdf
from tests.server import Server, running

MIB = 1024**2
BOUNDARY = "----boundary"
MAX_EXPANDED = 20 * MIB


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with running(folder, MAX_EXPANDED_SIZE=str(MAX_EXPANDED), TOKENIZER="estimate") as started:
        yield started


@pytest.fixture(scope="module")
def folder(server: Server) -> Path:
    return Path(psutil.Process(server.process.pid).cwd())


@pytest.fixture
def client(server: Server, folder: Path) -> Iterator[httpx.Client]:
    """Every test leaves the server empty and alive."""
    with server.client() as client:
        yield client
        client.delete("/documents")
        assert client.get("/health").status_code == 200
        assert counts(client)["all"] == 0
        assert files_in(folder) == []


def upload(client: httpx.Client, name: bytes | str, data: bytes) -> httpx.Response:
    """With the name as it is: a client library would escape it."""
    raw = name if isinstance(name, bytes) else name.encode()
    head = b'Content-Disposition: form-data; name="file"; filename="%b"\r\n' % raw
    body = b"--%b\r\n%b\r\n%b\r\n--%b--\r\n" % (BOUNDARY.encode(), head, data, BOUNDARY.encode())
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return client.post("/documents/upload", content=body, headers=kind)


def counts(client: httpx.Client) -> dict[str, int]:
    return client.get("/documents/status_counts").json()["status_counts"]


def files_in(folder: Path) -> list[Path]:
    """Blobs and input files; the folder of the server holds nothing else that a document could leave."""
    places = [folder / "rag_storage" / "blobs", folder / "inputs", folder.parent / "evil.txt"]
    return [path for place in places for path in (place.rglob("*") if place.is_dir() else [place]) if path.is_file()]


def ended(client: httpx.Client, track_id: str) -> dict[str, Any]:
    """The document's row once it is processed or failed."""

    def row() -> dict[str, Any]:
        return client.get(f"/documents/track_status/{track_id}").json()["documents"][0]

    wait_until(lambda: row()["status"] in ("processed", "failed"), 20)
    return row()


def test_an_empty_file_is_refused(client: httpx.Client, folder: Path) -> None:
    for data in (b"", b" \r\n\t "):
        reply = upload(client, "empty.txt", data)
        assert reply.status_code == 400
        assert "'empty.txt' is empty" in reply.json()["detail"]
    assert counts(client)["all"] == 0
    assert files_in(folder) == []


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("../evil.txt", 400, "path"),
        ("..%2fevil.txt\x01", 400, "control characters"),
        ("a/../../evil.txt", 400, "path"),
        (r"..\\evil.txt", 400, "path"),
        ("bell\x07.txt", 400, "control characters"),
        ("two\tcolumns.txt", 400, "control characters"),
        ("é" * 150 + ".txt", 400, "255 bytes"),
        (" leading.txt", 400, "white space"),
        ("program.exe", 400, ".exe"),
    ],
)
def test_a_name_that_cannot_be_kept_is_refused(
    client: httpx.Client, folder: Path, name: str, status: int, said: str
) -> None:
    reply = upload(client, name, b"some text")
    assert reply.status_code == status, reply.text
    assert said in reply.json()["detail"]
    assert reply.json()["request_id"]
    assert counts(client)["all"] == 0
    assert files_in(folder) == []


def zip_bomb() -> bytes:
    """A docx of some kilobytes whose text unpacks to 200 MB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("word/document.xml", "w") as file:
        for _ in range(200):
            file.write(b" " * MIB)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("junk.txt", random.Random(1).randbytes(20_000), "text"),
        ("torn.pdf", pdf(["A page about Jacob Marley."])[:300], "torn.pdf"),
        ("locked.pdf", pdf(["A page about Jacob Marley."], encrypt=True), "password"),
        ("not-a.pdf", b"GIF89a nothing of the kind", "not-a.pdf"),
        ("not-a.docx", b"PK\x03\x04 nothing of the kind", "not-a.docx"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_a_file_that_cannot_be_read_fails_with_a_reason_and_is_not_tried_again(
    client: httpx.Client, folder: Path, name: str, data: bytes, said: str
) -> None:
    reply = upload(client, name, data)
    assert reply.status_code == 200, reply.text
    row = ended(client, reply.json()["track_id"])
    assert row["status"] == "failed"
    assert said in row["error_msg"]
    assert "internal" not in row["error_msg"]
    assert row["metadata"]["error_type"] == "unreadable_file"
    deleted = client.request("DELETE", "/documents/delete_document", json={"doc_ids": [row["id"]]})
    assert deleted.json()["status"] == "deletion_started"
    wait_until(lambda: counts(client)["all"] == 0, 10)
    assert files_in(folder) == []


def test_a_zip_bomb_is_refused_in_little_memory(client: httpx.Client, server: Server) -> None:
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    seen, stop = list[int](), threading.Event()

    def watch() -> None:
        while not stop.wait(0.01):
            try:
                children = sum(child.memory_info().rss for child in process.children(recursive=True))
                seen.append(process.memory_info().rss - before + children)
            except psutil.NoSuchProcess:
                continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        row = ended(client, upload(client, "bomb.docx", zip_bomb()).json()["track_id"])
    finally:
        stop.set()
        watcher.join()
    assert row["status"] == "failed"
    assert row["metadata"]["error_type"] in ("too_large", "unreadable_file")
    assert "bomb.docx" in row["error_msg"]
    assert max(seen) < 150 * MIB, f"{max(seen) / MIB:.0f} MB"


def test_a_body_of_200_megabytes_is_refused_before_it_is_sent(client: httpx.Client) -> None:
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(200):
            sent += 1
            yield bytes(MIB)

    began = time.monotonic()
    length = {"Content-Length": str(200 * MIB), "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    try:
        reply = client.post("/documents/upload", content=body(), headers=length)
    except (httpx.WriteError, httpx.ReadError):
        pass  # the server hung up while we were still sending, which is its right
    else:
        assert reply.status_code == 413
        assert "at most" in reply.json()["detail"]
    assert sent < 60
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "body",
    [
        {"query": "Who is it?", "mode": "telepathic"},
        {"query": "Who is it?", "top_k": 0},
        {"query": "Who is it?", "chunk_top_k": -1},
        {"query": "   "},
        {"query": ""},
        {},
    ],
)
def test_a_question_out_of_bounds_is_422(client: httpx.Client, body: dict[str, Any]) -> None:
    for path in ("/query", "/query/stream"):
        reply = client.post(path, json=body)
        assert reply.status_code == 422, reply.text
        assert reply.json()["detail"][0]["loc"][0] == "body"


def test_what_is_no_json_is_422(client: httpx.Client) -> None:
    reply = client.post("/query", content=b"{not json", headers={"Content-Type": "application/json"})
    assert reply.status_code == 422


def test_unknown_ids_are_told_as_such(client: httpx.Client) -> None:
    deleted = client.request("DELETE", "/documents/delete_document", json={"doc_ids": ["doc-nobody"]})
    assert deleted.status_code == 404
    assert "doc-nobody" in deleted.json()["detail"]
    assert deleted.json()["code"] == "not_found"
    assert client.get("/documents/track_status/upload-nobody").json()["total_count"] == 0
    assert client.get("/documents/nothing-here").status_code == 404
