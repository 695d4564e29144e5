from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightrag_server.core import ids
from lightrag_server.core.extraction import (
    ExtractionSpec,
    build_request,
    gleaning_request,
    merged,
    read_reply,
    reminder_request,
    reply_schema,
)
from lightrag_server.core.prompts import prompt
from lightrag_server.core.records import Chunk, EntityMention, Extraction, RelationMention
from lightrag_server.core.tokens import load_tokenizer

ROWS = ExtractionSpec(("Person", "Location", "Other"), language="Chinese", max_entities=7, max_rows=11)
JSON = ExtractionSpec(("Person", "Location", "Other"), structured=True)

ANNA = EntityMention("Anna Lund", "person", "Anna Lund runs the mill.")
MILL = EntityMention("Mill", "location", "The mill is in Tolbach.")
RUNS = RelationMention("Anna Lund", "Mill", ("management", "work"), "Anna Lund runs the mill.")
GOOD = """\
entity<|#|>Anna Lund<|#|>Person<|#|>Anna Lund runs the mill.
entity<|#|>Mill<|#|>Location<|#|>The mill is in Tolbach.
relation<|#|>Anna Lund<|#|>Mill<|#|>management, work<|#|>Anna Lund runs the mill.
<|COMPLETE|>
"""


def chunk(text: str, *headings: str) -> Chunk:
    return Chunk("doc-1-chunk-000", "doc-1", 0, text, 10, 0, len(text), (), headings)


# ----------------------------------------------------------------------------- requests


def test_instructions_are_the_same_for_all_chunks_and_the_text_comes_last_and_whole() -> None:
    text = "A {{types}} in ```code```\n### and\n---\nlines"
    first, second = build_request(chunk(text, "Part I", "Mills"), ROWS), build_request(chunk("other"), ROWS)
    assert first[0] == second[0]
    assert first[0].role == "system"
    assert f"Section: Part I > Mills\n\nPassage:\n{text}\n" in first[1].content
    assert "Section" not in second[1].content


def test_instructions_name_the_types_the_language_and_the_limits() -> None:
    system = build_request(chunk("x"), ROWS)[0].content
    assert "Person, Location, Other" in system
    assert "in Chinese" in system
    assert "at most 7 entities" in system
    assert "at most 11 total" in system
    assert "{{" not in system


@pytest.mark.parametrize("spec", [ROWS, JSON])
def test_instructions_stay_below_900_tokens(spec: ExtractionSpec) -> None:
    assert load_tokenizer("o200k_base").count(build_request(chunk(""), spec)[0].content) < 850


def test_the_worked_example_of_the_instructions_can_be_read() -> None:
    for spec, entities, relations in ((ROWS, 4, 3), (JSON, 2, 1)):
        example = build_request(chunk(""), spec)[0].content.partition("Example")[2]
        extraction = read_reply(example.partition(":\n")[2])
        assert (len(extraction.entities), len(extraction.relations), extraction.repairs) == (entities, relations, 0)


def test_a_schema_is_asked_for_only_where_json_is() -> None:
    assert reply_schema(ROWS) is None
    schema = reply_schema(JSON)
    assert schema is not None
    assert list(schema["properties"]) == ["entities", "relationships"]
    assert '"entities"' in build_request(chunk("x"), JSON)[0].content


def test_further_turns_keep_the_conversation() -> None:
    request = build_request(chunk("x"), ROWS)
    for further in (gleaning_request(request, "reply", ROWS), reminder_request(request, "reply", ROWS)):
        assert further[:2] == request
        assert [turn.role for turn in further] == ["system", "user", "assistant", "user"]
        assert further[2].content == "reply"
        assert "<|COMPLETE|>" in further[3].content


def test_a_prompt_without_a_value_for_a_slot_is_refused() -> None:
    with pytest.raises(KeyError):
        prompt("extraction_gleaning")


# ----------------------------------------------------------------------------- rows


def test_rows_as_asked_for_are_read_without_repairs() -> None:
    assert read_reply(GOOD) == Extraction((ANNA, MILL), (RUNS,), 0)


def test_the_end_marker_alone_is_an_empty_extraction() -> None:
    assert read_reply("<|COMPLETE|>") == Extraction()


