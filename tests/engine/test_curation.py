"""Edits by hand win over what documents say, whenever either of them comes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lightrag_server.core import ids
from lightrag_server.core.edits import (
    CreateEntity,
    CreateRelation,
    DeleteEntity,
    DeleteRelation,
    Edit,
    Edited,
    EditEntity,
    EditRelation,
    EntityFields,
    Import,
    MergeEntities,
    RelationFields,
)
from lightrag_server.core.records import Entity, Relation
from lightrag_server.engine import job_kinds
from lightrag_server.engine.edits import Edits
from lightrag_server.errors import Conflict, InvalidInput, LightRAGError, NotFound, ProviderUnavailable
from lightrag_server.ports.embedding import Purpose
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.sqlite.backend import SQLiteBackend
from tests.engine.conftest import Bench, opened_bench
from tests.engine.test_commit_law import documents
from tests.engine.test_recovery import reconciling

STORY = (
    "entity<|#|>Scrooge<|#|>person<|#|>a miser of London\n"
    "entity<|#|>Marley<|#|>person<|#|>a partner who died\n"
    "relation<|#|>Scrooge<|#|>Marley<|#|>partner<|#|>they kept a firm"
)
SEQUEL = (
    "entity<|#|>Scrooge<|#|>person<|#|>a changed man\n"
    "relation<|#|>Scrooge<|#|>Fred<|#|>nephew<|#|>Fred is the son of his sister"
)


async def edited(bench: Bench, edit: Edit) -> Edited:
    edits = Edits(bench.stores, bench.queue)
    edit_id, _ = await edits.submit(edit)
    await bench.write()
    outcome = await edits.outcome(edit_id)
    assert outcome is not None
    return outcome


async def entity(bench: Bench, name: str) -> Entity | None:
    key = ids.entity_key(name)
    return (await bench.stores.graph.entities([key])).get(key)


async def relation(bench: Bench, a: str, b: str) -> Relation | None:
    pair = ids.pair_of(ids.entity_key(a), ids.entity_key(b))
    return (await bench.stores.graph.relations([pair])).get(pair)


async def found_by(bench: Bench, name: str) -> str | None:
    """The key of the entity that a search for exactly this name finds."""
    [vector] = await bench.embedder.embed([name], "query")
    hits = await bench.stores.entities.search(vector, 1, 0.99)
    return hits[0].ref if hits else None


# ----------------------------------------------------------------------------- what each edit does


async def test_an_edited_description_wins_over_documents_that_come_before_and_after() -> None:
    async with opened_bench() as bench:
        await bench.insert(("a.txt", STORY))
        await edited(bench, EditEntity("Scrooge", EntityFields(description="the hero", type="hero")))
        await bench.insert(("b.txt", SEQUEL))
        found = await entity(bench, "scrooge")
        assert found is not None
        assert (found.description, found.type) == ("the hero", "hero")
        assert found.mentions == 2


async def test_an_edit_survives_the_deletion_and_return_of_its_documents() -> None:
    async with opened_bench() as bench:
        [document] = await bench.insert(("a.txt", STORY))
        await edited(bench, EditEntity("Scrooge", EntityFields(description="the hero")))
        await bench.delete(document)
        assert await entity(bench, "Scrooge") is None
        await bench.insert(("a.txt", STORY))
        found = await entity(bench, "Scrooge")
        assert found is not None
        assert found.description == "the hero"


async def test_a_merge_lets_later_documents_land_on_the_merged_entity() -> None:
    async with opened_bench() as bench:
        await bench.insert(("a.txt", STORY + "\nentity<|#|>Ebenezer<|#|>person<|#|>owner of the firm"))
        result = await edited(bench, MergeEntities(("Scrooge",), "Ebenezer"))
        assert result == Edited(("Ebenezer",), merged=True)
        await bench.insert(("b.txt", SEQUEL))
        assert await entity(bench, "Scrooge") is None
        merged = await entity(bench, "Ebenezer")
        assert merged is not None
        assert merged.name == "Ebenezer"
        assert "a miser of London" in merged.description
        assert "a changed man" in merged.description
        assert await relation(bench, "Ebenezer", "Fred") is not None
        assert await relation(bench, "Scrooge", "Marley") is None
        assert await found_by(bench, "Scrooge") == "ebenezer"


async def test_a_renamed_entity_is_found_by_both_names_and_keeps_its_relations() -> None:
    async with opened_bench() as bench:
        await bench.insert(("a.txt", STORY))
        result = await edited(bench, EditEntity("Scrooge", EntityFields(), new_name="Ebenezer Scrooge"))
        assert result == Edited(("Ebenezer Scrooge",), renamed=True)
        assert await relation(bench, "Ebenezer Scrooge", "Marley") is not None
        assert await found_by(bench, "Scrooge") == "ebenezer scrooge"
        assert await found_by(bench, "Ebenezer Scrooge") == "ebenezer scrooge"


async def test_only_the_spelling_changes_when_the_new_name_is_the_same_entity() -> None:
    async with opened_bench() as bench:
        await bench.insert(("a.txt", STORY))
        result = await edited(bench, EditEntity("scrooge", EntityFields(), new_name="SCROOGE"))
        assert result.renamed
        found = await entity(bench, "scrooge")
        assert found is not None
        assert found.name == "SCROOGE"


async def test_a_rename_back_ends_where_it_began() -> None:
    async with opened_bench() as bench:
        await bench.insert(("a.txt", STORY))
        await edited(bench, EditEntity("Scrooge", EntityFields(), new_name="Ebenezer"))
        await edited(bench, EditEntity("Ebenezer", EntityFields(), new_name="Scrooge"))
        assert await bench.stores.graph.labels() == ["Marley", "Scrooge"]


async def test_a_name_that_exists_is_only_taken_over_when_merging_is_allowed() -> None:
    async with opened_bench() as bench:
        await bench.insert(("a.txt", STORY))
        with pytest.raises(Conflict):
            await edited(bench, EditEntity("Scrooge", EntityFields(), new_name="Marley"))
        result = await edited(bench, EditEntity("Scrooge", EntityFields(), new_name="Marley", may_merge=True))
        assert result == Edited(("Marley",), merged=True)
        assert await bench.stores.graph.labels() == ["Marley"]


async def test_merges_of_merged_entities_end_at_the_last_one() -> None:
    async with opened_bench() as bench:
        await bench.insert(("a.txt", STORY + "\nentity<|#|>Fred<|#|>person<|#|>nephew"))
        await edited(bench, MergeEntities(("Scrooge",), "Marley"))
        await edited(bench, MergeEntities(("Marley",), "Fred"))
        await bench.insert(("b.txt", SEQUEL))
        assert await bench.stores.graph.labels() == ["Fred"]


async def test_a_deleted_entity_stays_away_until_it_is_created_again() -> None:
    async with opened_bench() as bench:
        await bench.insert(("a.txt", STORY))
        await edited(bench, DeleteEntity("Marley"))
        await bench.insert(("b.txt", STORY + "\n"), ("c.txt", SEQUEL))
        assert await bench.stores.graph.labels() == ["Fred", "Scrooge"]
        assert await relation(bench, "Scrooge", "Marley") is None
        assert await found_by(bench, "Marley") is None
        await edited(bench, CreateEntity("Marley", EntityFields(description="a ghost")))
        found = await entity(bench, "Marley")
        assert found is not None
        assert found.description == "a ghost"
        assert await relation(bench, "Scrooge", "Marley") is not None
        assert await found_by(bench, "Marley") == "marley"


async def test_a_deleted_entity_leaves_no_vector_of_any_of_its_spellings() -> None:
    quiet = "entity<|#|>Scrooge<|#|>person<|#|>x"
    shouted = "entity<|#|>SCROOGE<|#|>person<|#|>loud"
    async with opened_bench() as bench:
        await bench.insert(("a.txt", quiet), ("b.txt", shouted))
        assert await bench.stores.entities.count() == 2
        await edited(bench, DeleteEntity("Scrooge"))
        assert await bench.stores.entities.count() == 0


async def test_a_created_entity_needs_no_document_and_keeps_its_description_when_one_comes() -> None:
    async with opened_bench() as bench:
        await edited(bench, CreateEntity("Fred", EntityFields(description="the nephew", type="person")))
        [document] = await bench.insert(("b.txt", SEQUEL))
        await bench.delete(document)
        found = await entity(bench, "Fred")
        assert found is not None
        assert (found.description, found.type, found.file_paths) == ("the nephew", "person", ("manual_creation",))


async def test_a_relation_made_by_hand_keeps_its_ends_and_can_be_found() -> None:
    async with opened_bench() as bench:
        [document] = await bench.insert(("a.txt", STORY))
        fields = RelationFields(description="knows well", keywords="friend, neighbour", weight=3.0)
        await edited(bench, CreateEntity("Belle", EntityFields(description="once engaged")))
        await edited(bench, CreateRelation("Scrooge", "Belle", fields))
        await bench.delete(document)
        found = await relation(bench, "Belle", "Scrooge")
        assert found is not None
        assert (found.description, found.keyword_text, found.weight) == ("knows well", "friend, neighbour", 3.0)
        assert await bench.stores.graph.labels() == ["Belle", "Scrooge"]
        assert await bench.stores.facts.count() == 1


async def test_edited_and_deleted_relations_stay_so_when_documents_tell_of_them_again() -> None:
    async with opened_bench() as bench:
        await bench.insert(("a.txt", STORY))
        await edited(bench, EditRelation("Scrooge", "Marley", RelationFields(description="rivals", weight=9.0)))
        await bench.insert(("b.txt", STORY + "\n"))
        found = await relation(bench, "Marley", "Scrooge")
        assert found is not None
        assert (found.description, found.weight) == ("rivals", 9.0)
        await edited(bench, DeleteRelation("Marley", "Scrooge"))
        await bench.insert(("c.txt", STORY + "\n\n"))
        assert await relation(bench, "Marley", "Scrooge") is None
        assert await entity(bench, "Marley") is not None


async def test_what_was_written_of_merged_entities_and_their_relations_is_kept() -> None:
    async with opened_bench() as bench:
        await bench.insert(("a.txt", STORY))
        await edited(bench, CreateEntity("Ebby", EntityFields(description="a pet name")))
        await edited(bench, CreateEntity("Belle", EntityFields(description="once engaged")))
        await edited(bench, CreateRelation("Ebby", "Belle", RelationFields(description="were engaged")))
        await edited(bench, MergeEntities(("Ebby",), "Scrooge"))
        found = await entity(bench, "Scrooge")
        assert found is not None
        assert found.description == "a miser of London\na pet name"
        moved = await relation(bench, "Scrooge", "Belle")
        assert moved is not None
        assert moved.description == "were engaged"


async def test_an_import_makes_all_or_nothing() -> None:
    people = tuple(CreateEntity(name, EntityFields(description=name)) for name in ("A", "B"))
    async with opened_bench() as bench:
        bad = Import(people, (CreateRelation("A", "C", RelationFields(description="x")),))
        with pytest.raises(InvalidInput):
            await edited(bench, bad)
        assert await bench.stores.graph.labels() == []
        good = Import(people, (CreateRelation("A", "B", RelationFields(description="x")),))
        assert (await edited(bench, good)).names == ("A", "B")
        assert await relation(bench, "A", "B") is not None


@pytest.mark.parametrize(
    ("edit", "error"),
    [
        (CreateEntity("SCROOGE", EntityFields(description="x")), Conflict),
        (CreateEntity(" “” ", EntityFields(description="x")), InvalidInput),
        (EditEntity("Nobody", EntityFields(description="x")), NotFound),
        (MergeEntities(("Scrooge", "Nobody"), "Marley"), NotFound),
        (MergeEntities(("Scrooge",), "scrooge"), InvalidInput),
        (DeleteEntity("Nobody"), NotFound),
        (CreateRelation("Scrooge", "scrooge", RelationFields()), InvalidInput),
        (CreateRelation("Scrooge", "Nobody", RelationFields()), InvalidInput),
        (CreateRelation("Scrooge", "Marley", RelationFields()), Conflict),
        (EditRelation("Scrooge", "Fred", RelationFields()), NotFound),
        (DeleteRelation("Scrooge", "Fred"), NotFound),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, type) else value.code,
)
async def test_an_edit_that_cannot_be_changes_nothing_and_says_why(edit: Edit, error: type[LightRAGError]) -> None:
    async with opened_bench() as bench:
        await bench.insert(("a.txt", STORY))
        before = await bench.knowledge()
        with pytest.raises(error):
            await edited(bench, edit)
        assert await bench.knowledge() == before
        assert await bench.stores.edits.count() == 0


async def test_clearing_a_workspace_forgets_what_was_edited() -> None:
    async with opened_bench() as bench:
        await bench.insert(("a.txt", STORY))
        await edited(bench, MergeEntities(("Scrooge",), "Marley"))
        await bench.stores.clear_knowledge()
        await bench.insert(("b.txt", SEQUEL))
        assert await bench.stores.graph.labels() == ["Fred", "Scrooge"]


async def test_edits_are_carried_out_in_their_order_and_an_interrupted_one_later() -> None:
    async with opened_bench() as bench:
        await bench.insert(("a.txt", STORY))
        edits = Edits(bench.stores, bench.queue)
        submitted = [
            await edits.submit(EditEntity("Scrooge", EntityFields(description=text))) for text in ("one", "two")
        ]
        assert [await edits.outcome(i) for i, _ in submitted] == [None, None]
        await bench.write()
        found = await entity(bench, "Scrooge")
        assert found is not None
        assert found.description == "two"
        assert all([await edits.outcome(i) for i, _ in submitted])


# ----------------------------------------------------------------------------- laws

CHEAP = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NAMES = ["Scrooge", "Marley", "Bob Cratchit", "Tiny Tim", "Fred", "Belle"]
names = st.sampled_from(NAMES)


@st.composite
def edit_lists(draw: st.DrawFn) -> list[Edit]:
    return draw(
        st.lists(
            st.one_of(
                st.builds(EditEntity, names, st.builds(EntityFields, description=st.just("by hand"))),
                st.builds(EditEntity, names, st.just(EntityFields()), names, st.just(True)),
                st.builds(EditEntity, names, st.just(EntityFields()), st.sampled_from(["Ghost", "Uncle"])),
                st.builds(lambda a, b: MergeEntities((a,), b), names, names),
                st.builds(DeleteEntity, names),
                st.builds(CreateEntity, names, st.builds(EntityFields, description=st.just("made"))),
                st.builds(CreateRelation, names, names, st.builds(RelationFields, keywords=st.just("told, so"))),
                st.builds(EditRelation, names, names, st.builds(RelationFields, weight=st.just(5.0))),
                st.builds(DeleteRelation, names, names),
            ),
            min_size=1,
            max_size=4,
        )
    )


EVERYBODY = "\n".join(f"entity<|#|>{name}<|#|>person<|#|>{name} is told of here" for name in NAMES)


async def carried_out(bench: Bench, edits: Sequence[Edit]) -> None:
    for edit in edits:
        try:
            await edited(bench, edit)
        except (Conflict, NotFound, InvalidInput):
            continue


async def state(bench: Bench) -> dict[str, Any]:
    """What is known, and which vectors there are."""
    known = await bench.knowledge()
    known["curated"] = [row async for row in bench.stores.curated.scan()]
    return known


def in_one_spelling(texts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """An edit keeps the spelling that was shown when it was made, so which came first would matter."""
    return [(source, text.replace("SCROOGE", "Scrooge")) for source, text in texts]


@given(documents().map(in_one_spelling), edit_lists())
@CHEAP
def test_edits_hold_whether_documents_come_before_or_after_them(
    texts: list[tuple[str, str]], edits: list[Edit]
) -> None:
    """A first document makes sure that an edit finds the same entities either way."""

    async def check() -> None:
        async with opened_bench() as before, opened_bench() as after:
            first = ("first.txt", EVERYBODY)
            kept = [e for e in edits if not isinstance(e, CreateRelation | EditRelation | DeleteRelation)]
            await before.insert(first, *texts)
            await carried_out(before, kept)
            await after.insert(first)
            await carried_out(after, kept)
            await after.insert(*texts)
            assert await state(after) == await state(before)

    asyncio.run(check())


@given(documents(), edit_lists(), st.data())
@CHEAP
def test_deletion_under_edits_leaves_what_the_rest_would_have_made(
    texts: list[tuple[str, str]], edits: list[Edit], data: st.DataObject
) -> None:
    gone = data.draw(st.sets(st.integers(0, len(texts) - 1), min_size=1))

    async def check() -> None:
        async with opened_bench() as all_of_them, opened_bench() as rest:
            first = ("first.txt", EVERYBODY)
            made = await all_of_them.insert(first, *texts)
            await carried_out(all_of_them, edits)
            await all_of_them.delete(*(made[1 + n] for n in gone))
            curated = {key: row async for key, row in all_of_them.stores.curated.scan()}
            await rest.stores.curated.put(curated)
            await rest.insert(first, *[t for n, t in enumerate(texts) if n not in gone])
            assert without_handmade(await state(all_of_them)) == without_handmade(await state(rest))

    asyncio.run(check())


def without_handmade(known: dict[str, Any]) -> dict[str, Any]:
    """Curated rows put behind the engine's back make nothing by themselves: what no document speaks of is left out."""
    entities = {k: e for k, e in known["entities"].items() if e.mentions}
    relations = {p: r for p, r in known["relations"].items() if r.mentions}
    evidence = {s: chunks for s, chunks in known["evidence"].items() if s in entities or ids.pair_from(s) in relations}
    kept = {"entities": entities, "relations": relations, "evidence": evidence}
    return kept | {name: known[name] for name in ("chunks", "contributions", "lexical", "documents", "curated")}


