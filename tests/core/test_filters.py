from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lightrag_server.core.filters import Scope, chunk_ids_of, entity_within, matches, moment, relation_within, scope_of
from lightrag_server.core.ids import chunk_id, document_of
from lightrag_server.core.records import (
    DocStatus,
    Document,
    DocumentFilter,
    Entity,
    Fragment,
    Origin,
    Profile,
    Relation,
    Stage,
    Version,
)

DOCUMENT = Document(
    id="doc-1",
    file_path="a/report.pdf",
    status=DocStatus.PROCESSED,
    stage=Stage.COMMITTED,
    created_at="2026-03-01T10:00:00+00:00",
    updated_at="2026-03-02T10:00:00+00:00",
    tags=("finance", "draft"),
    attributes={"year": 2025, "final": True, "languages": ["en", "zh"], "note": None, "share": 0.5},
)


def wanted(**fields: Any) -> DocumentFilter:
    return DocumentFilter(**fields)


@pytest.mark.parametrize(
    "where",
    [
        wanted(),
        wanted(document_ids=frozenset({"doc-1", "doc-2"})),
        wanted(file_paths=frozenset({"a/report.pdf"})),
        wanted(tags_any=frozenset({"other", "draft"})),
        wanted(tags_all=frozenset({"finance", "draft"})),
        wanted(attributes={"year": (2024, 2025)}),
        wanted(attributes={"year": (2025.0,)}),
        wanted(attributes={"languages": ("zh",), "final": (True,)}),
        wanted(created_from="2026-03-01", created_before="2026-03-02"),
        wanted(created_from="2026-03-01T10:00:00Z"),
        wanted(created_from="2026-03-01T18:00:00+08:00"),
        wanted(created_before="2026-03-01T10:00:00.000001"),
    ],
    ids=lambda _: "filter",
)
def test_a_document_matches_when_every_condition_holds(where: DocumentFilter) -> None:
    assert matches(DOCUMENT, where)


@pytest.mark.parametrize(
    "where",
    [
        wanted(document_ids=frozenset({"doc-2"})),
        wanted(document_ids=frozenset()),
        wanted(file_paths=frozenset({"report.pdf"})),
        wanted(tags_any=frozenset({"Finance"})),
        wanted(tags_all=frozenset({"finance", "final"})),
        wanted(attributes={"year": (2024,)}),
        wanted(attributes={"year": ("2025",)}),
        wanted(attributes={"final": (1,)}),
        wanted(attributes={"year": (2025,), "languages": ("de",)}),
        wanted(attributes={"unknown": (1,)}),
        wanted(attributes={"note": (None,)}),
        wanted(created_before="2026-03-01T10:00:00Z"),
        wanted(created_from="2026-03-01T10:00:00.000001Z"),
        wanted(tags_any=frozenset({"finance"}), created_from="2027-01-01"),
    ],
    ids=lambda _: "filter",
)
def test_one_condition_that_does_not_hold_is_enough_to_leave_a_document_out(where: DocumentFilter) -> None:
    assert not matches(DOCUMENT, where)


@pytest.mark.parametrize("created_at", ["", "yesterday"])
def test_a_document_without_a_readable_time_is_in_no_span_of_time(created_at: str) -> None:
    document = replace(DOCUMENT, created_at=created_at)
    assert not matches(document, wanted(created_from="0001-01-01"))
    assert matches(document, wanted(tags_any=frozenset({"draft"})))


@pytest.mark.parametrize("text", ["", "2026-13-01", "now", "2026-01-01T25:00", "٢٠٢٦-01-01"])
def test_what_is_no_iso_time_is_none(text: str) -> None:
    assert moment(text) is None


@pytest.mark.parametrize("document", ["doc-1", "a-chunk-007", "x" * 500, "🦜", "a-chunk-", "-chunk-000"])
@pytest.mark.parametrize("index", [0, 7, 999, 1000, 12345])
def test_the_document_follows_from_the_chunk(document: str, index: int) -> None:
    assert document_of(chunk_id(document, index)) == document


