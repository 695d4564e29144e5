"""The values of chunking: what is wanted, what a strategy returns, and positions measured in tokens."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Literal, NamedTuple

from lightrag_server.core.tokens import Tokenizer
from lightrag_server.errors import InvalidInput

Strategy = Literal["fixed_token", "recursive_character", "paragraph_semantic", "semantic_vector"]
BreakpointType = Literal["percentile", "standard_deviation", "interquartile", "gradient"]


@dataclass(frozen=True, slots=True)
class ChunkSpec:
    """Sizes in tokens. None as strategy: by headings where there are any, else recursive_character.

    `split_by_character` belongs to fixed_token and chooses it; with `split_by_character_only` a piece between two of
    these characters that exceeds the size is refused instead of cut. An overlap above half the size counts as half.
    """

    strategy: Strategy | None = None
    size: int = 1200
    overlap: int = 100
    window_size: int = 400
    window_overlap: int = 40
    split_by_character: str | None = None
    split_by_character_only: bool = False
    separators: Sequence[str] = ()
    """recursive_character: where to cut, best first, in place of the boundaries of `boundaries`."""
    drop_references: bool = False
    """paragraph_semantic: leave lists of sources out."""
    breakpoint_type: BreakpointType = "percentile"
    breakpoint_amount: float | None = None
    """semantic_vector: how far above the rest a distance must be; None as `semantic_vector.DEFAULT_AMOUNTS`."""
    buffer_size: int = 1
    """semantic_vector: sentences on either side that are embedded with one."""
    breaks: Sequence[int] = ()
    """semantic_vector: where the text turns, as found from vectors beforehand."""

    def __post_init__(self) -> None:
        if self.size < 1 or self.window_size < 1:
            raise InvalidInput("a chunk and a window need a size of at least 1 token")
        if self.overlap < 0 or self.window_overlap < 0:
            raise InvalidInput("an overlap cannot be negative")


class Piece(NamedTuple):
    """text[start:end]."""

    start: int
    end: int


class Ruler:
    """A text and where its tokens start: tokenised once, measured often."""

    def __init__(self, text: str, tokenizer: Tokenizer) -> None:
        self.text = text
        self._offsets = tokenizer.offsets(text)

    def part(self, piece: Piece) -> Ruler:
        """For the text of the piece alone, which is not tokenised again."""
        inside = self._offsets[bisect_left(self._offsets, piece.start) : bisect_left(self._offsets, piece.end)]
        ruler = copy(self)
        ruler.text = self.text[piece.start : piece.end]
        ruler._offsets = [offset - piece.start for offset in inside]
        return ruler

    def tokens(self, start: int, end: int) -> int:
        """Tokens of which some part lies in text[start:end]."""
        return max(bisect_left(self._offsets, end) - self._first(start), 0)

    def forward(self, start: int, tokens: int) -> int:
        """The furthest token start, or end of text, up to which text[start:] has at most so many tokens.

        Always beyond `start`: a character of more tokens than that is taken whole.
        """
        index = self._first(start) + tokens
        while index < len(self._offsets):
            if (position := self._offsets[index]) > start:
                return position
            index += 1
        return len(self.text)

    def backward(self, end: int, tokens: int) -> int:
        """The earliest token start, or `end`, from which text[:end] has at most so many tokens."""
        last = bisect_left(self._offsets, end)
        index = max(last - tokens, 0)
        while 0 < index < last and self._offsets[index] == self._offsets[index - 1]:
            index += 1
        return self._offsets[index] if index < last else end

    def trimmed(self, piece: Piece) -> Piece | None:
        """The piece without white space at its ends; None when there is nothing else."""
        text = self.text[piece.start : piece.end]
        start = piece.start + len(text) - len(text.lstrip())
        end = piece.start + len(text.rstrip())
        return Piece(start, end) if start < end else None

    def _first(self, start: int) -> int:
        """Index of the first token with a part at or behind `start`: boundaries behind a space lie inside tokens."""
        index = bisect_left(self._offsets, start)
        if index and (index == len(self._offsets) or self._offsets[index] > start):
            return bisect_left(self._offsets, self._offsets[index - 1])
        return index
