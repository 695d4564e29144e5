"""Pieces that end where the text turns to something else, told by the vectors of its sentences (LightRAG's strategy V).

Vectors are made elsewhere: `sentence_groups` says of what, `breaks_of` says where the text turns.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightrag_server.core.chunking.boundaries import cut_evenly
from lightrag_server.core.chunking.spec import BreakpointType, ChunkSpec, Piece, Ruler
from lightrag_server.core.records import ParsedDocument
from lightrag_server.core.sentences import sentence_spans

DEFAULT_AMOUNTS: dict[BreakpointType, float] = {
    "percentile": 95.0,
    "standard_deviation": 3.0,
    "interquartile": 1.5,
    "gradient": 95.0,
}


def sentence_groups(text: str, buffer_size: int) -> list[Piece]:
    """For each sentence the place of it and up to `buffer_size` sentences on either side."""
    spans = sentence_spans(text)
    last = len(spans) - 1
    return [Piece(spans[max(n - buffer_size, 0)][0], spans[min(n + buffer_size, last)][1]) for n in range(len(spans))]


def breaks_of(text: str, vectors: NDArray[np.float32], kind: BreakpointType, amount: float | None) -> tuple[int, ...]:
    """Where sentences begin that are further from the one before than most are. `vectors` are those of the groups of
    `text`, shape (n, d), unit length."""
    if len(vectors) < 3:
        return ()
    distances = 1.0 - np.einsum("nd,nd->n", vectors[:-1], vectors[1:])
    values, threshold = _compared(distances, kind, DEFAULT_AMOUNTS[kind] if amount is None else amount)
    starts = [start for start, _ in sentence_spans(text)]
    return tuple(starts[n + 1] for n in np.flatnonzero(values > threshold))


def semantic_vector(parsed: ParsedDocument, spec: ChunkSpec, ruler: Ruler) -> list[Piece]:
    """The pieces between `spec.breaks`, without overlap; one that is too long is cut evenly."""
    inside = [offset for offset in spec.breaks if 0 < offset < len(parsed.text)]
    parts = (Piece(*ends) for ends in pairwise([0, *inside, len(parsed.text)]))
    return [piece for part in parts for piece in cut_evenly(ruler, part, spec.size, 0, keep_paragraphs=True)]


def _compared(distances: NDArray[Any], kind: BreakpointType, amount: float) -> tuple[NDArray[Any], float]:
    """The values to look at, and the one above which the text turns."""
    match kind:
        case "percentile":
            return distances, float(np.percentile(distances, amount))
        case "standard_deviation":
            return distances, float(distances.mean() + amount * distances.std())
        case "interquartile":
            low, high = np.percentile(distances, [25, 75])
            return distances, float(distances.mean() + amount * (high - low))
        case "gradient":
            slopes: NDArray[Any] = np.gradient(distances)
            return slopes, float(np.percentile(slopes, amount))
