"""Where a text may be cut without hurting it, and cutting along those places."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lightrag_server.core.chunking.spec import Piece, Ruler

# Best first. These are LightRAG's separators "\n\n", "\n", "。", "！", "？", "；", "，", " " with their ASCII
# siblings. Marks of one kind rank equal, closing quotes and brackets stay with the sentence they end, and a line
# that ends inside a sentence ranks below sentences: the lines of hard-wrapped text mean nothing.
_PARAGRAPH = r"\n\s*\n"
_CLOSING = "['\"”’」』）】)\\]]*"
_SENTENCE_END = rf"(?:[。！？…]|(?<!\b[A-Z])(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bDr)(?<!\bSt)\.|[!?]){_CLOSING}"
_FULL_LINE = rf"{_SENTENCE_END}[ \t]*\n"
_SENTENCE = rf"[。！？…]{_CLOSING}|{_SENTENCE_END}(?=\s)"
_LINE = r"\n"
_CLAUSE = r"[；，、]|[;,:](?=\s)"
_WORD = r"(?<=\S)(?=\s)"
_RANKS = tuple(re.compile(pattern) for pattern in (_PARAGRAPH, _FULL_LINE, _SENTENCE, _LINE, _CLAUSE, _WORD))
# Pieces begin behind the white space that the piece before ended in front of, where tokens of words begin.
_RESTARTS = tuple(
    re.compile(rf"(?:{pattern})\s*") for pattern in (f"{_PARAGRAPH}|{_SENTENCE}", f"{_LINE}|{_CLAUSE}", _WORD)
)

_LEAST_SHARE, _MOST_SHARE = 0.8, 1.2
"""A cut lies within these parts of the equal share."""
_LEAST_PARAGRAPH_SHARE = 0.6


def cut_evenly(
    ruler: Ruler,
    piece: Piece,
    size: int,
    overlap: int,
    *,
    keep_paragraphs: bool = False,
    ranks: Sequence[re.Pattern[str]] = _RANKS,
) -> list[Piece]:
    """Cover the piece with as few pieces of at most `size` tokens as there must be, of about equal length.

    Cuts lie at the best ranked boundary near the equal share, else between two tokens. Neighbours share at most
    `overlap` tokens and at most half of `size`. `keep_paragraphs`: rather uneven pieces than a divided paragraph,
    which is what lies between two matches of the first of the `ranks`, the boundaries from best to worst.
    """
    overlap = min(overlap, size // 2)
    pieces: list[Piece] = []
    start, done = piece.start, piece.start
    while (left := ruler.tokens(start, piece.end)) > size:
        share = _equal_share(left, size, overlap)
        done = (keep_paragraphs and _paragraph_end(ruler, start, done, size, share, ranks)) or (
            _best_end(ruler, start, done, size, share, ranks)
        )
        pieces.append(Piece(start, done))
        start = max(overlap_start(ruler, done, overlap), ruler.forward(start, 1))
    pieces.append(Piece(start, piece.end))
    return pieces


def _equal_share(tokens: int, size: int, overlap: int) -> int:
    """The size of each piece when as few as possible cover so many tokens."""
    number = -(-(tokens - overlap) // (size - overlap))
    return -(-(tokens + (number - 1) * overlap) // number)


def _paragraph_end(
    ruler: Ruler, start: int, done: int, size: int, share: int, ranks: Sequence[re.Pattern[str]]
) -> int | None:
    least = ruler.forward(start, int(share * _LEAST_PARAGRAPH_SHARE))
    if not ranks:
        return None
    return _nearest(ranks[0], ruler, max(least, done) + 1, ruler.forward(start, size), ruler.forward(start, share))


def _best_end(ruler: Ruler, start: int, done: int, size: int, share: int, ranks: Sequence[re.Pattern[str]]) -> int:
    """The end of the piece at `start`, beyond `done`: the boundary of the highest rank, nearest to the share."""
    ideal = max(ruler.forward(start, share), ruler.forward(done, 1))
    first = max(ruler.forward(start, int(share * _LEAST_SHARE)), done) + 1
    last = ruler.forward(start, min(size, int(share * _MOST_SHARE)))
    ends = (_nearest(rank, ruler, first, last, ideal) for rank in ranks)
    return next((end for end in ends if end is not None), ideal)


def _nearest(rank: re.Pattern[str], ruler: Ruler, first: int, last: int, ideal: int) -> int | None:
    matches = rank.finditer(ruler.text, first - 1, last + 1)  # one more: some look ahead
    ends = [match.end() for match in matches if first <= match.end() <= last]
    return min(ends, key=lambda end: abs(end - ideal)) if ends else None


def overlap_start(ruler: Ruler, end: int, overlap: int) -> int:
    """Where the next piece begins: the first sentence, else word, within the last `overlap` tokens."""
    earliest = ruler.backward(end, overlap)
    for restart in _RESTARTS:
        for match in restart.finditer(ruler.text, max(earliest - 1, 0), end):
            if earliest <= match.end() < end:
                return match.end()
    return earliest
