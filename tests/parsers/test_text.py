from __future__ import annotations

import random

import pytest

from lightrag_server.core.records import ParsedDocument
from lightrag_server.errors import UnreadableFile, UnsupportedFile
from lightrag_server.parsers.registry import Parsers
from lightrag_server.settings.ingest import IngestSettings

CHINESE = "北京市位于华北平原的北部边缘，是中华人民共和国的首都。\n城里的胡同曲折而安静，老人们在槐树下下棋。\n"
TAIWANESE = "臺北市位於臺灣北部的臺北盆地，是中華民國的首都。街道上有許多小吃店，夜市非常熱鬧。\n"
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n"
KOREAN = "죽는 날까지 하늘을 우러러 한 점 부끄럼이 없기를, 잎새에 이는 바람에도 나는 괴로워했다.\n"
FRENCH = "Les élèves étaient déjà arrivés à l'école. Où est la forêt ? Très bien — « merci » d’être là.\n"
POLISH = "Wszyscy ludzie rodzą się wolni i równi. Łódź była małym miastem, w którym każdy znał każdego.\n"
RUSSIAN = "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему.\n"


@pytest.fixture
def parsers() -> Parsers:
    return Parsers(IngestSettings())


async def text_of(parsers: Parsers, data: bytes, name: str = "a.txt") -> str:
    return (await parsers.parse(name, data)).text


def titles(parsed: ParsedDocument) -> list[tuple[int, str]]:
    for heading in parsed.headings:
        assert parsed.text[heading.start :].lstrip("#` \t　").startswith(heading.title[:3])
    return [(heading.level, heading.title) for heading in parsed.headings]


# ----------------------------------------------------------------------------- encodings


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (CHINESE, "utf-8"),
        (CHINESE, "utf-8-sig"),
        (CHINESE, "utf-16"),
        (CHINESE, "utf-32"),
        (CHINESE, "gb18030"),
        (TAIWANESE, "big5"),
        (JAPANESE, "shift_jis"),
        (JAPANESE * 10, "euc_jp"),
        (KOREAN, "cp949"),
        (FRENCH, "cp1252"),
        (FRENCH.replace("—", "-").replace("’", "'"), "latin-1"),
        (POLISH, "cp1250"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8_r"),
        ("plain ASCII words in two bytes each", "utf-16-le"),
        ("plain ASCII words in two bytes each", "utf-16-be"),
    ],
)
async def test_the_encoding_is_found(parsers: Parsers, text: str, encoding: str) -> None:
    assert await text_of(parsers, text.encode(encoding)) == text


async def test_a_long_file_in_an_old_encoding_is_read_whole(parsers: Parsers) -> None:
    text = CHINESE * 3000
    assert await text_of(parsers, text.encode("gb18030")) == text


async def test_utf8_that_was_cut_in_the_middle_of_a_character_stays_utf8(parsers: Parsers) -> None:
    assert (await text_of(parsers, (CHINESE * 3).encode()[:-2])).startswith(CHINESE * 2)


async def test_line_ends_become_newlines(parsers: Parsers) -> None:
    assert await text_of(parsers, b"a\r\nb\rc\n") == "a\nb\nc\n"


@pytest.mark.parametrize(
    "data",
    [
        random.Random(7).randbytes(4000),
        b"\x7fELF\x02\x01\x01" + bytes(200),
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x10" + random.Random(1).randbytes(500),
        b"words and a NUL\x00 in between",
        b"\x01\x02\x03\x04 mostly control \x05\x06\x0e characters",
        b"\xff\xfe" + random.Random(3).randbytes(1001),
    ],
)
async def test_binary_junk_is_refused_whatever_its_name(parsers: Parsers, data: bytes) -> None:
    with pytest.raises(UnreadableFile, match=r"the file 'a\.txt' is not text"):
        await parsers.parse("a.txt", data)


@pytest.mark.parametrize("data", [b"", b" \r\n\t", b"\xef\xbb\xbf", "\u3000\n".encode()])
async def test_a_file_without_text_is_refused(parsers: Parsers, data: bytes) -> None:
    with pytest.raises(UnreadableFile, match="is empty"):
        await parsers.parse("a.md", data)


# ----------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["a.exe", "noextension", "a.", ".gitignore", "a.png"])
async def test_a_kind_that_nothing_reads_is_named(parsers: Parsers, name: str) -> None:
    with pytest.raises(UnsupportedFile, match="no parser reads"):
        await parsers.parse(name, b"text")


@pytest.mark.parametrize("name", ["A.TXT", "../../etc/passwd.txt", "C:\\x.txt", "a.pdf.txt", "x.py", "x.json", "x.csv"])
async def test_the_name_decides_by_its_suffix_only(parsers: Parsers, name: str) -> None:
    assert await text_of(parsers, b"some text", name) == "some text"


