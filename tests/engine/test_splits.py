"""What was merged can be split again, and the graph is as it would be without the merge."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightrag_server.core.edits import (
    CreateEntity,
    CreateRelation,
    Edit,
    EditEntity,
    EntityFields,
    MergeEntities,
    RelationFields,
    SplitEntity,
)
from lightrag_server.errors import Conflict, InvalidInput, NotFound
from tests.engine.conftest import Bench, opened_bench
from tests.engine.test_commit_law import documents
from tests.engine.test_curation import (
    CHEAP,
    EVERYBODY,
    NAMES,
    SEQUEL,
    STORY,
    carried_out,
    edit_lists,
    edited,
    entity,
    found_by,
    relation,
    state,
)

pairs = st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).filter(lambda pair: pair[0] != pair[1])
merges = st.lists(
    st.one_of(
        st.builds(lambda pair: MergeEntities((pair[0],), pair[1]), pairs),
        st.builds(lambda pair: MergeEntities((pair[0],), "Somebody"), pairs),
        st.builds(lambda name: EditEntity(name, EntityFields(), "Ghost"), st.sampled_from(NAMES)),
    ),
    min_size=1,
    max_size=4,
)


async def aliases(bench: Bench) -> set[str]:
    return {key async for key, _ in bench.stores.curated.scan("alias:")}


async def merged(bench: Bench, edits: Sequence[Edit]) -> list[str]:
    """Carry merges out one after another; the names that became aliases by each, in order."""
    made: list[str] = []
    for edit in edits:
        before = await aliases(bench)
        try:
            await edited(bench, edit)
        except (Conflict, NotFound, InvalidInput):
            continue
        # of those with a record of their own, the newest; others only followed
        made += sorted(key.removeprefix("alias:") for key in await aliases(bench) - before)
    return made


@given(documents(), edit_lists(), merges)
@CHEAP
def test_merges_taken_back_in_turn_leave_the_graph_as_it_was(
    texts: list[tuple[str, str]], edits: list[Edit], joined: list[Edit]
) -> None:
    async def check() -> None:
        async with opened_bench() as bench:
            await bench.insert(("first.txt", EVERYBODY), *texts)
            await carried_out(bench, edits)
            before = await state(bench)
            for name in reversed(await merged(bench, joined)):
                await edited(bench, SplitEntity(name))
            assert await state(bench) == before

    asyncio.run(check())


@given(documents(), documents(), merges, st.randoms(use_true_random=False))
@CHEAP
def test_splits_in_any_order_and_after_later_documents_leave_what_documents_say(
    texts: list[tuple[str, str]], later: list[tuple[str, str]], joined: list[Edit], random: Any
) -> None:
    later = [(f"later-{source}", text) for source, text in later]

    async def check() -> None:
        async with opened_bench() as bench, opened_bench() as untouched:
            await bench.insert(("first.txt", EVERYBODY), *texts)
            made = await merged(bench, joined)
            await bench.insert(*later)
            random.shuffle(made)
            for name in made:
                await edited(bench, SplitEntity(name))
            await untouched.insert(("first.txt", EVERYBODY), *texts)
            await untouched.insert(*later)
            assert await state(bench) == await state(untouched)

    asyncio.run(check())


@given(documents(), documents(), merges)
@settings(CHEAP, max_examples=8)
def test_deleting_documents_under_a_merge_and_splitting_leaves_the_rest(
    texts: list[tuple[str, str]], more: list[tuple[str, str]], joined: list[Edit]
) -> None:
    more = [(f"more-{source}", text) for source, text in more]

    async def check() -> None:
        async with opened_bench() as bench, opened_bench() as untouched:
            await bench.insert(("first.txt", EVERYBODY), *texts)
            gone = await bench.insert(*more)
            made = await merged(bench, joined)
            await bench.delete(*gone)
            for name in reversed(made):
                await edited(bench, SplitEntity(name))
            await untouched.insert(("first.txt", EVERYBODY), *texts)
            assert await state(bench) == await state(untouched)

    asyncio.run(check())


async def test_a_split_name_is_found_as_itself_again_and_keeps_its_relations() -> None:
    async with opened_bench() as bench:
        await bench.insert(("a.txt", STORY + "\nentity<|#|>Ebenezer<|#|>person<|#|>owner of the firm"))
        await edited(bench, MergeEntities(("Scrooge",), "Ebenezer", "equal names"))
        await bench.insert(("b.txt", SEQUEL))
        await edited(bench, SplitEntity("SCROOGE"))
        assert await relation(bench, "Scrooge", "Fred") is not None
        assert await relation(bench, "Ebenezer", "Fred") is None
        assert await found_by(bench, "Scrooge") == "scrooge"
        with pytest.raises(NotFound):
            await edited(bench, SplitEntity("Scrooge"))


async def test_what_was_written_after_the_merge_stays_where_it_was_written() -> None:
    async with opened_bench() as bench:
        await bench.insert(("a.txt", STORY))
        await edited(bench, CreateEntity("Ebby", EntityFields(description="a pet name")))
        await edited(bench, CreateEntity("Belle", EntityFields(description="once engaged")))
        await edited(bench, CreateRelation("Ebby", "Belle", RelationFields(description="were engaged")))
        await edited(bench, MergeEntities(("Ebby",), "Scrooge"))
        await edited(bench, EditEntity("Scrooge", EntityFields(type="hero")))
        await edited(bench, SplitEntity("Ebby"))
        scrooge, ebby = await entity(bench, "Scrooge"), await entity(bench, "Ebby")
        assert scrooge is not None
        assert ebby is not None
        assert (scrooge.description, scrooge.type) == ("a miser of London", "hero")
        assert (ebby.description, ebby.type) == ("a pet name", "UNKNOWN")
        assert await relation(bench, "Ebby", "Belle") is not None
        assert await relation(bench, "Scrooge", "Belle") is None


async def test_the_others_stay_merged_and_keep_their_common_name() -> None:
    async with opened_bench() as bench:
        await bench.insert(("a.txt", STORY + "\nentity<|#|>Fred<|#|>person<|#|>nephew"))
        await edited(bench, MergeEntities(("Scrooge", "Marley"), "Fred"))
        await edited(bench, SplitEntity("Scrooge"))
        assert await bench.stores.graph.labels() == ["Fred", "Scrooge"]
        await edited(bench, SplitEntity("Marley"))
        assert await bench.stores.graph.labels() == ["Fred", "Marley", "Scrooge"]
        assert [row async for row in bench.stores.curated.scan()] == []


async def test_an_alias_from_before_merges_were_kept_can_be_split() -> None:
    async with opened_bench() as bench:
        await bench.insert(("a.txt", STORY))
        before = await bench.knowledge()
        await edited(bench, MergeEntities(("Scrooge",), "Marley"))
        await bench.stores.curated.delete(["merge:scrooge"])
        await edited(bench, SplitEntity("Scrooge"))
        assert (await bench.knowledge())["counts"] == before["counts"]
