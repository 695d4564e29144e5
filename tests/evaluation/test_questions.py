"""Question files as people write them, and what is said of wrong ones."""

from __future__ import annotations

import pytest

from lightrag_server.errors import ConfigError
from lightrag_server.evaluation.questions import Case, Gold, read_questions

WANTED = [
    Case("1", "Who was Marley?", (Gold("book"), Gold("b.txt", "dead as a door-nail")), ("a partner", "1843")),
    Case("谁是马利？", "谁是马利？"),
]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "q.jsonl",
            '{"id": 1, "query": "Who was Marley?", "answers": ["a partner", 1843], "hops": 2,'
            ' "gold": ["book", {"source": "b.txt", "quote": "dead as a door-nail"}, "book"]}\n\n'
            '{"question": " 谁是马利？ "}',
        ),
        (
            "q.json",
            '\ufeff [{"id": "1", "question": "Who was Marley?", "answer": ["a partner", "1843"],\n'
            '"sources": ["book", {"source": "b.txt", "quote": "dead as a door-nail"}]},\n {"query": "谁是马利？"}]\n',
        ),
        (
            "q.csv",
            "id,question,sources,answers\r\n"
            '1,Who was Marley?,"[""book"", {""source"": ""b.txt"", ""quote"": ""dead as a door-nail""}]",'
            "a partner|1843\r\n"
            ",谁是马利？,,\r\n",
        ),
    ],
)
def test_the_three_formats_say_the_same(name: str, text: str) -> None:
    assert read_questions(name, text.encode()) == WANTED


def test_a_cell_lists_sources_and_answers_and_semicolons_may_part_columns() -> None:
    text = 'query;gold;answer\nWho, then?;a.txt|b/c.pdf;"one; two"\n'
    [case] = read_questions("Q.CSV", text.encode())
    assert case == Case("Who, then?", "Who, then?", (Gold("a.txt"), Gold("b/c.pdf")), ("one; two",))


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("q.jsonl", '{"question": "a"}\n{"question": }\n', "q.jsonl, line 2: this is no JSON"),
        ("q.jsonl", '{"question": "a"}\n\n{"gold": ["x"]}\n', "line 3: question is missing"),
        ("q.jsonl", '{"question": "  "}', "line 1: question is blank"),
        ("q.jsonl", '{"question": ["a"]}', 'line 1: question is ["a"]; it must be text'),
        ("q.jsonl", '"a"', "line 1: a question is an object"),
        ("q.jsonl", '{"question": "a"}\n{"question": "b", "id": "a"}', "line 2: the id 'a' is that of line 1, too"),
        (
            "q.jsonl",
            '{"question": "a", "gold": [{"source": "x", "qoute": "y"}]}',
            "line 1: a gold source has the fields",
        ),
        ("q.jsonl", '{"question": "a", "gold": [{"quote": "y"}]}', "line 1: source is missing"),
        ("q.jsonl", '{"question": "a", "gold": [true]}', "line 1: a gold source is true"),
        ("q.jsonl", '{"question": "\\ud800"}', "line 1: question holds half a character"),
        ("q.json", '[{"question": "a"},\n{"question": "b"},\n{"query": 1}, x]', "line 3: this is no JSON"),
        ("q.json", '[{"question": "a"}\n{"question": "b"}]', "line 1: a comma or the end of the list is missing"),
        ("q.json", '[{"question": "a"}', "line 1: a comma or the end of the list is missing"),
        ("q.json", '[{"question": "a"}]\n[]', "line 1: the list has ended"),
        ("q.csv", "question,gold\na,b\nc,d,e\n", "line 3: this row has more cells than the first one"),
        ("q.csv", 'question,gold\na,"[""b"""\n', "this is no CSV"),
        ("q.csv", "frage,gold\na,b\n", "line 2: question is missing"),
        ("q.jsonl", "", "q.jsonl holds no questions"),
        ("q.csv", "question\n", "q.csv holds no questions"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(name: str, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_questions(name, text.encode())
    assert told in str(refused.value)


def test_other_encodings_are_refused_with_the_line() -> None:
    with pytest.raises(ConfigError, match=r"q.jsonl, line 2: this is not UTF-8 text"):
        read_questions("q.jsonl", b'{"question": "a"}\n{"question": "\xe9"}')