@given(documents(), edit_lists())
@settings(CHEAP, max_examples=8)
def test_sqlite_holds_after_edits_what_memory_holds(texts: list[tuple[str, str]], edits: list[Edit]) -> None:
    async def check(folder: str) -> None:
        backend = SQLiteBackend(Path(folder), SQLiteSettings())
        async with opened_bench() as memory, opened_bench(backend) as sqlite:
            for bench in (memory, sqlite):
                await bench.insert(("first.txt", EVERYBODY), *texts)
                await carried_out(bench, edits)
            assert await state(sqlite) == await state(memory)

    with TemporaryDirectory() as folder:
        asyncio.run(check(folder))


async def test_an_edit_whose_job_was_lost_is_carried_out_after_reconciling() -> None:
    async with opened_bench() as bench:
        await bench.insert(("a.txt", STORY))
        edits = Edits(bench.stores, bench.queue)
        edit_id, _ = await edits.submit(DeleteEntity("Marley"))
        await bench.queue.cancel("", (job_kinds.COMMIT,))
        reconcile = reconciling(bench)
        assert await reconcile() == 1
        await bench.write()
        assert await edits.outcome(edit_id) == Edited(("Marley",))
        await bench.queue.cancel("", (job_kinds.COMMIT,))
        assert await reconcile() == 0


