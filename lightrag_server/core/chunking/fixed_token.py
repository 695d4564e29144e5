"""Pieces of equal token length, whatever the text says there (LightRAG's strategy F)."""

from __future__ import annotations

from collections.abc import Iterator

from lightrag_server.core.chunking.spec import ChunkSpec, Piece, Ruler
from lightrag_server.core.records import ParsedDocument
from lightrag_server.errors import InvalidInput


def fixed_token(parsed: ParsedDocument, spec: ChunkSpec, ruler: Ruler) -> list[Piece]:
    """Slide over the text; with `split_by_character` over each part between two of them.

    Raises `InvalidInput` for a part beyond the size when `split_by_character_only` is set.
    """
    pieces: list[Piece] = []
    for part in _parts(parsed.text, spec.split_by_character):
        if spec.split_by_character_only and (tokens := ruler.tokens(*part)) > spec.size:
            raise InvalidInput(
                f"a part between two {spec.split_by_character!r} has {tokens} tokens, more than {spec.size}"
            )
        pieces.extend(_slide(ruler, part, spec.size, min(spec.overlap, spec.size // 2)))
    return pieces


def _parts(text: str, separator: str | None) -> Iterator[Piece]:
    start = 0
    while separator and (found := text.find(separator, start)) >= 0:
        yield Piece(start, found)
        start = found + len(separator)
    yield Piece(start, len(text))


def _slide(ruler: Ruler, part: Piece, size: int, overlap: int) -> Iterator[Piece]:
    start = part.start
    end = min(ruler.forward(start, size), part.end)
    yield Piece(start, end)
    while end < part.end:
        start = max(ruler.backward(end, overlap), ruler.forward(start, 1))
        end = min(max(ruler.forward(start, size), ruler.forward(end, 1)), part.end)
        yield Piece(start, end)
