"""Headings of plain text: chapter lines and numbered sections, found only where they can hardly be anything else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lightrag_server.core.records import Heading

MAX_CHARS = 80

_NUMBER = (
    r"(?:[IVXLCDM]+|\d+|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|"
    r"sixteen|seventeen|eighteen|nineteen|twenty|the \w+)"
)
_ENGLISH = re.compile(
    r"[ \t]*(?i:(BOOK|PART|VOLUME)|CHAPTER|STAVE|ACT|CANTO|LETTER|APPENDIX|(SCENE|SECTION))"
    rf"[ \t]+(?:(?i:{_NUMBER})|[A-Z])\b[.:]?(?:[ \t]*[-—–:.][ \t]*\S.*|[ \t]+[A-Z\"“'].*)?[ \t]*"
)
_CHINESE = re.compile(
    r"[ \t　]*第[〇零一二三四五六七八九十百千两\d]{1,9}(?:([卷部编編篇集])|[章回幕]|([节節]))"
    r"(?:[ \t　：:、]+\S.{0,40})?[ \t　]*"
)
_NUMBERED = re.compile(r"(\d{1,2}(?:\.\d{1,2}){0,3})\.?[ \t]+[^\W\d_].{0,70}")
_SENTENCE_END = (".", "。", "；", ";", "，", ",", "：", ":", "！", "？", "!", "?")
_LEADERS = re.compile(r"(?:\.[ \t]?){3,}|[ \t]{3,}\d+[ \t]*$|…")


def plain_headings(text: str) -> tuple[Heading, ...]:
    """Lines such as "CHAPTER II. The Spirit", "第三章 归来" and "2.1 Scope" that stand alone between blank lines.

    Chinese ones need no blank line behind. Numbered ones count only where some have two numbers or more: else they
    are more often items of a list. Lines of a table of contents do not count.
    """
    words: list[tuple[int, str, int]] = []
    numbered: list[tuple[int, str, int]] = []
    for line, start, is_below_blank, is_above_blank in _short_lines(text):
        if _LEADERS.search(line) or not is_below_blank:
            continue
        if rank := _rank(line, is_above_blank):
            words.append((rank, line.strip(), start))
        elif is_above_blank and (found := _NUMBERED.fullmatch(line.rstrip())) and not line.endswith(_SENTENCE_END):
            numbered.append((found[1].count(".") + 1, line.strip(), start))
    if not any(depth > 1 for depth, _, _ in numbered):
        numbered = []
    return _levelled(words, numbered)


def _rank(line: str, is_above_blank: bool) -> int:
    """1 for parts, 2 for chapters, 3 for sections, 0 for other lines."""
    found = _ENGLISH.fullmatch(line) if is_above_blank and line.lstrip()[:1].isupper() else None
    found = found or _CHINESE.fullmatch(line)
    if found is None or line.rstrip().endswith(("。", "，", ",", ";")):
        return 0
    return 1 if found[1] else 3 if found[2] else 2


def _levelled(words: Sequence[tuple[int, str, int]], numbered: Sequence[tuple[int, str, int]]) -> tuple[Heading, ...]:
    """Ranks that occur become levels without gaps; numbered sections lie below all of them."""
    ranks = sorted({rank for rank, _, _ in words})
    found = [Heading(ranks.index(rank) + 1, title, start) for rank, title, start in words]
    found += [Heading(len(ranks) + depth, title, start) for depth, title, start in numbered]
    return tuple(sorted(found, key=lambda heading: heading.start))


def _short_lines(text: str) -> Iterator[tuple[str, int, bool, bool]]:
    """Each short line that is not blank: text, offset, whether a blank line is above it, and below it."""
    lines = text.split("\n")
    start = 0
    for index, line in enumerate(lines):
        if line.strip() and len(line) <= MAX_CHARS:
            above = index == 0 or not lines[index - 1].strip()
            below = index + 1 == len(lines) or not lines[index + 1].strip()
            yield line, start, above, below
        start += len(line) + 1
