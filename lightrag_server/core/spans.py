"""Names within names: "West Chicago High School" speaks of "West Chicago", "青禾科技有限公司" of "青禾科技"."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

MAX_WORDS = 8
MIN_CHARS = 3
MAX_UNSPACED_CHARS = 12
MIN_UNSPACED_SHARE = 0.5
_WORD = re.compile(r"[^\W_]+(?:['’.&-][^\W_]+)*")
_UNSPACED_RUN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7ff]{2,}")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7ff]{4,16}")


@lru_cache(maxsize=32_768)
def spans_of(key: str) -> tuple[tuple[str, float], ...]:
    """The keys that a key contains as whole words, each with its share of the words; beginnings and ends of at least
    half the length where words are not spaced. Nothing for keys of one word or of very many."""
    if _UNSPACED.fullmatch(key):
        return _unspaced_spans(key)
    words = [match.span() for match in _WORD.finditer(key)]
    if not 2 <= len(words) <= MAX_WORDS:
        return ()
    found: dict[str, float] = {}
    for first in range(len(words)):
        for last in range(first, len(words)):
            span = key[words[first][0] : words[last][1]]
            if MIN_CHARS <= len(span) < len(key):
                found.setdefault(span, (last - first + 1) / len(words))
    return tuple(found.items())


def unspaced_spans(text: str) -> list[str]:
    """Everything in the unspaced runs of a text that may be a name, the longer first: where words have no borders,
    only a look at what is known tells names."""
    found = {
        run.group()[start : start + length]
        for run in _UNSPACED_RUN.finditer(text)
        for length in range(2, MAX_UNSPACED_CHARS + 1)
        for start in range(len(run.group()) - length + 1)
    }
    return sorted(found, key=lambda span: (-len(span), span))


def longest(spans: Iterable[str]) -> list[str]:
    """Those of some spans, given the longer first, that are in none of the others."""
    kept: list[str] = []
    for span in spans:
        if not any(span in other for other in kept):
            kept.append(span)
    return kept


def _unspaced_spans(key: str) -> tuple[tuple[str, float], ...]:
    found: dict[str, float] = {}
    for length in range(max(2, int(len(key) * MIN_UNSPACED_SHARE)), len(key)):
        for span in (key[:length], key[-length:]):
            found.setdefault(span, length / len(key))
    return tuple(found.items())
