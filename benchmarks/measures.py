"""What is measured of a running system, ours or another one, over HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, pairwise

import httpx
import orjson

import stand
from corpus import CHUNKS_PER_DOCUMENT
from systems import Running
from tests.vendor import Vendor

PARALLEL_CALLS = 16
INSERTED_AT_ONCE = 50
CLIENTS_BESIDE = 2
DEARER = 1.3
"""What a part may cost, of the one before."""
SETTLE_S = 60.0


@dataclass(frozen=True, slots=True)
class Indexed:
    """`parts` are the quarters of a run, or as many as its time allowed."""

    chunks: int
    parts: tuple[stand.Cost, ...]
    part_chunks: tuple[int, ...]
    calls: int
    tokens: int
    peak_mb: int

    @property
    def seconds(self) -> float:
        return sum(part.seconds for part in self.parts)

    @property
    def cpu_ms(self) -> float:
        return 1000 * sum(part.cpu_s for part in self.parts) / self.chunks

    @property
    def written_kb(self) -> float:
        return sum(part.written_bytes for part in self.parts) / self.chunks / 1000

    @property
    def growth(self) -> float:
        """CPU per chunk of the last part against the first."""
        costs = [part.cpu_s / chunks for part, chunks in zip(self.parts, self.part_chunks, strict=True)]
        return costs[-1] / costs[0]

    def share_of_ideal(self, latency_s: float) -> float:
        """What the calls alone would take, of the wall time."""
        return self.calls * latency_s / PARALLEL_CALLS / self.seconds


@dataclass(frozen=True, slots=True)
class Asked:
    seconds: tuple[float, ...]
    cost: stand.Cost
    calls: int
    tokens: int

    @property
    def p50_ms(self) -> float:
        return stand.percentile_ms(self.seconds, 50)

    @property
    def p95_ms(self) -> float:
        return stand.percentile_ms(self.seconds, 95)

    @property
    def cpu_ms(self) -> float:
        return 1000 * self.cost.cpu_s / len(self.seconds)

    @property
    def per_second(self) -> float:
        return len(self.seconds) / self.cost.seconds


@dataclass(frozen=True, slots=True)
class Changed:
    seconds: float
    cost: stand.Cost
    calls: int


def index(
    running: Running, vendor: Vendor, texts: Sequence[str], parts: int = 1, limit_s: float = 3600.0, first: int = 0
) -> Indexed:
    """Send the texts and wait, part by part. Parts for which the time would not suffice are left out."""
    edges = [len(texts) * part // parts for part in range(parts + 1)]
    marks, chunks = [stand.cost(running.pid)], list[int]()
    before, deadline = vendor.stats(), time.monotonic() + limit_s
    with running.client() as client:
        for start, end in pairwise(edges):
            if marks[1:] and time.monotonic() + DEARER * (marks[-1] - marks[-2]).seconds > deadline:
                break
            insert(client, texts[start:end], first + start)
            stand.wait_until_ended(client, first + end)
            marks.append(stand.cost(running.pid))
            chunks.append((end - start) * CHUNKS_PER_DOCUMENT)
    after = vendor.stats()
    calls, tokens = after["chat"] - before["chat"], after["chat_tokens"] - before["chat_tokens"]
    spent = tuple(later - earlier for earlier, later in pairwise(marks))
    return Indexed(sum(chunks), spent, tuple(chunks), calls, tokens, stand.summed_mb(running.pid, "VmHWM"))


def insert(client: httpx.Client, texts: Sequence[str], first: int) -> None:
    for start in range(0, len(texts), INSERTED_AT_ONCE):
        stand.insert(client, texts[start : start + INSERTED_AT_ONCE], first + start)


def ask(running: Running, vendor: Vendor, questions: Sequence[str], clients: int = 1, **body: object) -> Asked:
    """The first question is not counted."""
    with running.client() as client, ThreadPoolExecutor(clients) as threads:
        _timed(client, questions[0], body)
        before, stats = stand.cost(running.pid), vendor.stats()
        seconds = list(threads.map(lambda question: _timed(client, question, body), questions[1:]))
        cost, now = stand.cost(running.pid) - before, vendor.stats()
    return Asked(tuple(seconds), cost, now["chat"] - stats["chat"], now["chat_tokens"] - stats["chat_tokens"])


def _timed(client: httpx.Client, question: str, body: dict[str, object]) -> float:
    start = time.perf_counter()
    client.post("/query", json={"query": question, **body}).raise_for_status()
    return time.perf_counter() - start


def first_words_ms(running: Running, questions: Sequence[str], mode: str) -> float:
    """Median time to the first words of a streamed answer; the model answers at once."""
    seconds: list[float] = []
    with running.client() as client:
        for question in questions:
            start = time.perf_counter()
            with client.stream("POST", "/query/stream", json={"query": question, "mode": mode}) as reply:
                reply.raise_for_status()
                for line in reply.iter_lines():
                    if line and orjson.loads(line).get("response"):
                        seconds.append(time.perf_counter() - start)
                        break
    return stand.percentile_ms(seconds, 50)


def ask_beside(
    running: Running, vendor: Vendor, questions: Sequence[str], work: Callable[[], object], **body: object
) -> Asked:
    """Questions of some clients for as long as `work` takes."""
    asked, numbers, is_over = list[float](), count(), threading.Event()

    def keep_asking() -> None:
        with running.client() as client:
            while not is_over.is_set():
                asked.append(_timed(client, questions[next(numbers) % len(questions)], body))

    before, stats = stand.cost(running.pid), vendor.stats()
    with ThreadPoolExecutor(CLIENTS_BESIDE) as threads:
        askers = [threads.submit(keep_asking) for _ in range(CLIENTS_BESIDE)]
        try:
            work()
        finally:
            is_over.set()
        for asker in askers:
            asker.result()
    cost, now = stand.cost(running.pid) - before, vendor.stats()
    return Asked(tuple(asked), cost, now["chat"] - stats["chat"], now["chat_tokens"] - stats["chat_tokens"])


def median_ms(times: int, call: Callable[[], object]) -> float:
    seconds: list[float] = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return stand.percentile_ms(seconds, 50)


def delete(running: Running, vendor: Vendor, number: int) -> Changed:
    """The document `report-<number>.txt`, until it is counted no more."""
    with running.client() as client, quiet(client):
        document = next(d for d in documents(client) if d["file_path"] == f"report-{number}.txt")
        total = stand.counts(client)["all"]
        before, calls = stand.cost(running.pid), vendor.stats()["chat"]
        body = {"doc_ids": [document["id"]]}
        client.request("DELETE", "/documents/delete_document", json=body).raise_for_status()
        while stand.counts(client)["all"] == total:
            time.sleep(0.005)
        spent = stand.cost(running.pid) - before
        seconds = spent.seconds
        with quiet(client):
            cost = stand.cost(running.pid) - before
        return Changed(seconds, cost, vendor.stats()["chat"] - calls)


@contextmanager
def quiet(client: httpx.Client) -> Iterator[None]:
    """After work that goes on behind the replies."""
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline:
        if not client.get("/documents/pipeline_status").raise_for_status().json()["busy"]:
            break
        time.sleep(0.05)
    yield


def documents(client: httpx.Client) -> Iterator[dict[str, str]]:
    page, has_next = 1, True
    while has_next:
        reply = client.post("/documents/paginated", json={"page": page, "page_size": 200}).raise_for_status().json()
        yield from reply["documents"]
        page, has_next = page + 1, reply["pagination"]["has_next"]
