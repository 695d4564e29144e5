"""Where a text lists its sources: what chunking leaves out on request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from lightrag_server.core.chunking.sections import Section
from lightrag_server.core.chunking.spec import Piece

_TITLE = re.compile(
    r"^[#* \t]*(?:\d+[.)]?[ \t]*)?(?:references|bibliography|works cited|参考文献|參考文獻)[* \t]*[:：]?[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)


def without_bibliography(text: str, sections: Sequence[Section]) -> list[list[Section]]:
    """Runs of neighbouring sections that hold the text without its lists of sources; a text of nothing else stays."""
    dropped = [_extent(match.start(), text, sections) for match in _TITLE.finditer(text)]
    runs: list[list[Section]] = []
    start = 0
    for gap in (*dropped, Piece(len(text), len(text))):
        if gap.start > start and (run := _clipped(sections, Piece(start, gap.start))):
            runs.append(run)
        start = max(start, gap.end)
    return runs or [list(sections)]


def _extent(start: int, text: str, sections: Sequence[Section]) -> Piece:
    """From the title to the next heading that does not stand below it, else to the end."""
    own = next((s for s in sections if s.level and s.start <= start < s.end), None)
    level = own.level if own and not text[own.start : start].strip() else None
    following = (s.start for s in sections if s.start > start and s.level and (level is None or s.level <= level))
    return Piece(start, next(following, len(text)))


def _clipped(sections: Sequence[Section], piece: Piece) -> list[Section]:
    return [
        replace(section, start=max(section.start, piece.start), end=min(section.end, piece.end))
        for section in sections
        if section.start < piece.end and section.end > piece.start
    ]
