from __future__ import annotations

import re
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightrag_server.core.chunking import ChunkSpec, Strategy, chunk_document, strategy_for
from lightrag_server.core.chunking.windows import STRETCH
from lightrag_server.core.records import Chunk, Heading, PageSpan, ParsedDocument
from lightrag_server.core.tokens import EstimatingTokenizer, load_tokenizer
from lightrag_server.errors import InvalidInput

TOKENIZER = EstimatingTokenizer()
EXACT = load_tokenizer("o200k_base")
STRATEGIES: list[Strategy] = ["fixed_token", "recursive_character", "paragraph_semantic"]

SENTENCE = "The keeper of the lighthouse wrote three lines about the tide that evening. "
PARAGRAPH = SENTENCE * 5 + "\n\n"

words = st.sampled_from(
    [
        "the",
        "Lighthouse",
        "internationalisation",
        "3.14",
        "。",
        "，",
        ". ",
        "! ",
        "\n",
        "\n\n",
        " ",
        "北京",
        "𒀀",
        "é",
        "\t",
    ]
)
texts = st.lists(words, max_size=300).map(" ".join) | st.text(max_size=300)


@st.composite
def documents(draw: st.DrawFn) -> ParsedDocument:
    text = draw(texts)
    starts = sorted(draw(st.sets(st.integers(0, max(len(text) - 1, 0)), max_size=8)))
    headings = tuple(Heading(draw(st.integers(1, 4)), f"h{start}", start) for start in starts if text)
    return ParsedDocument(text, headings=headings)


@st.composite
def specs(draw: st.DrawFn) -> ChunkSpec:
    return ChunkSpec(
        strategy=draw(st.sampled_from([None, *STRATEGIES])),
        size=draw(st.integers(6, 60)),
        overlap=draw(st.integers(0, 70)),
        window_size=draw(st.integers(6, 40)),
        window_overlap=draw(st.integers(0, 20)),
        split_by_character=draw(st.sampled_from([None, "\n\n", "。"])),
    )


def chunks_of(text: str, spec: ChunkSpec, *headings: Heading) -> list[Chunk]:
    return chunk_document("doc-1", "a.md", ParsedDocument(text, headings=headings), spec, TOKENIZER)


def markdown(text: str) -> tuple[str, tuple[Heading, ...]]:
    found = re.finditer(r"^(#+) (.*)$", text, re.MULTILINE)
    return text, tuple(Heading(len(m[1]), m[2], m.start()) for m in found)


# ----------------------------------------------------------------------------- laws


@settings(max_examples=300, deadline=None)
@given(parsed=documents(), spec=specs())
def test_chunks_are_exact_ordered_spans_that_hold_all_text(parsed: ParsedDocument, spec: ChunkSpec) -> None:
    chunks = chunk_document("doc-1", "a.md", parsed, spec, TOKENIZER)
    covered: set[int] = set()
    for index, chunk in enumerate(chunks):
        assert chunk.text == parsed.text[chunk.start : chunk.end] == chunk.text.strip() != ""
        assert chunk.index == index
        assert chunk.document_id == "doc-1"
        assert chunk.file_path == "a.md"
        covered.update(range(chunk.start, chunk.end))
    for before, after in pairwise(chunks):
        assert before.start < after.start
        assert before.end < after.end
    separator = set(spec.split_by_character or "") if strategy_for(parsed, spec) == "fixed_token" else set[str]()
    missing = [c for i, c in enumerate(parsed.text) if i not in covered and not c.isspace() and c not in separator]
    assert missing == []
    assert len({chunk.id for chunk in chunks}) == len(chunks)


@settings(max_examples=300, deadline=None)
@given(parsed=documents(), spec=specs())
def test_no_chunk_and_no_window_is_larger_than_asked_for(parsed: ParsedDocument, spec: ChunkSpec) -> None:
    for chunk in chunk_document("doc-1", "a.md", parsed, spec, TOKENIZER):
        assert 0 < chunk.tokens <= spec.size
        assert all(window.tokens <= max(spec.window_size * STRETCH, 1) for window in chunk.windows)


