"""Pieces that end where the text ends something: paragraph, line, sentence, clause, word, in this order."""

from __future__ import annotations

import re

from lightrag_server.core.chunking.boundaries import cut_evenly
from lightrag_server.core.chunking.spec import ChunkSpec, Piece, Ruler
from lightrag_server.core.records import ParsedDocument


def recursive_character(parsed: ParsedDocument, spec: ChunkSpec, ruler: Ruler) -> list[Piece]:
    """LightRAG's strategy R: the cascade of its default separators, or of those given, kept at the end of what they
    close. The empty separator means any place, which is where a text without boundaries is cut anyway."""
    whole = Piece(0, len(parsed.text))
    if not spec.separators:
        return cut_evenly(ruler, whole, spec.size, spec.overlap, keep_paragraphs=True)
    ranks = [re.compile(re.escape(separator)) for separator in spec.separators if separator]
    return cut_evenly(ruler, whole, spec.size, spec.overlap, keep_paragraphs=True, ranks=ranks)
