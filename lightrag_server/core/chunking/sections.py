"""What headings make of a text: sections, and the path of titles above a place."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lightrag_server.core.chunking.spec import Piece
from lightrag_server.core.records import Heading, ParsedDocument


@dataclass(frozen=True, slots=True)
class Section:
    """From a heading (or the start of the text, level 0) to the next heading of any level."""

    level: int
    start: int
    end: int
    path: tuple[str, ...]
    has_body: bool
    """There is text below the heading's own line."""


def sections_of(parsed: ParsedDocument) -> list[Section]:
    """All sections in text order; they cover the text. Headings outside the text or out of order are ignored."""
    headings = _usable(parsed)
    starts = [heading.start for heading in headings]
    found: list[Section] = []
    if not headings or headings[0].start > 0:
        end = starts[0] if starts else len(parsed.text)
        found.append(Section(0, 0, end, (), bool(parsed.text[:end].strip())))
    above: list[Heading] = []
    for heading, (start, end) in zip(headings, pairwise([*starts, len(parsed.text)]), strict=True):
        above = [*(h for h in above if h.level < heading.level), heading]
        has_body = bool(parsed.text[_line_end(parsed.text, start, end) : end].strip())
        found.append(Section(heading.level, start, end, tuple(h.title for h in above), has_body))
    return found


def path_of(sections: Sequence[Section], starts: Sequence[int], piece: Piece) -> tuple[str, ...]:
    """The titles that stand above everything in the piece, outermost first.

    Sections of a heading alone do not count where others have text. `starts` are those of `sections`.
    """
    first = bisect_right(starts, piece.start) - 1
    inside = sections[first : bisect_left(starts, piece.end)]
    paths = [section.path for section in inside if section.has_body] or [inside[0].path]
    shared = 0
    for titles in zip(*paths, strict=False):
        if len(set(titles)) > 1:
            break
        shared += 1
    return paths[0][:shared]


def _usable(parsed: ParsedDocument) -> list[Heading]:
    usable: list[Heading] = []
    for heading in parsed.headings:
        if (usable[-1].start if usable else -1) < heading.start < len(parsed.text):
            usable.append(heading)
    return usable


def _line_end(text: str, start: int, end: int) -> int:
    found = text.find("\n", start, end)
    return end if found < 0 else found