@settings(max_examples=300, deadline=None)
@given(parsed=documents(), spec=specs())
def test_windows_cover_what_a_chunk_adds_to_the_one_before(parsed: ParsedDocument, spec: ChunkSpec) -> None:
    covered = 0
    for chunk in chunk_document("doc-1", "a.md", parsed, spec, TOKENIZER):
        assert chunk.windows[0].start >= chunk.start
        assert not parsed.text[max(covered, chunk.start) : chunk.windows[0].start].strip()
        covered = chunk.end
        assert chunk.windows[-1].end == chunk.end
        for before, after in pairwise(chunk.windows):
            assert before.start < after.start <= before.end < after.end


@settings(max_examples=100, deadline=None)
@given(parsed=documents(), spec=specs())
def test_chunking_twice_gives_the_same(parsed: ParsedDocument, spec: ChunkSpec) -> None:
    assert chunk_document("d", "f", parsed, spec, TOKENIZER) == chunk_document("d", "f", parsed, spec, TOKENIZER)


@settings(max_examples=100, deadline=None)
@given(text=texts, size=st.integers(6, 40))
def test_a_character_of_several_tokens_is_never_divided(text: str, size: int) -> None:
    text = f"{text} 𒀀𒀁𒀂𒀃𒀄"
    chunks = chunk_document("d", "f", ParsedDocument(text), ChunkSpec("fixed_token", size, 0), EXACT)
    assert "".join("".join(c.text for c in chunks).split()) == "".join(text.split())


# ----------------------------------------------------------------------------- where cuts lie


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_short_text_is_one_chunk_with_one_window(strategy: Strategy) -> None:
    (chunk,) = chunks_of("\n\n Short text. \n", ChunkSpec(strategy))
    assert chunk.text == "Short text."
    assert chunk.id == "doc-1-chunk-000"
    assert [chunk.window_text(window) for window in chunk.windows] == ["Short text."]


