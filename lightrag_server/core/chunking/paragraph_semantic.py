"""Pieces along headings and paragraphs (in the spirit of LightRAG's strategy P)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lightrag_server.core.chunking.bibliography import without_bibliography
from lightrag_server.core.chunking.boundaries import cut_evenly
from lightrag_server.core.chunking.sections import Section, sections_of
from lightrag_server.core.chunking.spec import ChunkSpec, Piece, Ruler
from lightrag_server.core.records import ParsedDocument

SMALL_SHARE = 8
"""A top section below size / 8 may share a piece with its neighbour; anything larger stands alone."""


def paragraph_semantic(parsed: ParsedDocument, spec: ChunkSpec, ruler: Ruler) -> list[Piece]:
    """One piece per top section where it fits; a larger one is cut at its own headings, then at paragraphs.

    Below the top, neighbouring sections share a piece up to the size.
    """
    sections = sections_of(parsed)
    runs = without_bibliography(parsed.text, sections) if spec.drop_references else [sections]
    return [piece for run in runs for piece in _packed(run, _Packer(spec, ruler), spec)]


def _packed(sections: Sequence[Section], packer: _Packer, spec: ChunkSpec) -> list[Piece]:
    tops = [packer.pack(group) for group in _top_groups(sections)]
    return packer.joined(tops, least=spec.size // SMALL_SHARE)


class _Packer:
    def __init__(self, spec: ChunkSpec, ruler: Ruler) -> None:
        self._spec = spec
        self._ruler = ruler

    def pack(self, sections: Sequence[Section]) -> list[Piece]:
        """Pieces of neighbouring sections of which the first stands above the others."""
        whole = Piece(sections[0].start, sections[-1].end)
        if self._ruler.tokens(*whole) <= self._spec.size:
            return [whole]
        for level in sorted({section.level for section in sections[1:]}):
            groups = _split(sections, level)
            if len(groups) > 1:
                return self.joined([self.pack(group) for group in groups], least=self._spec.size)
        return cut_evenly(self._ruler, whole, self._spec.size, self._spec.overlap, keep_paragraphs=True)

    def joined(self, groups: Sequence[Sequence[Piece]], least: int) -> list[Piece]:
        """Put the groups in a row; where two meet, join their pieces if they fit into one and either has fewer
        than `least` tokens."""
        row: list[Piece] = []
        for group in groups:
            rest = list(group)
            if row and self._may_join(row[-1], rest[0], least):
                rest[0] = Piece(row.pop().start, rest[0].end)
            row.extend(rest)
        return row

    def _may_join(self, left: Piece, right: Piece, least: int) -> bool:
        if self._ruler.tokens(left.start, right.end) > self._spec.size:
            return False
        return min(self._ruler.tokens(*left), self._ruler.tokens(*right)) < least


def _top_groups(sections: Sequence[Section]) -> list[list[Section]]:
    """Sections by top section: the top is the highest level that occurs more than once, else the highest."""
    levels = Counter(section.level for section in sections if section.level)
    if not levels:
        return [list(sections)]
    top = min((level for level, number in levels.items() if number > 1), default=min(levels))
    return _split(sections, top)


def _split(sections: Sequence[Section], level: int) -> list[list[Section]]:
    """Cut the row before each heading of this level or above. A heading alone goes with what follows it."""
    groups: list[list[Section]] = []
    has_body = True
    for section in sections:
        if not groups or (0 < section.level <= level and has_body):
            groups.append([])
            has_body = False
        groups[-1].append(section)
        has_body = has_body or section.has_body
    return groups
