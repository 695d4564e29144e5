"""Reading curations and aliases of a workspace. Costs one small read where nobody ever edited anything."""

from __future__ import annotations

from collections.abc import Collection

from lightrag_server.core import ids
from lightrag_server.core.curation import (
    ALIAS,
    MERGE,
    RELATION,
    Curation,
    Merge,
    alias_row_key,
    aliases_from_rows,
    curation_from_rows,
    entity_row_key,
    involves,
    merges_from_rows,
    relation_row_key,
)
from lightrag_server.core.folding import NO_ALIASES, Aliases
from lightrag_server.core.records import Pair
from lightrag_server.engine.stores import Stores
from lightrag_server.ports.kv import Row


class Curated:
    def __init__(self, stores: Stores) -> None:
        self._store = stores.curated

    async def aliases(self) -> Aliases:
        """All of them: names that were merged or renamed are few."""
        if not await self._store.count():
            return NO_ALIASES
        return aliases_from_rows({key: row async for key, row in self._store.scan(ALIAS)})

    async def key_of(self, name: str) -> str:
        """The key of the entity that this name stands for."""
        key = ids.entity_key(name)
        alias = await self._store.get([alias_row_key(key)])
        return alias[alias_row_key(key)]["to"] if alias else key

    async def merges(self) -> dict[str, Merge]:
        """How aliases came about, by their keys; of those from before this was kept nothing is known."""
        return merges_from_rows({key: row async for key, row in self._store.scan(MERGE)})

    async def rows(self, row_keys: Collection[str]) -> dict[str, Row]:
        """As they are stored."""
        return await self._store.get(row_keys)

    async def of(self, keys: Collection[str], pairs: Collection[Pair]) -> dict[str, Row]:
        """The stored rows of these subjects."""
        if not await self._store.count():
            return {}
        return await self._store.get([*map(entity_row_key, keys), *map(relation_row_key, pairs)])

    async def relations_with(self, keys: frozenset[str]) -> Curation:
        """Curations of all relations that have one of the keys as an end. Reads every curated relation."""
        rows = {key: row async for key, row in self._store.scan(RELATION) if involves(key.removeprefix(RELATION), keys)}
        return curation_from_rows(rows)
