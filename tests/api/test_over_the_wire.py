"""A real server process and a vendor on a real port: failures, streams, and clients that leave."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.api.conftest import STORY, settings_of
from tests.server import Server, running
from tests.vendor import Vendor, in_thread

QUESTION = {"query": "Who was Jacob Marley?", "mode": "naive"}


@pytest.fixture(scope="module")
def server(vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With one document that answers `QUESTION`."""
    with running(tmp_path_factory.mktemp("server"), **settings_of(vendor)) as started:
        with started.client() as client:
            index(client)
        yield started


@pytest.fixture
def client(server: Server, vendor: Vendor) -> Iterator[httpx.Client]:
    vendor.reset()
    with server.client() as client:
        yield client


def index(client: httpx.Client) -> None:
    track = client.post("/documents/text", json={"text": STORY, "file_source": "carol.txt"}).json()["track_id"]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if client.get(f"/documents/track_status/{track}").json()["status_summary"].get("processed"):
            return
        time.sleep(0.02)
    raise AssertionError(client.get(f"/documents/track_status/{track}").text)


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("on", ["chat", "embed"])
@pytest.mark.parametrize(
    ("fault", "statuses"),
    [
        ({"kind": "status", "status": 401}, {502}),
        ({"kind": "status", "status": 429, "retry_after": "7"}, {503}),
        ({"kind": "status", "status": 500}, {503}),
        ({"kind": "timeout"}, {504}),
        ({"kind": "rubbish"}, {502, 503}),
    ],
    ids=lambda value: value.get("status", value["kind"]) if isinstance(value, dict) else None,
)
def test_a_vendor_that_fails_is_a_status_with_code_and_id(
    client: httpx.Client, vendor: Vendor, on: str, fault: dict[str, Any], statuses: set[int]
) -> None:
    vendor.control(faults=[{**fault, "on": on, "next": 5}])
    reply = client.post("/query", json=QUESTION)
    assert reply.status_code in statuses, reply.text
    assert set(reply.json()) == {"detail", "code", "request_id"}
    assert "vendor-key" not in reply.text
    assert reply.headers.get("Retry-After") == fault.get("retry_after")
    vendor.reset()
    assert client.post("/query", json=QUESTION).status_code == 200


def test_before_the_first_line_a_failure_is_a_status_also_of_a_stream(client: httpx.Client, vendor: Vendor) -> None:
    vendor.fault("status", on="embed", status=500)
    assert client.post("/query/stream", json=QUESTION).status_code == 503


def test_after_the_first_line_a_failure_is_the_last_line(client: httpx.Client, vendor: Vendor) -> None:
    vendor.fault("status", on="chat", status=500)
    reply = client.post("/query/stream", json=QUESTION)
    assert reply.status_code == 200
    first, last = rows(reply.text)
    assert first["references"][0]["file_path"] == "carol.txt"
    assert set(last) == {"error"}
    assert last["error"]


def test_a_vendor_that_hangs_up_in_the_middle_ends_the_stream_with_an_error(
    client: httpx.Client, vendor: Vendor
) -> None:
    vendor.fault("hang_up", on="chat")
    *_, last = rows(client.post("/query/stream", json=QUESTION).text)
    assert set(last) == {"error"}
    vendor.fault("hang_up", on="chat")
    assert client.post("/query", json=QUESTION).status_code in (502, 503)


def test_lines_come_as_the_vendor_writes_them(client: httpx.Client, vendor: Vendor) -> None:
    vendor.control(delta_delay_s=0.05)
    began, moments = time.monotonic(), list[float]()
    with client.stream("POST", "/query/stream", json=QUESTION) as reply:
        for _ in reply.iter_lines():
            moments.append(time.monotonic() - began)
    assert len(moments) > 4
    assert moments[-1] - moments[0] > 0.1


@pytest.mark.parametrize("path", ["/query", "/query/stream"])
def test_a_client_that_leaves_cancels_the_vendors_call(server: Server, vendor: Vendor, path: str) -> None:
    vendor.reset()
    vendor.control(delta_delay_s=0.3)
    with open_connection(server) as connection:
        send(connection, path, json.dumps(QUESTION).encode())
        wait_until(lambda: vendor.stats()["stream"] == 1)
        time.sleep(0.1)
    wait_until(lambda: vendor.stats()["cancelled_streams"] == 1)
    assert vendor.stats()["in_flight"] == 0


def test_a_body_of_200_megabytes_is_refused_without_being_read(server: Server) -> None:
    with open_connection(server) as connection:
        send(connection, "/documents/upload", b"", length=200 * 1024**2)
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")


def test_a_body_in_chunks_without_end_is_refused_on_the_way(server: Server) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(1000):
            yield b"x" * 65_536

    try:
        with server.client() as client:
            assert client.post("/query", content=body()).status_code == 413
    except httpx.WriteError:
        pass  # the server closed while we were still sending, which is its right
    with server.client() as client:
        assert client.get("/health").status_code == 200


def test_a_running_answer_is_finished_before_the_server_stops(tmp_path: Path) -> None:
    with in_thread() as vendor, running(tmp_path, **settings_of(vendor)) as server, server.client() as client:
        index(client)
        vendor.control(delta_delay_s=0.02)
        with client.stream("POST", "/query/stream", json=QUESTION) as reply:
            lines = reply.iter_lines()
            next(lines)
            server.process.send_signal(signal.SIGTERM)
            rest = [json.loads(line) for line in lines]
        assert rest
        assert all(set(row) == {"response"} for row in rest)
        assert server.process.wait(15) == 0
    assert "Traceback" not in server.text


@pytest.mark.parametrize("path", ["/query", "/query/stream"])
def test_what_outlasts_a_stop_is_cut_off_with_a_word(tmp_path: Path, path: str) -> None:
    """Also where the answer has begun, without a trace in the log: a stop is no failure."""
    patience = {"LLM_TIMEOUT": "60", "STOP_TIMEOUT": "1"}
    with (
        in_thread() as vendor,
        running(tmp_path, **settings_of(vendor) | patience) as server,
        server.client() as client,
        ThreadPoolExecutor(1) as asking,
    ):
        index(client)
        vendor.control(latency_s=30)
        asked = asking.submit(client.post, path, json=QUESTION)
        wait_until(lambda: vendor.stats()["stream"] == 1)
        assert server.stop() == 0
        if path == "/query":
            reply = asked.result()
            assert (reply.status_code, reply.json()["detail"]) == (503, "The server is stopping. Please try again.")
        else:
            assert isinstance(asked.exception(), httpx.RemoteProtocolError)
    assert "cut a request off" in server.text
    assert "Traceback" not in server.text


def open_connection(server: Server) -> socket.socket:
    parts = urlsplit(server.address)
    return socket.create_connection((parts.hostname, parts.port or 80), timeout=10)


def send(connection: socket.socket, path: str, body: bytes, length: int | None = None) -> None:
    size = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    connection.sendall(head.encode() + body)


def wait_until(holds: Any, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
