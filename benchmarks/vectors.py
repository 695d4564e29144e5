"""Time, recall, processor time and bytes written of `SQLiteVectorStore`: `python benchmarks/vectors.py [rows …]`.

Two kinds of data: random unit vectors, where every neighbour is far and ranks are close, and clustered ones with a few
strong shared components, as embedders make them. Recall and the ratio are against a float32 scan in the same run.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightrag_server.ports.vectors import VectorItem
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.sqlite.database import Database
from lightrag_server.storages.sqlite.row_cache import RowCache
from lightrag_server.storages.sqlite.vectors import VECTOR_SCHEMA, SQLiteVectorStore

Floats = NDArray[np.float32]
QUESTIONS = 50
TOP_K = 10


def unit(vectors: Floats) -> Floats:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def random_vectors(rng: np.random.Generator, rows: int, dimension: int) -> Floats:
    return unit(rng.standard_normal((rows, dimension), dtype=np.float32))


def clustered_vectors(rng: np.random.Generator, rows: int, dimension: int) -> Floats:
    """A common direction with two outlying components, topics within it, and texts within topics."""
    common = rng.standard_normal(dimension, dtype=np.float32)
    common[:2] *= 8
    topics = rng.standard_normal((max(1, rows // 100), dimension), dtype=np.float32)
    texts = rng.standard_normal((rows, dimension), dtype=np.float32)
    chosen = topics[rng.integers(0, len(topics), rows)]
    return unit((2 * common + chosen + 0.5 * texts).astype(np.float32))


async def fill(store: SQLiteVectorStore, vectors: Floats) -> None:
    for first in range(0, len(vectors), 5000):
        part = vectors[first : first + 5000]
        await store.put([VectorItem(f"v{first + i:09}", "", vector) for i, vector in enumerate(part)])


async def median_ms(work: Callable[[int], Awaitable[object]]) -> float:
    seconds: list[float] = []
    for number in range(QUESTIONS):
        start = time.perf_counter()
        await work(number)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)) * 1000


def written_bytes() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("write_bytes")))


def resident_mb(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(field))) // 1024


async def measure_search(folder: Path, name: str, vectors: Floats, threads: ThreadPoolExecutor) -> None:
    database = Database(folder / f"{name}.sqlite", [VECTOR_SCHEMA], SQLiteSettings(synchronous="NORMAL"), threads)
    store = SQLiteVectorStore(database, "bench", folder / name, RowCache(0))
    await fill(store, vectors)
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((QUESTIONS, vectors.shape[1]), dtype=np.float32) / np.sqrt(vectors.shape[1])
    queries = unit((vectors[rng.integers(0, len(vectors), QUESTIONS)] + 0.7 * noise).astype(np.float32))
    start = time.perf_counter()
    await store.search(queries[0], TOP_K)
    build_s = time.perf_counter() - start
    found = [[hit.id for hit in await store.search(query, TOP_K)] for query in queries]
    exact = [[f"v{i:09}" for i in np.argsort(-(vectors @ query))[:TOP_K]] for query in queries]
    recall = np.mean([len({*a} & {*b}) / TOP_K for a, b in zip(found, exact, strict=True)])

    async def scan(number: int) -> None:
        await asyncio.to_thread(lambda: np.argpartition(vectors @ queries[number], -TOP_K)[-TOP_K:])

    ours = await median_ms(lambda number: store.search(queries[number], TOP_K))
    fifty = await median_ms(lambda number: store.search(queries[number], 50))
    plain = await median_ms(scan)
    print(
        f"{name:9} {len(vectors):7} x {vectors.shape[1]}: top 10 {ours:.2f} ms, top 50 {fifty:.2f} ms, "
        f"recall@10 {recall:.4f}, numpy float32 {plain:.2f} ms ({plain / ours:.1f} x), cache built in {build_s:.2f} s, "
        f"anonymous memory {resident_mb('RssAnon')} MB (the benchmark's copy included), "
        f"mapped {resident_mb('RssFile')} MB"
    )
    await database.close()


async def measure_put(folder: Path, threads: ThreadPoolExecutor) -> None:
    database = Database(folder / "put.sqlite", [VECTOR_SCHEMA], SQLiteSettings(), threads)
    store = SQLiteVectorStore(database, "bench", folder / "put", RowCache(0))
    vectors = random_vectors(np.random.default_rng(2), 2000, 1024)
    items = [VectorItem(f"chunk-{i:032}", f"chunk-{i:032}", vector) for i, vector in enumerate(vectors)]
    await store.put(items[:1000])
    written, cpu = written_bytes(), time.process_time()
    await store.put(items[1000:])
    cpu, written = time.process_time() - cpu, written_bytes() - written
    print(f"put of 1,000 x 1024: {cpu * 1000:.0f} ms of processor time, {written // 1000} bytes per vector (log only)")
    written = written_bytes()
    await database.close()
    print(f"  and {(written_bytes() - written) // 2000} bytes per vector when the log is folded into the file")


async def main(sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(4) as threads:
        await measure_put(Path(folder), threads)
        for rows in sizes:
            for make in (random_vectors, clustered_vectors):
                name = make.__name__.removesuffix("_vectors")
                await measure_search(Path(folder) / str(rows), name, make(np.random.default_rng(0), rows, 512), threads)


if __name__ == "__main__":
    asyncio.run(main([int(argument) for argument in sys.argv[1:]] or [10_000, 200_000]))
