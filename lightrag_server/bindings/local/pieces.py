"""Long passages in even pieces: the work of an encoder grows faster than the length of its input."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from lightrag_server.core.sentences import sentence_spans

_UNITS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
CJK_WORDS = 0.6
"""Words that a Han, Kana or Hangul character counts as, by the tokens that e5's vocabulary gives them."""


def word_count(text: str) -> float:
    """Words of any script, in the unit that decides about cost."""
    cjk = len(_CJK.findall(text))
    return len(_UNITS.findall(text)) - cjk * (1 - CJK_WORDS)


def even_pieces(text: str, max_words: int) -> list[str]:
    """`text` itself when short enough, else pieces of about equal length that end where sentences do, as far as
    those are shorter than a piece. Nothing but white space is left out."""
    total = word_count(text)
    if total <= max_words:
        return [text]
    count = -int(-total // max_words)
    cuts: list[int] = []
    done = 0.0
    for start, end in _bounded_spans(text, max_words):
        words = word_count(text[start:end])
        # cut before the sentence whose middle lies beyond the next even share
        if len(cuts) < count - 1 and start > 0 and done + words / 2 > total * (len(cuts) + 1) / count:
            cuts.append(start)
        done += words
    edges = [0, *cuts, len(text)]
    pieces = (text[a:b].strip() for a, b in pairwise(edges))
    return [piece for piece in pieces if piece]


def split_by_bytes(texts: Sequence[str], max_bytes: int) -> list[list[str]]:
    """Runs of neighbouring texts of about `max_bytes` each; a longer text is a run of its own."""
    runs: list[list[str]] = []
    room = 0
    for text in texts:
        size = len(text.encode("utf-8", "surrogatepass"))
        if not runs or size > room:
            runs.append([])
            room = max_bytes
        runs[-1].append(text)
        room -= size
    return runs


def _bounded_spans(text: str, max_words: int) -> list[tuple[int, int]]:
    """Sentences; those longer than a quarter of a piece (tables, lists without full stops) fall into runs of words."""
    limit = max(1, max_words // 4)
    spans: list[tuple[int, int]] = []
    for start, end in sentence_spans(text):
        units = [match.start() + start for match in _UNITS.finditer(text[start:end])]
        if len(units) <= limit:
            spans.append((start, end))
            continue
        edges = [start, *units[limit::limit], end]
        spans.extend(pairwise(edges))
    return spans
