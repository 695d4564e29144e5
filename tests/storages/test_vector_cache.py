"""The cache is disposable: whatever becomes of its file, a search finds what the database holds."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lightrag_server.errors import DimensionMismatch
from lightrag_server.ports.vectors import VectorItem
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.sqlite.database import Database
from lightrag_server.storages.sqlite.dot_products import dot_products, dot_products_numpy
from lightrag_server.storages.sqlite.row_cache import RowCache
from lightrag_server.storages.sqlite.schema import VECTORS_IN_BLOCKS
from lightrag_server.storages.sqlite.vector_cache import (
    BLOCK,
    MOST_NEARLY_EQUAL,
    Changes,
    Mark,
    VectorCache,
    best,
    quantised,
)
from lightrag_server.storages.sqlite.vectors import VECTOR_SCHEMA, SQLiteVectorStore

DIMENSION = 32
MB = 1_000_000
SCHEMA = (VECTOR_SCHEMA, VECTORS_IN_BLOCKS)
Floats = NDArray[np.float32]

spawning = multiprocessing.get_context("spawn")


def unit_vectors(rows: int, dimension: int = DIMENSION, seed: int = 0) -> Floats:
    vectors = np.random.default_rng(seed).standard_normal((rows, dimension), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def items(vectors: Floats, first: int = 0) -> list[VectorItem]:
    return [VectorItem(f"v{first + i:06}", f"ref-{first + i}", vector) for i, vector in enumerate(vectors)]


def exact_ids(vectors: Floats, query: Floats, top_k: int) -> list[str]:
    scores = (vectors.astype(np.float16).astype(np.float32) * query).sum(axis=1)
    return [f"v{i:06}" for i in np.argsort(-scores, kind="stable")[:top_k]]


@asynccontextmanager
async def opened(folder: Path, namespace: str = "test") -> AsyncIterator[tuple[Database, SQLiteVectorStore]]:
    with ThreadPoolExecutor(4) as threads:
        database = Database(folder / "data.sqlite", SCHEMA, SQLiteSettings(synchronous="NORMAL"), threads)
        try:
            yield database, SQLiteVectorStore(database, namespace, folder / "cache", RowCache(MB))
        finally:
            await database.close()


def remove_database(folder: Path) -> None:
    for path in folder.glob("data.sqlite*"):
        path.unlink()


@asynccontextmanager
async def rolled_back(database: Database) -> AsyncIterator[None]:
    with suppress(ZeroDivisionError):
        async with database.transaction():
            yield
            raise ZeroDivisionError


def cache_file(folder: Path) -> Path:
    [path] = (folder / "cache").iterdir()
    return path


async def found(store: SQLiteVectorStore, query: Floats, top_k: int = 10) -> list[str]:
    return [hit.id for hit in await store.search(query, top_k)]


async def assert_finds_nearest(store: SQLiteVectorStore, vectors: Floats) -> None:
    for query in unit_vectors(5, vectors.shape[1], seed=99):
        assert await found(store, query) == exact_ids(vectors, query, 10)


# -- what becomes of the file


def delete(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut_rows(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def cut_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(50)


def spoil_header(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[70] ^= 0xFF
    path.write_bytes(data)


def replace_by_garbage(path: Path) -> None:
    path.write_bytes(np.random.default_rng(3).bytes(path.stat().st_size))


@pytest.mark.parametrize("damage", [delete, empty, cut_rows, cut_header, spoil_header, replace_by_garbage])
async def test_a_damaged_cache_is_built_anew(tmp_path: Path, damage):
    vectors = unit_vectors(3000)
    async with opened(tmp_path) as (_, store):
        await store.put(items(vectors))
        await assert_finds_nearest(store, vectors)
        whole = cache_file(tmp_path).read_bytes()
        damage(cache_file(tmp_path))
        await assert_finds_nearest(store, vectors)
        assert cache_file(tmp_path).read_bytes() == whole


async def test_the_cache_of_another_boot_is_built_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    vectors = unit_vectors(300)
    async with opened(tmp_path) as (_, store):
        with monkeypatch.context() as patched:
            patched.setattr("lightrag_server.storages.sqlite.vector_cache._boot_id", lambda: b"b" * 36)
            await store.put(items(vectors))
            await found(store, vectors[0])
            before = cache_file(tmp_path).read_bytes()
        zeroed = before[:4096] + bytes(len(before) - 4096)  # what a power cut may leave of unsynced pages
        cache_file(tmp_path).write_bytes(zeroed)
        await assert_finds_nearest(store, vectors)
        assert cache_file(tmp_path).read_bytes()[4096:] == before[4096:]


async def test_the_cache_of_another_database_and_dimension_is_built_anew(tmp_path: Path):
    async with opened(tmp_path) as (_, store):
        await store.put(items(unit_vectors(500, 64)))
        await found(store, unit_vectors(1, 64)[0])
    remove_database(tmp_path)
    vectors = unit_vectors(400)
    async with opened(tmp_path) as (_, store):
        await store.put(items(vectors))
        await assert_finds_nearest(store, vectors)


async def test_a_cache_ahead_of_a_restored_database_is_built_anew(tmp_path: Path):
    vectors = unit_vectors(300)
    async with opened(tmp_path) as (_, store):
        await store.put(items(vectors))
    backup = (tmp_path / "data.sqlite").read_bytes()
    async with opened(tmp_path) as (_, store):
        await store.put(items(unit_vectors(300, seed=5)))
        await found(store, vectors[0])
    remove_database(tmp_path)
    (tmp_path / "data.sqlite").write_bytes(backup)
    async with opened(tmp_path) as (_, store):
        await assert_finds_nearest(store, vectors)


async def test_without_a_writable_cache_searches_are_right(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    vectors = unit_vectors(3000)
    (tmp_path / "cache").write_bytes(b"a file where the folder should be")
    async with opened(tmp_path) as (_, store):
        await store.put(items(vectors))
        await assert_finds_nearest(store, vectors)
    assert "cannot be written" in caplog.text


# -- keeping up


async def test_only_what_changed_is_written(tmp_path: Path):
    vectors = unit_vectors(2 * BLOCK + 10)
    async with opened(tmp_path) as (_, store):
        await store.put(items(vectors))
        await found(store, vectors[0])
        before = np.frombuffer(cache_file(tmp_path).read_bytes(), np.uint8)
        vectors[BLOCK + 3] = -vectors[BLOCK + 3]
        await store.put(items(vectors[BLOCK + 3 : BLOCK + 4], first=BLOCK + 3))
        assert np.array_equal(np.frombuffer(cache_file(tmp_path).read_bytes(), np.uint8), before)
        await assert_finds_nearest(store, vectors)
        after = np.frombuffer(cache_file(tmp_path).read_bytes(), np.uint8)
        assert len(after) == len(before)
        assert 0 < np.count_nonzero(after != before) < 200


async def test_slots_of_deleted_vectors_are_used_again(tmp_path: Path):
    vectors = unit_vectors(500)
    async with opened(tmp_path) as (_, store):
        await store.put(items(vectors))
        await found(store, vectors[0])
        size = cache_file(tmp_path).stat().st_size
        for _ in range(10):
            await store.delete([f"v{i:06}" for i in range(100, 500)])
            assert await store.count() == 100
            await assert_finds_nearest(store, vectors[:100])
            await store.put(items(vectors[100:], first=100))
        await assert_finds_nearest(store, vectors)
        assert cache_file(tmp_path).stat().st_size == size


async def test_free_slots_never_push_out_unlike_vectors(tmp_path: Path):
    query = unit_vectors(1)[0]
    async with opened(tmp_path) as (_, store):
        await store.put(items(np.repeat(-query[None], 1000, axis=0)))
        await store.delete([f"v{i:06}" for i in range(990)])
        assert await found(store, query, 20) == [f"v{i:06}" for i in range(990, 1000)]


async def test_equal_vectors_come_in_the_order_of_their_ids(tmp_path: Path):
    vectors = np.repeat(unit_vectors(1), 300, axis=0)
    shuffled = np.random.default_rng(0).permutation(300)
    async with opened(tmp_path) as (_, store):
        await store.put([items(vectors)[i] for i in shuffled])
        assert await found(store, vectors[0], 10) == [f"v{i:06}" for i in range(10)]


async def test_clear_accepts_another_dimension(tmp_path: Path):
    vectors = unit_vectors(300, 48)
    async with opened(tmp_path) as (_, store):
        await store.put(items(unit_vectors(300)))
        await found(store, unit_vectors(1)[0])
        with pytest.raises(DimensionMismatch):
            await store.put(items(vectors))
        await store.clear()
        await store.put(items(vectors))
        await assert_finds_nearest(store, vectors)


async def test_namespaces_have_caches_of_their_own(tmp_path: Path):
    first, second = unit_vectors(200), unit_vectors(200, 16, seed=1)
    async with opened(tmp_path) as (database, store):
        other = SQLiteVectorStore(database, "other", tmp_path / "cache", RowCache(MB))
        await store.put(items(first))
        await other.put(items(second))
        await assert_finds_nearest(store, first)
        await assert_finds_nearest(other, second)
        await store.clear()
        await assert_finds_nearest(other, second)


# -- transactions


async def test_a_search_sees_what_its_own_transaction_wrote(tmp_path: Path):
    vectors = unit_vectors(600)
    changed = vectors.copy()
    changed[:200] = unit_vectors(200, seed=7)
    async with opened(tmp_path) as (database, store):
        await store.put(items(vectors[:500]))
        await assert_finds_nearest(store, vectors[:500])
        async with database.transaction():
            await store.put(items(changed[:200]))
            await store.put(items(changed[500:], first=500))
            await assert_finds_nearest(store, changed)
            await store.delete([f"v{i:06}" for i in range(300, 600)])
            await assert_finds_nearest(store, changed[:300])
        await assert_finds_nearest(store, changed[:300])


async def test_a_rollback_leaves_nothing_in_the_cache(tmp_path: Path):
    vectors = unit_vectors(500)
    async with opened(tmp_path) as (database, store):
        await store.put(items(vectors))
        await found(store, vectors[0])
        async with rolled_back(database):
            await store.put(items(unit_vectors(700, seed=7)))
            await found(store, vectors[0])
        await assert_finds_nearest(store, vectors)
        vectors[:100] = unit_vectors(100, seed=8)  # takes the change number that was rolled back
        await store.put(items(vectors[:100]))
        await assert_finds_nearest(store, vectors)


async def test_a_rolled_back_clear_loses_nothing(tmp_path: Path):
    vectors = unit_vectors(500)
    async with opened(tmp_path) as (database, store):
        await store.put(items(vectors))
        await found(store, vectors[0])
        async with rolled_back(database):
            await store.clear()
            assert await found(store, vectors[0]) == []
            await store.put(items(unit_vectors(20, 8)))
            await assert_finds_nearest(store, unit_vectors(20, 8))
        await assert_finds_nearest(store, vectors)


# -- several processes


async def _write_and_search(folder: Path, number: int, rounds: int) -> None:
    """Own ids are put, moved and deleted; after each commit the own ones must be found where they are now."""
    async with opened(folder) as (_, store):
        for turn in range(rounds):
            vectors = unit_vectors(50, seed=number * 1000 + turn + 1000)
            ids = [f"p{number}-{i}" for i in range(50)]
            await store.put([VectorItem(id, id, vector) for id, vector in zip(ids, vectors, strict=True)])
            await store.delete(ids[40:])
            for id, vector in zip(ids[:40:8], vectors[:40:8], strict=True):
                [hit] = await store.search(vector, 1)
                assert hit.id == id
                assert hit.score > 0.999
            for vector in vectors[40::5]:
                assert all(hit.score < 0.999 for hit in await store.search(vector, 3))


def write_and_search(folder: Path, number: int, rounds: int) -> None:
    asyncio.run(_write_and_search(folder, number, rounds))


async def test_processes_write_and_search_at_once(tmp_path: Path):
    vectors = unit_vectors(2000)
    async with opened(tmp_path) as (_, store):
        await store.put(items(vectors))
        processes = [spawning.Process(target=write_and_search, args=(tmp_path, n, 30)) for n in range(2)]
        for process in processes:
            process.start()
        while any(process.is_alive() for process in processes):
            for number, query in enumerate(vectors[::400]):
                assert await found(store, query, 1) == [f"v{number * 400:06}"]
        assert [process.exitcode for process in processes] == [0, 0]
        assert await store.count() == 2000 + 2 * 40


async def test_tasks_search_at_once_while_the_cache_is_behind(tmp_path: Path):
    vectors = unit_vectors(3000)
    async with opened(tmp_path) as (_, store):
        await store.put(items(vectors))
        await asyncio.gather(*(assert_finds_nearest(store, vectors) for _ in range(10)))


# -- arithmetic


def test_best_gives_the_largest_and_their_equals():
    scores = np.random.default_rng(0).standard_normal(50_000).astype(np.float32)
    assert set(best(scores, 100, 0.0, -9.0)) == set(np.argsort(-scores)[:100])
    scores[1000:1150] = 9.0
    assert set(range(1000, 1150)) == set(best(scores, 100, 0.0, -9.0))
    scores[:] = 1.0
    assert len(best(scores, 100, 0.0, -9.0)) == 4 * 100 + MOST_NEARLY_EQUAL
    scores[5:] = -np.inf
    assert sorted(best(scores, 100, 0.0, -9.0)) == [0, 1, 2, 3, 4]
    assert best(scores, 100, 0.0, 1.1).size == 0


@pytest.mark.parametrize(("wanted", "least"), [(1, -1.0), (40, -1.0), (40, 0.2)])
def test_nothing_is_missed_that_rounding_moved(wanted: int, least: float) -> None:
    true = np.random.default_rng(1).uniform(-0.5, 0.5, 20_000).astype(np.float32)
    seen = true + np.random.default_rng(2).uniform(-0.01, 0.01, len(true)).astype(np.float32)
    found = set(best(seen, wanted, 0.02, least).tolist())
    nearest = np.argsort(-true)[:wanted]
    assert found >= set(nearest[true[nearest] >= least].tolist())
    assert len(found) < 40 * wanted + 400


def test_scores_are_no_farther_off_than_they_say(tmp_path: Path) -> None:
    vectors = unit_vectors(3 * BLOCK // 2, 64)
    vectors[7, 3] = 40.0  # one component that makes the steps of its row coarse
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cache, mark = VectorCache(tmp_path / "v.int8"), Mark(b"e" * 16, 64, len(vectors), 1)
    with cache.exclusive() as writer:
        writer.begin(mark)
        writer.apply(64, Changes(np.arange(len(vectors)), vectors, np.zeros(len(vectors), bool)))
        writer.finish(mark)
    for query in unit_vectors(20, 64, seed=5):
        with cache.shared() as matrix:
            scores, margin = matrix.scores(query)
        assert np.abs(scores - vectors @ query).max() <= margin < 0.05


def test_products_are_the_same_with_and_without_simsimd():
    query, rows = quantised(unit_vectors(1, 384))[0], quantised(unit_vectors(500, 384, seed=1))[0]
    expected = rows.astype(np.int64) @ query[0].astype(np.int64)
    assert np.array_equal(dot_products(query, rows), expected)
    assert np.array_equal(dot_products_numpy(query, rows), expected)


@pytest.mark.parametrize("rows", [1, 500])
async def test_a_vector_of_zeros_is_kept_and_found(tmp_path: Path, rows: int):
    vectors = -np.abs(unit_vectors(rows))
    vectors[0] = 0
    async with opened(tmp_path) as (_, store):
        await store.put(items(vectors))
        query = np.full(DIMENSION, 1 / np.sqrt(DIMENSION), np.float32)
        assert await found(store, query, 1) == ["v000000"]