@pytest.mark.parametrize("chunk", ["manual_creation", "", "chunk-0123", "-chunk-001", "doc-chunk-", "doc-chunk-0x1"])
def test_other_ids_name_no_document(chunk: str) -> None:
    assert document_of(chunk) is None


# ----------------------------------------------------------------------------- scopes

HERE, THERE, MADE = chunk_id("here", 0), chunk_id("there", 0), "manual_creation"


def fragments(**texts: str) -> tuple[Fragment, ...]:
    places = {"here": HERE, "there": THERE, "made": MADE}
    return tuple(Fragment(Origin(0, places[name], n), text) for n, (name, text) in enumerate(texts.items()))


def entity(names: tuple[Fragment, ...], told: tuple[Fragment, ...], **more: Any) -> Entity:
    return Entity("bob", names[0].text, "PERSON", told, {"PERSON": 2}, names, 2, ("here.txt", "there.txt"), **more)


def document(name: str, *chunks: str, **more: Any) -> Document:
    return replace(DOCUMENT, id=name, file_path=f"{name}.txt", chunk_ids=chunks, **more)


def test_all_but_some_and_only_some_are_each_others_rest() -> None:
    odd = document("here", HERE, "chunk-77")
    only, rest = scope_of([odd], is_rest=False), scope_of([odd], is_rest=True)
    for chunk in (HERE, "chunk-77", chunk_id("here", 1)):
        assert (only.has_chunk(chunk), rest.has_chunk(chunk)) == (True, False)
    for chunk in (THERE, MADE, "chunk-78"):
        assert (only.has_chunk(chunk), rest.has_chunk(chunk)) == (False, True)
    assert (only.has_path("here.txt"), rest.has_path("here.txt")) == (True, False)


def test_everything_and_nothing() -> None:
    assert scope_of([], is_rest=True).is_everything
    assert scope_of([], is_rest=False).is_nothing
    assert not scope_of([DOCUMENT], is_rest=True).is_everything
    assert not scope_of([DOCUMENT], is_rest=False).is_nothing


def test_a_document_in_the_making_serves_with_the_chunks_of_its_old_version() -> None:
    old = Version("k", "h", "", 1, (HERE, "old"), Profile.LIGHT)
    assert chunk_ids_of(document("here", HERE, "new", serving=old)) == [HERE, "old", "new"]


def test_an_entity_shows_what_the_scope_says_of_it() -> None:
    told = entity(fragments(there="BOB", here="Bob"), fragments(there="a secret", here="a clerk"))
    shown = entity_within(told, scope_of([document("here")], is_rest=False))
    assert (shown.name, shown.description, shown.file_paths, shown.type) == ("Bob", "a clerk", ("here.txt",), "PERSON")
    assert entity_within(told, scope_of([document("there")], is_rest=True)) == shown


def test_an_entity_that_is_only_named_keeps_its_name_alone() -> None:
    told = entity(fragments(here="Bob"), fragments(there="a secret"))
    shown = entity_within(told, scope_of([document("here")], is_rest=False))
    assert (shown.name, shown.description, shown.type, shown.types) == ("Bob", "", "UNKNOWN", {})


def test_what_people_wrote_is_part_of_the_rest_only() -> None:
    folded = entity(fragments(here="Bob"), fragments(here="a clerk"))
    told = entity(fragments(made="Robert"), fragments(made="our friend"), is_curated=True, folded=folded)
    rest = entity_within(told, scope_of([document("there")], is_rest=True))
    assert (rest.name, rest.description) == ("Robert", "our friend")
    only = entity_within(told, scope_of([document("here")], is_rest=False))
    assert (only.description, only.names) == ("", ())


def test_a_relation_shows_what_the_scope_says_of_it() -> None:
    told = Relation(
        ("bob", "tim"),
        ("Bob", "Tim"),
        fragments(there="betrays", here="father of"),
        fragments(there="crime", here="family"),
        2.0,
        2,
        ("here.txt", "there.txt"),
    )
    shown = relation_within(told, scope_of([document("here")], is_rest=False))
    assert (shown.description, shown.keyword_text, shown.file_paths) == ("father of", "family", ("here.txt",))
    assert relation_within(told, Scope()) == told
