"""The merge law, as properties."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from lightrag_server.core.folding import (
    BEGINNING,
    MAX_FRAGMENTS,
    EntityContribution,
    RelationContribution,
    Rest,
    Source,
    contributions_of,
    fold_entity,
    fold_relation,
    relation_without,
    without,
)
from lightrag_server.core.records import EntityMention, Extraction, Origin, Pair, RelationMention

NAMES = st.sampled_from(["Scrooge", "SCROOGE", "“Scrooge”", "Ｓcrooge", "Marley", "Tiny  Tim"])
TEXTS = st.sampled_from(["", "a miser", "a ghost", "was dead", "owns a counting-house", "x", "y", "z", "q", "r", "s"])
MENTIONS = st.builds(EntityMention, NAMES, st.sampled_from(["person", "place", ""]), TEXTS)
RELATIONS = st.builds(
    RelationMention, NAMES, NAMES, st.lists(TEXTS, max_size=3).map(tuple), TEXTS, st.sampled_from([1.0, 0.5, 2.0])
)
EXTRACTIONS = st.builds(
    Extraction, st.lists(MENTIONS, max_size=6).map(tuple), st.lists(RELATIONS, max_size=6).map(tuple)
)


@st.composite
def chunks(draw: st.DrawFn) -> dict[str, tuple[Source, Extraction]]:
    extractions = draw(st.lists(EXTRACTIONS, min_size=1, max_size=12))
    return {
        f"doc-{n % 3}-chunk-{n:03d}": (
            Source(f"doc-{n % 3}-chunk-{n:03d}", n // 3, f"{n % 3}.txt", f"2026-01-0{1 + n % 3}"),
            extraction,
        )
        for n, extraction in enumerate(extractions)
    }


Told = tuple[dict[str, list[EntityContribution]], dict[Pair, list[RelationContribution]]]


def told_by(some: dict[str, tuple[Source, Extraction]]) -> Told:
    entities: dict[str, list[EntityContribution]] = {}
    relations: dict[Pair, list[RelationContribution]] = {}
    for source, extraction in some.values():
        told = contributions_of(source, extraction)
        for key, entity in told.entities.items():
            entities.setdefault(key, []).append(entity)
        for pair, relation in told.relations.items():
            relations.setdefault(pair, []).append(relation)
    return entities, relations


@given(chunks(), st.data())
def test_folding_in_batches_in_any_order_equals_folding_at_once(
    some: dict[str, tuple[Source, Extraction]], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(list(some)))
    cut = data.draw(st.integers(0, len(order)))
    at_once = told_by(some)
    first, second = (told_by({i: some[i] for i in part}) for part in (order[:cut], order[cut:]))
    for key, told in at_once[0].items():
        batched = fold_entity(fold_entity(None, first[0].get(key, [])), second[0].get(key, []))
        assert batched == fold_entity(None, told)
    for pair, told in at_once[1].items():
        batched = fold_relation(fold_relation(None, first[1].get(pair, [])), second[1].get(pair, []))
        assert batched == fold_relation(None, told)


@given(chunks(), st.data())
def test_what_is_taken_off_a_fold_leaves_the_fold_of_the_rest(
    some: dict[str, tuple[Source, Extraction]], data: st.DataObject
) -> None:
    order = sorted(some, key=lambda i: (some[i][0].index, i))
    gone = data.draw(st.sets(st.sampled_from(order), min_size=1))
    kept = [i for i in order if i not in gone]
    known = kept[: data.draw(st.integers(0, len(kept)))]
    (entities, relations), lost, rest, first = (
        told_by({i: some[i] for i in part}) for part in (order, gone, kept, known)
    )
    for key, told in lost[0].items():
        whole, sources = fold_entity(None, entities[key]), [c.source for c in rest[0].get(key, [])]
        assert whole
        less = without(whole, told, Rest(first[0].get(key, []), end_of(first[0].get(key, [])), sources))
        assert less is None or less == fold_entity(None, rest[0][key])
    for pair, told in lost[1].items():
        edge, sources = fold_relation(None, relations[pair]), [c.source for c in rest[1].get(pair, [])]
        assert edge
        less = relation_without(edge, told, Rest(first[1].get(pair, []), end_of(first[1].get(pair, [])), sources))
        assert less is None or less == fold_relation(None, rest[1][pair])
        assert less is None or {f for c in told for f in c.facts} <= {f for c in rest[1][pair] for f in c.facts}


def end_of(first: Sequence[EntityContribution | RelationContribution]) -> Origin:
    return Origin(first[-1].source.index, first[-1].source.chunk_id, 1000) if first else BEGINNING


def test_a_heavy_entity_takes_the_next_descriptions_from_the_first_chunks_that_are_left() -> None:
    told = [
        contributions_of(
            Source(f"doc-chunk-{n:03d}", n, f"{n:03d}.txt", f"2026-01-01T{n:04d}"),
            Extraction((EntityMention("X", "t", f"told {n}"),)),
        ).entities["x"]
        for n in range(200)
    ]
    gone, left = told[2:4], [*told[:2], *told[4:]]
    whole = fold_entity(None, told)
    assert whole
    sources = [c.source for c in left]
    assert without(whole, gone, Rest(left[:8], end_of(left[:8]), sources)) == fold_entity(None, left)
    assert without(whole, gone, Rest(left[:7], end_of(left[:7]), sources)) is None
    assert without(whole, gone, Rest(left[:8], end_of(left[:8]))) is None


@given(chunks())
def test_every_end_of_a_relation_is_an_entity(some: dict[str, tuple[Source, Extraction]]) -> None:
    entities, relations = told_by(some)
    assert {key for pair in relations for key in pair} <= set(entities)
    assert all(a < b for a, b in relations)


def test_spellings_that_differ_in_case_width_and_quotes_are_one_entity_under_the_first_spelling() -> None:
    told = [
        contributions_of(
            Source(f"c{n}", n, "a.txt", "2026"), Extraction((EntityMention(name, "person", name),))
        ).entities["scrooge"]
        for n, name in enumerate(["Scrooge", "SCROOGE", "«Ｓcrooge»"])
    ]
    entity = fold_entity(None, reversed(told))
    assert entity is not None
    assert (entity.name, entity.mentions, entity.type) == ("Scrooge", 3, "person")


def test_the_type_most_chunks_give_wins() -> None:
    told = [
        contributions_of(Source(f"c{n}", n, "a.txt", "2026"), Extraction((EntityMention("X", kind, "d"),)))
        for n, kind in enumerate(["place", "person", "person"])
    ]
    entity = fold_entity(None, [t.entities["x"] for t in told])
    assert entity is not None
    assert entity.type == "person"


def test_a_heavy_entity_keeps_a_bounded_number_of_descriptions_from_the_openings_of_documents() -> None:
    told = [
        contributions_of(
            Source(f"doc-chunk-{n:03d}", n, "a.txt", "2026"), Extraction((EntityMention("X", "t", f"told {n}"),))
        ).entities["x"]
        for n in range(200)
    ]
    entity = fold_entity(None, reversed(told))
    assert entity is not None
    assert [f.text for f in entity.fragments] == [f"told {n}" for n in range(MAX_FRAGMENTS)]
    assert entity.mentions == 200


def test_nothing_told_is_no_entity() -> None:
    assert fold_entity(None, []) is None
    assert fold_relation(None, []) is None
