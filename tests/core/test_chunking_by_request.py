"""What a request may say about cutting: separators, lists of sources, and turns of meaning."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightrag_server.core.chunking import BreakpointType, ChunkSpec, chunk_document
from lightrag_server.core.chunking.semantic_vector import breaks_of, sentence_groups
from lightrag_server.core.records import Heading, ParsedDocument
from lightrag_server.core.tokens import EstimatingTokenizer
from tests.core.test_chunking import texts

TOKENIZER = EstimatingTokenizer()
SEA = ["The tide came in.", "The boats lay low.", "The harbour was full.", "A gull cried."]
TAX = ["Taxes rose by two percent.", "The budget was balanced.", "The treasury issued bonds.", "Debt fell again."]
KINDS: list[BreakpointType] = ["percentile", "standard_deviation", "interquartile", "gradient"]


def cut(text: str, spec: ChunkSpec, *headings: Heading) -> list[str]:
    return [c.text for c in chunk_document("d", "f", ParsedDocument(text, headings=headings), spec, TOKENIZER)]


@given(texts, st.sets(st.integers(-5, 400)), st.lists(st.text(max_size=3), max_size=4), st.integers(6, 60))
@settings(max_examples=60, deadline=None)
def test_no_character_is_lost_wherever_a_text_is_cut(
    text: str, breaks: set[int], separators: list[str], size: int
) -> None:
    for spec in (
        ChunkSpec(strategy="semantic_vector", size=size, overlap=0, breaks=sorted(breaks)),
        ChunkSpec(strategy="recursive_character", size=size, overlap=0, separators=separators),
    ):
        assert "".join("".join(cut(text, spec)).split()) == "".join(text.split())


def test_the_first_separator_is_where_a_text_is_cut() -> None:
    parts = [f"part {n} has some words and, by chance; a few marks. Here" for n in range(12)]
    spec = ChunkSpec(strategy="recursive_character", size=40, overlap=0, separators=["@@", " ", ""])
    assert all(chunk.endswith("@@") for chunk in cut("@@".join(parts), spec)[:-1])


def test_a_separator_is_text_and_no_pattern() -> None:
    spec = ChunkSpec(strategy="recursive_character", size=10, overlap=0, separators=[".*"])
    assert cut("one two three four five six seven.*eight nine ten eleven twelve thirteen", spec)[0].endswith(".*")


@pytest.mark.parametrize("title", ["References", "7. Bibliography", "参考文献", "## REFERENCES:"])
def test_a_list_of_sources_can_be_left_out(title: str) -> None:
    text = f"Whales sing.\n\n{title}\n\n[1] Payne, 1971.\n[2] Clark, 1990.\n"
    spec = ChunkSpec(strategy="paragraph_semantic")
    assert "Payne" in "".join(cut(text, spec))
    left = cut(text, ChunkSpec(strategy="paragraph_semantic", drop_references=True))
    assert left == ["Whales sing."]


def test_what_follows_a_list_of_sources_stays() -> None:
    text = "Body\n\nWhales sing.\n\nReferences\n\nPayne, 1971.\n\nAppendix\n\nThe recordings.\n"
    headings = [Heading(1, name, text.index(name)) for name in ("Body", "References", "Appendix")]
    spec = ChunkSpec(strategy="paragraph_semantic", drop_references=True)
    assert cut(text, spec, *headings) == ["Body\n\nWhales sing.", "Appendix\n\nThe recordings."]


def test_a_text_that_speaks_of_references_keeps_them_and_so_does_one_of_nothing_else() -> None:
    spec = ChunkSpec(strategy="paragraph_semantic", drop_references=True)
    spoken = "The references in this paper are few.\n\nHis references were good."
    assert cut(spoken, spec) == [spoken]
    assert cut("References\n\nPayne, 1971.", spec) == ["References\n\nPayne, 1971."]


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_is_cut_where_its_meaning_turns(kind: BreakpointType) -> None:
    sentences = [*SEA, *SEA, *TAX, *TAX]
    text = " ".join(sentences)
    about = np.array([[1.0, 0.1 * (n % 2)] if s in SEA else [0.1 * (n % 2), 1.0] for n, s in enumerate(sentences)])
    vectors = (about / np.linalg.norm(about, axis=1, keepdims=True)).astype(np.float32)
    found = breaks_of(text, vectors, kind, None)
    assert text.rindex("Taxes", 0, text.index("Taxes") + 5) in found or kind == "gradient"
    assert 1 <= len(found) <= 2
    spec = ChunkSpec(strategy="semantic_vector", breaks=found)
    first, *rest = cut(text, spec)
    assert rest
    assert "harbour" in first
    assert sum("treasury" in chunk and "harbour" in chunk for chunk in (first, *rest)) <= (kind == "gradient")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_too_few_sentences_have_no_turn(number: int) -> None:
    vectors = np.eye(3, dtype=np.float32)[:number]
    assert breaks_of(" ".join(SEA[:number]), vectors, "percentile", 50.0) == ()


def test_a_sentence_is_embedded_with_its_neighbours() -> None:
    text = " ".join(SEA)
    assert [text[a:b] for a, b in sentence_groups(text, 1)] == [
        " ".join(SEA[:2]),
        " ".join(SEA[:3]),
        " ".join(SEA[1:]),
        " ".join(SEA[2:]),
    ]
