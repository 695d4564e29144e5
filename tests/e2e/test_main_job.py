"""The main job with nothing configured: local models, no network, no key. Slow: a whole book is read by a CPU."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server import Server, running

DATA = Path(__file__).parents[1] / "data"
PATIENCE_S = 400
MODES = ("local", "global", "hybrid", "naive", "mix")
UNSET = {"LLM_BINDING": "", "EMBEDDING_BINDING": ""}

pytestmark = pytest.mark.timeout(PATIENCE_S + 60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("main-job"), **UNSET) as server:
        with server.client() as client:
            for name in ("carol-excerpts.txt", "qinghe-chronicle.zh.txt"):
                upload(client, DATA / name)
            wait_until_processed(client, 2)
        yield server


def upload(client: httpx.Client, path: Path) -> None:
    reply = client.post("/documents/upload", files={"file": (path.name, path.read_bytes())})
    assert reply.json()["status"] == "success", reply.text


def wait_until_processed(client: httpx.Client, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        counts = client.get("/documents/status_counts").json()["status_counts"]
        assert not counts["failed"], client.post("/documents/paginated", json={}).text
        if counts["processed"] == count:
            return
        time.sleep(0.5)
    raise AssertionError(client.get("/documents/pipeline_status").text)


def asked(server: Server, path: str, **body: Any) -> Any:
    with server.client() as client:
        reply = client.post(path, json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()


def test_the_banner_says_that_local_models_were_chosen(server: Server) -> None:
    assert "multilingual-e5-small" in server.text
    assert "light" in server.text


def test_an_english_question_is_answered_with_sentences_of_the_book_and_their_source(server: Server) -> None:
    answer = asked(server, "/query", query="Who was Scrooge's partner, and when did he die?", mode="mix")
    assert "Marley" in answer["response"]
    assert "seven years" in answer["response"]
    assert answer["references"][0]["file_path"] == "carol-excerpts.txt"
    assert "[1]" in answer["response"]


def test_the_graph_knows_the_people_and_their_relations(server: Server) -> None:
    data = asked(server, "/query/data", query="How is Bob Cratchit related to Scrooge and to Tiny Tim?")["data"]
    names = {e["entity_name"] for e in data["entities"]}
    assert {"Scrooge", "Bob Cratchit", "Tiny Tim"} <= names
    pairs = {frozenset((r["src_id"], r["tgt_id"])) for r in data["relationships"]}
    assert frozenset(("Scrooge", "Bob Cratchit")) in pairs


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_answers(server: Server, mode: str) -> None:
    answer = asked(server, "/query", query="What is the matter with Tiny Tim?", mode=mode)
    assert "Tim" in answer["response"]
    assert answer["references"]


def test_mode_bypass_says_that_it_needs_a_model(server: Server) -> None:
    with server.client() as client:
        reply = client.post("/query", json={"query": "hello", "mode": "bypass"})
    assert reply.status_code == 400
    assert "LLM_BINDING" in reply.text


def test_a_stream_sends_its_references_first(server: Server) -> None:
    with server.client() as client, client.stream("POST", "/query/stream", json={"query": "Who is Fezziwig?"}) as reply:
        first = next(reply.iter_lines())
    assert first.startswith('{"references"')


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("青禾镇的老电站是谁决定投资的？", "陈立群"),
        ("白水书屋是由谁设计改造的？", "沈嘉禾"),
        ("二零二零年的洪水中，谁最先发现大坝渗水？", "罗小勇"),
    ],
)
def test_a_chinese_question_is_answered_from_the_chinese_document(server: Server, question: str, expected: str) -> None:
    answer = asked(server, "/query", query=question, mode="mix")
    assert expected in answer["response"], answer["response"]
    assert answer["references"][0]["file_path"] == "qinghe-chronicle.zh.txt"


def test_a_scan_takes_new_files_of_the_input_folder_once(tmp_path: Path) -> None:
    with running(tmp_path) as server, server.client() as client:
        shutil.copy(DATA / "qinghe-chronicle.zh.txt", tmp_path / "inputs" / "report.txt")
        for _ in range(2):
            client.post("/documents/scan")
            wait_until_processed(client, 1)
