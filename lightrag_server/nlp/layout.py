"""Paragraphs of a text without their line breaks, and the title that each stands under."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lightrag_server.nlp.vocabulary import vocabulary

MAX_TITLE_SHARE = 0.6
"""Of the longest line of a paragraph; in wrapped text only the last line is that short."""
MAX_TITLE_CHARS = 100
MAX_TITLE_WORDS = 12
MAX_PLACE_WORDS = 3
START_CHARS = 300
"""Under a title, where a text says what it is about."""

_BLANK_LINE = re.compile(r"\n\s*\n")
_SENTENCE_END = (".", "!", "?", ":", ";", ",", "-", "”", '"', "’", "'", "。", "！", "？", "：", "；", "，", "、")
_NO_TITLE = re.compile(r"[-*•|>+]|\d+[.)]?$")
"""How list items, table rows, quotations and bare numbers begin."""
_COUNT = r"(?:\d+|[IVXLC]+|one|two|three|four|five|six|seven|eight|nine|ten)\b"
_NUMBER = re.compile(
    rf"(?:#+\s*)?(?:(?:chapter|section|part|stave|book|appendix|article)\s+{_COUNT}\s*[:.—–-]?\s*"
    r"|(?:\d+|[A-Z])(?:\.\d+)+\.?\s+|(?:\d{1,2}|[IVXLC]+)[.)]\s+"
    r"|第[一二三四五六七八九十百\d]+[章节節部篇回]\s*|[一二三四五六七八九十]+、\s*)?",
    re.IGNORECASE,
)
_ADDITION = re.compile(r"\s*[(（][^()（）]*[)）]\s*$")
_COMMON = vocabulary("the a an of and or in on at to for with by from as is")
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Paragraph:
    """`topic` names what the title above it names, or the title itself when it is one."""

    text: str
    topic: str = ""
    is_title: bool = False
    is_about_topic: bool = False
    """The first words under the title speak of it, so that `it` and `the company` mean it."""


def paragraphs(text: str) -> Iterator[Paragraph]:
    """In order. The first line is a title when it reads like one, and names what the text is about.

    Other lines are titles when they stand alone or are marked, and name something only when the text below begins with
    the same words.
    """
    lines = list(_lines(text))
    topic, is_about = "", False
    for number, (line, stands_alone) in enumerate(lines):
        is_title = number + 1 < len(lines) and _is_title(line, number == 0 or stands_alone)
        if is_title:
            is_of_page = number == 0 and not _is_section(line)
            named, start = topic_of(line), lines[number + 1][0][:START_CHARS].casefold()
            is_about = named.casefold() in start or (is_of_page and _shares_words(start, named))
            topic = named if is_about or is_of_page else ""
        yield Paragraph(line, topic, is_title, is_about)


def topic_of(title: str) -> str:
    """`4.2 Feed pump` → Feed pump, `Ipswich, Queensland` → Ipswich, `Mercury (planet)` → Mercury."""
    name = _ADDITION.sub("", _NUMBER.sub("", title.strip(), 1)).strip(" .:#*_—–-")
    place, *areas = name.split(", ")
    is_place = all(len(part.split()) <= MAX_PLACE_WORDS and part[:1].isupper() for part in (place, *areas))
    return place if is_place else name


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Paragraphs, and whether each is a block of its own."""
    for block in _BLANK_LINE.split(text):
        parts = list(_unwrapped(block.splitlines()))
        for part in parts:
            yield part, len(parts) == 1 or part.startswith("#")


def _unwrapped(lines: Sequence[str]) -> Iterator[str]:
    """Wrapped lines joined; a title or list item is not run into the line below it."""
    longest = max(map(len, lines), default=0)
    paragraph: list[str] = []
    for line in filter(None, map(str.strip, lines)):
        paragraph.append(line)
        if line.startswith("#") or (len(line) < MAX_TITLE_SHARE * longest and not line.endswith(_SENTENCE_END)):
            yield " ".join(paragraph)
            paragraph = []
    if paragraph:
        yield " ".join(paragraph)


def _is_title(line: str, may_be: bool) -> bool:
    if not may_be or line[0].islower() or len(line) > MAX_TITLE_CHARS or len(line.split()) > MAX_TITLE_WORDS:
        return False
    return not line.endswith(_SENTENCE_END) and not _NO_TITLE.match(line) and bool(topic_of(line))


def _is_section(title: str) -> bool:
    """Numbered or of a lower level: a chunk may begin with it, but it is no title of a page."""
    found = _NUMBER.match(title.removeprefix("# "))
    return bool(found and found.group())


def _shares_words(text: str, topic: str) -> bool:
    """Whether at least half of the words of a topic are in a text: `Robert Lawrence Chisholm` of `Robert Chisholm`."""
    words = [word for word in _WORD.findall(topic.casefold()) if word not in _COMMON]
    return 2 * sum(word in text for word in words) >= len(words) > 0
