"""A server that is killed again and again while documents are sent to it, by a client that repeats what was not
acknowledged and does nothing else."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.server import Server, running
from tests.vendor import Vendor

IDLE_WAIT_S = 60.0
LONGEST_LIFE_S = 0.8
NAMES = (
    "Ada Harrow",
    "Bertram Finch",
    "Coldwater Station",
    "Dorothea Quill",
    "Eastmere Bridge",
    "Felix Thorne",
    "Greta Lindqvist",
    "Harbour Museum",
    "Ivo Castellan",
    "Juniper Hall",
    "Karel Vrba",
    "Lantern Society",
)
SENTENCES = (
    "{} met {} in year {} to settle an old account.",
    "A letter from {} reached {} on day {} of the journey.",
    "{} sold {} the lamp that was number {} in the list.",
    "Nobody told {} what {} had seen in chapter {}.",
)


@dataclass(frozen=True, slots=True)
class Parcel:
    """One request: documents by name, sent as texts, as one text, or as an upload."""

    documents: tuple[tuple[str, str], ...]
    is_upload: bool = False

    def send(self, client: httpx.Client) -> None:
        """Raises unless acknowledged."""
        names, texts = [n for n, _ in self.documents], [t for _, t in self.documents]
        if self.is_upload:
            reply = client.post("/documents/upload", files={"file": (names[0], texts[0].encode())})
        elif len(names) == 1:
            reply = client.post("/documents/text", json={"text": texts[0], "file_source": names[0]})
        else:
            reply = client.post("/documents/texts", json={"texts": texts, "file_sources": names})
        assert reply.status_code == 200, reply.text


def parcels(count: int, chance: random.Random) -> list[Parcel]:
    """`count` documents of one to six chunks of 60 tokens, in all the ways they can be sent."""
    kinds = ("txt", "md", "text", "texts")
    made: list[Parcel] = []
    number = 0
    while number < count:
        kind = chance.choice(kinds)
        size = min(chance.choice((2, 3)), count - number) if kind == "texts" else 1
        suffix = kind if kind in ("txt", "md") else "txt"
        documents = tuple((f"doc-{n:03d}.{suffix}", text_of(n, chance)) for n in range(number, number + size))
        made.append(Parcel(documents, is_upload=kind in ("txt", "md")))
        number += size
    return made


def text_of(number: int, chance: random.Random) -> str:
    """Names are shared between documents, sentences are not."""
    sentences = chance.choice((3, 8, 14, 20))
    lines = [chance.choice(SENTENCES).format(*chance.sample(NAMES, 2), f"{number}-{n}") for n in range(sentences)]
    return f"# Record {number}\n\n" + "\n\n".join(lines) + "\n"


def settings_of(vendor: Vendor, **more: str) -> dict[str, str]:
    """Small chunks, quick retries, and a real vendor on a real port."""
    return {
        "LLM_BINDING": "openai",
        "LLM_BINDING_HOST": vendor.openai_url,
        "LLM_BINDING_API_KEY": "vendor-key",
        "EMBEDDING_BINDING": "openai",
        "EMBEDDING_BINDING_HOST": vendor.openai_url,
        "EMBEDDING_BINDING_API_KEY": "vendor-key",
        "MAX_ASYNC": "2",
        "CHUNK_SIZE": "60",
        "CHUNK_OVERLAP_SIZE": "0",
        "TOKENIZER": "estimate",
        "LLM_MAX_RETRIES": "1",
        "EMBEDDING_MAX_RETRIES": "1",
        "RETRY_DELAY": "0.2",
        **more,
    }


def job_runs(working_dir: Path, kind: str) -> bool:
    """Whether a job of this kind is running, asked of the file beside the server."""
    path = working_dir / "coordination.sqlite"
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.1)) as connection:
            sql = "SELECT EXISTS (SELECT 1 FROM jobs WHERE state = 'doing' AND kind = ?)"
            return bool(connection.execute(sql, (kind,)).fetchone()[0])
    except sqlite3.Error:
        return False


@dataclass
class Lives:
    """Sends `waiting` while the server lives and dies in `folder`; `is_group` kills worker processes too."""

    folder: Path
    settings: dict[str, str]
    waiting: list[Parcel]
    chance: random.Random
    is_group: bool = False
    names: list[str] = field(default_factory=list[str])
    """Acknowledged."""
    kills: dict[str, int] = field(default_factory=dict[str, int])
    """By the moment that was aimed at."""
    seconds: float = 0.0

    @property
    def working_dir(self) -> Path:
        return self.folder / "rag_storage"

    def spend(self, kills: int) -> None:
        """Live and die `kills` times, then live until nothing is left to do."""
        began = time.monotonic()
        for left in range(kills, 0, -1):
            self._live_and_die(most=-(-len(self.waiting) // left))
        with running(self.folder, **self.settings) as server, server.client() as client:
            while self.waiting:
                self._send(client)
            wait_until_idle(client, len(self.names))
            assert server.stop() == 0, server.text
        self.seconds = time.monotonic() - began

    def _live_and_die(self, most: int) -> None:
        aim = self.chance.choice(("start", "any", "any", "prepare", "commit", "commit"))
        self.kills[aim] = self.kills.get(aim, 0) + 1
        with running(self.folder, **self.settings) as server:
            if aim == "start":
                time.sleep(self.chance.uniform(0.1, 0.8))
                self._kill(server)
                return
            with server.client() as client:
                killer = threading.Thread(target=self._kill_at, args=(server, aim))
                killer.start()
                try:
                    for _ in range(min(most, len(self.waiting))):
                        self._send(client)
                        time.sleep(self.chance.uniform(0.0, 0.05))
                except httpx.TransportError:
                    pass  # killed before it answered: sent again in the next life
                killer.join()

    def _kill_at(self, server: Server, aim: str) -> None:
        deadline = time.monotonic() + LONGEST_LIFE_S
        if aim == "any":
            time.sleep(self.chance.uniform(0.0, LONGEST_LIFE_S))
        else:
            while not job_runs(self.working_dir, aim) and time.monotonic() < deadline:
                time.sleep(0.002)
            time.sleep(self.chance.uniform(0.0, 0.03 if aim == "commit" else 0.15))
        self._kill(server)

    def _kill(self, server: Server) -> None:
        (server.kill_group if self.is_group else server.process.kill)()
        server.process.wait()

    def _send(self, client: httpx.Client) -> None:
        self.waiting[0].send(client)
        self.names += [name for name, _ in self.waiting.pop(0).documents]


def wait_until_idle(client: httpx.Client, documents: int, seconds: float = IDLE_WAIT_S) -> None:
    """Returns when all documents are processed and nothing is being worked on."""
    wait_until(lambda: _is_idle(client, documents), seconds, lambda: _state(client))


def _is_idle(client: httpx.Client, documents: int) -> bool:
    counts = client.get("/documents/status_counts").json()["status_counts"]
    return counts["processed"] == counts["all"] == documents and not _is_busy(client)


def _is_busy(client: httpx.Client) -> bool:
    return bool(client.get("/documents/pipeline_status").json()["busy"])


def _state(client: httpx.Client) -> str:
    status = client.get("/documents/pipeline_status").json()
    counts = client.get("/documents/status_counts").json()["status_counts"]
    return f"counts {counts}, busy {status['busy']}, {status['history_messages'][-5:]}"


def wait_until(holds: Callable[[], bool], seconds: float, told: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {told()}"
        time.sleep(0.05)


def names_of(waiting: Sequence[Parcel]) -> list[str]:
    return [name for parcel in waiting for name, _ in parcel.documents]
