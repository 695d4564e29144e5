"""Many clients at a server of several processes, of which one is killed every moment, by clients that repeat what was
not acknowledged and do nothing else."""

from __future__ import annotations

import os
import queue
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from lightrag_server.core import ids
from tests.e2e.lives import NAMES, Parcel, wait_until, wait_until_idle
from tests.server import MANY, Server, running

MODES = ("mix", "naive", "local", "global", "hybrid")
PAUSE_S = 0.05
SPREAD = 0.8
DELETED_SHARE = 0.3
"""Of the documents."""
FIRST_DELETION = 10
"""Documents that must be acknowledged before any is deleted."""


@dataclass(frozen=True, slots=True)
class Plan:
    workers: int = 4
    senders: int = 8
    askers: int = 8
    deleters: int = 2
    kill_every_s: float = 2.0
    seconds: float = 60.0
    end_s: float = 240.0
    """Longest time to work off what is left."""


@dataclass
class Swarm:
    folder: Path
    settings: dict[str, str]
    parcels: list[Parcel]
    chance: random.Random
    plan: Plan = field(default_factory=Plan)
    names: set[str] = field(default_factory=set[str])
    """Acknowledged, and not deleted."""
    deleted: set[str] = field(default_factory=set[str])
    kills: int = 0
    replies: Counter[str] = field(default_factory=Counter[str])
    """Requests by what came of them."""
    faults: list[str] = field(default_factory=list[str])
    seconds: float = 0.0

    @property
    def working_dir(self) -> Path:
        return self.folder / "rag_storage"

    def run(self) -> None:
        """Returns when the killing is over, all is sent and nothing is left to do; the server is stopped then."""
        self._waiting: queue.SimpleQueue[Parcel] = queue.SimpleQueue()
        for parcel in self.parcels:
            self._waiting.put(parcel)
        self._over = threading.Event()
        began = time.monotonic()
        with running(self.folder, "--workers", str(self.plan.workers), program=MANY, **self.settings) as server:
            address = server.address
            wait_until(lambda: _is_up(address), 60, lambda: server.text)
            self._let_loose(server, address)
            with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
                wait_until_idle(client, len(self.names), self.plan.end_s)
            code = server.stop()
            if code or "Traceback" in server.text:
                self.faults.append(f"exit code {code}: {server.text[-3000:]}")
        self.seconds = time.monotonic() - began

    def _let_loose(self, server: Server, address: str) -> None:
        end = time.monotonic() + self.plan.seconds
        # what is sent and deleted is spread over most of the time of the kills
        each_s = SPREAD * self.plan.seconds / len(self.parcels)
        tasks: list[tuple[Callable[[httpx.Client], None], float]] = [
            *[(self._send, each_s * self.plan.senders)] * self.plan.senders,
            *[(self._ask, PAUSE_S)] * self.plan.askers,
            *[(self._delete, each_s * self.plan.deleters / DELETED_SHARE)] * self.plan.deleters,
        ]
        threads = [threading.Thread(target=self._client, args=(address, *task), daemon=True) for task in tasks]
        for thread in threads:
            thread.start()
        while time.monotonic() < end:
            time.sleep(self.plan.kill_every_s)
            self._kill_one(server)
        wait_until(self._waiting.empty, self.plan.end_s)
        self._over.set()
        for thread in threads:
            thread.join(self.plan.end_s)

    def _kill_one(self, server: Server) -> None:
        children = psutil.Process(server.process.pid).children()
        if children:
            os.kill(self.chance.choice(children).pid, signal.SIGKILL)
            self.kills += 1

    def _client(self, address: str, task: Callable[[httpx.Client], None], pause_s: float) -> None:
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
            while not self._over.is_set():
                try:
                    task(client)
                except Exception as error:
                    self.faults.append(f"{type(error).__name__}: {error}")
                self._over.wait(pause_s)

    # -- what clients do

    def _send(self, client: httpx.Client) -> None:
        try:
            parcel = self._waiting.get_nowait()
        except queue.Empty:
            return
        while not self._tried("send", lambda: parcel.send(client)):
            pass
        self.names |= {name for name, _ in parcel.documents}

    def _ask(self, client: httpx.Client) -> None:
        body = {"query": f"What did {self.chance.choice(NAMES)} do?", "mode": self.chance.choice(MODES)}
        path = self.chance.choice(("/query", "/query/data", "/query/stream"))
        self._tried("ask", lambda: self._good(client.post(path, json=body), (200,)))

    def _delete(self, client: httpx.Client) -> None:
        with _PICKING:
            known = sorted(self.names)
            if len(known) < FIRST_DELETION:
                return
            name = self.chance.choice(known)
            self.names.discard(name)
        body = {"doc_ids": [ids.document_id(name, "")]}
        # after a first try that was not answered it may be gone already
        expected = (200,)
        while not self._tried("delete", lambda e=expected: self._good(_deletion(client, body), e)):
            expected = (200, 404)
        self.deleted.add(name)

    def _good(self, reply: httpx.Response, expected: tuple[int, ...]) -> None:
        if reply.status_code not in expected:
            self.faults.append(f"{reply.request.url.path} answered {reply.status_code}: {reply.text[:300]}")

    def _tried(self, what: str, request: Callable[[], None]) -> bool:
        """False where the process that had the request was killed, or its connection was never taken."""
        try:
            request()
        except httpx.TransportError:
            self.replies[f"{what}, unanswered"] += 1
            time.sleep(PAUSE_S)
            return False
        self.replies[what] += 1
        return True


_PICKING = threading.Lock()


def _deletion(client: httpx.Client, body: dict[str, list[str]]) -> httpx.Response:
    return client.request("DELETE", "/documents/delete_document", json=body)


def _is_up(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
