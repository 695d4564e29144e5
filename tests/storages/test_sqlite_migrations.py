from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from lightrag_server.core.encoding import entity_to_row, to_bytes
from lightrag_server.ports.graph import EntityFilter, Extent
from lightrag_server.ports.kv import Row
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.sqlite import schema
from lightrag_server.storages.sqlite.backend import MIGRATIONS, SQLiteBackend, file_stem
from tests.contract.values import entity


def file_made_by(folder: Path, scripts: Sequence[str]) -> sqlite3.Connection:
    """The database of the default workspace as an older version left it, to be filled and closed."""
    old = sqlite3.connect(folder / f"{file_stem('')}.sqlite")
    for script in scripts:
        old.executescript(script)
    old.execute(f"PRAGMA user_version = {len(scripts)}")
    return old


async def test_entities_of_an_older_file_are_found_by_their_type(tmp_path: Path) -> None:
    """The column came later; its values are taken from the rows."""
    with file_made_by(tmp_path, MIGRATIONS[: MIGRATIONS.index(schema.ENTITY_TYPES)]) as old:
        old.execute("INSERT INTO nodes (id, key) VALUES (1, 'a')")
        row = to_bytes(entity_to_row(entity("a")))
        old.execute("INSERT INTO entities (id, name, degree, data) VALUES (1, 'A', 0, ?)", (row,))
    old.close()
    backend = SQLiteBackend(tmp_path, SQLiteSettings())
    store = backend.graph("")
    page, total = await store.page_entities(EntityFilter(type="THING"), Extent(0, 9))
    assert ([listed.entity for listed in page], total) == ([entity("a")], 1)
    await backend.close()


async def test_rows_of_an_older_file_are_there_in_the_order_of_their_keys(tmp_path: Path) -> None:
    """Values moved into another table, and large ones are packed since."""
    rows: dict[str, Row] = {f"key-{n:02d}": {"text": f"{n} " * 400 * (n % 2)} for n in (3, 1, 2)}
    with file_made_by(tmp_path, MIGRATIONS[: MIGRATIONS.index(schema.KV_IN_ORDER)]) as old:
        for namespace in ("ours", "other"):
            values = [(namespace, key, to_bytes(row)) for key, row in rows.items()]
            old.executemany("INSERT INTO kv (namespace, key, value) VALUES (?, ?, ?)", values)
    old.close()
    backend = SQLiteBackend(tmp_path, SQLiteSettings())
    store = backend.kv("", "ours")
    await store.put({"key-02": {"text": "new " * 400}, "key-04": {}})
    assert [pair async for pair in store.scan()] == [
        ("key-01", rows["key-01"]),
        ("key-02", {"text": "new " * 400}),
        ("key-03", rows["key-03"]),
        ("key-04", {}),
    ]
    assert await backend.kv("", "other").count() == len(rows)
    await backend.close()
