from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from lightrag_server.core.records import DocStatus, Document, Stage

Change = Callable[[Document], Document | None]
"""The row as it is → the row as it is to be, under the same id; None leaves it. Pure: it may be called more than
once."""

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
    name_part: str = ""
    """Stands somewhere in the file path, whatever the case of either."""
    tags: frozenset[str] = frozenset()
    """All of these are there."""
    any_tags: frozenset[str] = frozenset()
    """At least one of these is there, where any are asked for."""
    is_enabled: bool | None = None
    updated_from: str | None = None
    """Not updated before; compared as text, so it has to be written as the rows' own times are."""


class DocStatusStore(Protocol):
    """One row per document."""

    async def add(self, documents: Sequence[Document]) -> set[str]:
        """Insert the documents whose id is not present; return the ids that were, whose rows stay as they are.
        Atomic between processes: of two that add one id at once exactly one succeeds."""
        ...

    async def put(self, documents: Sequence[Document]) -> None:
        """Insert or replace."""
        ...

    async def update(self, id: str, change: Change) -> Document | None:
        """Replace a row by what `change` makes of it, atomically between processes. Returns the new row, or None when
        there is no such row or it was left as it is."""
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
