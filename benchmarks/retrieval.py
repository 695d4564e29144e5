"""Time of retrieval over HTTP, context only: `python benchmarks/retrieval.py --chunks 10000`.

The chunks go through the real pipeline with the bindings `fake` (no vendor, 256 dimensions unless --dimension says
otherwise). `--keep FOLDER` keeps them, and a second run measures at once. Every question is asked once only.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

import stand
from corpus import CHUNKS_PER_DOCUMENT, Corpus, corpus
from tests.server import Server, running

MODES = ("mix", "naive", "local", "global", "hybrid")
BATCH = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=10_000)
    parser.add_argument("--questions", type=int, default=60, help="per mode and number of clients")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--keep", type=Path, help="folder for the data, kept and used again")
    wanted = parser.parse_args()
    texts = corpus(wanted.chunks // CHUNKS_PER_DOCUMENT)
    variables = {"EMBEDDING_DIM": str(wanted.dimension), "ENABLE_LLM_CACHE_FOR_EXTRACT": "false"}
    with (
        stand.data_folder(wanted.keep) as folder,
        running(folder, **variables) as server,
        server.client() as client,
    ):
        client.timeout = 120
        fill(client, texts)
        rows = [row for mode in MODES for row in measured(server, client, texts, mode, wanted)]
        chunks, pid = stand.chunk_count(client), server.process.pid
        own, mapped = stand.summed_mb(pid, "RssAnon"), stand.summed_mb(pid, "RssFile")
    print(f"{chunks} chunks, {len(texts.names)} names, memory {own} MB of its own and {mapped} MB of mapped files\n")
    stand.table(("mode", "clients", "p50 ms", "p95 ms", "CPU ms", "per second", "kB of context"), rows)


def fill(client: httpx.Client, texts: Corpus) -> None:
    """Those that are not there yet."""
    start, stored = time.perf_counter(), stand.counts(client)["all"]
    for first in range(stored, len(texts.texts), BATCH):
        stand.insert(client, texts.texts[first : first + BATCH], first)
        stand.wait_until_ended(client, min(first + BATCH, len(texts.texts)))
    if stored < len(texts.texts):
        print(f"indexed in {time.perf_counter() - start:.0f} s")


def measured(
    server: Server, client: httpx.Client, texts: Corpus, mode: str, wanted: argparse.Namespace
) -> list[tuple[object, ...]]:
    """One row for one client, one for several."""
    rows: list[tuple[object, ...]] = []
    for clients in (1, wanted.clients):
        seed = 100 * MODES.index(mode) + clients
        warm, *questions = texts.questions(wanted.questions + 1, seed)
        ask(client, mode, warm)
        before = stand.cost(server.process.pid)
        replies = ask_all(client, mode, questions, clients)
        spent = stand.cost(server.process.pid) - before
        seconds = [seconds for seconds, _ in replies]
        rows.append(
            (
                mode,
                clients,
                stand.percentile_ms(seconds, 50),
                stand.percentile_ms(seconds, 95),
                spent.cpu_s * 1000 / len(replies),
                len(replies) / spent.seconds,
                sum(size for _, size in replies) / len(replies) / 1000,
            )
        )
    return rows


def ask_all(client: httpx.Client, mode: str, questions: Sequence[str], clients: int) -> list[tuple[float, int]]:
    with ThreadPoolExecutor(clients) as threads:
        return list(threads.map(lambda question: ask(client, mode, question), questions))


def ask(client: httpx.Client, mode: str, question: str) -> tuple[float, int]:
    """Seconds, and bytes of context."""
    start = time.perf_counter()
    reply = client.post("/query", json={"query": question, "mode": mode, "only_need_context": True}).raise_for_status()
    return time.perf_counter() - start, len(reply.content)


if __name__ == "__main__":
    main()
