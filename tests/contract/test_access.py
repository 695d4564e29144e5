from __future__ import annotations

import asyncio
import multiprocessing
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lightrag_server.ports.access import AccessStore
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.memory_access import MemoryAccessStore
from lightrag_server.storages.sqlite.access import SQLiteAccessStore
from tests.contract.access import EVERYTHING, KEY, NOW, AccessStoreContract, entry, known

LIMIT = 7
PROCESSES = 3

spawning = multiprocessing.get_context("spawn")


class TestMemoryAccess(AccessStoreContract):
    @pytest.fixture
    def store(self) -> AccessStore:
        return MemoryAccessStore()


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SQLiteAccessStore]:
    store = SQLiteAccessStore(path, SQLiteSettings())
    try:
        yield store
    finally:
        await store.close()


class TestSQLiteAccess(AccessStoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[AccessStore]:
        async with opened(tmp_path / "access.sqlite") as store:
            yield store

    async def test_everything_survives_reopening(self, tmp_path: Path):
        path = tmp_path / "access.sqlite"
        async with opened(path) as store:
            await store.add_key(KEY, "d1")
            await store.revoke_token("t", NOW, NOW + 9)
            await store.attempt({"a": 1}, NOW, 60)
            await store.append_audit([entry(NOW)])
        async with opened(path) as store:
            assert (await known(store)).keys == {"d1": KEY}
            assert (await known(store)).revoked_tokens == {"t": NOW + 9}
            assert (await store.attempt({"a": 1}, NOW, 60)).id is None
            assert await store.audit(EVERYTHING, 0, 9) == ([entry(NOW)], 1)

    async def test_two_processes_see_each_others_changes(self, tmp_path: Path):
        path = tmp_path / "access.sqlite"
        async with opened(path) as one, opened(path) as other:
            before = (await known(other)).revision
            await one.add_key(KEY, "d1")
            found = await other.known(before)
            assert found is not None
            assert found.keys == {"d1": KEY}

    async def test_the_files_are_for_their_owner_alone(self, tmp_path: Path):
        async with opened(tmp_path / "access.sqlite") as store:
            await store.add_key(KEY, "d1")
            files = [tmp_path / name for name in os.listdir(tmp_path)]
            assert len(files) == 3
            assert {stat.S_IMODE(os.stat(file).st_mode) for file in files} == {0o600}

    async def test_nothing_is_made_before_the_first_call(self, tmp_path: Path):
        async with opened(tmp_path / "access.sqlite"):
            pass
        assert os.listdir(tmp_path) == []


async def _try_often(path: Path) -> int:
    async with opened(path) as store:
        return sum([(await store.attempt({"a": LIMIT}, NOW, 60)).id is not None for _ in range(LIMIT)])


def try_often(path: Path) -> int:
    return asyncio.run(_try_often(path))


async def test_the_tries_of_all_processes_count_together(tmp_path: Path):
    def run() -> list[int]:
        with spawning.Pool(PROCESSES) as pool:
            return pool.map(try_often, [tmp_path / "access.sqlite"] * PROCESSES)

    assert sum(await asyncio.to_thread(run)) == LIMIT
