"""Sentences of running text, with their positions. Rules only: English and most European scripts, Chinese, Japanese."""

from __future__ import annotations

import re
from functools import lru_cache

_ABBREVIATION_LIST = """
mr mrs ms dr prof sr jr st vs etc inc ltd co corp no vol fig eq al dept gen col sgt capt rev hon
messrs approx
"""
_ABBREVIATIONS = frozenset(_ABBREVIATION_LIST.split())
_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s|$)|[。！？；…]+[」』”’）)]*|\n\s*\n")
_LAST_WORD = re.compile(r"([^\W\d_]+)\.$")
_LOOK_BACK = 2 + max(map(len, _ABBREVIATIONS))
"""Characters before a full stop that show whether a word is longer than any abbreviation."""


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of each sentence, trimmed, in order; white space between sentences belongs to none."""
    spans: list[tuple[int, int]] = []
    start = 0
    for match in _END.finditer(text):
        stop = match.start()
        if text[stop] == "." and _is_abbreviation(text[max(start, stop - _LOOK_BACK) : stop + 1]):
            continue
        _append_trimmed(spans, text, start, match.end())
        start = match.end()
    _append_trimmed(spans, text, start, len(text))
    return spans


@lru_cache(maxsize=2048)
def sentences_of(text: str) -> tuple[str, ...]:
    """The sentences of a short text that is asked about again and again, such as a description."""
    return tuple(text[start:end] for start, end in sentence_spans(text))


def _is_abbreviation(head: str) -> bool:
    last = _LAST_WORD.search(head)
    return bool(last) and (last.group(1).lower() in _ABBREVIATIONS or len(last.group(1)) == 1)


def _append_trimmed(spans: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start < end:
        spans.append((start, end))
