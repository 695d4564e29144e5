"""Names within names: "West Chicago High School" speaks of "West Chicago", "青禾科技有限公司" of "青禾科技"."""

from __future__ import annotations

import re
from functools import lru_cache

MAX_WORDS = 8
MIN_CHARS = 3
MIN_UNSPACED_SHARE = 0.5
_WORD = re.compile(r"[^\W_]+(?:['’.&-][^\W_]+)*")
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


def _unspaced_spans(key: str) -> tuple[tuple[str, float], ...]:
    found: dict[str, float] = {}
    for length in range(max(2, int(len(key) * MIN_UNSPACED_SHARE)), len(key)):
        for span in (key[:length], key[-length:]):
            found.setdefault(span, length / len(key))
    return tuple(found.items())
