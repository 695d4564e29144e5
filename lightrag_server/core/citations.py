"""Checking the numbered citations of an answer: a mark that names no given reference is removed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

_MARK = re.compile(r"\[\s*\^?(\d+(?:\s*[,;，、]\s*\d+)*)\s*\]")
_NUMBER = re.compile(r"\d+")
_OPEN = re.compile(r"\[[\s\d,;，、^]{0,40}$")


def checked(text: str, known: Collection[str]) -> str:
    """The text without citation marks of unknown references; `[1, 9]` keeps what is known: `[1]`."""
    return _MARK.sub(lambda match: _kept(match, known), text)


def marks(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and number of each citation; a mark of several numbers gives one for each."""
    for match in _MARK.finditer(text):
        yield from ((match.start(), match.end(), number) for number in _NUMBER.findall(match.group(1)))


def _kept(match: re.Match[str], known: Collection[str]) -> str:
    numbers = [n for n in _NUMBER.findall(match.group(1)) if n in known]
    return f"[{', '.join(numbers)}]" if numbers else ""


class CitationFilter:
    """The same check over a stream: text is held back only while it may be the beginning of a mark."""

    def __init__(self, known: Collection[str]) -> None:
        self._known = frozenset(known)
        self._held = ""

    def feed(self, delta: str) -> Iterator[str]:
        """Checked text that can be sent now; nothing while a mark may still grow."""
        text = self._held + delta
        unfinished = _OPEN.search(text)
        cut = unfinished.start() if unfinished else len(text)
        self._held = text[cut:]
        if ready := checked(text[:cut], self._known):
            yield ready

    def flush(self) -> Iterator[str]:
        """What was held back at the end of the stream."""
        if self._held:
            yield checked(self._held, self._known)
            self._held = ""
