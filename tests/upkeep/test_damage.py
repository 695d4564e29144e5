"""Every damage that hands can do to a workspace file is found, named, and mended to what was there before."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lightrag_server.core.edits import CreateEntity, EditEntity, EntityFields, MergeEntities
from lightrag_server.engine import blob_keys
from lightrag_server.engine.doctor.checkup import Checkup, Report
from lightrag_server.engine.doctor.treatment import Treatment, mends_for
from lightrag_server.engine.edits import Edits
from lightrag_server.ports.doc_status import Filter
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.memory import MemoryBackend
from lightrag_server.storages.sqlite.backend import SQLiteBackend
from tests.engine.conftest import Bench, opened_bench

ROWS = "entity<|#|>{a}<|#|>person<|#|>{a} is here.\nrelation<|#|>{a}<|#|>{b}<|#|>knows<|#|>{a} knows {b}.\n"
NAMES = ("Ada", "Bo", "Cyd", "Dee", "Eve")
ROUNDS = 4


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightrag_server.engine.doctor.checkup.SECOND_LOOK_S", 0.0)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened_bench(SQLiteBackend(tmp_path, SQLiteSettings())) as bench:
        await filled(bench)
        yield bench


async def filled(bench: Bench) -> None:
    """Documents of several chunks, and what people decided about what they say."""
    texts = [(f"{n}.txt", "".join(ROWS.format(a=NAMES[n + i], b=NAMES[n]) for i in (1, 2))) for n in range(3)]
    await bench.insert(*texts)
    edits = Edits(bench.stores, bench.queue)
    await edits.submit(EditEntity("Ada", EntityFields(description="by hand")))
    await edits.submit(CreateEntity("Zoe", EntityFields(description="made by hand")))
    await edits.submit(MergeEntities(("Eve",), "Bo"))
    await bench.write()


async def looked_at(bench: Bench) -> Report:
    return await Checkup(bench.stores, bench.queue, bench.embedder, lambda: bench.time[0]).run()


async def mended(bench: Bench) -> Report:
    """Look and mend until nothing is left to be mended, as the command does."""
    report = await looked_at(bench)
    for _ in range(ROUNDS):
        if not report.can_mend:
            break
        for mend in mends_for(report):
            await Edits(bench.stores, bench.queue).submit(mend)
        await bench.write()
        await Treatment(bench.stores, bench.queue, lambda: bench.time[0]).give(report.faults)
        for document in await bench.stores.documents.find(Filter()):
            await bench.prepare.run(document.id)
        await bench.write()
        report = await looked_at(bench)
    return report


def kinds(report: Report) -> set[str]:
    return {flaw.kind for flaw in report.flaws}


def sql(*statements: str) -> Callable[[sqlite3.Connection], None]:
    def damage(connection: sqlite3.Connection) -> None:
        for statement in statements:
            assert connection.execute(statement).rowcount, "the damage does something"

    return damage


FIRST = "key = (SELECT min(key) FROM kv AS other WHERE other.namespace = kv.namespace)"
TORN = "value = CAST(substr(CAST(value AS TEXT), 1, 40) AS BLOB)"
OTHER = 'value = CAST(\'{"windows":"many"}\' AS BLOB)'
NOBODY = "doc-00000000000000000000000000000000-chunk-000"
IN = "space = (SELECT number FROM vector_spaces WHERE namespace = '{}') AND id IS NOT NULL"
BLOCKS_OF = "block IN (SELECT place >> 3 FROM vectors WHERE " + IN + ")"
ONE_IN = "place = (SELECT min(place) FROM vectors WHERE " + IN + ")"

COPY = "INSERT INTO kv (namespace, key, value) SELECT namespace,"
DAMAGES: dict[str, tuple[Callable[[sqlite3.Connection], None], str]] = {
    "chunk gone": (sql(f"DELETE FROM kv WHERE namespace = 'text_chunks' AND {FIRST}"), "wrong-chunks"),
    "chunk torn": (sql(f"UPDATE kv SET {TORN} WHERE namespace = 'text_chunks' AND {FIRST}"), "unreadable-rows"),
    "chunk altered": (
        sql(
            "UPDATE kv SET value = CAST(replace(CAST(value AS TEXT), 'knows', 'hates') AS BLOB)"
            f" WHERE namespace = 'text_chunks' AND {FIRST}"
        ),
        "wrong-chunks",
    ),
    "contribution gone": (sql(f"DELETE FROM kv WHERE namespace = 'contributions' AND {FIRST}"), "lost-chunks"),
    "contribution torn": (
        sql(f"UPDATE kv SET {TORN} WHERE namespace = 'contributions' AND {FIRST}"),
        "unreadable-rows",
    ),
    "contribution of another shape": (
        sql(f"UPDATE kv SET {OTHER} WHERE namespace = 'contributions' AND {FIRST}"),
        "damaged-chunks",
    ),
    "orphan chunk": (
        sql(
            f"{COPY} '{NOBODY}', value FROM kv WHERE namespace = 'text_chunks' AND {FIRST}",
            f"{COPY} '{NOBODY}', value FROM kv WHERE namespace = 'contributions' AND {FIRST}",
        ),
        "orphan-chunks",
    ),
    "orphan evidence": (
        sql(
            f"INSERT INTO chunks SELECT 999, '{NOBODY}', json_group_array(key) FROM nodes JOIN entities USING (id)",
            "INSERT INTO evidence (subject, chunk) SELECT 2 * id, 999 FROM entities",
        ),
        "orphan-evidence",
    ),
    "evidence gone": (
        sql("UPDATE chunks SET told = '[]' WHERE id = 1", "DELETE FROM evidence WHERE chunk = 1"),
        "wrong-evidence",
    ),
    "evidence gone by subject": (sql("DELETE FROM evidence WHERE chunk = 1"), "torn-evidence"),
    "evidence gone by chunk": (sql("UPDATE chunks SET told = '[]' WHERE id = 1"), "torn-evidence"),
    "evidence unreadable": (sql("UPDATE chunks SET told = 'none' WHERE id = 1"), "torn-evidence"),
    "vectors of passages gone": (
        sql("UPDATE vector_items SET id = NULL, ref = NULL WHERE " + IN.format("chunks")),
        "lost-passages",
    ),
    "vectors of entities gone": (
        sql("UPDATE vector_items SET id = NULL, ref = NULL WHERE " + ONE_IN.format("entities")),
        "lost-entities",
    ),
    "vectors of facts gone": (
        sql("UPDATE vector_items SET id = NULL, ref = NULL WHERE " + ONE_IN.format("relationships")),
        "lost-facts",
    ),
    "vector of a passage that is gone": (
        sql(f"UPDATE vector_items SET id = '{NOBODY}-w0', ref = '{NOBODY}' WHERE " + ONE_IN.format("chunks")),
        "orphan-passages",
    ),
    "vector of an entity that is gone": (
        sql("UPDATE vector_items SET id = 'ent-0-0', ref = 'nobody' WHERE " + ONE_IN.format("entities")),
        "orphan-entities",
    ),
    "vector of a fact that is gone": (
        sql("UPDATE vector_items SET id = 'rel-0-0' WHERE " + ONE_IN.format("relationships")),
        "orphan-facts",
    ),
    "vector of a wrong length": (
        sql(f"UPDATE vector_blocks SET halves = x'3C003C' WHERE {BLOCKS_OF.format('chunks')}"),
        "torn-vectors",
    ),
    "vectors of zeros": (
        sql(f"UPDATE vector_blocks SET halves = zeroblob(length(halves)) WHERE {BLOCKS_OF.format('entities')}"),
        "damaged-entities",
    ),
    "entity gone": (sql("DELETE FROM entities WHERE name = 'Cyd'"), "wrong-graph"),
    "entity torn": (sql("UPDATE entities SET data = x'7B22' WHERE name = 'Cyd'"), "torn-graph"),
    "entity altered": (
        sql(
            "UPDATE entities SET data = CAST(replace(CAST(data AS TEXT), 'is here', 'was there') AS BLOB)"
            " WHERE name = 'Cyd'"
        ),
        "wrong-graph",
    ),
    "what people decided, undone": (
        sql(
            "UPDATE entities SET data = CAST(replace(CAST(data AS TEXT), 'by hand', 'by nobody') AS BLOB)"
            " WHERE name = 'Ada'"
        ),
        "wrong-graph",
    ),
    "entity of nobody": (
        sql(
            "INSERT INTO nodes VALUES (999, 'nobody')",
            "INSERT INTO entities (id, name, degree, data, type) SELECT 999, 'Nobody', 0,"
            ' CAST(replace(CAST(data AS TEXT), \'"key":"cyd"\', \'"key":"nobody"\') AS BLOB), type'
            " FROM entities WHERE name = 'Cyd'",
        ),
        "wrong-graph",
    ),
    "relations gone": (sql("DELETE FROM relations"), "torn-graph"),
    "degrees": (sql("UPDATE entities SET degree = degree + 1"), "wrong-degrees"),
    "places of the lexical index gone": (sql("DELETE FROM lexical_items"), "torn-lexical"),
    "lexical index torn": (sql("DELETE FROM lexical_1_data WHERE id > 10"), "torn-lexical"),
    "document listed under another state": (sql("UPDATE documents SET status = 'failed'"), "torn-documents"),
}


@pytest.mark.parametrize("name", DAMAGES)
async def test_damage_is_found_and_mended(bench: Bench, tmp_path: Path, name: str) -> None:
    damage, kind = DAMAGES[name]
    before = await bench.knowledge()
    assert (await looked_at(bench)).flaws == ()
    by_hand(tmp_path, damage)
    assert kind in kinds(await looked_at(bench))
    left = await mended(bench)
    assert left.flaws == (), left.flaws
    assert await bench.knowledge() == before


def by_hand(folder: Path, damage: Callable[[sqlite3.Connection], object]) -> None:
    with closing(sqlite3.connect(folder / "default.sqlite")) as connection:
        damage(connection)
        connection.commit()


async def test_an_index_that_lacks_rows_is_made_anew(bench: Bench, tmp_path: Path) -> None:
    by_hand(tmp_path, partial(redefine, suffix=" WHERE status = 'none'"))
    by_hand(tmp_path, lambda connection: connection.execute("REINDEX documents_status"))
    by_hand(tmp_path, partial(redefine, suffix=""))
    assert kinds(await looked_at(bench)) == {"torn-index"}
    assert (await mended(bench)).flaws == ()


def redefine(connection: sqlite3.Connection, suffix: str) -> None:
    """Let the index mean other rows than it holds."""
    connection.execute("PRAGMA writable_schema = ON")
    sql = f"CREATE INDEX documents_status ON documents (status){suffix}"
    connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'documents_status'", (sql,))


BlobDamage = Callable[[Bench, str, str], Any]


async def _drop_texts(bench: Bench, document: str, original: str) -> None:
    await bench.stores.blobs.delete("", blob_keys.all_parsed(document))


async def _tear_text(bench: Bench, document: str, original: str) -> None:
    [key] = await bench.stores.blobs.list("", blob_keys.all_parsed(document))
    await bench.stores.blobs.put("", key, b"{}")


async def _orphan(bench: Bench, document: str, original: str) -> None:
    await bench.stores.blobs.put("", blob_keys.original("doc-gone", "0", 0, "token"), b"left")


@pytest.mark.parametrize(
    ("damage", "kind"), [(_drop_texts, "lost-texts"), (_tear_text, "lost-texts"), (_orphan, "orphan-blobs")]
)
async def test_kept_files_are_found_and_mended(bench: Bench, damage: BlobDamage, kind: str) -> None:
    before = await bench.knowledge()
    [document, *_] = await bench.stores.documents.find(Filter())
    await damage(bench, document.id, document.blob_key or "")
    assert kinds(await looked_at(bench)) == {kind}
    assert (await mended(bench)).flaws == ()
    assert await bench.knowledge() == before


async def test_a_torn_original_is_named_and_what_was_made_of_it_stays(bench: Bench) -> None:
    before = await bench.knowledge()
    [document, *_] = await bench.stores.documents.find(Filter())
    await bench.stores.blobs.put("", document.blob_key or "", b"something else")
    [flaw] = (await mended(bench)).flaws
    assert (flaw.kind, flaw.count, flaw.examples, flaw.can_mend) == ("lost-originals", 1, ("0.txt",), False)
    assert await bench.knowledge() == before


async def test_torn_pages_are_named(bench: Bench, tmp_path: Path) -> None:
    by_hand(tmp_path, lambda connection: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
    await bench.stores.backends.kv.close()
    path = tmp_path / "default.sqlite"
    data = bytearray(path.read_bytes())
    data[8192 * 3 : 8192 * 3 + 64] = bytes(64)
    path.write_bytes(data)
    backend = SQLiteBackend(tmp_path, SQLiteSettings())
    async with opened_bench(backend) as torn:
        report = await looked_at(torn)
    assert kinds(report) & {"torn-file", "unreadable"}
    assert not report.can_mend


async def test_another_storage_is_looked_at_by_the_same_rules() -> None:
    async with opened_bench(MemoryBackend()) as bench:
        await filled(bench)
        before = await bench.knowledge()
        assert (await looked_at(bench)).flaws == ()
        await bench.stores.lexical.clear()
        await bench.stores.graph.delete(keys=["cyd"])
        await bench.stores.facts.clear()
        assert kinds(await looked_at(bench)) == {"lost-terms", "wrong-graph", "lost-facts"}
        assert (await mended(bench)).flaws == ()
        assert await bench.knowledge() == before


async def test_documents_without_job_get_one(bench: Bench) -> None:
    accepted = await bench.intake.accept_texts([("entity<|#|>New<|#|>person<|#|>New.", "new.txt")])
    await bench.queue.cancel("", ["prepare"])
    report = await looked_at(bench)
    assert [(f.kind, f.examples) for f in report.flaws] == [("lost-jobs", (accepted.documents[0].id,))]
    await Treatment(bench.stores, bench.queue, lambda: bench.time[0]).give(report.faults)
    assert "prepare" in {job.kind for job in await bench.queue.open_jobs("")}
    assert (await looked_at(bench)).flaws == ()
