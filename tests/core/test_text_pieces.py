"""Sentences, citations, fusion, keywords and context fitting: small pure parts."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightrag_server.core.citations import CitationFilter, checked, marks
from lightrag_server.core.context import Evidence, fit, joined, number_sources, render
from lightrag_server.core.digest import Wording
from lightrag_server.core.fusion import (
    dense_margins,
    interleave,
    less_crowded,
    lexical_margins,
    ranked,
    with_floor,
)
from lightrag_server.core.keywords import keywords_of
from lightrag_server.core.passages import sentences_of
from lightrag_server.core.questions import parts_of
from lightrag_server.core.records import Budget, Passage
from lightrag_server.core.sentences import sentence_spans


def sentences(text: str) -> list[str]:
    return [text[a:b] for a, b in sentence_spans(text)]


def test_sentences_end_at_marks_but_not_at_abbreviations() -> None:
    assert sentences("Mr. Scrooge came. “Humbug!” he said. No") == ["Mr. Scrooge came.", "“Humbug!”", "he said.", "No"]


def test_chinese_sentences_end_at_their_marks() -> None:
    assert sentences("史克鲁奇来了。“胡说！”他说。") == ["史克鲁奇来了。", "“胡说！”", "他说。"]


@given(st.text(max_size=300))
def test_sentences_cover_all_that_is_not_white_space(text: str) -> None:
    spans = sentence_spans(text)
    assert all(a < b for a, b in spans)
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    inside = "".join(text[a:b] for a, b in spans)
    assert "".join(inside.split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He died [1].", "He died [1]."),
        ("He died [7].", "He died."),
        ("He died [1, 7].", "He died [1]."),
        ("a[0] and [see 1]", "a and [see 1]"),
        ("He died [7] [8] there.", "He died there."),
        ("[7] He died.\n- [8] Alone.", "He died.\n- Alone."),
        ("He died [^1], alone【2】.", "He died [1], alone[2]."),
        ("He died [1-3].", "He died [1, 2]."),
        ("He died [ref 1] [Source 2] [Reference: 7].", "He died [1] [2]."),
        ("他去世了［1］，见【来源 9】。", "他去世了[1]，见。"),
        ("He died in [1843].", "He died in [1843]."),
        ("See [7](https://example.org/7) and [8].", "See [7](https://example.org/7) and."),
        ("Write `a[7]`, not [7].", "Write `a[7]`, not."),
        ("```py\nx = a[7]\n```\nDone [7].", "```py\nx = a[7]\n```\nDone."),
        ("One `tick [7]\nand [7] two.", "One `tick [7]\nand two."),
    ],
)
def test_marks_of_unknown_sources_are_removed(text: str, expected: str) -> None:
    assert checked(text, ["1", "2"]) == expected


_PIECES = [
    "[",
    "]",
    "1",
    "9",
    ", ",
    "text ",
    "[1]",
    "[9]",
    "[[",
    "2",
    "`",
    "``",
    "```",
    "\n",
    "(a)",
    " ",
    "【",
    "】",
    "-",
]


@given(st.lists(st.sampled_from(_PIECES), max_size=30))
def test_a_stream_is_checked_as_its_whole_text_would_be(deltas: list[str]) -> None:
    citations = CitationFilter(["1", "2"])
    streamed = "".join(piece for delta in deltas for piece in citations.feed(delta)) + "".join(citations.flush())
    assert streamed == checked("".join(deltas), ["1", "2"])


def test_a_stream_without_marks_is_not_held_back() -> None:
    citations = CitationFilter(["1"])
    assert list(citations.feed("Scrooge was a miser")) == ["Scrooge was a miser"]
    assert list(citations.feed(" [")) == []
    assert list(citations.feed("1] and")) == [" [1] and"]


def test_words_speak_up_as_far_as_the_best_stands_out():
    rare = {"a": 30.0, "b": 5.0} | {f"c{n}": 4.0 for n in range(12)}
    common = {"a": 5.5, "b": 5.0} | {f"c{n}": 4.0 for n in range(12)}
    assert lexical_margins(rare)["a"] == 1.0
    assert lexical_margins(rare)["b"] < 0.05
    assert lexical_margins(common)["a"] < 0.25
    assert lexical_margins({f"c{n}": 4.0 for n in range(12)}) == {f"c{n}": 0.0 for n in range(12)}
    assert lexical_margins({}) == {}


def test_the_only_place_with_a_word_stands_out():
    assert lexical_margins({"a": 0.2}) == {"a": 1.0}


def test_similarity_speaks_up_by_its_margin_whatever_its_scale():
    wide = {"a": 0.9, "b": 0.5} | {f"c{n:02d}": 0.4 - n / 100 for n in range(20)}
    narrow = {place: 0.7 + score / 10 for place, score in wide.items()}
    assert dense_margins(wide) == pytest.approx(dense_margins(narrow))
    assert dense_margins(wide)["a"] > dense_margins(wide)["b"] > 0
    assert "c19" not in dense_margins(wide)
    assert dense_margins({"a": 0.9, "b": 0.1}) == {}


def test_places_of_one_document_give_way_to_those_of_others():
    scores = {"x1": 0.9, "x2": 0.8, "y1": 0.75}
    assert ranked(less_crowded(scores, lambda place: place[0], 0.1)) == ["x1", "y1", "x2"]
    assert ranked(less_crowded(scores, lambda place: place[0], 0.0)) == ["x1", "x2", "y1"]


def test_interleaving_takes_the_best_of_each_first() -> None:
    assert interleave(["a", "b", "c"], ["b", "x"]) == ["a", "b", "x", "c"]


def test_names_are_specific_keywords_and_other_words_are_themes() -> None:
    keywords = keywords_of("Who was Ebenezer Scrooge's partner in business?")
    assert keywords.low == ("Ebenezer Scrooge",)
    assert "partner" in keywords.high


def test_chinese_questions_have_keywords() -> None:
    assert "史克鲁奇" in " ".join(keywords_of("史克鲁奇的合伙人是谁？").low)


def test_two_questions_in_one_are_told_apart() -> None:
    assert len(parts_of("Who was Scrooge's partner, and when did he die?")) == 2
    assert len(parts_of("Who was Scrooge's partner?")) == 1


def passage(document: str, score: float, tokens: int = 100) -> Passage:
    return Passage(f"{document}-chunk-000", document, f"{document}.txt", f"text of {document}", 0, 10, tokens, score)


def test_sources_are_numbered_by_their_best_passage() -> None:
    passages, references = number_sources([passage("b", 0.9), passage("a", 0.8), passage("b", 0.7)])
    assert [(r.id, r.file_path) for r in references] == [("1", "b.txt"), ("2", "a.txt")]
    assert [p.reference_id for p in passages] == ["1", "2", "1"]


def test_passages_stop_at_the_budget_but_one_always_stays() -> None:
    evidence = Evidence([], [], [passage("a", 0.9), passage("b", 0.8), passage("c", 0.7)])
    roomy = fit(evidence, Budget(10, 10, 400), spent=0, wording=Wording())
    tight = fit(evidence, Budget(10, 10, 1), spent=0, wording=Wording())
    assert len(roomy.passages) == 2
    assert [p.document_id for p in tight.passages] == ["a"]


TEXT = "Marley was dead. There is no doubt whatever about that. Scrooge signed it."


def piece(start: int, end: int, score: float, page: int = 1) -> Passage:
    text = TEXT[start:end]
    return Passage(
        f"d-chunk-{page:03d}", "d", "d.txt", text, start, end, 10, score, (), page, page, pages=((start, page),)
    )


def test_neighbouring_passages_become_one_without_repeating_their_overlap() -> None:
    [whole] = joined([piece(10, 60, 0.9, 2), piece(0, 16, 0.5), piece(61, len(TEXT), 0.1, 3)])
    assert whole.text == TEXT[:60] + "\n" + TEXT[61:]
    assert (whole.start, whole.end, whole.score, whole.chunk_id) == (0, len(TEXT), 0.9, "d-chunk-002")
    assert (whole.first_page, whole.last_page, whole.pages) == (1, 3, ((0, 1), (10, 2), (61, 3)))


def test_a_passage_within_another_adds_nothing() -> None:
    [whole] = joined([piece(5, 9, 0.2, 2), piece(0, 30, 0.1)])
    assert whole.text == TEXT[:30]
    assert whole.end == 30


def test_passages_of_a_document_stand_in_the_order_of_its_text_and_keep_their_rank_outside_of_prompts() -> None:
    passages = [piece(50, 60, 0.9), passage("other", 0.8), piece(0, 5, 0.7)]
    context = fit(Evidence([], [], passages), Budget(10, 10, 1000), spent=0, wording=Wording())
    assert [p.start for p in context.passages] == [50, 0, 0]
    prompt = render(context)
    assert prompt.index(TEXT[:5]) < prompt.index(TEXT[50:60]) < prompt.index("text of other")


def test_the_rendered_context_lists_the_numbered_sources() -> None:
    context = fit(Evidence([], [], [passage("a", 0.9)]), Budget(10, 10, 1000), spent=0, wording=Wording())
    text = render(context)
    assert '"reference_id":"1"' in text
    assert text.endswith("[1] a.txt")


def test_the_best_half_of_the_floor_always_stays() -> None:
    assert with_floor(["a", "b", "c", "d", "e"], ["x", "b", "y", "z"], 4) == ["a", "b", "c", "x"]
    assert with_floor(["a", "b"], ["x"], 4) == ["a", "b", "x"]
    assert with_floor(["a", "b", "c"], ["a", "b", "c"], 2) == ["a", "b"]


def test_marks_say_where_each_number_is_cited() -> None:
    text = "Dead [1], as a nail [2, 3]. Not [x] and not [ ]."
    found = list(marks(text))
    assert [(text[start:end], number) for start, end, number in found] == [
        ("[1]", "1"),
        ("[2, 3]", "2"),
        ("[2, 3]", "3"),
    ]


def test_rows_of_a_table_are_told_one_by_one_and_headings_are_not_told() -> None:
    table = "| Code | Meaning |\n|---|---|\n| E07 | high pressure |\n| E08 | low flow |"
    text = f"## 10.1 Codes on the display\n\n{table}\n\nStop it."
    passage = Passage("d-chunk-000", "d", "d.md", text, 0, len(text), 40, 1.0)
    told = [s.text for s in sentences_of([passage])]
    assert told == ["| Code | Meaning |", "| E07 | high pressure |", "| E08 | low flow |", "Stop it."]
