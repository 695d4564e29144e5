"""The laws of `ports.vectors`."""

from __future__ import annotations

import numpy as np
import pytest

from lightrag_server.errors import DimensionMismatch
from lightrag_server.ports.storage import Backend
from lightrag_server.ports.vectors import VectorItem, VectorStore

from .values import ODD_IDS, random_units, unit

TOLERANCE = 1e-3


class VectorsContract:
    @pytest.fixture
    def store(self, backend: Backend) -> VectorStore:
        return backend.vectors("", "places")

    async def test_empty_input_is_fine(self, store: VectorStore) -> None:
        await store.put([])
        await store.delete([])
        assert await store.get([]) == {}
        assert await store.missing([]) == set()
        assert await store.missing(["a"]) == {"a"}
        assert await store.count() == 0
        assert await store.search(unit(1, 0), 5) == []

    async def test_vectors_come_back_nearly_equal_as_float32(self, store: VectorStore) -> None:
        vectors = random_units(20, 48)
        await store.put([VectorItem(f"v{n}", f"r{n}", vector) for n, vector in enumerate(vectors)])
        found = await store.get(["v3", "v7", "unknown"])
        assert {i: item.ref for i, item in found.items()} == {"v3": "r3", "v7": "r7"}
        assert found["v3"].vector.dtype == np.float32
        assert np.abs(found["v3"].vector - vectors[3]).max() <= TOLERANCE
        assert await store.missing(["v3", "unknown"]) == {"unknown"}

    async def test_similarities_are_to_the_nearest_query_and_leave_out_unknown_ids(self, store: VectorStore) -> None:
        queries = np.stack([unit(1, 0, 0), unit(0, 1, 0)])
        assert await store.similarities(["a"], queries) == {}
        items = [
            VectorItem("a", "r", unit(1, 1, 0)),
            VectorItem("b", "r", unit(0, 1, 0)),
            VectorItem("c", "r", unit(0, 0, 1)),
        ]
        await store.put(items)
        assert await store.similarities([], queries) == {}
        found = await store.similarities(["a", "b", "c", "unknown"], queries)
        assert found == pytest.approx({"a": 0.7071, "b": 1.0, "c": 0.0}, abs=2 * TOLERANCE)

    async def test_search_is_by_cosine_best_first(self, store: VectorStore) -> None:
        await store.put(
            [
                VectorItem("same", "r1", unit(1, 0, 0)),
                VectorItem("near", "r2", unit(1, 1, 0)),
                VectorItem("across", "r3", unit(0, 0, 1)),
                VectorItem("opposite", "r4", unit(-1, 0, 0)),
            ]
        )
        hits = await store.search(unit(1, 0, 0), 10)
        assert [(hit.id, hit.ref) for hit in hits] == [
            ("same", "r1"),
            ("near", "r2"),
            ("across", "r3"),
            ("opposite", "r4"),
        ]
        assert [hit.score for hit in hits] == pytest.approx([1, 0.7071, 0, -1], abs=2 * TOLERANCE)
        assert all(-1 <= hit.score <= 1 for hit in hits)

    async def test_search_keeps_to_top_k_and_threshold(self, store: VectorStore) -> None:
        await store.put([VectorItem(f"v{n}", "r", unit(10 - n, n)) for n in range(10)])
        assert [hit.id for hit in await store.search(unit(1, 0), 3)] == ["v0", "v1", "v2"]
        assert await store.search(unit(1, 0), 0) == []
        hits = await store.search(unit(1, 0), 10, threshold=0.9)
        assert [hit.id for hit in hits] == ["v0", "v1", "v2", "v3"]

    async def test_equal_scores_are_ordered_by_id(self, store: VectorStore) -> None:
        await store.put([VectorItem(i, "r", unit(1, 2)) for i in ("z", "b", "y", "a")])
        assert [hit.id for hit in await store.search(unit(1, 2), 3)] == ["a", "b", "y"]

    async def test_the_best_of_thousands_are_found(self, store: VectorStore) -> None:
        vectors = random_units(3_000, 64)
        await store.put([VectorItem(f"v{n:04}", f"r{n}", vector) for n, vector in enumerate(vectors)])
        assert await store.count() == 3_000
        scores = np.stack(vectors) @ vectors[42]
        wanted = {f"v{n:04}" for n in np.argsort(-scores)[:10]}
        hits = await store.search(vectors[42], 10)
        assert hits[0].id == "v0042"
        assert len(wanted & {hit.id for hit in hits}) >= 9
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)

    async def test_the_second_put_of_an_id_wins(self, store: VectorStore) -> None:
        await store.put([VectorItem("a", "old", unit(1, 0)), VectorItem("b", "b", unit(1, 1))])
        await store.search(unit(1, 0), 2)
        await store.put([VectorItem("a", "mid", unit(1, 1)), VectorItem("a", "new", unit(0, 1))])
        assert await store.count() == 2
        assert [(hit.id, hit.ref) for hit in await store.search(unit(0, 1), 1)] == [("a", "new")]
        assert [hit.id for hit in await store.search(unit(1, 0), 2)] == ["b", "a"]

    async def test_deleted_vectors_are_not_found(self, store: VectorStore) -> None:
        await store.put([VectorItem(f"v{n}", "r", unit(10 - n, n)) for n in range(10)])
        await store.search(unit(1, 0), 1)
        await store.delete(["v0", "v5", "unknown"])
        assert [hit.id for hit in await store.search(unit(1, 0), 2)] == ["v1", "v2"]
        assert await store.count() == 8
        assert set(await store.get(["v0", "v1"])) == {"v1"}
        await store.put([VectorItem("v0", "again", unit(10, 0))])
        assert [(hit.id, hit.ref) for hit in await store.search(unit(1, 0), 1)] == [("v0", "again")]

    async def test_another_length_is_refused_and_nothing_is_written(self, store: VectorStore) -> None:
        await store.put([VectorItem("a", "r", unit(1, 0, 0))])
        with pytest.raises(DimensionMismatch):
            await store.put([VectorItem("b", "r", unit(0, 1, 0)), VectorItem("c", "r", unit(1, 0))])
        with pytest.raises(DimensionMismatch):
            await store.search(unit(1, 0), 1)
        assert await store.count() == 1
        assert await store.missing(["b", "c"]) == {"b", "c"}

    async def test_a_batch_of_mixed_lengths_is_refused(self, store: VectorStore) -> None:
        with pytest.raises(DimensionMismatch):
            await store.put([VectorItem("b", "r", unit(0, 1, 0)), VectorItem("c", "r", unit(1, 0))])
        assert await store.count() == 0

    async def test_after_clear_any_length_is_accepted(self, store: VectorStore) -> None:
        await store.put([VectorItem("a", "r", unit(1, 0, 0))])
        await store.search(unit(1, 0, 0), 1)
        await store.clear()
        assert await store.count() == 0
        assert await store.search(unit(1, 0), 1) == []
        await store.put([VectorItem("a", "r", unit(0, 1))])
        assert [hit.id for hit in await store.search(unit(0, 1), 1)] == ["a"]

    async def test_namespaces_are_apart_also_in_length(self, backend: Backend, store: VectorStore) -> None:
        other = backend.vectors("", "others")
        await store.put([VectorItem("a", "one", unit(1, 0))])
        await other.put([VectorItem("a", "two", unit(0, 1, 0))])
        assert [hit.ref for hit in await store.search(unit(1, 0), 5)] == ["one"]
        await store.clear()
        assert [hit.ref for hit in await other.search(unit(0, 1, 0), 5)] == ["two"]

    async def test_odd_ids_are_ids(self, store: VectorStore) -> None:
        vectors = random_units(len(ODD_IDS), 16)
        await store.put([VectorItem(i, f"ref {i}", v) for i, v in zip(ODD_IDS, vectors, strict=True)])
        found = await store.get(ODD_IDS)
        assert {i: item.ref for i, item in found.items()} == {i: f"ref {i}" for i in ODD_IDS}
        assert [(await store.search(v, 1))[0].id for v in vectors] == list(ODD_IDS)

    async def test_ids_that_begin_and_end_alike_are_apart(self, store: VectorStore) -> None:
        first, second, third = (f"ent-abcdef-{middle}-abcdef" for middle in "123")
        await store.put([VectorItem(first, "r1", unit(1, 0)), VectorItem(second, "r2", unit(0, 1))])
        assert await store.missing([first, second, third]) == {third}
        await store.put([VectorItem(second, "r2", unit(1, 1))])
        await store.delete([first, third])
        assert list(await store.get([first, second, third])) == [second]
        assert await store.count() == 1

    async def test_a_vector_that_takes_the_place_of_another_leaves_those_around_it(self, store: VectorStore) -> None:
        vectors = random_units(40, 16)
        await store.put([VectorItem(f"v{n}", "r", vector) for n, vector in enumerate(vectors)])
        await store.delete([f"v{n}" for n in range(0, 40, 3)])
        await store.put([VectorItem(f"new{n}", "r", vectors[n]) for n in range(0, 40, 3)])
        found = await store.get([*(f"v{n}" for n in range(40)), *(f"new{n}" for n in range(40))])
        assert len(found) == 40
        for id, item in found.items():
            assert np.abs(item.vector - vectors[int(id.strip("vnew"))]).max() <= TOLERANCE

    async def test_a_scan_gives_every_item_once(self, store: VectorStore, backend: Backend) -> None:
        assert [batch async for batch in store.scan()] == []
        vectors = random_units(3_000, 8)
        await store.put([VectorItem(f"v{n}", f"r{n}", vector) for n, vector in enumerate(vectors)])
        await backend.vectors("", "others").put([VectorItem("other", "r", unit(1, 0))])
        others = [item.id async for batch in backend.vectors("", "others").scan() for item in batch]
        assert others == ["other"]
        await store.delete(["v7"])
        items = [item async for batch in store.scan() for item in batch]
        assert sorted(item.id for item in items) == sorted(f"v{n}" for n in range(3_000) if n != 7)
        seen = {item.id: item for item in items}
        assert seen["v11"].ref == "r11"
        assert np.abs(seen["v11"].vector - vectors[11]).max() <= TOLERANCE
