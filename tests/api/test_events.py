"""Server-sent progress on a real server: what comes, in which form, and how streams end."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from lightrag_server.api.lightrag.events import HEARTBEAT, with_heartbeats
from tests.api.conftest import STORY
from tests.server import Server, running

PATIENCE_S = 20.0
MOST = 12


@dataclass(frozen=True)
class Seen:
    """One event; `name` is "comment" for a comment."""

    name: str
    data: Any
    id: str | None = None


def events_of(lines: Iterator[str]) -> Iterator[Seen]:
    """As a browser reads them."""
    fields: dict[str, str] = {}
    for line in lines:
        if line.startswith(":"):
            yield Seen("comment", line[1:].strip())
        elif line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield Seen(fields.get("event", "message"), json.loads(fields["data"]), fields.get("id"))
            fields = {}


@contextmanager
def following(client: httpx.Client, **request: Any) -> Iterator[Iterator[Seen]]:
    with client.stream("GET", "/documents/events", timeout=PATIENCE_S, **request) as reply:
        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert reply.headers["cache-control"] == "no-cache"
        yield events_of(reply.iter_lines())


def until(events: Iterator[Seen], name: str, **fields: Any) -> list[Seen]:
    """The events up to the first of this name that carries these fields."""
    seen: list[Seen] = []
    for event in events:
        seen.append(event)
        if event.name == name and fields.items() <= event.data.items():
            return seen
    raise AssertionError(f"the stream ended without {name} {fields}: {seen}")


def insert(client: httpx.Client, text: str, source: str) -> str:
    reply = client.post("/documents/text", json={"text": text, "file_source": source})
    assert reply.status_code == 200, reply.text
    return reply.json()["track_id"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("events")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with running(folder, INDEX_PROFILE="vector", MAX_EVENT_STREAMS=str(MOST)) as started:
        yield started


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def test_a_track_is_told_to_its_end(client: httpx.Client) -> None:
    track = insert(client, STORY, "told.txt")
    with following(client, params={"track_id": track}) as events:
        seen = list(events)
    assert [event.name for event in seen][-1] == "done"
    assert seen[-1].data == {"track_id": track, "status_summary": {"processed": 1}}
    rows = [event.data for event in seen if event.name == "document"]
    [listed] = client.get(f"/documents/track_status/{track}").json()["documents"]
    assert rows[-1] == listed
    assert {row["id"] for row in rows} == {listed["id"]}
    assert len(rows) == len({json.dumps(row) for row in rows})
    [first, *_] = [event.data for event in seen if event.name == "pipeline"]
    assert set(first) == set(client.get("/documents/pipeline_status").json())


def test_a_track_that_has_ended_or_is_unknown_ends_at_once(client: httpx.Client) -> None:
    track = insert(client, STORY, "ended.txt")
    with following(client, params={"track_id": track}) as events:
        list(events)
    with following(client, params={"track_id": track}) as events:
        assert [event.name for event in events] == ["document", "pipeline", "done"]
    with following(client, params={"track_id": "upload_unknown"}) as events:
        [*_, last] = list(events)
    assert last.data["status_summary"] == {}


def test_a_scan_is_followed_through_although_its_documents_come_later(client: httpx.Client, folder: Path) -> None:
    for n in range(3):
        (folder / "inputs" / f"scanned-{n}.txt").write_text(f"{STORY}\nThis is file {n}.")
    track = client.post("/documents/scan").json()["track_id"]
    with following(client, params={"track_id": track}) as events:
        [*_, last] = list(events)
    assert last.data["status_summary"] == {"processed": 3}


def test_whoever_listens_hears_of_every_document(client: httpx.Client, server: Server) -> None:
    with following(client) as events, server.client() as other:
        until(events, "pipeline")
        wanted = {f"{n}.txt" for n in ("one", "two", "three")}
        for source in wanted:
            insert(other, f"{STORY} This is {source}.", source)
        processed: set[str] = set()
        while not wanted <= processed:
            *_, last = until(events, "document", status="processed")
            assert last.id == last.data["updated_at"]
            processed.add(last.data["file_path"])


def test_a_stream_goes_on_behind_the_last_event(client: httpx.Client) -> None:
    track = insert(client, STORY + " Before.", "before.txt")
    with following(client, params={"track_id": track}) as events:
        last = [event for event in events if event.name == "document"][-1]
    insert(client, STORY + " Meanwhile.", "meanwhile.txt")
    time.sleep(2.5)  # so that what happened is of the past for a stream that begins now
    with following(client, headers={"Last-Event-ID": str(last.id)}) as events:
        until(events, "document", file_path="meanwhile.txt")
    with following(client) as events:
        assert next(events).name == "pipeline"


@pytest.mark.parametrize("identifier", ["", "x", "0001-01-01", "9999-12-31T23:59:59-14:00", "1; DROP TABLE"])
def test_an_id_that_is_not_ours_is_no_id(client: httpx.Client, identifier: str) -> None:
    params = {"track_id": "upload_unknown"}
    with following(client, params=params, headers={"Last-Event-ID": identifier}) as events:
        assert [event.name for event in events][-1] == "done"


def test_streams_are_bounded_and_given_back(client: httpx.Client, server: Server) -> None:
    with httpx.Client(base_url=server.address, trust_env=False, limits=httpx.Limits(max_connections=None)) as many:
        opened = [many.send(many.build_request("GET", "/documents/events"), stream=True) for _ in range(MOST)]
        assert {reply.status_code for reply in opened} == {200}
        refused = client.get("/documents/events")
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert int(refused.headers["Retry-After"]) > 0
        for reply in opened:
            reply.close()
    deadline = time.monotonic() + PATIENCE_S
    while client.get("/documents/events", params={"track_id": "upload_unknown"}).status_code != 200:
        assert time.monotonic() < deadline, "the places of clients that left are still taken"
        time.sleep(0.1)


async def test_silence_is_broken_by_comments() -> None:
    async def looks() -> AsyncIterator[list[str]]:
        for texts in (["a"], [], [], [], [], [], ["b", "c"], []):
            yield texts
            await asyncio.sleep(0.05)

    seen = [text async for text in with_heartbeats(looks(), silence_s=0.12)]
    assert [text for text in seen if text != HEARTBEAT] == ["a", "b", "c"]
    assert 1 <= seen[1:-2].count(HEARTBEAT) == len(seen) - 3 <= 2


def test_a_stream_ends_after_the_configured_time(tmp_path: Path) -> None:
    with running(tmp_path, EVENT_STREAM_SECONDS="1") as server, server.client() as client, following(client) as events:
        assert [event.name for event in events] == ["pipeline"]


def test_the_server_stops_at_once_although_somebody_listens(tmp_path: Path) -> None:
    with running(tmp_path) as server, server.client() as client:
        stream = client.send(client.build_request("GET", "/documents/events"), stream=True)
        with closing(stream):
            events = events_of(stream.iter_lines())
            assert next(events).name == "pipeline"
            began = time.monotonic()
            assert server.stop() == 0
            seconds = time.monotonic() - began
            assert list(events) == []
    assert seconds < 5, f"{seconds:.1f} s"
    assert "Traceback" not in server.text
