"""From process start to an answer, and memory at rest: `python benchmarks/start.py`. Medians of three starts."""

from __future__ import annotations

import argparse
import socket
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

import stand
from corpus import CHUNKS_PER_DOCUMENT, corpus
from tests.server import running
from tests.vendor import in_process

STARTS = 3
REST_S = 2.0
NOTHING = {"LLM_BINDING": "", "EMBEDDING_BINDING": ""}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=1000, help="stored before the restart")
    wanted = parser.parse_args()
    texts = corpus(wanted.chunks // CHUNKS_PER_DOCUMENT)
    rows: list[tuple[object, ...]] = []
    with TemporaryDirectory() as folder, in_process() as vendor:
        openai = stand.openai_settings(vendor)
        rows.append(measured("nothing configured, empty folder", Path(folder) / "a", NOTHING))
        rows.append(measured("openai, empty folder", Path(folder) / "b", openai))
        data = Path(folder) / "c"
        data.mkdir()
        with running(data, **openai) as server, server.client() as client:
            client.timeout = 120
            stand.insert(client, texts.texts)
            stand.wait_until_ended(client, len(texts.texts))
            assert server.stop() == 0
        rows.append(measured(f"openai, {wanted.chunks} chunks", data, openai, texts.questions(STARTS)))
    columns = ("start", "/health s", "first context s", "CPU s", "resident MB", "of it its own MB")
    stand.table(columns, rows)


def measured(
    name: str, folder: Path, variables: Mapping[str, str], questions: list[str] | None = None
) -> tuple[object, ...]:
    folder.mkdir(exist_ok=True)
    runs = [started(folder, variables, questions[n] if questions else None) for n in range(STARTS)]
    health, context, cpu, resident, own = (statistics.median(column) for column in zip(*runs, strict=True))
    return name, f"{health:.2f}", f"{context:.2f}" if questions else "-", f"{cpu:.2f}", int(resident), int(own)


def started(
    folder: Path, variables: Mapping[str, str], question: str | None
) -> tuple[float, float, float, float, float]:
    """Seconds to /health and to a first context, CPU seconds and memory after a rest, before any question."""
    port = free_port()
    start = time.perf_counter()
    with running(folder, "--port", str(port), **variables) as server:
        wait_for_health(port)
        health = time.perf_counter() - start
        time.sleep(REST_S)
        pid = server.process.pid
        figures = stand.cost(pid).cpu_s, stand.memory_mb(pid), stand.summed_mb(pid, "RssAnon")
        first = ask(server.client(), question) if question else 0.0
        server.stop()
        return health, first, *figures


def ask(client: httpx.Client, question: str) -> float:
    with client:
        start = time.perf_counter()
        client.post("/query", json={"query": question, "only_need_context": True}).raise_for_status()
        return time.perf_counter() - start


def wait_for_health(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        while True:
            try:
                if client.get("/health", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.005)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    main()
