"""Windows: the places inside a chunk that are embedded, matched and cited."""

from __future__ import annotations

from lightrag_server.core.chunking.boundaries import cut_evenly
from lightrag_server.core.chunking.spec import ChunkSpec, Piece, Ruler
from lightrag_server.core.records import Window

STRETCH = 1.1
"""A window may exceed its size by this much: a chunk of 1,200 tokens is then three windows, not three and a scrap."""


def cut_windows(ruler: Ruler, piece: Piece, spec: ChunkSpec) -> tuple[Window, ...]:
    """Windows that cover the piece in order, at least one, neighbours overlapping or touching."""
    limit = max(int(spec.window_size * STRETCH), 1)
    return tuple(
        Window(start, end, ruler.tokens(start, end))
        for start, end in cut_evenly(ruler, piece, limit, spec.window_overlap)
    )
