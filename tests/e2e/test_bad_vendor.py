"""A vendor that refuses, stalls, hangs up or talks rubbish: what becomes of documents and of questions."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from lightrag_server.bindings.local.fake import vectors_of
from tests.e2e.accounting import account
from tests.e2e.lives import settings_of, text_of, wait_until
from tests.server import Server, running
from tests.vendor import Vendor, in_process, in_thread

DIMENSION = 64
TRIES = 2
"""Of a document, and of each call: MAX_ATTEMPTS and LLM_MAX_RETRIES + 1."""
FOR_EVER = 10_000
MARKS = ("THE-THIRD-MARK", "THE-SEVENTH-MARK")


@pytest.fixture(scope="module")
def vendors() -> Iterator[Vendor]:
    with in_thread(DIMENSION) as started:
        yield started


@pytest.fixture(scope="module")
def server(vendors: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = settings_of(
        vendors,
        MAX_ATTEMPTS=str(TRIES),
        LLM_TIMEOUT="1",
        EMBEDDING_TIMEOUT="1",
        ENABLE_LLM_CACHE="false",
        ENABLE_LLM_CACHE_FOR_EXTRACT="false",
    )
    with running(tmp_path_factory.mktemp("server"), **settings) as started:
        yield started


@pytest.fixture
def vendor(vendors: Vendor) -> Vendor:
    vendors.reset()
    return vendors


@pytest.fixture
def client(server: Server, vendor: Vendor) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client
        vendor.reset()
        assert client.delete("/documents").status_code == 200
        assert client.get("/health").status_code == 200


def marked_text(sections: int = 10) -> str:
    """A chunk for each section; the third and the seventh can be told from the others."""
    marks = {3: MARKS[0], 7: MARKS[1]}
    return "\n\n".join(
        f"# Section {n}\n\n{marks.get(n, 'No mark')} is here. " + f"Ada Harrow met Felix Thorne in year {n}. " * 4
        for n in range(sections)
    )


def index(client: httpx.Client, text: str, name: str = "a.txt") -> str:
    return client.post("/documents/text", json={"text": text, "file_source": name}).json()["track_id"]


def row(client: httpx.Client, track_id: str) -> dict[str, Any]:
    return client.get(f"/documents/track_status/{track_id}").json()["documents"][0]


def ended(client: httpx.Client, track_id: str, seconds: float = 20) -> dict[str, Any]:
    wait_until(lambda: row(client, track_id)["status"] in ("processed", "failed"), seconds)
    return row(client, track_id)


def ask(client: httpx.Client, path: str = "/query", mode: str = "naive") -> httpx.Response:
    return client.post(path, json={"query": "Whom did Ada Harrow meet?", "mode": mode})


def check_refusal(reply: httpx.Response, status: int, code: str) -> None:
    assert reply.status_code == status, reply.text
    assert reply.json()["code"] == code
    assert reply.json()["detail"]
    assert reply.json()["request_id"] == reply.headers["X-Request-ID"]
    assert "vendor-key" not in reply.text


# ----------------------------------------------------------------------------- documents


def test_a_key_that_is_refused_fails_the_document_at_once_and_is_not_asked_again(
    client: httpx.Client, vendor: Vendor
) -> None:
    vendor.fault("status", on="chat", status=401, next=FOR_EVER)
    found = ended(client, index(client, marked_text(40)))
    assert found["status"] == "failed"
    assert "openai model 'gpt-4o-mini' answered 401" in found["error_msg"]
    assert "tries" not in found["metadata"] or found["metadata"]["tries"] == 1
    calls = vendor.stats()["chat"]
    assert calls <= 12, "a document of 40 chunks: who refuses eight refuses all"
    time.sleep(1)
    assert vendor.stats()["chat"] == calls
    vendor.reset()
    client.post("/documents/reprocess_failed")
    wait_until(lambda: row(client, found["track_id"])["status"] == "processed", 20)
    assert row(client, found["track_id"])["error_msg"] is None


def test_an_embedder_that_refuses_the_key_fails_the_document_at_once(client: httpx.Client, vendor: Vendor) -> None:
    vendor.fault("status", on="embed", status=401, next=FOR_EVER)
    found = ended(client, index(client, marked_text()))
    assert found["status"] == "failed"
    assert "openai embedding model 'text-embedding-3-small' answered 401" in found["error_msg"]
    assert vendor.stats()["embed"] <= 6


def test_a_wait_that_the_vendor_asks_for_is_kept_to(client: httpx.Client, vendor: Vendor) -> None:
    vendor.fault("status", on="chat", status=429, retry_after="2")
    began = time.monotonic()
    found = ended(client, index(client, "Ada Harrow met Felix Thorne at Coldwater Station."))
    assert found["status"] == "processed"
    assert time.monotonic() - began >= 2
    assert vendor.stats()["chat"] == 2


def test_chunks_that_keep_failing_are_named_and_only_they_are_asked_for_again(
    client: httpx.Client, vendor: Vendor
) -> None:
    for mark in MARKS:
        vendor.fault("status", on="chat", status=500, match=mark, next=FOR_EVER)
    found = ended(client, index(client, marked_text()), 30)
    assert found["status"] == "failed"
    assert "answered 500" in found["error_msg"]
    failed = found["metadata"]["failed_chunks"]
    assert len(failed) == len(MARKS)
    assert all("answered 500" in reason for reason in failed.values())
    assert found["metadata"]["error_type"] == "extraction_failed"
    chunks = found["metadata"]["chunks_total"]
    assert vendor.stats()["chat"] == chunks - len(failed) + len(failed) * TRIES * TRIES
    vendor.reset()
    client.post("/documents/reprocess_failed")
    wait_until(lambda: row(client, found["track_id"])["status"] == "processed", 20)
    assert vendor.stats()["chat"] == len(failed)
    done = row(client, found["track_id"])
    assert done["error_msg"] is None
    assert not {"failed_chunks", "tries", "error_type"} & done["metadata"].keys()


@pytest.mark.parametrize("on", ["chat", "embed"])
@pytest.mark.parametrize("fault", ["timeout", "hang_up", "rubbish", "empty"])
def test_a_failure_that_passes_is_not_seen(client: httpx.Client, vendor: Vendor, on: str, fault: str) -> None:
    vendor.fault(fault, on=on)
    assert ended(client, index(client, "Ada Harrow met Felix Thorne at Coldwater Station."))["status"] == "processed"


def test_extractions_that_are_rubbish_cost_the_graph_and_not_the_document(client: httpx.Client, vendor: Vendor) -> None:
    vendor.fault("nonsense", on="chat", next=FOR_EVER)
    found = ended(client, index(client, marked_text()))
    assert found["status"] == "processed"
    assert found["metadata"]["extraction_repairs"] > 0
    vendor.reset()
    data = client.post("/query/data", json={"query": "Whom did Ada Harrow meet?", "mode": "naive"}).json()
    assert data["data"]["chunks"]
    assert ask(client).status_code == 200


@pytest.mark.parametrize(("fault", "said"), [("wrong_dimension", "length 65"), ("nan", "without a direction")])
def test_vectors_that_cannot_be_used_fail_the_document(
    client: httpx.Client, vendor: Vendor, fault: str, said: str
) -> None:
    ended(client, index(client, "Greta Lindqvist owns Juniper Hall.", "first.txt"))
    vendor.fault(fault, on="embed", next=FOR_EVER)
    found = ended(client, index(client, marked_text()))
    assert found["status"] == "failed"
    assert said in found["error_msg"]
    vendor.reset()
    client.post("/documents/reprocess_failed")
    wait_until(lambda: row(client, found["track_id"])["status"] == "processed", 20)


async def test_documents_outlast_a_vendor_that_is_away_for_longer_than_all_their_tries(tmp_path: Path) -> None:
    """First nobody listens, then a proxy before the vendor says that it is down."""
    names = [f"{number}.txt" for number in range(3)]
    port = free_port()
    settings = settings_of(Vendor(port), MAX_ATTEMPTS=str(TRIES), RETRY_DELAY="0.05", LLM_MAX_RETRIES="0")
    with running(tmp_path, **settings) as server, server.client() as client:
        tracks = [index(client, f"Ada Harrow met {name} at Coldwater Station.", name) for name in names]
        wait_until(lambda: server.text.count("again in") >= 3 * TRIES * len(names), 40)
        assert {row(client, track)["status"] for track in tracks} <= {"pending", "processing"}
        assert "cannot be reached" in row(client, tracks[0])["error_msg"]
        with in_process(DIMENSION, port) as vendor:
            vendor.control(faults=[{"kind": "status", "status": 503, "on": "chat", "next": len(names)}])
            wait_until(lambda: all(row(client, track)["status"] == "processed" for track in tracks), 60)
            assert vendor.stats()["chat"] == 2 * len(names)
            assert row(client, tracks[0])["error_msg"] is None
            assert server.stop() == 0
    found = await account(tmp_path / "rag_storage", names, partial(vectors_of, dimension=DIMENSION))
    assert not found.faults, "\n".join(found.faults)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


# ----------------------------------------------------------------------------- questions


@pytest.mark.parametrize("path", ["/query", "/query/stream", "/query/data"])
@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"kind": "status", "status": 401}, 502, "provider_rejected"),
        ({"kind": "status", "status": 503}, 503, "provider_unavailable"),
        ({"kind": "timeout"}, 504, "provider_timeout"),
        ({"kind": "rubbish"}, 502, "provider_bad_reply"),
        ({"kind": "nan"}, 502, "provider_bad_reply"),
        ({"kind": "wrong_dimension"}, 502, "dimension_mismatch"),
    ],
    ids=lambda value: str(value.get("status", value["kind"])) if isinstance(value, dict) else "",
)
def test_an_embedder_that_fails_a_question_is_never_a_200(
    client: httpx.Client, vendor: Vendor, path: str, fault: dict[str, Any], status: int, code: str
) -> None:
    ended(client, index(client, "Ada Harrow met Felix Thorne at Coldwater Station."))
    vendor.control(faults=[{**fault, "on": "embed", "next": FOR_EVER}])
    check_refusal(ask(client, path, "mix"), status, code)
    vendor.reset()
    assert ask(client, path, "mix").status_code == 200


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"kind": "status", "status": 401}, 502, "provider_rejected"),
        ({"kind": "status", "status": 500}, 503, "provider_unavailable"),
        ({"kind": "timeout"}, 504, "provider_timeout"),
        ({"kind": "hang_up"}, 503, "provider_unavailable"),
    ],
    ids=lambda value: str(value.get("status", value["kind"])) if isinstance(value, dict) else "",
)
def test_a_model_that_fails_an_answer_is_a_status_and_in_a_stream_the_last_line(
    client: httpx.Client, vendor: Vendor, fault: dict[str, Any], status: int, code: str
) -> None:
    ended(client, index(client, "Ada Harrow met Felix Thorne at Coldwater Station."))
    vendor.control(faults=[{**fault, "on": "chat", "next": FOR_EVER}])
    check_refusal(ask(client), status, code)
    lines = [json.loads(line) for line in ask(client, "/query/stream").text.splitlines()]
    assert "references" in lines[0]
    assert set(lines[-1]) == {"error"}
    assert "openai model" in lines[-1]["error"]


# ----------------------------------------------------------------------------- all together


async def test_a_vendor_that_fails_at_random_leaves_everything_accounted_for(tmp_path: Path, vendor: Vendor) -> None:
    chance = random.Random(5)
    names = [f"{number}.txt" for number in range(8)]
    kinds = ["status", "hang_up", "rubbish", "empty"]
    faults = [{"kind": chance.choice(kinds), "on": "any", "match": name} for name in ("Ada", "Ivo", "Greta") * 6]
    with running(tmp_path, **settings_of(vendor, MAX_ATTEMPTS="9")) as server, server.client() as client:
        vendor.control(faults=faults)
        for number, name in enumerate(names):
            index(client, text_of(number, chance), name)
        wait_until(lambda: client.get("/documents/status_counts").json()["status_counts"]["processed"] == 8, 40)
        wait_until(lambda: not client.get("/documents/pipeline_status").json()["busy"], 10)
        server.stop()
    found = await account(tmp_path / "rag_storage", names, partial(vectors_of, dimension=DIMENSION))
    assert not found.faults, "\n".join(found.faults)