@pytest.mark.parametrize(
    "delimiter", ["<|#>", "<#|>", "<|>", "<||>", "<#>", "＜｜＃｜＞", "<｜#｜>", "|#|", "<|\\#|>", "<|#"]
)
def test_garbled_delimiters_are_mended(delimiter: str) -> None:
    extraction = read_reply(GOOD.replace("<|#|>", delimiter))
    assert (extraction.entities, extraction.relations) == ((ANNA, MILL), (RUNS,))
    assert extraction.repairs == 3


@pytest.mark.parametrize("end", ["<|complete|>", "<|COMPLETE|", "＜｜COMPLETE｜＞", "", "\n\nThat is all I found."])
def test_the_end_marker_may_be_damaged_or_missing(end: str) -> None:
    extraction = read_reply(GOOD.replace("<|COMPLETE|>", end))
    assert (extraction.entities, extraction.relations) == ((ANNA, MILL), (RUNS,))


@pytest.mark.parametrize(
    "damage",
    [
        lambda t: t.replace("\n", " "),
        lambda t: t.replace("\nrelation", "##\nrelation"),
        lambda t: t.replace("relation<", "relationship<"),
        lambda t: t.replace("Person<|#|>", "Person<|#|>\n"),
        lambda t: t.replace("entity<", "- **entity**<").replace("relation<", "3. relation<"),
        lambda t: "<think>\nentity<|#|>Draft<|#|>x<|#|>a draft\n</think>\n" + t,
        lambda t: "a thought that was opened elsewhere</think>" + t,
        lambda t: "Here are the rows:\n```\n" + t + "```\nDone.",
        lambda t: t.replace("entity<|#|>Mill", 'entity<|#|>"Mill"').replace("Location", "LOCATION"),
        lambda t: t.replace("relation<", "entity<"),
    ],
)
def test_other_damage_to_rows_is_mended(damage: Callable[[str], str]) -> None:
    extraction = read_reply(damage(GOOD))
    assert (extraction.entities, extraction.relations) == ((ANNA, MILL), (RUNS,))


def test_older_rows_in_parentheses_are_read() -> None:
    extraction = read_reply(
        '("entity"<|>"Anna Lund"<|>"person"<|>"Anna Lund runs the mill.")##\n'
        '("entity"<|>"Mill"<|>"location"<|>"The mill is in Tolbach.")##\n'
        '("relationship"<|>"Anna Lund"<|>"Mill"<|>"Anna Lund runs the mill."<|>"management, work"<|>9)<|COMPLETE|>'
    )
    assert (extraction.entities, extraction.relations) == ((ANNA, MILL), (RUNS,))


def test_a_reply_cut_off_in_a_row_keeps_the_rows_before() -> None:
    for length in range(len(GOOD.splitlines()[0]) + 1, len(GOOD)):
        extraction = read_reply(GOOD[:length])
        assert extraction.entities[0] == ANNA
        assert all(relation.target == "Mill" for relation in extraction.relations)


def test_useless_rows_are_dropped_and_counted() -> None:
    extraction = read_reply(
        GOOD.removesuffix("<|COMPLETE|>\n")
        + "entity<|#|> <|#|>person<|#|>nameless\n"
        + "entity<|#|>Nothing<|#|>person<|#|>\n"
        + "entity<|#|>Short<|#|>person\n"
        + "relation<|#|>Mill<|#|>MILL<|#|>same<|#|>The mill is the mill.\n"
        + GOOD
    )
    assert (extraction.entities, extraction.relations) == ((ANNA, MILL), (RUNS,))
    assert extraction.repairs == 7


def test_a_name_that_is_the_word_entity_starts_no_row() -> None:
    extraction = read_reply("entity<|#|>Entity<|#|>Concept<|#|>An entity is a thing.\n<|COMPLETE|>")
    assert extraction == Extraction((EntityMention("Entity", "concept", "An entity is a thing."),))


@pytest.mark.parametrize(
    ("written", "read"),
    [("Natural Object", "naturalobject"), ("person/artist", "person"), ("", "other"), ("??", "other")],
)
def test_types_are_lower_case_words(written: str, read: str) -> None:
    assert read_reply(f"entity<|#|>A1<|#|>{written}<|#|>It is.\n<|COMPLETE|>").entities[0].type == read


# ----------------------------------------------------------------------------- JSON

