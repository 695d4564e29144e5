"""From the first schema on: data of any version is read by this one, and nothing is left half-way."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from lightrag_server.core.encoding import to_bytes
from lightrag_server.core.lexical import query_terms
from lightrag_server.errors import StorageError
from lightrag_server.ports.doc_status import Filter
from lightrag_server.ports.graph import EntityFilter, Extent
from lightrag_server.ports.kv import Row
from lightrag_server.ports.vectors import VectorItem
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.sqlite import schema
from lightrag_server.storages.sqlite.backend import MIGRATIONS, SQLiteBackend, file_stem
from tests.server import running

FIRST_SCHEMA = Path(__file__).with_name("first_schema.sql")
FIRST = 4
FILE = f"{file_stem('')}.sqlite"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with a workspace of the first schema."""
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.executescript(FIRST_SCHEMA.read_text(encoding="utf-8"))
    return tmp_path


def version(folder: Path) -> int:
    with closing(sqlite3.connect(folder / FILE)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


@pytest.mark.parametrize("steps", range(FIRST, len(MIGRATIONS) + 1))
async def test_what_the_first_schema_holds_is_read_by_every_later_one(old: Path, steps: int) -> None:
    """Also when some of the steps were taken by a version between."""
    with closing(sqlite3.connect(old / FILE)) as connection:
        for script in MIGRATIONS[FIRST:steps]:
            connection.executescript(script)
        connection.execute(f"PRAGMA user_version = {steps}")
    backend = SQLiteBackend(old, SQLiteSettings())
    await backend.open()
    [document] = await backend.doc_status("").find(Filter(is_enabled=True))
    assert (document.file_path, len(document.chunk_ids)) == ("old.txt", 1)
    assert len(await backend.kv("", "contributions").get(document.chunk_ids)) == 1
    names = await backend.graph("").labels()
    assert "Ada Harrow" in names
    [ada] = (await backend.graph("").entities(["ada harrow"])).values()
    page, _ = await backend.graph("").page_entities(EntityFilter(type=ada.type), Extent(0, 9))
    assert ada in [listed.entity for listed in page]
    [hit] = await backend.lexical("", "chunks").search(query_terms("lighthouse"), 5)
    [item] = (await backend.vectors("", "chunks").get([hit.id])).values()
    assert [h.id for h in await backend.vectors("", "chunks").search(item.vector, 1)] == [hit.id]
    assert await backend.flaws("") == []
    await backend.close()
    assert version(old) == len(MIGRATIONS)


async def test_a_file_of_a_later_version_is_refused_and_left_alone(old: Path) -> None:
    later = len(MIGRATIONS) + 3
    with closing(sqlite3.connect(old / FILE)) as connection:
        connection.execute(f"PRAGMA user_version = {later}")
    backend = SQLiteBackend(old, SQLiteSettings())
    with pytest.raises(StorageError, match=rf"{FILE} has the schema version {later}.*up to {len(MIGRATIONS)}: upgrade"):
        await backend.open()
    with pytest.raises(StorageError, match="upgrade"):
        await backend.doc_status("").counts()
    await backend.close()
    assert version(old) == later


def test_a_server_does_not_start_on_the_data_of_a_later_version(tmp_path: Path) -> None:
    """Of whichever workspace and whichever file."""
    for name in ("w-other.sqlite", "coordination.sqlite"):
        folder = tmp_path / name.removesuffix(".sqlite")
        (folder / "rag_storage").mkdir(parents=True)
        with closing(sqlite3.connect(folder / "rag_storage" / name)) as connection:
            connection.execute("PRAGMA user_version = 99")
        with running(folder) as server:
            assert server.process.wait(30) == 1
        assert f"{name} has the schema version 99" in server.text
        assert "upgrade" in server.text
        assert "Traceback" not in server.text


_OPEN = """
import asyncio, sys
from pathlib import Path
from lightrag_server.ports.doc_status import Filter
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.sqlite.backend import SQLiteBackend

async def main():
    backend = SQLiteBackend(Path(sys.argv[1]), SQLiteSettings())
    sys.stdin.readline()
    print([d.file_path for d in await backend.doc_status("").find(Filter())])
    await backend.close()

asyncio.run(main())
"""


def test_processes_that_migrate_at_once_do_it_once(old: Path) -> None:
    command = [sys.executable, "-c", _OPEN, str(old)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60) for process in processes]
    assert [out for out, _ in answers] == ["['old.txt']\n"] * 4, answers
    assert version(old) == len(MIGRATIONS)


