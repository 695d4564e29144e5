"""Cutting the next version of a document so that chunks whose text is still there stay as they are."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from lightrag_server.core.chunking.boundaries import overlap_start
from lightrag_server.core.chunking.spec import ChunkSpec, Piece, Ruler
from lightrag_server.core.records import Chunk, ParsedDocument

NEAR_CHARS = 200_000
"""How far behind the chunk before it a chunk is always looked for."""
FAR_CHARS = 2_000_000_000
"""Characters that may be looked through in all for chunks that are not near: a second or two."""
SCRAP_SHARE = 8
"""Less than size / 8 between two kept chunks is not worth a chunk: it is cut together with a neighbour."""

Cut = Callable[[ParsedDocument, ChunkSpec, Ruler], list[Piece]]


@dataclass(frozen=True, slots=True)
class _Kept:
    """A chunk found again at text[start:end]; `fresh` is where its own windows begin, behind the overlap."""

    start: int
    fresh: int
    end: int


def pieces_around(old: Sequence[Chunk], parsed: ParsedDocument, spec: ChunkSpec, ruler: Ruler, cut: Cut) -> list[Piece]:
    """Pieces that cover the text: those of old chunks found again, in order, and what `cut` makes of the rest."""
    pieces: list[Piece] = []
    done = 0
    for kept in (*_without_scraps(_found(old, parsed.text), ruler, spec), None):
        gap = _gap(parsed.text, done, kept)
        if gap is not None:
            start = _begin(parsed, ruler, gap.start, spec.overlap) if pieces else gap.start
            pieces += _cut_part(parsed, Piece(start, gap.end), spec, ruler, cut)
        if kept is not None:
            pieces.append(Piece(kept.start, kept.end))
            done = kept.end
    return pieces


def _gap(text: str, done: int, following: _Kept | None) -> Piece | None:
    """What no kept chunk holds before the following one, up to where that one's windows begin; None when that is
    white space."""
    if following is None:
        return Piece(done, len(text)) if text[done:].strip() else None
    return Piece(done, following.fresh) if text[done : following.start].strip() else None


def _begin(parsed: ParsedDocument, ruler: Ruler, start: int, overlap: int) -> int:
    """A gap takes some text from the chunk before it along, unless a heading begins there."""
    at = bisect_left(parsed.headings, start, key=lambda heading: heading.start)
    begins_section = at < len(parsed.headings) and not parsed.text[start : parsed.headings[at].start].strip()
    return start if begins_section or not overlap else overlap_start(ruler, start, overlap)


def _cut_part(parsed: ParsedDocument, part: Piece, spec: ChunkSpec, ruler: Ruler, cut: Cut) -> Iterator[Piece]:
    headings = [h for h in parsed.headings if part.start <= h.start < part.end]
    alone = ParsedDocument(
        parsed.text[part.start : part.end],
        headings=tuple(replace(h, start=h.start - part.start) for h in headings),
    )
    for piece in cut(alone, spec, ruler.part(part)):
        yield Piece(piece.start + part.start, piece.end + part.start)


def _without_scraps(found: Sequence[_Kept], ruler: Ruler, spec: ChunkSpec) -> list[_Kept]:
    """Give up the shorter neighbour of every gap that is too small for a chunk."""
    least = spec.size // SCRAP_SHARE

    def is_scrap(before: _Kept | None, after: _Kept | None) -> bool:
        gap = _gap(ruler.text, before.end if before else 0, after)
        return gap is not None and ruler.tokens(*gap) < least

    kept: list[_Kept] = []
    for item in (*found, None):
        while kept and is_scrap(kept[-1], item) and (item is None or _length(kept[-1]) <= _length(item)):
            kept.pop()
        if item is not None and not is_scrap(kept[-1] if kept else None, item):
            kept.append(item)
    return kept


def _length(kept: _Kept) -> int:
    return kept.end - kept.start


def _found(old: Sequence[Chunk], text: str) -> list[_Kept]:
    """Old chunks that are in the text, in text order: the longest row of them that is in the old order too."""
    places = [(place, chunk) for chunk, place in zip(old, _places(old, text), strict=True) if place is not None]
    row: list[_Kept] = []
    for place, chunk in _longest_rising(places):
        fresh = chunk.windows[0].start if chunk.windows else chunk.start
        kept = _Kept(place, place + fresh - chunk.start, place + len(chunk.text))
        if not row or kept.end > row[-1].end:
            row.append(kept)
    return row


def _places(old: Sequence[Chunk], text: str) -> Iterator[int | None]:
    """Where each chunk is: first looked for where it should be, then near the chunk before it, then anywhere."""
    shift, last, left = 0, -1, FAR_CHARS
    for chunk in old:
        place = chunk.start + shift
        if place <= last or not text.startswith(chunk.text, place):
            place = text.find(chunk.text, last + 1, last + 1 + NEAR_CHARS + len(chunk.text))
            if place < 0 and left > 0:
                place = text.find(chunk.text)
                left -= len(text)
        if place < 0 or not chunk.text:
            yield None
            continue
        shift, last = place - chunk.start, place
        yield place


def _longest_rising(places: Sequence[tuple[int, Chunk]]) -> list[tuple[int, Chunk]]:
    """The longest subsequence whose places rise."""
    ends: list[int] = []
    last: list[int] = []
    before: list[int] = []
    for index, (place, _) in enumerate(places):
        at = bisect_left(ends, place)
        before.append(last[at - 1] if at else -1)
        ends[at : at + 1] = [place]
        last[at : at + 1] = [index]
    row: list[tuple[int, Chunk]] = []
    index = last[-1] if last else -1
    while index >= 0:
        row.append(places[index])
        index = before[index]
    return row[::-1]
