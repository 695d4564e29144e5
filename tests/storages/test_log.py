"""After much writing the log is copied back once writing rests; after little it waits for more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lightrag_server.ports.kv import KVStore
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.sqlite import database
from lightrag_server.storages.sqlite.backend import SQLiteBackend, file_stem

REST_S = 1.5
ROW = {"text": "x" * 200}


@pytest.fixture
async def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KVStore]:
    monkeypatch.setattr(database, "REST_S", REST_S)
    backend = SQLiteBackend(tmp_path, SQLiteSettings(synchronous="NORMAL"))
    await backend.open()
    yield backend.kv("", "rows")
    await backend.close()


def size(folder: Path) -> int:
    """Of the database without its log."""
    return (folder / f"{file_stem('')}.sqlite").stat().st_size


async def put(store: KVStore, count: int, first: int = 0) -> None:
    await store.put({f"{n:06}": ROW for n in range(first, first + count)})


async def test_the_log_is_copied_back_when_writing_rests(store: KVStore, tmp_path: Path) -> None:
    many = database.MANY_CHANGES
    for part in range(4):
        await put(store, many // 2, part * many // 2)
        await asyncio.sleep(0.1)
        assert size(tmp_path) < 100 * many
    deadline = asyncio.get_running_loop().time() + 20
    while size(tmp_path) < 2 * many * len(ROW["text"]):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.1)
    assert await store.count() == 2 * many


async def test_a_few_changes_stay_in_the_log(store: KVStore, tmp_path: Path) -> None:
    await put(store, 500)
    before = size(tmp_path)
    await asyncio.sleep(2 * REST_S)
    assert size(tmp_path) == before


async def test_a_database_is_closed_before_its_log_was_copied_back(tmp_path: Path) -> None:
    backend = SQLiteBackend(tmp_path, SQLiteSettings(synchronous="NORMAL"))
    await backend.open()
    await put(backend.kv("", "rows"), database.MANY_CHANGES)
    await backend.close()
    again = SQLiteBackend(tmp_path, SQLiteSettings())
    await again.open()
    assert await again.kv("", "rows").count() == database.MANY_CHANGES
    await again.close()
