from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
"""Shape (d,), unit length. Stores may keep half precision: a stored vector differs by at most 1e-3 per component."""


def nearness(vector: Vector, queries: NDArray[np.float32]) -> float:
    """The cosine similarity of a unit vector to the nearest of some, shape (n, d)."""
    return float(np.clip((queries @ vector).max(), -1.0, 1.0))


@dataclass(frozen=True, slots=True)
class VectorItem:
    """`ref` says what the vector stands for: a chunk id, an entity key or a pair's subject."""

    id: str
    ref: str
    vector: Vector


class VectorHit(NamedTuple):
    """`score` is the cosine similarity, in [-1, 1]."""

    id: str
    ref: str
    score: float


class VectorStore(Protocol):
    """Unit vectors of one dimension within one namespace. Vectors in, vectors out: a store never embeds."""

    async def search(self, query: Vector, top_k: int, threshold: float = -1.0) -> list[VectorHit]:
        """Best first, at most `top_k`, none below `threshold`; ties by id. A query of another length raises
        `DimensionMismatch`; an empty store answers with an empty list."""
        ...

    async def put(self, items: Sequence[VectorItem]) -> None:
        """The second put of an id wins. A vector of another length than those stored raises `DimensionMismatch`
        and writes nothing."""
        ...

    async def get(self, ids: Collection[str]) -> dict[str, VectorItem]:
        """Unknown ids are absent."""
        ...

    async def similarities(self, ids: Collection[str], queries: NDArray[np.float32]) -> dict[str, float]:
        """Of each id the cosine similarity to the nearest of some vectors, shape (n, d); unknown ids are absent."""
        ...

    async def missing(self, ids: Collection[str]) -> set[str]: ...

    async def delete(self, ids: Collection[str]) -> None: ...

    async def count(self) -> int: ...

    def scan(self) -> AsyncIterator[list[VectorItem]]:
        """All items once, in the store's order and in batches; bounded memory. What changes meanwhile may be seen or
        not."""
        ...

    async def clear(self) -> None:
        """Afterwards vectors of any dimension are accepted."""
        ...
