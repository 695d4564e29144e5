"""Pieces that end where the text ends something: paragraph, line, sentence, clause, word, in this order."""

from __future__ import annotations

from lightrag_server.core.chunking.boundaries import cut_evenly
from lightrag_server.core.chunking.spec import ChunkSpec, Piece, Ruler
from lightrag_server.core.records import ParsedDocument


def recursive_character(parsed: ParsedDocument, spec: ChunkSpec, ruler: Ruler) -> list[Piece]:
    """LightRAG's strategy R: the cascade of its default separators, kept at the end of what they close."""
    return cut_evenly(ruler, Piece(0, len(parsed.text)), spec.size, spec.overlap, keep_paragraphs=True)
