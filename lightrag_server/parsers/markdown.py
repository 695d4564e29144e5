"""Markdown: the text stays as it is, headings are found with their offsets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lightrag_server.core.records import Heading, ParsedDocument

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_ATX = re.compile(r" {0,3}(#{1,6})[ \t]+(\S.*)")
_SETEXT = re.compile(r" {0,3}(={2,}|-{2,})")
_NO_TITLE = re.compile(r"\s*$|[ \t]*(?:[-*+>|#]|\d+[.)])[ \t]| {4}|\t|[ \t]*\|")
_FRONT_MATTER = re.compile(r"---[ \t]*\n(?:[^\n]*\n)*?(?:---|\.\.\.)[ \t]*(?:\n|$)")
_IMAGE_OR_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_MARKS = re.compile(r"(?<!\w)(\*\*|__|\*|_)(?=\S)(.+?)(?<=\S)\1(?!\w)|(`+)(.+?)\3")
_ANCHOR = re.compile(r"\s*\{#[^}]*\}$")
_MOST_TITLE_CHARS = 300
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")


@dataclass(frozen=True, slots=True)
class _Line:
    start: int
    text: str
    is_code: bool
    """Inside a fenced block, its fences included."""


def read_markdown(text: str, format: str = "markdown") -> ParsedDocument:
    """Headings with # and underlined ones, outside of code blocks and front matter; titles without inline marks."""
    return ParsedDocument(text, headings=tuple(_headings(text)), format=format)


def unescaped(text: str) -> str:
    """The text without backslashes before punctuation, code blocks excepted."""
    return "\n".join(line.text if line.is_code else _ESCAPE.sub(r"\1", line.text) for line in _lines(text, 0))


def _headings(text: str) -> Iterator[Heading]:
    front = _FRONT_MATTER.match(text)
    before, above = _Line(0, "", False), _Line(0, "", False)
    for line in _lines(text, front.end() if front else 0):
        heading = None if line.is_code else _atx(line) or _setext(before, above, line)
        if heading and heading.title:
            yield heading
            line = _Line(line.start, "", False)  # an underline is no title, and a title stands alone
        before, above = above, line


def _lines(text: str, start: int) -> Iterator[_Line]:
    fence = ""
    for content in text[start:].split("\n"):
        found = _FENCE.fullmatch(content)
        if fence:
            yield _Line(start, content, True)
            if found and found[1].startswith(fence) and not found[2].strip():
                fence = ""
        else:
            fence = found[1] if found else ""
            yield _Line(start, content, bool(found))
        start += len(content) + 1


def _atx(line: _Line) -> Heading | None:
    found = _ATX.fullmatch(line.text.rstrip())
    if not found:
        return None
    title = found[2].rstrip("#")
    is_closed = not title or title[-1].isspace()
    return Heading(len(found[1]), _title(title if is_closed else found[2]), line.start)


def _setext(before: _Line, title: _Line, underline: _Line) -> Heading | None:
    """Only a title of one line below a blank one: longer ones are more often a paragraph above a rule."""
    found = _SETEXT.fullmatch(underline.text.rstrip())
    if not found or title.is_code or before.text.strip() or _NO_TITLE.match(title.text):
        return None
    return Heading(1 if found[1][0] == "=" else 2, _title(title.text), title.start)


def _title(text: str) -> str:
    """Plain text of a title; what is too long for one has none."""
    if len(text) > _MOST_TITLE_CHARS:
        return ""
    text = _ANCHOR.sub("", _IMAGE_OR_LINK.sub(r"\1", text))
    return _MARKS.sub(lambda m: m[2] or m[4], text).strip()
