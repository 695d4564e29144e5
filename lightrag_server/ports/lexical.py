from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


@dataclass(frozen=True, slots=True)
class LexicalItem:
    """`terms` as `core.lexical.terms` makes them of a text, in its order and as often as they stand there."""

    id: str
    ref: str
    terms: Sequence[str]


class LexicalHit(NamedTuple):
    """`score` is a BM25 score: larger is better, only comparable within one search."""

    id: str
    ref: str
    score: float


class LexicalStore(Protocol):
    """Full-text search by BM25 within one namespace."""

    async def search(self, terms: Sequence[str], top_k: int) -> list[LexicalHit]:
        """Items with any of the terms (as made by `core.lexical.terms`), best first, ties by id."""
        ...

    async def put(self, items: Sequence[LexicalItem]) -> None: ...

    async def delete(self, ids: Collection[str]) -> None: ...

    async def missing(self, ids: Collection[str]) -> set[str]: ...

    async def count(self) -> int: ...

    def scan_ids(self) -> AsyncIterator[list[str]]:
        """The ids of all items once, in the store's order and in batches; bounded memory. What changes meanwhile may be
        seen or not."""
        ...

    async def clear(self) -> None: ...
