from __future__ import annotations

import sqlite3
from pathlib import Path

from lightrag_server.core.encoding import entity_to_row, to_bytes
from lightrag_server.ports.graph import EntityFilter, Extent
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.sqlite import schema
from lightrag_server.storages.sqlite.backend import MIGRATIONS, SQLiteBackend, file_stem
from tests.contract.values import entity


async def test_entities_of_an_older_file_are_found_by_their_type(tmp_path: Path) -> None:
    """The column came later; its values are taken from the rows."""
    before = MIGRATIONS.index(schema.ENTITY_TYPES)
    with sqlite3.connect(tmp_path / f"{file_stem('')}.sqlite") as old:
        for script in MIGRATIONS[:before]:
            old.executescript(script)
        old.execute(f"PRAGMA user_version = {before}")
        old.execute("INSERT INTO nodes (id, key) VALUES (1, 'a')")
        row = to_bytes(entity_to_row(entity("a")))
        old.execute("INSERT INTO entities (id, name, degree, data) VALUES (1, 'A', 0, ?)", (row,))
    old.close()
    backend = SQLiteBackend(tmp_path, SQLiteSettings())
    store = backend.graph("")
    page, total = await store.page_entities(EntityFilter(type="THING"), Extent(0, 9))
    assert ([listed.entity for listed in page], total) == ([entity("a")], 1)
    await backend.close()
