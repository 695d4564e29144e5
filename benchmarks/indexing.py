"""Cost of indexing with an instant vendor on a real port: what the server itself spends on a chunk.

`python benchmarks/indexing.py --chunks 400` sends texts through POST /documents/texts in four quarters and compares
them: the cost of a chunk must not grow with what is stored. Trust CPU before wall time on a machine that is shared.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import stand
from corpus import CHUNKS_PER_DOCUMENT, corpus
from tests.server import running
from tests.vendor import in_process

QUARTERS = 4
WARM_UP = 2
"""Documents before the count: connections, token ranks and the files of the store."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=400)
    parser.add_argument("--dimension", type=int, default=1024)
    parser.add_argument(
        "--latency", type=float, default=0.0, help="seconds that each LLM call takes; sends all texts at once"
    )
    parser.add_argument("--keep", type=Path, help="folder for the data, kept")
    wanted = parser.parse_args()
    documents = max(QUARTERS, wanted.chunks // CHUNKS_PER_DOCUMENT)
    texts = corpus(documents + WARM_UP).texts
    parts = 1 if wanted.latency else QUARTERS
    edges = [WARM_UP + documents * part // parts for part in range(parts + 1)]
    with stand.data_folder(wanted.keep) as folder, in_process(wanted.dimension) as vendor:
        vendor.control(latency_s=wanted.latency)
        with running(folder, **stand.openai_settings(vendor)) as server, server.client() as client:
            client.timeout = 120
            stand.insert(client, texts[:WARM_UP])
            stand.wait_until_ended(client, WARM_UP)
            before = vendor.stats(), stand.chunk_count(client)
            marks, chunks = [stand.cost(server.process.pid)], [before[1]]
            for first, end in pairwise(edges):
                stand.insert(client, texts[first:end], first)
                stand.wait_until_ended(client, end)
                marks.append(stand.cost(server.process.pid))
                chunks.append(stand.chunk_count(client))
            stats = {key: value - before[0][key] for key, value in vendor.stats().items() if isinstance(value, int)}
            own, peak = (stand.summed_mb(server.process.pid, field) for field in ("RssAnon", "VmHWM"))
            assert server.stop() == 0
    report(marks, chunks, stats, (own, peak), wanted.latency)


def report(
    marks: list[stand.Cost], chunks: list[int], stats: dict[str, int], memory: tuple[int, int], latency_s: float
) -> None:
    parts = [(str(n), b - a, y - x) for n, ((a, b), (x, y)) in enumerate(_both(marks, chunks), start=1)]
    total = chunks[-1] - chunks[0]
    whole = marks[-1] - marks[0]
    stand.table(
        ("part", "chunks", "CPU ms/chunk", "chunks/CPU s", "written kB/chunk", "wall s"),
        [
            (name, n, spent.cpu_s * 1000 / n, n / spent.cpu_s, spent.written_bytes / n / 1000, spent.seconds)
            for name, spent, n in [*parts, ("all", whole, total)]
        ],
    )
    (_, spent, n), (_, earlier, m) = parts[-1], parts[0]
    print(f"\nlast part / first part, CPU per chunk: {(spent.cpu_s / n) / (earlier.cpu_s / m):.2f}")
    print(f"LLM calls per chunk {stats['chat'] / total:.2f}, embedding calls {stats['embed'] / total:.2f}")
    print(f"tokens in per chunk {stats['prompt_tokens'] / total:,.0f} (embeddings included)")
    print(f"memory at the end {memory[0]} MB of its own, peak {memory[1]} MB with mapped files")
    if latency_s:
        ideal = stats["chat"] * latency_s / 16
        print(f"calls x latency / 16 = {ideal:.1f} s: {100 * ideal / whole.seconds:.0f} % of the wall time")


def _both(marks: list[stand.Cost], chunks: list[int]) -> zip[tuple[tuple[stand.Cost, stand.Cost], tuple[int, int]]]:
    return zip(pairwise(marks), pairwise(chunks), strict=True)


if __name__ == "__main__":
    main()