@pytest.mark.parametrize("text", ["", " \n\t\n ", "\u3000\x0c"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_white_space_alone_makes_no_chunk(text: str, strategy: Strategy) -> None:
    assert chunks_of(text, ChunkSpec(strategy)) == []


def test_recursive_chunks_end_at_paragraphs_where_paragraphs_fit() -> None:
    chunks = chunks_of(PARAGRAPH * 20, ChunkSpec("recursive_character", size=200, overlap=0))
    assert len(chunks) > 5
    assert all(chunk.text.startswith("The keeper") and chunk.text.endswith("evening.") for chunk in chunks)
    assert {len(chunk.text) % len(PARAGRAPH) for chunk in chunks} == {len(PARAGRAPH.rstrip())}


def test_recursive_chunks_end_at_sentences_inside_a_long_paragraph() -> None:
    chunks = chunks_of(SENTENCE * 100, ChunkSpec("recursive_character", size=200, overlap=30))
    assert all(chunk.text.endswith("evening.") and chunk.text.startswith("The keeper") for chunk in chunks)


def test_chinese_is_cut_behind_its_full_stops() -> None:
    text = "城里的胡同曲折而安静，老人们在槐树下下棋。" * 60
    chunks = chunks_of(text, ChunkSpec("recursive_character", size=150, overlap=20))
    assert len(chunks) > 4
    assert all(chunk.text.startswith("城里") and chunk.text.endswith("。") for chunk in chunks)


def test_the_lines_of_hard_wrapped_text_are_no_places_to_cut() -> None:
    text = re.sub(r"(.{60}\S*) ", r"\1\n", SENTENCE * 100)
    chunks = chunks_of(text, ChunkSpec("recursive_character", size=200, overlap=20))
    assert all(chunk.text.endswith("evening.") for chunk in chunks)


def test_neighbours_share_the_overlap_and_no_more() -> None:
    chunks = chunks_of(SENTENCE * 100, ChunkSpec("recursive_character", size=200, overlap=30))
    for before, after in pairwise(chunks):
        shared = TOKENIZER.count(before.text[after.start - before.start :])
        assert 10 <= shared <= 30


def test_the_last_chunk_is_no_scrap() -> None:
    chunks = chunks_of(SENTENCE * 16, ChunkSpec("recursive_character", size=200, overlap=20))
    assert len(chunks) == 2
    assert min(chunk.tokens for chunk in chunks) > 80


def test_a_chunk_that_lies_in_the_next_one_is_left_out() -> None:
    spec = ChunkSpec(size=6, overlap=3)
    chunks = chunks_of(".  3.14 Lighthouse", spec, Heading(1, "h", 1))
    assert [chunk.text for chunk in chunks] == [".", "3.14 Lighthouse"]


def test_fixed_token_chunks_have_the_size_and_overlap_exactly() -> None:
    chunks = chunks_of("word " * 1000, ChunkSpec("fixed_token", size=100, overlap=20))
    assert {chunk.tokens for chunk in chunks[:-1]} == {100}
    assert [chunk.start for chunk in chunks[:3]] == [0, 80 * len("word "), 160 * len("word ")]
    assert len(chunks) == 13


def test_an_overlap_that_exceeds_the_size_counts_as_half() -> None:
    chunks = chunks_of("word " * 1000, ChunkSpec("fixed_token", size=100, overlap=100))
    assert len(chunks) == 19


def test_split_by_character_makes_a_chunk_of_each_part() -> None:
    chunks = chunks_of("one|two three|| four ", ChunkSpec(split_by_character="|"))
    assert [chunk.text for chunk in chunks] == ["one", "two three", "four"]


def test_split_by_character_only_refuses_a_part_that_is_too_long() -> None:
    text = "short|" + "word " * 50
    assert len(chunks_of(text, ChunkSpec(size=20, overlap=0, split_by_character="|"))) > 3
    with pytest.raises(InvalidInput, match="more than 20"):
        chunks_of(text, ChunkSpec(size=20, split_by_character="|", split_by_character_only=True))


@pytest.mark.parametrize("wrong", [{"size": 0}, {"window_size": 0}, {"overlap": -1}, {"window_overlap": -1}])
def test_impossible_sizes_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidInput):
        ChunkSpec(**wrong)  # pyright: ignore[reportArgumentType]


# ----------------------------------------------------------------------------- headings and pages


def test_headings_choose_the_strategy() -> None:
    text, headings = markdown("# A\n\ntext")
    assert strategy_for(ParsedDocument(text, headings=headings), ChunkSpec()) == "paragraph_semantic"
    assert strategy_for(ParsedDocument(text), ChunkSpec()) == "recursive_character"
    assert strategy_for(ParsedDocument(text), ChunkSpec("fixed_token")) == "fixed_token"


def test_top_sections_are_not_mixed() -> None:
    text, headings = markdown("".join(f"# Part {n}\n\n{PARAGRAPH}" for n in range(6)))
    chunks = chunks_of(text, ChunkSpec(size=400), *headings)
    assert [chunk.headings for chunk in chunks] == [(f"Part {n}",) for n in range(6)]
    assert all(chunk.text.startswith("# Part") for chunk in chunks)


def test_the_title_of_a_document_is_no_top_section() -> None:
    text, headings = markdown("# Title\n\n" + "".join(f"## Part {n}\n\n{PARAGRAPH}" for n in range(3)))
    chunks = chunks_of(text, ChunkSpec(size=400), *headings)
    assert [chunk.headings for chunk in chunks] == [("Title", f"Part {n}") for n in range(3)]
    assert chunks[0].text.startswith("# Title\n\n## Part 0")


def test_tiny_top_sections_share_a_chunk() -> None:
    text, headings = markdown("".join(f"# Question {n}\n\nAnswer {n}.\n\n" for n in range(20)))
    assert len(chunks_of(text, ChunkSpec(size=1200), *headings)) == 1


def test_small_sections_of_one_part_share_chunks_up_to_the_size() -> None:
    text, headings = markdown("".join(f"# P{p}\n\n" + f"## S\n\n{SENTENCE}\n\n" * 10 for p in range(2)))
    chunks = chunks_of(text, ChunkSpec(size=120, overlap=0), *headings)
    assert [chunk.headings[0] for chunk in chunks] == sorted(chunk.headings[0] for chunk in chunks)
    assert all(chunk.tokens > 60 for chunk in chunks)
    assert len(chunks) <= 6


def test_a_section_beyond_the_size_is_cut_at_its_own_headings_first() -> None:
    inner = "".join(f"## Chapter {n}\n\n{PARAGRAPH * 2}" for n in range(4))
    text, headings = markdown(f"# One\n\n{inner}# Two\n\n{PARAGRAPH}")
    chunks = chunks_of(text, ChunkSpec(size=260, overlap=0), *headings)
    assert [chunk.headings for chunk in chunks] == [*(("One", f"Chapter {n}") for n in range(4)), ("Two",)]


def test_the_path_of_a_chunk_over_several_sections_is_what_they_share() -> None:
    text, headings = markdown(f"# Book\n\n## A\n\n{SENTENCE}\n\n## B\n\n{SENTENCE}\n\n# Next\n\n{PARAGRAPH * 3}")
    chunks = chunks_of(text, ChunkSpec(size=300), *headings)
    assert [chunk.headings for chunk in chunks] == [("Book",), ("Next",)]


def test_a_chunk_in_the_middle_of_a_section_has_its_path() -> None:
    text, headings = markdown(f"# Book\n\n## A\n\n{PARAGRAPH * 20}")
    chunks = chunks_of(text, ChunkSpec(size=200), *headings)
    assert len(chunks) > 5
    assert {chunk.headings for chunk in chunks} == {("Book", "A")}


def test_headings_alone_make_one_chunk() -> None:
    text, headings = markdown("# A\n\n## B\n\n# C\n")
    assert [chunk.text for chunk in chunks_of(text, ChunkSpec(), *headings)] == ["# A\n\n## B\n\n# C"]


def test_pages_are_the_first_and_last_that_a_chunk_touches() -> None:
    pages = tuple(PageSpan(n + 1, n * 100, n * 100 + 100) for n in range(10))
    parsed = ParsedDocument("word " * 199 + "word", pages=pages)
    chunks = chunk_document("d", "f", parsed, ChunkSpec(size=50, overlap=0), TOKENIZER)
    assert [(c.first_page, c.last_page) for c in chunks] == [(1, 3), (3, 5), (6, 8), (8, 10)]


def test_a_document_without_pages_has_none() -> None:
    (chunk,) = chunks_of("text", ChunkSpec())
    assert (chunk.first_page, chunk.last_page) == (None, None)


# ----------------------------------------------------------------------------- windows and cost


def test_a_full_chunk_has_three_even_windows_cut_at_sentences() -> None:
    (chunk,) = chunks_of(SENTENCE * (1200 // TOKENIZER.count(SENTENCE)), ChunkSpec(size=1200))
    assert chunk.tokens > 1100
    assert len(chunk.windows) == 3
    assert min(w.tokens for w in chunk.windows) > 0.8 * max(w.tokens for w in chunk.windows)
    assert all(chunk.window_text(window).startswith("The keeper") for window in chunk.windows)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("unit", ["a", " ", "\n", "\n ", "啊", ".", "a ", "# \n"])
def test_monotonous_texts_are_chunked_in_linear_time(strategy: Strategy, unit: str) -> None:
    started = time.process_time()
    chunks = chunks_of(unit * 200_000, ChunkSpec(strategy))
    assert time.process_time() - started < 5
    assert all(chunk.tokens <= 1200 for chunk in chunks)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_chunk_costs_less_than_three_milliseconds(strategy: Strategy) -> None:
    text, headings = markdown("".join(f"# Part {n}\n\n{PARAGRAPH * 60}" for n in range(10)))
    parsed = ParsedDocument(text, headings=headings)
    EXACT.count("load")
    costs: list[float] = []
    for _ in range(3):
        started = time.process_time()
        chunks = chunk_document("d", "f", parsed, ChunkSpec(strategy), EXACT)
        costs.append((time.process_time() - started) / len(chunks))
    assert min(costs) < 0.003


def test_every_window_knows_the_page_it_begins_on() -> None:
    pages = ["The keeper lit the lamp. " * 12, "A storm came from the west. " * 12, "Nobody slept that night. " * 12]
    text = "".join(pages)
    starts = [text.index(page) for page in pages]
    spans = tuple(PageSpan(n + 1, start, start + len(pages[n])) for n, start in enumerate(starts))
    [chunk] = chunk_document("d", "a.pdf", ParsedDocument(text, pages=spans), ChunkSpec(window_size=40), TOKENIZER)
    assert (chunk.first_page, chunk.last_page) == (1, 3)
    assert {window.page for window in chunk.windows} == {1, 2, 3}
    for window in chunk.windows:
        assert starts[(window.page or 0) - 1] <= window.start