OBJECT = {
    "entities": [
        {"name": "Anna Lund", "type": "Person", "description": "Anna Lund runs the mill."},
        {"name": "Mill", "type": "Location", "description": "The mill is in Tolbach."},
    ],
    "relationships": [
        {
            "source": "Anna Lund",
            "target": "Mill",
            "keywords": "management, work",
            "description": "Anna Lund runs the mill.",
        }
    ],
}


def test_json_is_read_without_repairs() -> None:
    assert read_reply(json.dumps(OBJECT)) == Extraction((ANNA, MILL), (RUNS,), 0)
    assert read_reply('{"entities": [], "relationships": []}') == Extraction()


@pytest.mark.parametrize(
    "text",
    [
        "Sure, here it is:\n```json\n" + json.dumps(OBJECT, indent=2) + "\n```\nAnything else?",
        json.dumps(OBJECT).replace('work"', 'work",').replace("}]", "},]").replace('",,', '",'),
        json.dumps(OBJECT).replace('"management, work"', '["management", "work"]'),
        json.dumps(OBJECT).replace('"name"', '"entity_name"').replace('"source"', '"src_id"'),
        json.dumps(OBJECT)[:-1],
    ],
)
def test_damaged_or_wrapped_json_is_read(text: str) -> None:
    extraction = read_reply(text)
    assert (extraction.entities, extraction.relations) == ((ANNA, MILL), (RUNS,))


def test_json_cut_off_keeps_its_complete_objects() -> None:
    text = json.dumps(OBJECT)
    extraction = read_reply(text[: text.index('"management')])
    assert (extraction.entities, extraction.relations) == ((ANNA, MILL), ())
    assert extraction.repairs == 1


def test_half_of_a_character_pair_does_not_reach_the_stores() -> None:
    extraction = read_reply('{"entities":[{"name":"A\\ud83d","type":"x","description":"b\\u0000c"}]}')
    assert extraction.entities == (EntityMention("A", "x", "bc"),)


# ----------------------------------------------------------------------------- anything


def test_a_reply_that_says_nothing_usable_counts_as_a_repair() -> None:
    assert read_reply("I am sorry, I cannot do that.") == Extraction(repairs=1)
    assert read_reply("") == Extraction()


PIECES = (
    *("entity", "relation", "<|#|>", "<|>", "|#|", "<|COMPLETE|>", "##", "(", ")", '"', "{", "}", "[", "]", ":", ","),
    *('"name"', '"entities"', '{"a":', "<think>", "</think>", "甲", "A", "9", ".", "\\", "\n", " ", "\ud800", "\x00"),
)


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=60).map("".join)))
def test_any_text_is_read_into_valid_records(text: str) -> None:
    extraction = read_reply(text)
    for entity in extraction.entities:
        assert ids.entity_key(entity.name)
        assert entity.description
        assert entity.type
    for relation in extraction.relations:
        assert ids.entity_key(relation.source) != ids.entity_key(relation.target)
        assert relation.description
    repr(extraction).encode()


def test_rows_that_begin_nowhere_are_none() -> None:
    assert read_reply("<|#|>entity<|#|>").entities == ()


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "piece",
    ['{"a":', "{[", " ", "'", "<", "<|", "|#|", "<think>", "a</think>", "entity<|#|>", "\n x", "entity<|#|>A\n"],
)
def test_a_reply_that_runs_wild_is_read_quickly(piece: str) -> None:
    for text in (piece * 50_000, GOOD.removesuffix("<|COMPLETE|>\n") + piece * 50_000):
        assert len(read_reply(text).entities) <= 3


# ----------------------------------------------------------------------------- gleaning


def test_merging_adds_what_is_new_and_takes_longer_descriptions() -> None:
    longer = EntityMention("MILL", "location", "The mill is in Tolbach, by the river Aar.")
    bo = EntityMention("Bo", "person", "Bo.")
    owns = RelationMention("mill", "anna lund", ("ownership",), "The mill has belonged to Anna Lund since 1911.")
    shorter = EntityMention("anna lund", "other", "Anna.")
    assert merged(Extraction((ANNA, MILL), (RUNS,), 1), Extraction((longer, shorter, bo), (owns,), 2)) == Extraction(
        (ANNA, longer, bo), (owns,), 3
    )
