from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightrag_server.core import encoding
from lightrag_server.core.ids import chunk_id, pair_of
from lightrag_server.core.records import (
    Chunk,
    DocStatus,
    Document,
    Entity,
    EntityMention,
    Extraction,
    Fragment,
    Heading,
    Origin,
    PageSpan,
    ParsedDocument,
    Profile,
    Relation,
    RelationMention,
    Stage,
    Version,
    Window,
)
from lightrag_server.errors import InvalidInput

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.integers(0, 2**40)
weights = st.floats(0, 1e6)
texts_tuple = st.lists(texts, max_size=3).map(tuple)
optional_page = st.none() | st.integers(1, 9999)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
fragments = st.lists(st.builds(Fragment, st.builds(Origin, numbers, texts, numbers), texts), max_size=3).map(tuple)
regular_ids = st.integers(0, 5).map(lambda n: tuple(chunk_id("d", i) for i in range(n)))

versions = st.builds(
    Version,
    blob_key=st.none() | texts,
    content_hash=st.none() | texts,
    content_summary=texts,
    content_length=numbers,
    chunk_ids=texts_tuple | regular_ids,
    profile=st.none() | st.sampled_from(Profile),
    metadata=st.dictionaries(texts, json_values, max_size=3),
)
documents = st.builds(
    Document,
    id=st.just("d") | texts,
    file_path=texts,
    status=st.sampled_from(DocStatus),
    stage=st.sampled_from(Stage),
    created_at=texts,
    updated_at=texts,
    track_id=st.none() | texts,
    content_summary=texts,
    content_length=numbers,
    content_hash=st.none() | texts,
    chunk_ids=texts_tuple | regular_ids,
    profile=st.none() | st.sampled_from(Profile),
    error=st.none() | texts,
    blob_key=st.none() | texts,
    metadata=st.dictionaries(texts, json_values, max_size=3),
    attributes=st.dictionaries(texts, json_values, max_size=3),
    tags=texts_tuple,
    is_enabled=st.booleans(),
    serving=st.none() | versions,
)
parsed_documents = st.builds(
    ParsedDocument,
    text=texts,
    pages=st.lists(st.builds(PageSpan, numbers, numbers, numbers), max_size=3).map(tuple),
    headings=st.lists(st.builds(Heading, numbers, texts, numbers), max_size=3).map(tuple),
    format=texts,
    warnings=texts_tuple,
)
windows = st.lists(st.builds(Window, numbers, numbers, numbers, st.none() | numbers), max_size=3).map(tuple)
chunks = st.builds(
    Chunk,
    id=texts,
    document_id=texts,
    index=numbers,
    text=texts,
    tokens=numbers,
    start=numbers,
    end=numbers,
    windows=windows,
    headings=texts_tuple,
    first_page=optional_page,
    last_page=optional_page,
    file_path=texts,
    pages=st.lists(st.tuples(numbers, numbers), max_size=3).map(tuple),
)
extractions = st.builds(
    Extraction,
    entities=st.lists(st.builds(EntityMention, texts, texts, texts), max_size=3).map(tuple),
    relations=st.lists(st.builds(RelationMention, texts, texts, texts_tuple, texts, weights), max_size=3).map(tuple),
    repairs=numbers,
)
entities = st.builds(
    Entity,
    key=texts,
    name=texts,
    type=texts,
    fragments=fragments,
    types=st.dictionaries(texts, numbers, max_size=3),
    names=fragments,
    mentions=numbers,
    file_paths=texts_tuple,
    created_at=texts,
)
pairs = st.builds(pair_of, texts, texts)


@st.composite
def relations(draw: st.DrawFn) -> Relation:
    pair = draw(pairs)
    names = draw(st.just(pair) | st.tuples(texts, texts))
    return Relation(
        pair, names, draw(fragments), draw(fragments), draw(weights), draw(numbers), draw(texts_tuple), draw(texts)
    )


def stored(row: encoding.Row) -> Any:
    return encoding.from_bytes(encoding.to_bytes(row))


@given(documents)
def test_documents_come_back_equal(document: Document) -> None:
    assert encoding.document_from_row(stored(encoding.document_to_row(document))) == document


@given(parsed_documents)
def test_parsed_documents_come_back_equal(parsed: ParsedDocument) -> None:
    assert encoding.parsed_from_row(stored(encoding.parsed_to_row(parsed))) == parsed


@given(chunks)
def test_chunks_come_back_equal(chunk: Chunk) -> None:
    assert encoding.chunk_from_row(stored(encoding.chunk_to_row(chunk))) == chunk


@given(extractions)
def test_extractions_come_back_equal(extraction: Extraction) -> None:
    assert encoding.extraction_from_row(stored(encoding.extraction_to_row(extraction))) == extraction


@given(entities)
def test_entities_come_back_equal(entity: Entity) -> None:
    assert encoding.entity_from_row(stored(encoding.entity_to_row(entity))) == entity


@given(relations())
def test_relations_come_back_equal(relation: Relation) -> None:
    assert encoding.relation_from_row(stored(encoding.relation_to_row(relation))) == relation


def test_a_document_and_its_chunks_come_back_equal_with_the_text_kept_once() -> None:
    parsed = ParsedDocument("知识 graph. " * 50, (PageSpan(1, 0, 40),), (Heading(1, "知识", 0),))
    cut = [
        Chunk(chunk_id("d", n), "d", n, parsed.text[start : start + 60], 20, start, start + 60, (Window(start, 9, 3),))
        for n, start in enumerate(range(0, 400, 50))
    ]
    data = encoding.chunked_to_bytes(parsed, cut)
    assert encoding.chunked_from_bytes(data) == (parsed, cut)
    assert encoding.unpacked(data).count("知识".encode()) == parsed.text.count("知识") + 1


def test_the_chunk_ids_of_a_long_document_take_no_room() -> None:
    many = tuple(chunk_id("doc-1", n) for n in range(2_000))
    document = Document("doc-1", "f", DocStatus.PROCESSED, Stage.COMMITTED, "t", "t", chunk_ids=many)
    data = encoding.to_bytes(encoding.document_to_row(document))
    assert len(data) < 300
    assert encoding.document_from_row(encoding.from_bytes(data)).chunk_ids == many


def test_fields_of_a_newer_version_are_ignored() -> None:
    row = encoding.entity_to_row(Entity("k", "K", "T", (), {}, (), 1)) | {"later": 1}
    assert encoding.entity_from_row(row).key == "k"


@pytest.mark.parametrize("value", ["\ud800", 2**70, object(), {1: "a"}])
def test_what_is_no_json_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput):
        encoding.to_bytes({"value": value})
