from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lightrag_server.ports.directory import Directory, WorkspaceRow
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.memory_directory import MemoryDirectory
from lightrag_server.storages.sqlite.directory import SQLiteDirectory
from tests.contract.directory import BOOKS, DirectoryContract


class TestMemoryDirectory(DirectoryContract):
    @pytest.fixture
    def directory(self) -> Directory:
        return MemoryDirectory()


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SQLiteDirectory]:
    directory = SQLiteDirectory(path, SQLiteSettings())
    try:
        yield directory
    finally:
        await directory.close()


class TestSQLiteDirectory(DirectoryContract):
    @pytest.fixture
    async def directory(self, tmp_path: Path) -> AsyncIterator[Directory]:
        async with opened(tmp_path / "directory.sqlite") as directory:
            yield directory

    async def test_rows_survive_reopening(self, tmp_path: Path):
        for _ in range(2):
            async with opened(tmp_path / "directory.sqlite") as directory:
                await directory.add(BOOKS)
                assert await directory.rows() == [BOOKS]

    async def test_another_connection_sees_what_was_written(self, tmp_path: Path):
        path = tmp_path / "directory.sqlite"
        async with opened(path) as first, opened(path) as second:
            assert await second.rows() == []
            await first.add(BOOKS)
            assert await second.rows() == [BOOKS]

    async def test_edits_of_several_connections_at_once_are_all_kept(self, tmp_path: Path):
        path = tmp_path / "directory.sqlite"

        def one_more(row: WorkspaceRow) -> WorkspaceRow:
            return replace(row, settings={"count": row.settings.get("count", 0) + 1})

        async with opened(path) as first, opened(path) as second:
            await first.add(BOOKS)
            await asyncio.gather(*(d.change("books", one_more) for d in (first, second) for _ in range(20)))
            assert [row.settings for row in await second.rows()] == [{"count": 40}]
