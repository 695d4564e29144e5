from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LexicalItem:
    """`text` is analysed by the store with `core.lexical.terms`, so that CJK text is searchable everywhere."""

    id: str
    ref: str
    text: str


@dataclass(frozen=True, slots=True)
class LexicalHit:
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

    async def count(self) -> int: ...

    async def clear(self) -> None: ...