async def test_an_edit_that_fails_unexpectedly_ends_and_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened_bench() as bench:
        await bench.insert(("a.txt", STORY))
        edits = Edits(bench.stores, bench.queue)
        broken, _ = await edits.submit(EditEntity("Scrooge", EntityFields(description="x")))
        sound, _ = await edits.submit(EditEntity("Marley", EntityFields(description="y")))
        real = bench.stores.graph.entities

        async def fails_for_scrooge(keys: Collection[str]) -> dict[str, Entity]:
            if list(keys) == ["scrooge"]:
                raise RuntimeError("torn row")
            return await real(keys)

        monkeypatch.setattr(bench.stores.graph, "entities", fails_for_scrooge)
        await bench.write()
        with pytest.raises(LightRAGError, match="RuntimeError"):
            await edits.outcome(broken)
        assert await edits.outcome(sound) == Edited(("Marley",))


async def test_an_edit_that_waits_for_the_embedder_does_not_keep_documents_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with opened_bench() as bench:
        edits = Edits(bench.stores, bench.queue)
        edit_id, _ = await edits.submit(CreateEntity("Belle", EntityFields(description="x")))
        accepted = await bench.intake.accept_texts([(STORY, "a.txt")])
        await bench.prepare.run(accepted.documents[0].id)
        real = bench.embedder.embed

        async def is_away(texts: Sequence[str], purpose: Purpose) -> NDArray[np.float32]:
            raise ProviderUnavailable("the embedder is away")

        monkeypatch.setattr(bench.embedder, "embed", is_away)
        with pytest.raises(ProviderUnavailable):
            await bench.write()
        assert await bench.stores.graph.labels() == ["Marley", "Scrooge"]
        assert await edits.outcome(edit_id) is None
        monkeypatch.setattr(bench.embedder, "embed", real)
        await bench.write()
        assert await edits.outcome(edit_id) == Edited(("Belle",))
