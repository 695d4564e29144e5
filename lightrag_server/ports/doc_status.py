from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from lightrag_server.core.records import DocStatus, Document, Stage

SortField = Literal["updated_at", "created_at", "id", "file_path"]


@dataclass(frozen=True, slots=True)
class Page:
    """Page `number` counts from 1."""

    number: int = 1
    size: int = 50
    sort: SortField = "updated_at"
    descending: bool = True


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions that must all hold; None means any."""

    statuses: frozenset[DocStatus] | None = None
    stages: frozenset[Stage] | None = None
    track_id: str | None = None
    content_hash: str | None = None
    file_path: str | None = None


class DocStatusStore(Protocol):
    """One row per document."""

    async def add(self, documents: Sequence[Document]) -> set[str]:
        """Insert the documents whose id is not present; return the ids that were, whose rows stay as they are.
        Atomic between processes: of two that add one id at once exactly one succeeds."""
        ...

    async def put(self, documents: Sequence[Document]) -> None:
        """Insert or replace."""
        ...

    async def update(self, document: Document, expected: Collection[Stage]) -> bool:
        """Replace the row only if it exists and its stage is one of `expected`; say whether it was. Atomic."""
        ...

    async def get(self, ids: Collection[str]) -> dict[str, Document]: ...

    async def find(self, where: Filter, limit: int | None = None, after: str | None = None) -> list[Document]:
        """In order of (created_at, id), beginning behind the id `after`; nothing when that is unknown."""
        ...

    async def page(self, where: Filter, page: Page) -> tuple[list[Document], int]:
        """One page (ties by id) and the number of rows that match in all."""
        ...

    async def counts(self) -> dict[DocStatus, int]:
        """Every status is present, zero where there is none."""
        ...

    async def delete(self, ids: Collection[str]) -> None: ...

    async def clear(self) -> None: ...
