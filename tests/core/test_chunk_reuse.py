"""Cutting a document's next version around the chunks that are still there."""

from __future__ import annotations

import random
import time
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightrag_server.core.chunking import ChunkSpec, chunk_document
from lightrag_server.core.records import Chunk, Heading, ParsedDocument
from lightrag_server.core.tokens import EstimatingTokenizer

SPEC = ChunkSpec(strategy="recursive_character", size=120, overlap=12, window_size=40, window_overlap=5)
WORDS = [f"word{n}" for n in range(500)]
CHARACTERS = [chr(n) for n in range(0x4E00, 0x4E00 + 500)]


def paragraph(seed: int, sentences: int = 4) -> str:
    told = random.Random(seed)
    return " ".join(" ".join(told.choices(WORDS, k=9)).capitalize() + "." for _ in range(sentences))


def chinese(seed: int, sentences: int = 4) -> str:
    told = random.Random(seed)
    return "".join("".join(told.choices(CHARACTERS, k=15)) + "。" for _ in range(sentences))


def joined(paragraphs: list[str]) -> str:
    return "\n\n".join(paragraphs)


def cut(text: str | ParsedDocument, former: list[Chunk] | None = None, spec: ChunkSpec = SPEC) -> list[Chunk]:
    parsed = ParsedDocument(text) if isinstance(text, str) else text
    return chunk_document("d", "f", parsed, spec, EstimatingTokenizer(), former or ())


def told(chunks: list[Chunk]) -> Counter[tuple[tuple[str, ...], str]]:
    return Counter((c.headings, c.text) for c in chunks)


def windows(chunks: list[Chunk]) -> Counter[str]:
    return Counter(c.window_text(w) for c in chunks for w in c.windows)


def check_cover(text: str, chunks: list[Chunk]) -> None:
    """What `chunk_document` promises of every cut."""
    covered = {n for c in chunks for n in range(c.start, c.end)}
    assert not [n for n, character in enumerate(text) if not character.isspace() and n not in covered]
    embedded = {n for c in chunks for w in c.windows for n in range(w.start, w.end)}
    assert not [n for n, character in enumerate(text) if not character.isspace() and n not in embedded]
    for before, after in pairwise(chunks):
        assert before.start < after.start
        assert before.end < after.end
    assert all(text[c.start : c.end] == c.text == c.text.strip() for c in chunks)
    assert [c.index for c in chunks] == list(range(len(chunks)))


@pytest.mark.parametrize("told_in", [paragraph, chinese])
@pytest.mark.parametrize("strategy", ["recursive_character", "fixed_token", "paragraph_semantic"])
def test_a_text_that_did_not_change_is_cut_as_it_was(told_in, strategy) -> None:  # type: ignore[no-untyped-def]
    spec = ChunkSpec(strategy=strategy, size=120, overlap=12, window_size=40, window_overlap=5)
    text = joined([told_in(n) for n in range(60)])
    first = cut(text, spec=spec)
    assert len(first) > 10
    assert cut(text, first, spec) == first


@pytest.mark.parametrize("told_in", [paragraph, chinese])
@pytest.mark.parametrize("strategy", ["recursive_character", "fixed_token"])
@pytest.mark.parametrize("place", [0, 1, 77, 120, 240])
@pytest.mark.parametrize("change", ["insert", "replace", "remove"])
def test_a_changed_paragraph_touches_the_chunks_around_it_only(told_in, strategy, place, change) -> None:  # type: ignore[no-untyped-def]
    spec = ChunkSpec(strategy=strategy, size=120, overlap=12, window_size=40, window_overlap=5)
    before = [told_in(n) for n in range(240)]
    after = list(before)
    if change == "insert":
        after.insert(place, told_in(1000))
    elif place < len(before):
        after[place : place + 1] = [told_in(1001, sentences=3)] if change == "replace" else []
    first = cut(joined(before), spec=spec)
    second = cut(joined(after), first, spec)
    assert len(first) >= 60
    check_cover(joined(after), second)
    assert sum((told(second) - told(first)).values()) <= 3
    assert sum((windows(second) - windows(first)).values()) <= 12
    assert all(c.tokens <= spec.size for c in second)


