"""Everything of one workspace, and the workspaces of a process."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lightrag_server.engine.clear import Clear
from lightrag_server.engine.commit import EMBEDDING_KEY, Commit, mismatch_sentence
from lightrag_server.engine.intake import Intake
from lightrag_server.engine.prepare import Prepare
from lightrag_server.engine.query import Query
from lightrag_server.engine.status import Pipeline
from lightrag_server.engine.stores import Stores
from lightrag_server.errors import DimensionMismatch, InvalidInput
from lightrag_server.ports.embedding import Embedder

MAX_NAME_CHARS = 64
_ODD = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True)
class Workspace:
    """One tenant: its stores and the services that work on them."""

    name: str
    stores: Stores
    intake: Intake
    prepare: Prepare
    commit: Commit
    clear: Clear
    query: Query
    pipeline: Pipeline


class Workspaces:
    """Opened on first use and kept; handles are cheap."""

    def __init__(self, make: Callable[[str], Workspace], names: Callable[[], Awaitable[list[str]]]) -> None:
        self._make = make
        self._names = names
        self._open: dict[str, Workspace] = {}
        self._lock = asyncio.Lock()

    async def get(self, name: str) -> Workspace:
        """The workspace of this name (LightRAG's rule: odd characters become underscores), made when it is new."""
        name = clean_name(name)
        async with self._lock:
            if name not in self._open:
                self._open[name] = self._make(name)
            return self._open[name]

    async def names(self) -> list[str]:
        """All that hold anything, sorted."""
        return await self._names()


def clean_name(name: str) -> str:
    clean = _ODD.sub("_", name.strip())
    if len(clean) > MAX_NAME_CHARS:
        raise InvalidInput(f"a workspace name has at most {MAX_NAME_CHARS} characters")
    return clean


async def check_embedding(stores: Stores, embedder: Embedder, configured_dimension: int | None) -> None:
    """Raise `DimensionMismatch` when the stored vectors were made by another model than the one configured."""
    known = (await stores.meta.get([EMBEDDING_KEY])).get(EMBEDDING_KEY)
    if known is None:
        return
    dimension = embedder.dimension or configured_dimension or known["dimension"]
    configured = {"identity": embedder.identity, "dimension": dimension}
    if configured != known:
        raise DimensionMismatch(mismatch_sentence(known, configured))