def test_extensions_are_sorted_and_hold_what_lightrag_reads(parsers: Parsers) -> None:
    lightrag = (
        "txt md mdx pdf docx pptx xlsx rtf odt tex epub html htm csv json xml yaml yml log conf ini properties sql bat "
        "sh c h cpp hpp py java js ts swift go rb php css scss less"
    )
    assert parsers.extensions() == sorted(parsers.extensions())
    assert {f".{suffix}" for suffix in lightrag.split()} <= set(parsers.extensions())


# ----------------------------------------------------------------------------- markdown


async def test_markdown_headings_are_found_with_their_offsets(parsers: Parsers) -> None:
    text = """\
# Title *with* [link](https://example.org) #

Text

Second
------

## `code` and C#

Third
=====
####### seven
#nospace
"""
    parsed = await parsers.parse("a.md", text.encode())
    assert parsed.text == text
    assert titles(parsed) == [(1, "Title with link"), (2, "Second"), (2, "code and C#"), (1, "Third")]
    assert [text[h.start :].split("\n")[0] for h in parsed.headings][1] == "Second"


@pytest.mark.parametrize(
    "text",
    [
        "```python\n# a comment\n```\n",
        "~~~\n# a\n```\n# b\n~~~\n",
        "    # indented code\n",
        "A paragraph\nof two lines\n---\n",
        "- item\n---\n",
        "| a | b |\n---\n",
        "---\ntitle: front matter\n---\n\ntext",
        "text\n\n---\n\ntext",
        "#" + " " * 50_000 + "\n",
    ],
)
async def test_what_only_looks_like_a_heading_is_none(parsers: Parsers, text: str) -> None:
    assert (await parsers.parse("a.md", text.encode())).headings == ()


async def test_an_open_code_block_hides_the_rest(parsers: Parsers) -> None:
    parsed = await parsers.parse("a.mdx", b"# one\n```\n# two\n")
    assert titles(parsed) == [(1, "one")]


# ----------------------------------------------------------------------------- plain text


async def test_chapter_lines_of_plain_text_are_headings(parsers: Parsers) -> None:
    text = "PART ONE\n\nCHAPTER I. The Arrival\n\nIt rained.\n\nCHAPTER II\n\nChapter two is wet.\n\nPART TWO\n\nEnd."
    parsed = await parsers.parse("a.txt", text.encode())
    assert titles(parsed) == [(1, "PART ONE"), (2, "CHAPTER I. The Arrival"), (2, "CHAPTER II"), (1, "PART TWO")]


async def test_staves_alone_are_the_top_level(parsers: Parsers) -> None:
    parsed = await parsers.parse("a.txt", b"intro\n\nSTAVE ONE\n\nMarley was dead.\n\nSTAVE TWO\n\nWhen")
    assert titles(parsed) == [(1, "STAVE ONE"), (1, "STAVE TWO")]


async def test_chinese_chapters_need_no_blank_line_behind(parsers: Parsers) -> None:
    text = "第一卷 风起\n\n第一章 归来\n　　他回来了。第二章还没有写。\n\n第二章 离去\n　　他走了。\n"
    parsed = await parsers.parse("a.txt", text.encode())
    assert titles(parsed) == [(1, "第一卷 风起"), (2, "第一章 归来"), (2, "第二章 离去")]


async def test_numbered_sections_are_headings_where_some_have_two_numbers(parsers: Parsers) -> None:
    text = "1 Scope\n\nThis text.\n\n1.1 Terms and definitions\n\nMore.\n\n2 Results\n\nWe measured 3.2 Volt.\n"
    parsed = await parsers.parse("a.txt", text.encode())
    assert titles(parsed) == [(1, "1 Scope"), (2, "1.1 Terms and definitions"), (1, "2 Results")]


@pytest.mark.parametrize(
    "text",
    [
        "1. Buy milk\n\n2. Buy bread\n\n3. Sleep\n",
        "He opened\nCHAPTER II\nof the book.",
        "\nChapter one was dull, and part two was not much better than that.\n\n",
        "Contents\n\nCHAPTER I ........ 5\n\nCHAPTER II        17\n",
        "part of the story\n\nchapter and verse\n",
        "他说第一章很好。\n\n第一章很好看，我喜欢。\n",
    ],
)
async def test_ordinary_lines_are_no_headings(parsers: Parsers, text: str) -> None:
    assert (await parsers.parse("a.txt", text.encode())).headings == ()


async def test_form_feeds_of_plain_text_end_pages(parsers: Parsers) -> None:
    parsed = await parsers.parse("a.txt", b"one\n\x0ctwo\n\x0cthree\n")
    assert [parsed.text[p.start : p.end].strip() for p in parsed.pages] == ["one", "two", "three"]
    assert [page.number for page in parsed.pages] == [1, 2, 3]


@pytest.mark.parametrize(("name", "text"), [("a.c", "int a;\n\x0cint b;\n"), ("a.txt", "word " * 9000 + "\x0cend")])
async def test_form_feeds_elsewhere_are_white_space(parsers: Parsers, name: str, text: str) -> None:
    assert (await parsers.parse(name, text.encode())).pages == ()
