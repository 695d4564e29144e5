"""Documents to chunks. One strategy per file; all cut the text that the parser gave and change nothing in it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

from lightrag_server.core import ids
from lightrag_server.core.chunking.fixed_token import fixed_token
from lightrag_server.core.chunking.paragraph_semantic import paragraph_semantic
from lightrag_server.core.chunking.recursive_character import recursive_character
from lightrag_server.core.chunking.reuse import pieces_around
from lightrag_server.core.chunking.sections import path_of, sections_of
from lightrag_server.core.chunking.semantic_vector import semantic_vector
from lightrag_server.core.chunking.spec import BreakpointType, ChunkSpec, Piece, Ruler, Strategy
from lightrag_server.core.chunking.windows import cut_windows
from lightrag_server.core.records import Chunk, PageSpan, ParsedDocument
from lightrag_server.core.tokens import Tokenizer

__all__ = ["BreakpointType", "ChunkSpec", "Piece", "Ruler", "Strategy", "chunk_document", "strategy_for"]

_STRATEGIES: dict[Strategy, Callable[[ParsedDocument, ChunkSpec, Ruler], list[Piece]]] = {
    "fixed_token": fixed_token,
    "recursive_character": recursive_character,
    "paragraph_semantic": paragraph_semantic,
    "semantic_vector": semantic_vector,
}


def chunk_document(
    document_id: str,
    file_path: str,
    parsed: ParsedDocument,
    spec: ChunkSpec,
    tokenizer: Tokenizer,
    former: Sequence[Chunk] = (),
) -> list[Chunk]:
    """The chunks of a document in text order; none for a text of white space only. Chunks of its `former` version
    whose text is still there are cut as they were, under the numbers they have now.

    Together they hold every character that is not white space, none begins or ends with white space, and none lies
    wholly in a neighbour. The text is tokenised once; the rest costs about as much again.
    """
    ruler = Ruler(parsed.text, tokenizer)
    sections = sections_of(parsed)
    starts = [section.start for section in sections]
    chunks: list[Chunk] = []
    for index, piece in enumerate(_distinct(_pieces(parsed, spec, ruler, former), ruler)):
        pages = _pages(parsed.pages, piece)
        chunks.append(
            Chunk(
                id=ids.chunk_id(document_id, index),
                document_id=document_id,
                index=index,
                text=parsed.text[piece.start : piece.end],
                tokens=ruler.tokens(*piece),
                start=piece.start,
                end=piece.end,
                windows=tuple(
                    window._replace(page=_first(_pages(parsed.pages, Piece(window.start, window.end))))
                    for window in cut_windows(ruler, _new_text(ruler, piece, chunks), spec)
                ),
                headings=path_of(sections, starts, piece),
                first_page=_first(pages),
                last_page=_first(pages[-1:]),
                file_path=file_path,
                pages=tuple((max(page.start, piece.start), page.number) for page in pages),
            )
        )
    return chunks


def _pieces(parsed: ParsedDocument, spec: ChunkSpec, ruler: Ruler, former: Sequence[Chunk]) -> list[Piece]:
    strategy = strategy_for(parsed, spec)
    if not former:
        return _STRATEGIES[strategy](parsed, spec, ruler)
    if strategy == "semantic_vector" or (strategy == "fixed_token" and not spec.split_by_character):
        # pieces of full size would leave a scrap at the end of every gap; breaks are known of whole texts only
        strategy = "recursive_character"
    return pieces_around(former, parsed, spec, ruler, _STRATEGIES[strategy])


def strategy_for(parsed: ParsedDocument, spec: ChunkSpec) -> Strategy:
    """The strategy that `chunk_document` uses."""
    if spec.strategy is not None:
        return spec.strategy
    if spec.split_by_character:
        return "fixed_token"
    return "paragraph_semantic" if parsed.headings else "recursive_character"


def _distinct(pieces: Sequence[Piece], ruler: Ruler) -> list[Piece]:
    """The pieces without white space around them, save those whose text lies wholly in a neighbour."""
    kept: list[Piece] = []
    for piece in pieces:
        trimmed = ruler.trimmed(piece)
        if trimmed is None or (kept and trimmed.end <= kept[-1].end):
            continue
        if kept and trimmed.start <= kept[-1].start:
            kept.pop()
        kept.append(trimmed)
    return kept


def _new_text(ruler: Ruler, piece: Piece, before: Sequence[Chunk]) -> Piece:
    """What the chunk holds beyond its overlap with the one before: each place of a document is embedded once."""
    if not before or before[-1].end <= piece.start:
        return piece
    return ruler.trimmed(Piece(before[-1].end, piece.end)) or piece


def _first(pages: Sequence[PageSpan]) -> int | None:
    return pages[0].number if pages else None


def _pages(pages: Sequence[PageSpan], piece: Piece) -> Sequence[PageSpan]:
    """The pages that the piece touches; a gap between two pages counts to the one before."""
    if not pages:
        return ()
    first = max(bisect_right(pages, piece.start, key=lambda page: page.start) - 1, 0)
    last = max(bisect_left(pages, piece.end, key=lambda page: page.start) - 1, first)
    return pages[first : last + 1]
