from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightrag_server.core.lexical import MAX_TERM_CHARS, query_terms, terms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n.,;!?—… ", []),
        ("The Quick brown FOX", ["the", "quick", "brown", "fox"]),
        ("C++, C# and .NET 3.11", ["c++", "c#", "and", "net", "3.11"]),
        ("AB-123/4", ["ab-123/4", "ab", "123", "4"]),
        ("max_tokens=5", ["max_tokens", "max", "token", "5"]),
        ("state-of-the-art", ["stat", "of", "the", "art"]),
        ("on 2024-05-06 at 10.5", ["on", "2024-05-06", "at", "10.5"]),
        ("revenue of 1,234,567 dollars", ["revenu", "of", "1234567", "dollar"]),
        ("the company's and don't", ["the", "company", "and", "don"]),
        ("U.S.A.", ["usa"]),
        ("知识图谱", ["知识", "识图", "图谱"]),
        ("他", ["他"]),
        ("用Python写", ["用", "python", "写"]),
        ("東京タワー", ["東京", "京タ", "タワ", "ワー"]),
        ("한국의 수도", ["한국", "국의", "수도"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("Ｆｕｌｌ　ｗｉｄｔｈ ﬁne", ["full", "width", "fin"]),
        ("Straße CAFÉ", ["strass", "café"]),
    ],
)
def test_terms_of(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


@pytest.mark.parametrize(
    "forms",
    [
        ("study", "studies", "studied", "studying"),
        ("make", "makes", "making"),
        ("run", "runs", "running"),
        ("class", "classes"),
        ("box", "boxes", "boxed", "boxing"),
        ("house", "houses"),
        ("call", "calls", "called", "calling"),
        ("parrot", "Parrots", "PARROT’S"),
    ],
)
def test_forms_of_one_word_are_one_term(forms: tuple[str, ...]) -> None:
    assert len({tuple(terms(form)) for form in forms}) == 1


@pytest.mark.parametrize("word", ["bus", "analysis", "red", "ring", "is", "gas", "king", "string", "press", "café"])
def test_words_that_only_look_inflected_stay(word: str) -> None:
    assert terms(word) == [word]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is the capital of France?", ["capital", "franc"]),
        ("什么是知识图谱？", ["知识", "识图", "图谱"]),
        ("公司的收入是多少", ["公司", "收入"]),
        ("parrot parrots PARROT", ["parrot"]),
        ("what is it", ["what", "is", "it"]),
        ("是什么", ["是什", "什么"]),
        ("state-of-the-art", ["stat", "art"]),
        ("", []),
    ],
)
def test_questions_keep_what_says_something(question: str, expected: list[str]) -> None:
    assert query_terms(question) == expected


@given(st.text())
def test_question_terms_are_distinct_terms_of_the_same_text(text: str) -> None:
    found = query_terms(text)
    assert len(set(found)) == len(found)
    assert set(found) <= set(terms(text))
    assert bool(found) == bool(terms(text))


@given(st.text())
def test_terms_are_short_folded_and_without_white_space(text: str) -> None:
    for term in terms(text):
        assert 0 < len(term) <= MAX_TERM_CHARS + 1
        assert term == term.casefold() or not term.isascii()
        assert term.split() == [term]


@given(st.text(), st.text())
def test_terms_of_two_texts_are_those_of_both(first: str, second: str) -> None:
    assert terms(f"{first} \n {second}") == terms(first) + terms(second)


def test_a_chunk_takes_about_a_millisecond() -> None:
    """The bound is loose, for the machine may be busy; it fails when something is quadratic."""
    english = "Quarterly revenues of the manufacturing division increased by 12.5 percent. " * 100
    chinese = "公司第三季度营收同比增长，主要来自制造业务和新能源汽车。" * 50
    for text in (english, chinese, "a" * 10_000, "-" * 10_000, "a-" * 5_000, "1," * 5_000, "'" * 10_000):
        began = time.process_time()
        terms(text)
        assert time.process_time() - began < 0.05
