"""A view of some documents shows what a workspace of these documents alone would hold."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightrag_server.core import ids, lexical
from lightrag_server.core.records import DocStatus, Document, DocumentFilter, Entity, Fragment, Origin, Relation, Stage
from lightrag_server.engine.scope import FEW_CHUNKS, Choice, Knowledge, choose, within
from lightrag_server.engine.stores import Stores
from lightrag_server.errors import DimensionMismatch
from tests.engine.conftest import Bench, opened_bench
from tests.engine.test_commit_law import documents

ALL = 10_000
MADE = (Fragment(Origin(0, "manual_creation"), "made by hand"),)


def only(document_ids: Sequence[str]) -> DocumentFilter:
    return DocumentFilter(document_ids=frozenset(document_ids))


async def enable(stores: Stores, document_id: str, is_enabled: bool) -> None:
    assert await stores.documents.update(document_id, lambda row: row.with_(is_enabled=is_enabled))


@given(documents(), st.data())
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_view_holds_what_the_chosen_documents_alone_would_make(
    texts: list[tuple[str, str]], data: st.DataObject
) -> None:
    chosen = sorted(data.draw(st.sets(st.integers(0, len(texts) - 1), min_size=1)))

    async def check() -> None:
        async with opened_bench() as whole, opened_bench() as alone:
            made = await whole.insert(*texts)
            await alone.insert(*(texts[n] for n in chosen))
            few = await choose(whole.stores.documents, only([made[n] for n in chosen]))
            assert few.few_chunks is not None
            for n, document_id in enumerate(made):
                await enable(whole.stores, document_id, n in chosen)
            rest = await choose(whole.stores.documents, None)
            for choice in (few, Choice(few.scope), rest):
                await _compare(whole, within(whole.stores, choice), alone.stores)

    asyncio.run(check())


async def _compare(bench: Bench, seen: Knowledge, alone: Stores) -> None:
    graph = alone.graph
    keys = [ids.entity_key(name) for name in await bench.stores.graph.labels()]
    expected = await graph.entities(keys)
    shown = await seen.graph.entities(keys)
    assert {k: _told(e) for k, e in shown.items()} == {k: _told(e) for k, e in expected.items()}

    around, wanted_around = await seen.graph.expand(keys, ALL), await graph.expand(keys, ALL)
    pairs = {r.pair: _told(r) for e in around.values() for r in e.relations}
    assert pairs == {r.pair: _told(r) for e in wanted_around.values() for r in e.relations}
    assert {p: _told(r) for p, r in (await seen.graph.relations(list(pairs))).items()} == pairs
    nearest = await seen.graph.expand(keys, 1)
    assert {k for k, e in nearest.items() if e.relations} == {k for k, e in wanted_around.items() if e.relations}

    subjects = [*keys, *map(ids.subject_of, pairs)]
    evidence = await graph.chunks_of(subjects)
    assert await seen.graph.chunks_of(subjects) == evidence
    assert await seen.graph.chunks_of(subjects, 1) == {s: told[:1] for s, told in evidence.items()}
    chunk_ids = [i for told in (await bench.stores.graph.chunks_of(subjects)).values() for i in told]
    assert await seen.chunks.get(chunk_ids) == await alone.chunks.get(chunk_ids)

    for question in ("Scrooge was seen", "clerk"):
        [vector] = await bench.embedder.embed([question], "query")
        for top_k in (1, 3, ALL):
            hits, wanted = await seen.windows.search(vector, top_k), await alone.windows.search(vector, top_k)
            # equal texts have equal vectors, whose scores may differ by a rounding error
            assert np.allclose([h.score for h in hits], [h.score for h in wanted], atol=1e-5)
        listed = [h.id for h in hits]
        assert set(listed) == {h.id for h in wanted}
        near = await seen.windows.similarities([*listed, "unknown-w0"], vector[None, :])
        assert near == pytest.approx({h.id: h.score for h in hits}, abs=1e-5)
        for here, there in ((seen.entities, alone.entities), (seen.facts, alone.facts)):
            found = {h.ref for h in await here.search(vector, ALL)}
            assert found == {h.ref for h in await there.search(vector, ALL)}
            assert {h.ref for h in await here.search(vector, 2)} <= found
        terms = lexical.query_terms(question)
        assert {h.id for h in await seen.lexical.search(terms, ALL)} == {
            h.id for h in await alone.lexical.search(terms, ALL)
        }


def _told(told: Entity | Relation) -> tuple[object, ...]:
    """Everything but what is counted over all documents: votes, weights, times."""
    texts = told.names if isinstance(told, Entity) else told.keywords
    return told.fragments, texts, told.file_paths, told.name if isinstance(told, Entity) else told.pair


# ----------------------------------------------------------------------------- which documents


def row(name: str, **more: object) -> Document:
    fresh = Document(name, f"{name}.txt", DocStatus.PROCESSED, Stage.COMMITTED, "2026-01-01T00:00:00+00:00", "2026")
    return fresh.with_(chunk_ids=(ids.chunk_id(name, 0),), **more)


async def test_without_a_filter_everything_but_the_disabled_serves() -> None:
    async with opened_bench() as bench:
        await bench.stores.documents.put([row("a"), row("b")])
        assert (await choose(bench.stores.documents, None)).scope.is_everything
        assert within(bench.stores, await choose(bench.stores.documents, None)) is bench.stores
        await enable(bench.stores, "b", is_enabled=False)
        for wanted in (None, DocumentFilter()):
            scope = (await choose(bench.stores.documents, wanted)).scope
            assert scope.is_rest
            assert (scope.documents, scope.file_paths) == ({"b"}, {"b.txt"})


@pytest.mark.parametrize(
    "wanted",
    [
        only(["a", "off", "unknown"]),
        DocumentFilter(file_paths=frozenset({"a.txt", "off.txt", "c.txt", "none"}), tags_any=frozenset({"x"})),
        DocumentFilter(tags_all=frozenset({"x", "y"})),
        DocumentFilter(tags_any=frozenset({"x"}), attributes={"n": (1,)}),
    ],
    ids=lambda _: "filter",
)
async def test_a_filter_chooses_among_the_enabled(wanted: DocumentFilter) -> None:
    async with opened_bench() as bench:
        x, n = {"tags": ("x", "y")}, {"attributes": {"n": 1}}
        await bench.stores.documents.put([row("a", **x, **n), row("off", **x, **n, is_enabled=False), row("c", **n)])
        choice = await choose(bench.stores.documents, wanted)
        assert (choice.scope.is_rest, choice.scope.documents) == (False, {"a"})
        assert choice.few_chunks == (ids.chunk_id("a", 0),)


async def test_nothing_chosen_is_nothing() -> None:
    async with opened_bench() as bench:
        await bench.stores.documents.put([row("a", is_enabled=False)])
        assert (await choose(bench.stores.documents, only(["a"]))).scope.is_nothing


async def test_many_chunks_are_not_listed() -> None:
    async with opened_bench() as bench:
        chunks = tuple(ids.chunk_id("long", n) for n in range(FEW_CHUNKS))
        await bench.stores.documents.put([row("long").with_(chunk_ids=chunks), row("b")])
        assert (await choose(bench.stores.documents, only(["long"]))).few_chunks == chunks
        assert (await choose(bench.stores.documents, only(["long", "b"]))).few_chunks is None


# ----------------------------------------------------------------------------- made by hand


async def test_what_was_made_by_hand_serves_without_a_filter_only() -> None:
    async with opened_bench() as bench:
        made = await bench.insert(
            ("a.txt", "entity<|#|>Bob<|#|>person<|#|>a clerk"), ("b.txt", "entity<|#|>Tim<|#|>person<|#|>a boy")
        )
        hand = Entity("ghost", "Ghost", "SPIRIT", MADE, {}, MADE, 0, ("manual_creation",), is_curated=True)
        bare = Entity("shade", "Shade", "SPIRIT", (), {}, (), 0, ("manual_creation",), is_curated=True)
        tie = Relation(("bob", "ghost"), ("Bob", "Ghost"), MADE, (), 1.0, 0, ("manual_creation",), is_curated=True)
        await bench.stores.graph.put([hand, bare], [tie])
        await enable(bench.stores, made[1], is_enabled=False)
        keys = ["bob", "tim", "ghost", "shade"]
        rest = within(bench.stores, await choose(bench.stores.documents, None))
        assert set(await rest.graph.entities(keys)) == {"bob", "ghost", "shade"}
        assert set(await rest.graph.relations([tie.pair])) == {tie.pair}
        assert [r.pair for r in (await rest.graph.expand(["bob"], 5))["bob"].relations] == [tie.pair]
        chosen = within(bench.stores, await choose(bench.stores.documents, only([made[0]])))
        assert set(await chosen.graph.entities(keys)) == {"bob"}
        assert await chosen.graph.relations([tie.pair]) == {}
        assert (await chosen.graph.expand(["bob"], 5))["bob"].relations == ()


async def test_vectors_of_another_model_are_refused_in_a_view_too() -> None:
    async with opened_bench() as bench:
        made = await bench.insert(("a.txt", "entity<|#|>Bob<|#|>person<|#|>a clerk"))
        seen = within(bench.stores, await choose(bench.stores.documents, only(made)))
        with pytest.raises(DimensionMismatch):
            await seen.windows.search(np.ones(3, np.float32), 1)
