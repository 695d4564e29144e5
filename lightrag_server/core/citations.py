"""Checking the numbered citations of an answer: a mark that names no given reference is removed.

Models write marks in many forms: `[1]`, `[^1]`, `[1, 2]`, `[1-3]`, `【1】`, `[Source 2]`; all become `[1, 2]`. What
looks like a mark in code, or is the text of a link, is none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

_WORD = r"(?:(?:references?|refs?|sources?|citations?|来源|出处|参考(?:文献|资料)?|文献|引用)[ \t]*[.:：#]?[ \t]*)?"
_NUMBER = rf"{_WORD}\^?\d{{1,3}}"
_BETWEEN = r"[ \t]*(?:[,;，、&]|-|–|—|~|and|和|与)[ \t]*"
_MARK = (
    rf"[\[【［][ \t]*(?P<numbers>{_NUMBER}(?:{_BETWEEN}{_NUMBER})*)[ \t]*(?:†[^\]】］\n]{{0,40}})?[\]】］]"
    r"(?P<target>\([^\s()]+\))?"
)
_TOKEN = re.compile(rf"(?P<run>`+|~{{3,}})|(?P<newline>\n)|(?P<space>[ \t]*)(?P<mark>{_MARK})", re.IGNORECASE)
_RANGE = re.compile(r"(\d+)(?:[ \t]*[-–—~][ \t]*\D*?(\d+))?")
_UNFINISHED = re.compile(
    r"(?:[ \t]*[\[【［][\w \t,;，、&^#.:：~†–—-]{0,60}(?:[\]】］](?:\([^\s()]{0,300})?)?|[ \t]+|`+|~+)$"
)
"""The end of a text that may grow into a mark, into a link, or into a fence of code."""
_FENCE = 3


def checked(text: str, known: Collection[str]) -> str:
    """The text without citation marks of unknown references; `[1, 9]` keeps what is known: `[1]`."""
    return CitationFilter(known).rest(text)


def marks(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and number of each citation; a mark of several numbers gives one for each."""
    for match in _Reader().tokens(text):
        if match["mark"]:
            yield from ((match.start("mark"), match.end(), number) for number in _numbers(match))


def _numbers(match: re.Match[str]) -> list[str]:
    numbers: list[str] = []
    for first, last in _RANGE.findall(match["numbers"]):
        numbers += map(str, range(int(first), int(last or first) + 1))
    return list(dict.fromkeys(numbers))


class _Reader:
    """Walks through a text piece by piece and knows where code begins and ends."""

    def __init__(self) -> None:
        self.is_line_start = True
        self._closing = ""
        """The run of signs that ends the code under way; empty outside of code."""

    def tokens(self, text: str) -> Iterator[re.Match[str]]:
        """Line ends, and citation marks outside of code and links."""
        at = 0
        for match in _TOKEN.finditer(text):
            self._see(text[at : match.start()])
            at = match.end()
            if match["run"]:
                self._toggle(match["run"])
            elif match["newline"]:
                self.is_line_start = True
                self._closing = self._closing if len(self._closing) >= _FENCE else ""
            elif not self._closing and not match["target"]:
                yield match
            self._see(match.group().strip("\n"))
        self._see(text[at:])

    def _see(self, text: str) -> None:
        self.is_line_start = self.is_line_start and not text.strip()

    def _toggle(self, run: str) -> None:
        """A fence stands at the beginning of a line; other code is closed by as many signs as opened it, or by the
        end of the line."""
        if self._closing:
            is_fence = len(self._closing) >= _FENCE and self.is_line_start and run.startswith(self._closing)
            if is_fence or run == self._closing:
                self._closing = ""
        elif run[0] == "`" or self.is_line_start:
            self._closing = run


class CitationFilter:
    """The same check over a stream: text is held back only while it may be the beginning of a mark."""

    def __init__(self, known: Collection[str]) -> None:
        self._known = frozenset(known)
        self._reader = _Reader()
        self._held = ""
        self._drops_space = False
        """A mark at the beginning of a line was removed: the blanks behind it go, too."""

    def feed(self, delta: str) -> Iterator[str]:
        """Checked text that can be sent now; nothing while a mark may still grow."""
        text = self._held + delta
        unfinished = _UNFINISHED.search(text)
        cut = unfinished.start() if unfinished and not self._is_settled(unfinished.group()) else len(text)
        self._held = text[cut:]
        if ready := self._passed(text[:cut]):
            yield ready

    def flush(self) -> Iterator[str]:
        """What was held back at the end of the stream."""
        if rest := self.rest():
            yield rest

    def rest(self, text: str = "") -> str:
        """The last piece of a stream, checked."""
        text, self._held = self._held + text, ""
        return self._passed(text)

    def _is_settled(self, tail: str) -> bool:
        """A mark that stays as it is, whether it turns out to be a link or not."""
        match = _TOKEN.fullmatch(tail)
        return match is not None and bool(match["mark"]) and self._written(match) == match["mark"]

    def _passed(self, text: str) -> str:
        parts: list[str] = []
        at = 0
        for match in self._reader.tokens(text):
            parts += (self._trimmed(text[at : match.start()]), self._kept(match))
            at = match.end()
        parts.append(self._trimmed(text[at:]))
        return "".join(parts)

    def _kept(self, match: re.Match[str]) -> str:
        space = self._trimmed(match["space"])
        if written := self._written(match):
            self._drops_space = False
            return space + written
        self._drops_space = self._drops_space or self._reader.is_line_start
        return space if self._drops_space else ""

    def _written(self, match: re.Match[str]) -> str:
        numbers = [n for n in _numbers(match) if n in self._known]
        return f"[{', '.join(numbers)}]" if numbers else ""

    def _trimmed(self, text: str) -> str:
        if not self._drops_space:
            return text
        kept = text.lstrip(" \t")
        self._drops_space = not kept
        return kept
