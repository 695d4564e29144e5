from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any, Protocol

Row = dict[str, Any]
"""A JSON object."""


class KVStore(Protocol):
    """Rows by key within one namespace. Keys are any non-empty text up to 1,000 characters."""

    async def get(self, keys: Collection[str]) -> dict[str, Row]:
        """Unknown keys are absent from the result."""
        ...

    async def put(self, rows: Mapping[str, Row]) -> None:
        """The second put of a key wins whole."""
        ...

    async def delete(self, keys: Collection[str]) -> None:
        """Unknown keys are no error."""
        ...

    async def missing(self, keys: Collection[str]) -> set[str]:
        """The keys that are not present."""
        ...

    def scan(self, prefix: str = "") -> AsyncIterator[tuple[str, Row]]:
        """All rows whose key begins with `prefix`, in key order; bounded memory."""
        ...

    async def count(self) -> int: ...

    async def clear(self) -> None: ...