def test_a_heading_that_is_inserted_leaves_the_other_sections_as_they_are() -> None:
    def document(titles: list[str]) -> ParsedDocument:
        text, headings = "", list[Heading]()
        for title in titles:
            headings.append(Heading(1, title, len(text)))
            text += f"{title}\n\n{joined([paragraph(hash(title) % 997 + n) for n in range(5)])}\n\n"
        return ParsedDocument(text, headings=tuple(headings))

    names = [f"Part {n}" for n in range(20)]
    spec = ChunkSpec(size=120, overlap=12, window_size=40, window_overlap=5)
    first = cut(document(names), spec=spec)
    after = document(["Preface", *names[:7], "Interlude", *names[7:]])
    second = cut(after, first, spec)
    check_cover(after.text, second)
    new = [c for c in second if (c.headings, c.text) not in told(first)]
    assert {c.headings for c in new} == {("Preface",), ("Interlude",)}
    assert not told(first) - told(second)


def test_a_heading_that_is_renamed_counts_for_the_chunks_below_it() -> None:
    body = joined([paragraph(n) for n in range(10)])
    first = cut(ParsedDocument(f"Old\n\n{body}", headings=(Heading(1, "Old", 0),)))
    second = cut(ParsedDocument(f"New\n\n{body}", headings=(Heading(1, "New", 0),)), first)
    assert {c.headings for c in second} == {("New",)}


def test_a_block_that_moved_does_not_draw_everything_along() -> None:
    before = [paragraph(n) for n in range(120)]
    first = cut(joined(before))
    moved = joined([*before[6:], *before[:6]])
    second = cut(moved, first)
    check_cover(moved, second)
    assert sum((told(second) - told(first)).values()) <= 6


def test_no_scraps_are_left_between_chunks() -> None:
    before = [paragraph(n) for n in range(60)]
    first = cut(joined(before))
    for place in range(1, 60, 7):
        text = joined([*before[:place], "A short line.", *before[place:]])
        assert min(c.tokens for c in cut(text, first)) >= SPEC.size // 8


def test_many_replacements_in_a_row_do_not_wear_the_chunks_down() -> None:
    told_in = random.Random(7)
    paragraphs = [paragraph(n) for n in range(80)]
    chunks = cut(joined(paragraphs))
    for round in range(60):
        paragraphs.insert(told_in.randrange(len(paragraphs)), paragraph(2000 + round, sentences=1))
        paragraphs.pop(told_in.randrange(len(paragraphs)))
        chunks = cut(joined(paragraphs), chunks)
    check_cover(joined(paragraphs), chunks)
    assert len(chunks) <= 3 * len(cut(joined(paragraphs)))


@given(st.lists(st.integers(0, 30), max_size=40), st.lists(st.integers(0, 30), max_size=40))
@settings(max_examples=150, deadline=None)
def test_any_text_is_covered_after_any_other(before: list[int], after: list[int]) -> None:
    spec = ChunkSpec(strategy="recursive_character", size=40, overlap=8, window_size=16, window_overlap=4)
    text = joined([paragraph(n, sentences=1 + n % 3) for n in after])
    check_cover(text, cut(text, cut(joined([paragraph(n, sentences=1 + n % 3) for n in before]), spec=spec), spec))


def test_a_long_document_without_anything_in_common_is_soon_cut() -> None:
    first = cut(joined([paragraph(n, sentences=8) for n in range(2_000)]))
    other = joined([chinese(n, sentences=8) for n in range(2_000)])
    began = time.process_time()
    plain = cut(other)
    between = time.process_time()
    around = cut(other, first)
    assert told(around) == told(plain)
    assert time.process_time() - between < 3 * (between - began) + 1
