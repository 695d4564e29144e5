"""Rows that are kept are those of the version asked for, whoever changes them, and take no more room than they may."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from lightrag_server.core.ids import subject_of
from lightrag_server.ports.vectors import VectorItem
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.sqlite.backend import SQLiteBackend
from lightrag_server.storages.sqlite.row_cache import MOST_KEYS, RowCache
from tests.contract.values import entity, relation, unit

AB = ("a", "b")


class Asked:
    """Knows ten thousand rows, and which it was asked for."""

    def __init__(self) -> None:
        self.keys: list[int] = []

    def __call__(self, keys: Collection[int]) -> dict[int, str]:
        self.keys += keys
        return {key: f"row {key}" for key in keys if key < 10_000}


def test_a_row_is_read_once_in_each_version_and_given_in_the_order_asked_for() -> None:
    rows, asked = RowCache(1000), Asked()
    assert rows.read("v1", [2, 1], len, asked) == {2: "row 2", 1: "row 1"}
    assert list(rows.read("v1", [3, 1, 2], len, asked)) == [3, 1, 2]
    assert asked.keys == [2, 1, 3]
    rows.read("v2", [1], len, asked)
    assert asked.keys == [2, 1, 3, 1]


def test_unknown_rows_are_absent_and_asked_for_again() -> None:
    rows, asked = RowCache(1000), Asked()
    assert [rows.read("v1", [1, 10_001], len, asked) for _ in range(2)] == [{1: "row 1"}] * 2
    assert asked.keys == [1, 10_001, 10_001]


def test_what_was_used_least_lately_gives_way() -> None:
    rows, asked = RowCache(90), Asked()
    rows.read("old", range(10), len, asked)
    rows.read("new", range(10), len, asked)
    assert 50 <= rows.bytes <= 90
    asked.keys.clear()
    rows.read("new", range(10), len, asked)
    assert asked.keys == []
    rows.read("old", range(10), len, asked)
    assert asked.keys


def test_one_version_alone_keeps_to_its_room_and_a_large_read_is_not_kept() -> None:
    rows, asked = RowCache(100), Asked()
    for n in range(200):
        rows.read("v1", [n], len, asked)
        assert rows.bytes <= 100
    before = rows.bytes
    assert before > 0
    assert len(rows.read("v1", range(MOST_KEYS + 1), len, asked)) == MOST_KEYS + 1
    assert rows.bytes == before
    rows.forget()
    asked.keys.clear()
    rows.read("v1", [199], len, asked)
    assert (asked.keys, rows.bytes) == ([199], len("row 199"))


def test_many_threads_find_what_is_there() -> None:
    rows = RowCache(500)

    def read(n: int) -> bool:
        keys = [n % 40, n % 7, 100 + n % 3]
        return rows.read(f"v{n % 5}", keys, len, Asked()) == {key: f"row {key}" for key in keys}

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(read, range(5000)))
    assert 0 <= rows.bytes <= 500


# -- in the stores


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[SQLiteBackend, SQLiteBackend]]:
    """Two processes' views of one folder."""
    backends = SQLiteBackend(tmp_path, SQLiteSettings()), SQLiteBackend(tmp_path, SQLiteSettings())
    for backend in backends:
        await backend.open()
    yield backends
    for backend in backends:
        await backend.close()


async def everything(backend: SQLiteBackend) -> list[object]:
    graph, vectors = backend.graph(""), backend.vectors("", "places")
    return [
        await graph.entities(["a", "b"]),
        await graph.names(["a", "b"]),
        await graph.relations([AB]),
        await graph.expand(["a", "b"], 3),
        await graph.chunks_of(["a", "b", subject_of(AB)]),
        await graph.chunks_of(["a", "b"], 1),
        await graph.subjects_of(["c1", "c2"]),
        await vectors.similarities(["v1", "v2"], np.stack([unit(1, 0)])),
        await vectors.search(unit(1, 0), 2),
    ]


async def test_what_another_process_changes_is_seen_at_once(two: tuple[SQLiteBackend, SQLiteBackend]) -> None:
    here, there = two
    await there.graph("").put([entity("a")], [], {"c1": ["a"]})
    await there.vectors("", "places").put([VectorItem("v1", "c1", unit(1, 0))])
    seen = [await everything(here)]
    assert await everything(here) == seen[0]
    await there.graph("").put(
        [entity("a", mentions=7), entity("b")], [relation("a", "b")], {"c2": ["a", "b", subject_of(AB)]}
    )
    await there.vectors("", "places").put([VectorItem("v1", "c1", unit(1, 1)), VectorItem("v2", "c2", unit(1, 0))])
    seen.append(await everything(here))
    await there.graph("").delete(["b"], [AB], ["c2"])
    await there.vectors("", "places").delete(["v2"])
    seen.append(await everything(here))
    for now in seen:
        assert seen.count(now) == 1
    assert seen[1] != seen[2]
    assert await everything(there) == seen[2]
    await there.graph("").clear()
    await there.vectors("", "places").clear()
    assert (await everything(here))[0] == {}


async def test_nothing_is_kept_of_a_transaction_that_never_was(two: tuple[SQLiteBackend, SQLiteBackend]) -> None:
    here, there = two
    await here.graph("").put([entity("a")], [], {"c1": ["a"]})
    await here.vectors("", "places").put([VectorItem("v1", "c1", unit(1, 0))])
    before = await everything(here)
    inside: list[object] = []
    with suppress(ZeroDivisionError):
        async with here.transaction(""):
            await here.graph("").put([entity("a", mentions=9), entity("b")], [], {"c1": ["a", "b"]})
            await here.vectors("", "places").put([VectorItem("v1", "c1", unit(0, 1))])
            inside += await everything(here)
            raise ZeroDivisionError
    assert inside
    assert all(now != then for now, then in zip(inside, before, strict=True) if then)
    assert await everything(here) == before
    # the next version of the vectors has the number that the one that never was had
    await there.vectors("", "places").put([VectorItem("v1", "c1", unit(1, 1))])
    assert (await here.vectors("", "places").similarities(["v1"], np.stack([unit(1, 1)])))["v1"] == pytest.approx(
        1, abs=1e-3
    )
