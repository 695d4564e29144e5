"""Writes that share a transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lightrag_server.errors import StorageUnavailable
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.sqlite.database import Database


def full(connection: sqlite3.Connection) -> None:
    """As SQLite does it: the whole transaction is undone."""
    connection.execute("ROLLBACK")
    raise sqlite3.OperationalError("database or disk is full")


async def test_a_full_disk_is_told_to_all_who_share_the_transaction(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        database = Database(tmp_path / "d.sqlite", ["CREATE TABLE rows (n INTEGER)"], SQLiteSettings(), threads)
        await database.write(lambda c: c.execute("INSERT INTO rows VALUES (0)"))
        works = [
            lambda c, n=n: full(c) if n == 3 else c.execute("INSERT INTO rows VALUES (?)", (n,)) for n in range(1, 6)
        ]
        ends = await asyncio.gather(*map(database.write, works), return_exceptions=True)
        kept = {n for (n,) in await database.read(lambda c: c.execute("SELECT n FROM rows").fetchall())}
        await database.close()
    assert isinstance(ends[2], StorageUnavailable)
    for n, end in enumerate(ends, start=1):
        assert (n in kept) == (not isinstance(end, Exception)), (n, end)
        assert not isinstance(end, Exception) or isinstance(end, StorageUnavailable)
    assert len(kept) < 6