_MIGRATE_FOR_LONG = """
import asyncio, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.sqlite.backend import MIGRATIONS
from lightrag_server.storages.sqlite.database import Database

LONG = '''
CREATE TABLE halfway (n INTEGER);
DELETE FROM documents;
INSERT INTO halfway WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c;
'''
database = Database(Path(sys.argv[1]), [*MIGRATIONS, LONG], SQLiteSettings(), ThreadPoolExecutor(1))
asyncio.run(database.read(lambda c: None))
"""


def killed_while_it_migrates(old: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", _MIGRATE_FOR_LONG, str(old / FILE)])
    log = old / f"{FILE}-wal"
    deadline = time.monotonic() + 30
    while not log.exists() or log.stat().st_size < 10_000_000:  # what does not fit into memory is written
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


async def test_a_process_that_is_killed_while_it_migrates_leaves_the_old_version(old: Path) -> None:
    await asyncio.to_thread(killed_while_it_migrates, old)
    assert version(old) == FIRST
    backend = SQLiteBackend(old, SQLiteSettings())
    assert [d.file_path for d in await backend.doc_status("").find(Filter())] == ["old.txt"]
    await backend.close()
    with closing(sqlite3.connect(old / FILE)) as connection:
        assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'halfway'").fetchone()


def file_made_by(folder: Path, scripts: Sequence[str]) -> sqlite3.Connection:
    """The database of the default workspace as an older version left it, to be filled and closed."""
    old = sqlite3.connect(folder / f"{file_stem('')}.sqlite")
    for script in scripts:
        old.executescript(script)
    old.execute(f"PRAGMA user_version = {len(scripts)}")
    return old


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


async def test_vectors_of_an_older_file_keep_their_places_and_torn_ones_go(tmp_path: Path) -> None:
    """Of two spaces, with a free slot between."""
    halves = np.arange(4 * 20, dtype=np.float16).reshape(20, 4)
    with file_made_by(tmp_path, MIGRATIONS[: MIGRATIONS.index(schema.VECTORS_IN_BLOCKS)]) as old:
        for space, namespace in enumerate(("ours", "other"), start=1):
            old.execute("INSERT INTO vector_spaces VALUES (?, ?, x'00', 4, 20, 1)", (space, namespace))
            rows = [(space << 32 | n, space, f"v{n}", half.tobytes()) for n, half in enumerate(halves)]
            old.executemany("INSERT INTO vectors VALUES (?, ?, 1, ?, 'r', ?)", rows)
        old.execute("UPDATE vectors SET id = NULL, ref = NULL, vector = NULL WHERE id = 'v3' AND space = 1")
        old.execute("UPDATE vectors SET vector = x'00' WHERE id = 'v9' AND space = 1")
    old.close()
    backend = SQLiteBackend(tmp_path, SQLiteSettings())
    for namespace, gone in (("ours", {"v3", "v9"}), ("other", set[str]())):
        store = backend.vectors("", namespace)
        ids = [f"v{n}" for n in range(20)]
        assert await store.missing(ids) == gone
        assert {i: item.vector.tolist() for i, item in (await store.get(ids)).items()} == {
            f"v{n}": half.tolist() for n, half in enumerate(halves) if f"v{n}" not in gone
        }
        await store.put([VectorItem("v3", "r", np.ones(4, np.float32))])
        assert await store.count() == 20 - len(gone - {"v3"})
    assert await backend.flaws("") == []
    await backend.close()


async def test_documents_of_an_older_file_are_there_in_the_order_of_their_arrival(tmp_path: Path) -> None:
    with file_made_by(tmp_path, MIGRATIONS[: MIGRATIONS.index(schema.DOCUMENTS_IN_ORDER)]) as old:
        for number, id in enumerate(("doc-c", "doc-a", "doc-b")):
            moment = f"2026-01-0{number + 1}"
            row = {"id": id, "file_path": id, "status": "processed", "stage": "committed", "created_at": moment}
            values = (
                id,
                id,
                "processed",
                "committed",
                f"track-{number}",
                None,
                moment,
                moment,
                to_bytes(row),
                number % 2,
            )
            old.execute(
                "INSERT INTO documents (id, file_path, status, stage, track_id, content_hash, created_at, updated_at,"
                " data, enabled) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
    old.close()
    backend = SQLiteBackend(tmp_path, SQLiteSettings())
    store = backend.doc_status("")
    assert [d.id for d in await store.find(Filter())] == ["doc-c", "doc-a", "doc-b"]
    assert [d.id for d in await store.find(Filter(is_enabled=True))] == ["doc-a"]
    [old_one] = await store.find(Filter(track_id="track-2"))
    assert await store.add([old_one]) == {"doc-b"}
    await backend.close()
