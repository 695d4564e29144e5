"""The laws of `ports.lexical`."""

from __future__ import annotations

import pytest

from lightrag_server.core.lexical import query_terms, terms
from lightrag_server.ports.lexical import LexicalItem, LexicalStore
from lightrag_server.ports.storage import Backend

from .values import ODD_IDS

TEXTS = {
    "w1": "The parrot repeats what it hears, and the parrots repeat it again.",
    "w2": "A parrot in the rain forest of Brazil eats nuts.",
    "w3": "Steel production in 2023 rose by 3.11 percent; part AB-123/4 is written in C++.",
    "w4": "知识图谱把实体和关系组织成一张网络。",
    "w5": "图书馆里有很多关于历史的书籍。",
    "w6": "東京タワーの高さは333メートルです。",
    "w7": "Nothing of interest is written in this short place.",
}


def item(id: str, ref: str, text: str) -> LexicalItem:
    return LexicalItem(id, ref, terms(text))


class LexicalContract:
    @pytest.fixture
    def empty(self, backend: Backend) -> LexicalStore:
        return backend.lexical("", "places")

    @pytest.fixture
    async def store(self, empty: LexicalStore) -> LexicalStore:
        await empty.put([item(i, f"ref-{i}", text) for i, text in TEXTS.items()])
        return empty

    async def test_an_empty_store_finds_nothing(self, empty: LexicalStore) -> None:
        await empty.put([])
        await empty.delete(["a"])
        await empty.clear()
        assert await empty.search(["parrot"], 5) == []
        assert await empty.count() == 0

    @pytest.mark.parametrize(
        ("question", "best"),
        [
            ("Which parrots eat nuts?", "w2"),
            ("how high was the production of STEEL", "w3"),
            ("3.11", "w3"),
            ("AB-123/4", "w3"),
            ("c++", "w3"),
            ("什么是知识图谱？", "w4"),
            ("图书", "w5"),
            ("東京タワーの高さ", "w6"),
        ],
    )
    async def test_questions_in_words_find_their_place(self, store: LexicalStore, question: str, best: str) -> None:
        hits = await store.search(query_terms(question), 5)
        assert (hits[0].id, hits[0].ref) == (best, f"ref-{best}")

    async def test_scores_fall_and_repetition_counts(self, store: LexicalStore) -> None:
        hits = await store.search(terms("parrot repeat"), 5)
        assert [hit.id for hit in hits] == ["w1", "w2"]
        assert hits[0].score > hits[1].score > 0

    async def test_unknown_and_no_terms_find_nothing(self, store: LexicalStore) -> None:
        assert await store.search([], 5) == []
        assert await store.search(["zyzzyva"], 5) == []
        assert await store.search(["parrot"], 0) == []

    async def test_unknown_terms_do_not_hide_known_ones(self, store: LexicalStore) -> None:
        assert [hit.id for hit in await store.search(["zyzzyva", "nut"], 5)] == ["w2"]

    @pytest.mark.parametrize(
        "term", ['"', "parrot OR steel", "NEAR(a b)", "terms:parrot", "parrot*", "*", "", "-", "^a", "'"]
    )
    async def test_terms_are_never_query_syntax(self, store: LexicalStore, term: str) -> None:
        assert await store.search([term], 5) == []
        assert [hit.id for hit in await store.search([term, "nut"], 5)] == ["w2"]

    async def test_a_thousand_terms(self, store: LexicalStore) -> None:
        hits = await store.search([f"unknown{n}" for n in range(999)] + ["nut"], 5)
        assert [hit.id for hit in hits] == ["w2"]

    async def test_equal_scores_are_ordered_by_id(self, store: LexicalStore) -> None:
        await store.put([item(i, "r", "an identical sentence about otters") for i in ("z", "y", "x", "a")])
        assert [hit.id for hit in await store.search(["otter"], 3)] == ["a", "x", "y"]

    async def test_the_second_put_of_an_id_wins(self, store: LexicalStore) -> None:
        await store.put([item("w1", "new", "first otter"), item("w1", "newer", "then a badger")])
        assert await store.count() == len(TEXTS)
        assert await store.search(terms("repeat otter"), 5) == []
        assert [(hit.id, hit.ref) for hit in await store.search(["badger"], 5)] == [("w1", "newer")]

    async def test_the_same_text_under_a_new_ref(self, store: LexicalStore) -> None:
        await store.put([item("w2", "moved", TEXTS["w2"])])
        assert [hit.ref for hit in await store.search(["nut"], 5)] == ["moved"]

    async def test_deleted_items_are_not_found_and_do_not_count(self, store: LexicalStore) -> None:
        before = await store.search(["steel"], 5)
        await store.put([item("extra", "r", "steel steel steel")])
        await store.delete(["extra", "unknown"])
        assert await store.search(["steel"], 5) == before
        assert await store.count() == len(TEXTS)

    async def test_clear_empties_only_its_namespace(self, backend: Backend, store: LexicalStore) -> None:
        other = backend.lexical("", "others")
        await other.put([item("o", "r", "the parrot of the other namespace")])
        assert [hit.id for hit in await other.search(["parrot"], 5)] == ["o"]
        await store.clear()
        assert await store.count() == 0
        assert await store.search(["parrot"], 5) == []
        assert [hit.id for hit in await other.search(["parrot"], 5)] == ["o"]
        await store.put([item("n", "r", "a parrot again")])
        assert [hit.id for hit in await store.search(["parrot"], 5)] == ["n"]

    async def test_odd_ids_are_ids(self, empty: LexicalStore) -> None:
        await empty.put([item(i, f"ref {i}", f"otter number {n}") for n, i in enumerate(ODD_IDS)])
        hits = await empty.search(["otter"], 50)
        assert {hit.id: hit.ref for hit in hits} == {i: f"ref {i}" for i in ODD_IDS}
        await empty.delete(ODD_IDS[1:])
        assert [hit.id for hit in await empty.search(["otter"], 50)] == [ODD_IDS[0]]

    async def test_rare_words_decide_among_thousands(self, empty: LexicalStore) -> None:
        """Common words must neither hide the place that has the rare one nor make the search fail."""
        words = ["river", "valley", "bridge", "stone", "north"]
        items = [item(f"i{n}", "r", f"{words[n % 5]} {words[n % 4]} water number{n}") for n in range(5_000)]
        await empty.put(items)
        hits = await empty.search(terms("water river valley bridge number777"), 10)
        assert hits[0].id == "i777"
        assert len(hits) == 10

    async def test_a_common_word_fills_up_what_a_rare_one_leaves(self, empty: LexicalStore) -> None:
        await empty.put([item(f"i{n:04}", "r", f"water and wind number{n}") for n in range(4_000)])
        hits = await empty.search(terms("water number77"), 25)
        assert hits[0].id == "i0077"
        assert len({hit.id for hit in hits}) == 25

    async def test_common_words_decide_among_places_with_the_rare_one(self, empty: LexicalStore) -> None:
        """One place in three has "harbour"; of a hundred places with the rare word, ten have that, too."""
        texts = [f"{'harbour' if n % 3 == 0 else 'inland'} report {n}" for n in range(8000)]
        for n in range(0, 8000, 80):
            texts[n] = f"lantern {'harbour' if n % 800 == 0 else 'inland'} report {n}"
        await empty.put([item(f"p{n}", "ref", text) for n, text in enumerate(texts)])
        hits = await empty.search(terms("lantern harbour"), 15)
        assert {hit.id for hit in hits[:10]} == {f"p{n}" for n in range(0, 8000, 800)}
        assert hits[9].score > hits[10].score

    async def test_a_scan_gives_every_id_once(self, empty: LexicalStore, backend: Backend) -> None:
        assert [batch async for batch in empty.scan_ids()] == []
        assert await empty.missing(["a"]) == {"a"}
        assert await empty.missing([]) == set()
        await backend.lexical("", "others").put([item("other", "r", "another place")])
        await empty.put([item(f"w{n}", "r", f"place {n}") for n in range(2_500)])
        await empty.delete(["w7"])
        ids = [id_ async for batch in empty.scan_ids() for id_ in batch]
        assert sorted(ids) == sorted(f"w{n}" for n in range(2_500) if n != 7)
        assert await empty.missing(["w6", "w7", "other"]) == {"w7", "other"}
