"""What the memory backend keeps, and who may change it when."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lightrag_server.core.records import Document, Entity, Pair, Relation, Subject
from lightrag_server.ports.vectors import VectorItem

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Analysed:
    """An item of lexical search with the counts of its terms."""

    id: str
    ref: str
    counts: Counter[str]


@dataclass(slots=True)
class Space:
    """One workspace. Values are immutable; namespaces map to dictionaries by key or id."""

    kv: defaultdict[str, dict[str, bytes]] = field(default_factory=lambda: defaultdict(dict))
    vectors: defaultdict[str, dict[str, VectorItem]] = field(default_factory=lambda: defaultdict(dict))
    lexical: defaultdict[str, dict[str, Analysed]] = field(default_factory=lambda: defaultdict(dict))
    documents: dict[str, Document] = field(default_factory=dict[str, Document])
    entities: dict[str, Entity] = field(default_factory=dict[str, Entity])
    relations: dict[Pair, Relation] = field(default_factory=dict[Pair, Relation])
    evidence: dict[str, frozenset[Subject]] = field(default_factory=dict[str, frozenset[Subject]])
    fence: int = 0

    def copy(self) -> Space:
        return Space(
            kv=_copied(self.kv),
            vectors=_copied(self.vectors),
            lexical=_copied(self.lexical),
            documents=dict(self.documents),
            entities=dict(self.entities),
            relations=dict(self.relations),
            evidence=dict(self.evidence),
            fence=self.fence,
        )

    def clear(self) -> None:
        """Forget everything but the fence."""
        for rows in self._all():
            rows.clear()

    def is_empty(self) -> bool:
        return not any(self._all())

    def _all(self) -> list[dict[str, Any] | dict[Pair, Relation]]:
        named = [rows for spaces in (self.kv, self.vectors, self.lexical) for rows in spaces.values()]
        return [*named, self.documents, self.entities, self.relations, self.evidence]


def _copied(spaces: defaultdict[str, dict[str, T]]) -> defaultdict[str, dict[str, T]]:
    return defaultdict(dict, {name: dict(rows) for name, rows in spaces.items()})


class Cell:
    """The place of one workspace: hands out what a task may see and change."""

    def __init__(self, workspace: str) -> None:
        self.workspace = workspace
        self._committed = Space()
        self._lock = asyncio.Lock()
        self._draft: ContextVar[Space | None] = ContextVar(f"draft-{id(self)}", default=None)

    @property
    def in_transaction(self) -> bool:
        return self._draft.get() is not None

    @property
    def space(self) -> Space:
        """For reading: the task's own draft inside a transaction, else what was committed last."""
        return self._draft.get() or self._committed

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Space]:
        """For one change without awaits: either it raises before it changed anything or it is seen whole."""
        if self.in_transaction:
            yield self.space
            return
        async with self._lock:
            yield self._committed

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Space]:
        """A draft that becomes what everybody sees unless an exception leaves the block."""
        async with self._lock:
            draft = self._committed.copy()
            token = self._draft.set(draft)
            try:
                yield draft
                self._committed = draft
            finally:
                self._draft.reset(token)
