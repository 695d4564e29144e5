"""Blocks to one text, with the offsets of headings and pages noted on the way."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lightrag_server.core.records import Heading, PageSpan, ParsedDocument

_SPACES = re.compile(r"\s+")
_JOINED_WORD = re.compile(r"(?<=[a-zà-ÿ])-\n(?=[a-zà-ÿ])")
_CJK_WRAP = re.compile(r"(?<=[⺀-鿿＀-￯])\n(?=[⺀-鿿＀-￯])")


@dataclass(slots=True)
class Draft:
    """A document being written, block by block; Markdown marks for headings, lists and tables."""

    parts: list[str] = field(default_factory=list[str])
    headings: list[Heading] = field(default_factory=list[Heading])
    page_starts: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Page numbers and where they begin, ascending."""
    length: int = 0
    is_in_list: bool = False

    def page(self, number: int) -> None:
        """What follows stands on this page; a lower number than before is ignored."""
        if not self.page_starts or number > self.page_starts[-1][0]:
            self.page_starts.append((number, self.length))

    def heading(self, level: int, title: str) -> None:
        title = single_line(title)
        if title:
            level = min(max(level, 1), 6)
            self._separate("\n\n")
            self.headings.append(Heading(level, title, self.length))
            self._add("#" * level + " " + title)

    def paragraph(self, text: str) -> None:
        text = text.strip("\n")
        if text.strip():
            self._separate("\n\n")
            self._add(text)

    def item(self, text: str, marker: str = "-", depth: int = 0) -> None:
        text = text.strip()
        if text:
            self._separate("\n" if self.is_in_list else "\n\n")
            self._add("  " * depth + f"{marker} {text}")
            self.is_in_list = True

    def table(self, rows: Iterable[Sequence[str]]) -> None:
        """Rows of cells; the first row is taken for the header."""
        filled = [[single_line(cell).replace("|", "\\|") for cell in row] for row in rows]
        filled = [row for row in filled if any(row)]
        if filled:
            lines = ["| " + " | ".join(row) + " |" for row in filled]
            lines.insert(1, "|" + " --- |" * len(filled[0]))
            self.paragraph("\n".join(lines))

    def parsed(self, format: str, warnings: Sequence[str] = ()) -> ParsedDocument:
        return ParsedDocument("".join(self.parts), self._pages(), tuple(self.headings), format, tuple(warnings))

    def _separate(self, gap: str) -> None:
        self.is_in_list = False
        if self.length:
            self._add(gap)
        if self.page_starts and self.page_starts[-1][1] == self.length - len(gap):
            self.page_starts[-1] = (self.page_starts[-1][0], self.length)

    def _add(self, text: str) -> None:
        self.parts.append(text)
        self.length += len(text)

    def _pages(self) -> tuple[PageSpan, ...]:
        ends = [*(start for _, start in self.page_starts[1:]), self.length]
        spans = zip(self.page_starts, ends, strict=False)
        return tuple(PageSpan(number, start, end) for (number, start), end in spans if start < end)


def single_line(text: str) -> str:
    return _SPACES.sub(" ", text).strip()


def unwrapped(text: str) -> str:
    """The lines of one printed paragraph as one line; words divided at a line end are joined again."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CJK_WRAP.sub("", _JOINED_WORD.sub("", text)).replace("\n", " ")
