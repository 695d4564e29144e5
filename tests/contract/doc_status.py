"""The laws of `ports.doc_status`."""

from __future__ import annotations

import asyncio

import pytest

from lightrag_server.core.ids import chunk_id
from lightrag_server.core.records import DocStatus, Document, Profile, Stage, Version
from lightrag_server.errors import InvalidInput
from lightrag_server.ports.doc_status import DocStatusStore, Filter, Page, SortField
from lightrag_server.ports.storage import Backend

from .values import MANY, ODD_IDS, document

ANY = Filter()


class DocStatusContract:
    @pytest.fixture
    def store(self, backend: Backend) -> DocStatusStore:
        return backend.doc_status("")

    async def test_empty_input_is_fine(self, store: DocStatusStore) -> None:
        assert await store.add([]) == set()
        await store.put([])
        await store.delete([])
        assert await store.get([]) == {}
        assert await store.find(ANY) == []
        assert await store.page(ANY, Page()) == ([], 0)

    async def test_documents_come_back_equal(self, store: DocStatusStore) -> None:
        full = document("d1", DocStatus.FAILED, Stage.FAILED, track_id="t", content_hash="h", error="", blob_key="k")
        full = full.with_(
            chunk_ids=(chunk_id("d1", 0), chunk_id("d1", 1)),
            profile=Profile.LIGHT,
            content_length=12,
            content_summary="知识",
            metadata={"a": [1, {"b": None}]},
            attributes={"year": 2026, "kinds": ["a", "b"], "open": None},
            tags=("x", "y"),
            is_enabled=False,
            serving=Version("old", "h0", "s", 3, (chunk_id("d1", 0),), Profile.FULL, {"version": 1}),
        )
        irregular = document("d2").with_(chunk_ids=("x", "y"))
        await store.put([full, irregular])
        assert await store.get(["d1", "d2", "d3"]) == {"d1": full, "d2": irregular}

    async def test_add_keeps_rows_that_are_there_and_names_them(self, store: DocStatusStore) -> None:
        assert await store.add([document("a", track_id="first")]) == set()
        assert await store.add([document("a", track_id="second"), document("b")]) == {"a"}
        found = await store.get(["a", "b"])
        assert found["a"].track_id == "first"
        assert set(found) == {"a", "b"}

    async def test_of_two_adds_at_once_exactly_one_succeeds(self, backend: Backend) -> None:
        stores = [backend.doc_status("") for _ in range(8)]
        answers = await asyncio.gather(*(s.add([document("a", track_id=str(n))]) for n, s in enumerate(stores)))
        assert sorted(map(len, answers)) == [0] + [1] * 7

    async def test_put_replaces(self, store: DocStatusStore) -> None:
        await store.put([document("a", track_id="t")])
        await store.put([document("a", DocStatus.PROCESSED, Stage.COMMITTED)])
        assert (await store.get(["a"]))["a"].track_id is None
        assert await store.find(Filter(track_id="t")) == []

    async def test_update_writes_what_becomes_of_the_row(self, store: DocStatusStore) -> None:
        await store.put([document("a", stage=Stage.PREPARED, track_id="t"), document("b")])
        done = await store.update("a", lambda row: row.with_(stage=Stage.COMMITTED, tags=("new",)))
        assert done == document("a", stage=Stage.COMMITTED, track_id="t").with_(tags=("new",))
        assert await store.get(["a", "b"]) == {"a": done, "b": document("b")}
        assert await store.find(Filter(stages=frozenset({Stage.COMMITTED}))) == [done]

    async def test_update_leaves_a_row_that_is_not_to_change(self, store: DocStatusStore) -> None:
        await store.put([document("a")])
        assert await store.update("a", lambda row: None) is None
        assert await store.get(["a"]) == {"a": document("a")}

    async def test_update_of_an_unknown_document_writes_nothing(self, store: DocStatusStore) -> None:
        assert await store.update("a", lambda row: row) is None
        assert await store.get(["a"]) == {}

    async def test_an_update_that_raises_writes_nothing(self, store: DocStatusStore) -> None:
        await store.put([document("a")])

        def change(row: Document) -> Document:
            raise InvalidInput("no")

        with pytest.raises(InvalidInput):
            await store.update("a", change)
        assert await store.get(["a"]) == {"a": document("a")}

    async def test_of_updates_at_once_none_is_lost(self, store: DocStatusStore) -> None:
        await store.put([document("a")])
        await asyncio.gather(
            *(store.update("a", lambda row, n=n: row.with_(tags=(*row.tags, str(n)))) for n in range(8))
        )
        assert sorted((await store.get(["a"]))["a"].tags) == [str(n) for n in range(8)]

    async def test_find_applies_every_condition(self, store: DocStatusStore) -> None:
        wanted = document("a", DocStatus.FAILED, Stage.FAILED, track_id="t", content_hash="h", file_path="p")
        others = [
            wanted.with_(id="b", status=DocStatus.PENDING),
            wanted.with_(id="c", stage=Stage.ACCEPTED),
            wanted.with_(id="d", track_id=None),
            wanted.with_(id="e", content_hash="x"),
            wanted.with_(id="f", file_path="P"),
        ]
        await store.put([wanted, *others])
        where = Filter(frozenset({DocStatus.FAILED}), frozenset({Stage.FAILED, Stage.PREPARED}), "t", "h", "p")
        assert await store.find(where) == [wanted]
        assert await store.page(where, Page()) == ([wanted], 1)

    async def test_a_part_of_the_name_is_found_whatever_its_case(self, store: DocStatusStore) -> None:
        names = {"a": "Annual Report.pdf", "b": "ÉTUDE über Flüsse.txt", "c": "知识图谱.md", "d": "100%_a\\b.txt"}
        await store.put([document(i, file_path=name) for i, name in names.items()])
        parts = {
            "REPORT": "a",
            "étude ÜBER": "b",
            "识图": "c",
            "0%_": "d",
            "\\B": "d",
            "%": "d",
            "_": "d",
            "report.": "a",
        }
        for part, wanted in parts.items():
            assert [d.id for d in await store.find(Filter(name_part=part))] == [wanted], part
        assert await store.find(Filter(name_part="a_n")) == []
        assert len(await store.find(Filter(name_part=""))) == 4

    async def test_all_tags_or_any_of_them_are_asked_for(self, store: DocStatusStore) -> None:
        tags = {"a": ("x", "y"), "b": ("y",), "c": (), "d": ("xy", 'say "x"', "知识")}
        await store.put([document(i).with_(tags=of_one) for i, of_one in tags.items()])
        wanted = {("x",): ["a"], ("y",): ["a", "b"], ("x", "y"): ["a"], ('say "x"', "知识"): ["d"], ("z",): []}
        for of_all, ids in wanted.items():
            assert [d.id for d in await store.find(Filter(tags=frozenset(of_all)))] == ids, of_all
            assert (await store.page(Filter(tags=frozenset(of_all)), Page()))[1] == len(ids)
        for of_any, ids in {("x", "z"): ["a"], ("x", "y"): ["a", "b"], ("z",): []}.items():
            assert [d.id for d in await store.find(Filter(any_tags=frozenset(of_any)))] == ids, of_any
        assert await store.find(Filter(tags=frozenset({"y"}), any_tags=frozenset({"xy"}))) == []

    async def test_documents_that_are_not_enabled_are_told_apart(self, store: DocStatusStore) -> None:
        await store.put([document("a"), document("b").with_(is_enabled=False), document("c")])
        assert [d.id for d in await store.find(Filter(is_enabled=False))] == ["b"]
        assert [d.id for d in await store.find(Filter(is_enabled=True))] == ["a", "c"]
        await store.put([document("b"), document("c").with_(is_enabled=False)])
        assert [d.id for d in await store.find(Filter(is_enabled=False))] == ["c"]
        await store.update("c", lambda row: row.with_(is_enabled=True))
        assert await store.find(Filter(is_enabled=False)) == []

    async def test_rows_updated_since_a_time(self, store: DocStatusStore) -> None:
        await store.put([document(f"d{n}", updated_at=f"2026-01-0{n}T00:00:00+00:00") for n in range(1, 6)])
        found = await store.find(Filter(updated_from="2026-01-04T00:00:00+00:00"))
        assert [d.id for d in found] == ["d4", "d5"]

    async def test_no_status_allowed_finds_nothing(self, store: DocStatusStore) -> None:
        await store.put([document("a")])
        assert await store.find(Filter(statuses=frozenset())) == []

    async def test_find_is_ordered_by_creation_and_goes_on_behind_an_id(self, store: DocStatusStore) -> None:
        rows = [document(i, created_at=f"2026-01-0{day}") for i, day in (("b", 1), ("a", 1), ("c", 3), ("d", 2))]
        await store.put(rows)
        assert [d.id for d in await store.find(ANY)] == ["a", "b", "d", "c"]
        assert [d.id for d in await store.find(ANY, limit=2)] == ["a", "b"]
        assert [d.id for d in await store.find(ANY, limit=2, after="b")] == ["d", "c"]
        assert await store.find(ANY, after="c") == []
        assert await store.find(ANY, after="unknown") == []

    @pytest.mark.parametrize("sort", ["updated_at", "created_at", "id", "file_path"])
    @pytest.mark.parametrize("descending", [True, False])
    async def test_pages_are_ordered_and_complete(
        self, store: DocStatusStore, sort: SortField, descending: bool
    ) -> None:
        rows = [
            document(
                f"d{n:02}",
                created_at=f"2026-01-{1 + n % 3:02}",
                updated_at=f"2026-02-{1 + n % 4:02}",
                file_path=f"f{n % 5}",
            )
            for n in range(25)
        ]
        await store.put(rows)
        pages = [await store.page(ANY, Page(n, 10, sort, descending)) for n in (1, 2, 3, 4)]
        assert [(len(found), total) for found, total in pages] == [(10, 25), (10, 25), (5, 25), (0, 25)]
        wanted = sorted(rows, key=lambda d: (getattr(d, sort), d.id), reverse=descending)
        assert [d for found, _ in pages for d in found] == wanted

    async def test_a_page_behind_the_last_is_empty_however_far(self, store: DocStatusStore) -> None:
        await store.put([document("a")])
        assert [await store.page(ANY, Page(n, 10)) for n in (2, 2**63, 10**30)] == [([], 1)] * 3

    async def test_pages_by_id_are_stable_when_later_ids_are_inserted(self, store: DocStatusStore) -> None:
        await store.put([document(f"d{n:02}") for n in range(10)])
        first, _ = await store.page(ANY, Page(1, 5, "id", descending=False))
        await store.put([document("d99")])
        second, total = await store.page(ANY, Page(2, 5, "id", descending=False))
        assert [d.id for d in (*first, *second)] == [f"d{n:02}" for n in range(10)]
        assert total == 11

    async def test_counts_name_every_status(self, store: DocStatusStore) -> None:
        assert await store.counts() == dict.fromkeys(DocStatus, 0)
        await store.put([document("a"), document("b"), document("c", DocStatus.PROCESSED)])
        assert await store.counts() == dict.fromkeys(DocStatus, 0) | {DocStatus.PENDING: 2, DocStatus.PROCESSED: 1}

    async def test_odd_ids_are_ids(self, store: DocStatusStore) -> None:
        rows = {i: document(i, track_id=i, file_path=i) for i in ODD_IDS}
        assert await store.add(list(rows.values())) == set()
        assert await store.get(ODD_IDS) == rows
        assert [d.id for i in ODD_IDS for d in await store.find(Filter(track_id=i, file_path=i))] == list(ODD_IDS)

    async def test_batches_of_thousands(self, store: DocStatusStore) -> None:
        rows = [document(f"d{n}") for n in range(MANY)]
        assert await store.add(rows) == set()
        assert len(await store.get([d.id for d in rows])) == MANY
        await store.delete([d.id for d in rows[10:]])
        assert (await store.counts())[DocStatus.PENDING] == 10

    async def test_delete_and_clear(self, store: DocStatusStore) -> None:
        await store.put([document("a"), document("b"), document("c")])
        await store.delete(["a", "unknown"])
        assert set(await store.get(["a", "b", "c"])) == {"b", "c"}
        await store.clear()
        assert await store.page(ANY, Page()) == ([], 0)
