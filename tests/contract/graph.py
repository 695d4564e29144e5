"""The laws of `ports.graph`."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise

import pytest

from lightrag_server.core.ids import pair_of, subject_of
from lightrag_server.core.records import Entity
from lightrag_server.ports.graph import EntityFilter, Extent, GraphCounts, GraphStore
from lightrag_server.ports.storage import Backend

from .values import MANY, ODD_IDS, entity, relation


class GraphContract:
    @pytest.fixture
    def store(self, backend: Backend) -> GraphStore:
        return backend.graph("")

    async def test_empty_input_is_fine(self, store: GraphStore) -> None:
        await store.put()
        await store.delete()
        assert await store.entities([]) == {}
        assert await store.names([]) == {}
        assert await store.relations([]) == {}
        assert await store.expand([], 5) == {}
        assert await store.chunks_of([]) == {}
        assert await store.subjects_of([]) == {}
        assert await store.labels() == []
        assert await store.counts() == GraphCounts(0, 0, 0)

    async def test_nodes_and_edges_come_back_equal_and_unknown_ones_are_absent(self, store: GraphStore) -> None:
        nodes, edge = [entity("a"), entity("b", "B b")], relation("b", "a", 2.5)
        await store.put(nodes, [edge])
        assert await store.entities(["a", "b", "z"]) == {"a": nodes[0], "b": nodes[1]}
        assert await store.relations([("a", "b"), ("a", "z")]) == {("a", "b"): edge}
        assert await store.names(["b", "a", "z"]) == {"a": "A", "b": "B b"}
        assert await store.counts() == GraphCounts(2, 1, 0)

    async def test_put_replaces_by_key(self, store: GraphStore) -> None:
        await store.put([entity("a"), entity("b")], [relation("a", "b", 1)])
        await store.put([entity("a", "Renamed", 3)], [relation("a", "b", 4)])
        assert (await store.entities(["a"]))["a"].mentions == 3
        assert await store.labels() == ["B", "Renamed"]
        expanded = await store.expand(["a"], 5)
        assert (expanded["a"].degree, [r.weight for r in expanded["a"].relations]) == (1, [4])
        assert await store.counts() == GraphCounts(2, 1, 0)

    async def test_edges_are_undirected(self, store: GraphStore) -> None:
        await store.put([entity("a"), entity("b"), entity("c")], [relation("b", "a"), relation("b", "c")])
        expanded = await store.expand(["a", "b", "c", "unknown"], 5)
        assert {key: e.degree for key, e in expanded.items()} == {"a": 1, "b": 2, "c": 1}
        assert expanded["a"].relations == (relation("a", "b"),)
        assert expanded["c"].relations == (relation("b", "c"),)

    async def test_expand_gives_the_strongest_edges_then_by_pair(self, store: GraphStore) -> None:
        weights = {"a": 1, "c": 3, "d": 2, "e": 2, "f": 1, "0": 2}
        await store.put([entity("b"), *map(entity, weights)], [relation("b", k, w) for k, w in weights.items()])
        expansion = (await store.expand(["b"], 4))["b"]
        assert expansion.degree == 6
        assert [r.pair for r in expansion.relations] == [("b", "c"), ("0", "b"), ("b", "d"), ("b", "e")]
        assert (await store.expand(["b"], 0))["b"].relations == ()

    async def test_among_some_edges_the_strongest_of_those_are_given(self, store: GraphStore) -> None:
        weights = {f"k{n}": n % 9 for n in range(60)}
        await store.put([entity("m"), *map(entity, weights)], [relation("m", k, w) for k, w in weights.items()])
        whole = (await store.expand(["m"], 4))["m"]
        assert (await store.expand(["m"], 4, 60))["m"] == whole
        some = (await store.expand(["m"], 4, 20))["m"]
        assert some.degree == 60
        assert len({r.pair for r in some.relations}) == 4
        assert [r.weight for r in some.relations] == sorted((r.weight for r in some.relations), reverse=True)

    async def test_an_isolated_node_expands_to_nothing(self, store: GraphStore) -> None:
        await store.put([entity("a")])
        assert (await store.expand(["a"], 5))["a"].degree == 0

    async def test_an_edge_may_come_before_its_nodes(self, store: GraphStore) -> None:
        await store.put(relations=[relation("a", "b")])
        assert await store.expand(["a"], 5) == {}
        await store.put([entity("a")])
        assert (await store.expand(["a"], 5))["a"].degree == 1

    async def test_an_edge_from_a_node_to_itself_counts_once(self, store: GraphStore) -> None:
        await store.put([entity("a")], [relation("a", "a")])
        assert (await store.expand(["a"], 5))["a"].degree == 1
        await store.put(relations=[relation("a", "a", 2)])
        assert (await store.expand(["a"], 5))["a"].relations == (relation("a", "a", 2),)
        await store.delete(pairs=[("a", "a")])
        assert (await store.expand(["a"], 5))["a"].degree == 0

    async def test_delete_of_a_node_deletes_its_edges(self, store: GraphStore) -> None:
        await store.put(entities_of("abc"), [relation("a", "b"), relation("c", "b"), relation("a", "c")])
        await store.delete(keys=["b", "unknown"])
        assert set(await store.entities("abc")) == {"a", "c"}
        assert set(await store.relations([("a", "b"), ("b", "c"), ("a", "c")])) == {("a", "c")}
        assert {k: e.degree for k, e in (await store.expand("abc", 5)).items()} == {"a": 1, "c": 1}

    async def test_delete_of_an_edge_keeps_its_nodes(self, store: GraphStore) -> None:
        await store.put(entities_of("abc"), [relation("a", "b"), relation("b", "c")])
        await store.delete(pairs=[("a", "b"), ("a", "z")])
        assert {k: e.degree for k, e in (await store.expand("abc", 5)).items()} == {"a": 0, "b": 1, "c": 1}
        assert await store.counts() == GraphCounts(3, 1, 0)

    async def test_evidence_is_found_from_both_sides(self, store: GraphStore) -> None:
        ab = subject_of(("a", "b"))
        await store.put(entities_of("ab"), [relation("a", "b")], {"c2": ["a", "b", ab], "c1": ["a"], "c3": []})
        assert await store.chunks_of(["a", ab, "unknown"]) == {"a": ["c1", "c2"], ab: ["c2"]}
        assert await store.subjects_of(["c1", "c2", "c3", "c4"]) == {"c1": ["a"], "c2": ["a", ab, "b"], "c3": []}
        assert (await store.counts()).evidence == 4

    async def test_a_known_subject_without_evidence_is_present_and_empty(self, store: GraphStore) -> None:
        await store.put(entities_of("ab"), [relation("a", "b")])
        assert await store.chunks_of(["a", subject_of(("a", "b")), "z"]) == {"a": [], subject_of(("a", "b")): []}

    async def test_chunks_of_keeps_to_its_limit_in_id_order(self, store: GraphStore) -> None:
        await store.put(evidence={f"c{n}": ["a", "b"] for n in (3, 1, 2)})
        await store.put(evidence={"c0": ["b"]})
        everything = await store.chunks_of(["a", "b"])
        some = await store.chunks_of(["a", "b"], 2)
        assert {subject: len(chunk_ids) for subject, chunk_ids in some.items()} == {"a": 2, "b": 2}
        assert all(chunk_ids == sorted(set(chunk_ids) & set(everything[s])) for s, chunk_ids in some.items())
        assert await store.chunks_of(["a", "b"], 9) == everything

    async def test_evidence_of_a_chunk_is_replaced_whole(self, store: GraphStore) -> None:
        await store.put(evidence={"c1": ["a", "b"], "c2": ["b"]})
        await store.put(evidence={"c1": ["b", "d"]})
        assert await store.subjects_of(["c1"]) == {"c1": ["b", "d"]}
        assert await store.chunks_of(["a", "b", "d"]) == {"b": ["c1", "c2"], "d": ["c1"]}

    async def test_delete_of_a_chunk_removes_only_its_evidence(self, store: GraphStore) -> None:
        await store.put([entity("a")], evidence={"c1": ["a", "b"], "c2": ["a"]})
        await store.delete(chunk_ids=["c1", "unknown"])
        assert await store.subjects_of(["c1", "c2"]) == {"c2": ["a"]}
        assert await store.chunks_of(["a", "b"]) == {"a": ["c2"]}
        assert set(await store.entities(["a"])) == {"a"}

    async def test_evidence_outlives_the_node_it_speaks_of(self, store: GraphStore) -> None:
        await store.put([entity("a")], evidence={"c1": ["a"]})
        await store.delete(keys=["a"])
        assert await store.chunks_of(["a"]) == {"a": ["c1"]}

    async def test_put_after_delete_begins_anew(self, store: GraphStore) -> None:
        await store.put(entities_of("ab"), [relation("a", "b")], {"c1": ["a"]})
        await store.delete(["a", "b"], [("a", "b")], ["c1"])
        assert await store.counts() == GraphCounts(0, 0, 0)
        await store.put(entities_of("ab"))
        assert (await store.expand(["a"], 5))["a"].degree == 0
        assert await store.chunks_of(["a"]) == {"a": []}

    async def test_labels_by_name_and_by_degree(self, store: GraphStore) -> None:
        edges = [relation("b", k) for k in "acd"] + [relation("c", "d")]
        await store.put(entities_of("abcd"), edges)
        assert await store.labels() == ["A", "B", "C", "D"]
        assert await store.labels(limit=2) == ["A", "B"]
        assert await store.labels("degree") == ["B", "C", "D", "A"]
        assert await store.labels("degree", 1) == ["B"]

    async def test_labels_that_contain_a_text(self, store: GraphStore) -> None:
        names = ["Apple Pie", "Pineapple", "apple", "Apple Tree", "100% Apple_Juice", "Banana", "苹果公司", "公司"]
        await store.put([entity(name.casefold(), name) for name in names], [relation("pineapple", "banana")])
        assert await store.labels(contains="APPLE") == [
            "apple",
            "Apple Pie",
            "Apple Tree",
            "100% Apple_Juice",
            "Pineapple",
        ]
        assert await store.labels("degree", contains="apple") == [
            "apple", "Apple Pie", "Apple Tree", "Pineapple", "100% Apple_Juice",
        ]  # fmt: skip
        assert await store.labels(limit=2, contains="apple") == ["apple", "Apple Pie"]
        assert await store.labels(contains="%") == ["100% Apple_Juice"]
        assert await store.labels(contains="_") == ["100% Apple_Juice"]
        assert await store.labels(contains="公司") == ["公司", "苹果公司"]

    async def test_pages_of_entities_by_name_and_by_degree(self, store: GraphStore) -> None:
        edges = [relation("b", k) for k in "acd"] + [relation("c", "d")]
        await store.put(entities_of("abcd"), edges)
        everything = EntityFilter()
        page, total = await store.page_entities(everything, Extent(1, 2))
        assert ([(e.entity, e.degree) for e in page], total) == ([(entity("b"), 3), (entity("c"), 2)], 4)
        page, total = await store.page_entities(everything, Extent(0, 3), "degree")
        assert ([e.entity.key for e in page], total) == (["b", "c", "d"], 4)
        assert await store.page_entities(everything, Extent(4, 2)) == ([], 4)

    async def test_pages_of_entities_hold_what_matches_name_and_type(self, store: GraphStore) -> None:
        others = [replace(entity(key), type="PLACE") for key in ("a/b 100%", "ab_c", "x")]
        await store.put([entity("ab"), entity("b"), *others])

        async def keys(contains: str = "", type: str | None = None) -> tuple[list[str], int]:
            page, total = await store.page_entities(EntityFilter(contains, type), Extent(0, 2))
            return [e.entity.key for e in page], total

        assert await keys("AB") == (["ab", "ab_c"], 2)
        assert await keys("_") == (["ab_c"], 1)
        assert await keys("%", "PLACE") == (["a/b 100%"], 1)
        assert await keys(type="PLACE") == (["a/b 100%", "ab_c"], 3)
        assert await keys("b", "THING") == (["ab", "b"], 2)
        assert await keys(type="place' OR 1=1 --") == ([], 0)

    async def test_pages_of_entities_follow_a_change_of_type(self, store: GraphStore) -> None:
        await store.put([entity("a")])
        await store.put([replace(entity("a"), type="PLACE")])
        assert (await store.page_entities(EntityFilter(type="THING"), Extent(0, 9)))[1] == 0
        assert (await store.page_entities(EntityFilter(type="PLACE"), Extent(0, 9)))[1] == 1

    async def test_pages_of_relations_strongest_first_then_by_pair(self, store: GraphStore) -> None:
        edges = [relation("b", "c", 3), relation("a", "z", 1), relation("0", "b", 2), relation("b", "d", 2)]
        await store.put([entity(k) for k in "0abcdz"], edges)
        page, total = await store.page_relations(Extent(0, 3))
        assert (page, total) == ([edges[0], edges[2], edges[3]], 4)
        page, total = await store.page_relations(Extent(3, 3))
        assert ([r.pair for r in page], total) == ([("a", "z")], 4)
        page, total = await store.page_relations(Extent(1, 9), of="b")
        assert ([r.pair for r in page], total) == ([("0", "b"), ("b", "d")], 3)
        assert await store.page_relations(Extent(0, 9), of="unknown") == ([], 0)

    async def test_a_scan_gives_everything_once(self, store: GraphStore) -> None:
        assert [batch async for batch in store.scan_entities()] == []
        assert [batch async for batch in store.scan_relations()] == []
        keys = [f"k{n:04}" for n in range(1_200)] + list(ODD_IDS)
        pairs = [pair_of(a, b) for a, b in pairwise(keys)]
        await store.put([entity(k) for k in keys], [relation(*p) for p in pairs], {"c": ["never a node"]})
        entities = [e.key async for batch in store.scan_entities() for e in batch]
        assert entities == sorted(keys)
        relations = [r.pair async for batch in store.scan_relations() for r in batch]
        assert sorted(relations) == sorted(pairs)

    async def test_a_scan_goes_on_while_the_graph_changes(self, store: GraphStore) -> None:
        keys = [f"k{n:04}" for n in range(1_200)]
        await store.put([entity(k) for k in keys])
        seen: list[str] = []
        async for batch in store.scan_entities():
            seen += [e.key for e in batch]
            await store.delete([seen[-1]])
        assert seen == keys

    async def test_subgraph_is_breadth_first_with_busy_neighbours_first(self, store: GraphStore) -> None:
        edges = [("a", "b"), ("a", "c"), ("c", "d"), ("c", "e"), ("d", "f"), ("x", "y")]
        await store.put(entities_of("abcdefxy"), [relation(*e) for e in edges])
        graph = await store.subgraph("a", max_depth=2, max_nodes=10)
        assert [e.key for e in graph.entities] == ["a", "c", "b", "d", "e"]
        assert [r.pair for r in graph.relations] == [("a", "b"), ("a", "c"), ("c", "d"), ("c", "e")]
        assert not graph.is_truncated
        assert [e.key for e in (await store.subgraph("a", 0, 10)).entities] == ["a"]
        assert [e.key for e in (await store.subgraph("f", 9, 10)).entities] == ["f", "d", "c", "a", "e", "b"]

    async def test_subgraph_keeps_to_max_nodes_and_says_so(self, store: GraphStore) -> None:
        await store.put(entities_of("abcd"), [relation("a", k) for k in "bcd"] + [relation("b", "d")])
        graph = await store.subgraph("a", 3, 3)
        assert ([e.key for e in graph.entities], graph.is_truncated) == (["a", "b", "d"], True)
        assert [r.pair for r in graph.relations] == [("a", "b"), ("a", "d"), ("b", "d")]
        assert not (await store.subgraph("a", 3, 4)).is_truncated

    async def test_subgraph_of_everything_takes_the_busiest(self, store: GraphStore) -> None:
        await store.put(entities_of("abcd"), [relation("b", k) for k in "acd"] + [relation("c", "d")])
        graph = await store.subgraph(None, 1, 3)
        assert ([e.key for e in graph.entities], graph.is_truncated) == (["b", "c", "d"], True)
        assert len(list(graph.relations)) == 3
        assert not (await store.subgraph(None, 1, 4)).is_truncated

    async def test_subgraph_has_its_relations_by_pair(self, store: GraphStore) -> None:
        """Keys in another order than that in which they came, and such as a quote or a blank would put elsewhere."""
        keys = ["b", 'a"', "a b", "a", "ab", "ä"]
        pairs = [pair_of(a, b) for a, b in combinations(keys, 2)]
        for a, b in pairs:
            await store.put([entity(a), entity(b)], [relation(a, b)])
        graph = await store.subgraph(None, 1, len(keys))
        assert [r.pair for r in graph.relations] == sorted(pairs)

    async def test_subgraph_of_an_unknown_key_is_empty(self, store: GraphStore) -> None:
        await store.put(entities_of("a"))
        graph = await store.subgraph("z", 3, 10)
        assert (list(graph.entities), list(graph.relations), graph.is_truncated) == ([], [], False)

    async def test_odd_keys_are_keys(self, store: GraphStore) -> None:
        pairs = [pair_of(a, b) for a, b in pairwise(ODD_IDS)]
        evidence = {i: [i] for i in ODD_IDS}
        await store.put([entity(i, i) for i in ODD_IDS], [relation(*p) for p in pairs], evidence)
        assert set(await store.entities(ODD_IDS)) == set(ODD_IDS)
        assert set(await store.relations(pairs)) == set(pairs)
        assert await store.subjects_of(ODD_IDS) == evidence
        assert await store.labels() == sorted(ODD_IDS)

    async def test_batches_of_thousands(self, store: GraphStore) -> None:
        keys = [f"k{n:04}" for n in range(MANY)]
        pairs = list(pairwise(keys))
        await store.put([entity(k) for k in keys], [relation(*p) for p in pairs], {k: [k] for k in keys})
        assert await store.counts() == GraphCounts(MANY, MANY - 1, MANY)
        assert len(await store.relations(pairs)) == MANY - 1
        assert len(await store.expand(keys, 5)) == MANY
        await store.delete(keys[1:], chunk_ids=keys[1:])
        assert await store.counts() == GraphCounts(1, 0, 1)
        assert (await store.expand(keys[:1], 5))[keys[0]].degree == 0

    async def test_a_scan_gives_every_chunk_with_evidence_once(self, store: GraphStore) -> None:
        assert [batch async for batch in store.scan_chunk_ids()] == []
        keys = [f"c{n:04}" for n in range(1_200)]
        await store.put(evidence={key: ["a"] for key in keys})
        await store.delete(chunk_ids=["c0007"])
        found = [chunk_id async for batch in store.scan_chunk_ids() for chunk_id in batch]
        assert found == [key for key in keys if key != "c0007"]

    async def test_clear(self, store: GraphStore) -> None:
        await store.put(entities_of("ab"), [relation("a", "b")], {"c": ["a"]})
        await store.clear()
        assert await store.counts() == GraphCounts(0, 0, 0)
        assert await store.subjects_of(["c"]) == {}
        assert await store.chunks_of(["a"]) == {}


def entities_of(keys: str) -> list[Entity]:
    return [entity(key) for key in keys]
