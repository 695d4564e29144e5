"""Reading curations and aliases of a workspace. Costs one small read where nobody ever edited anything."""

from __future__ import annotations

from collections.abc import Collection

from lightrag_server.core import ids
from lightrag_server.core.curation import (
    ALIAS,
    RELATION,
    Curation,
    aliases_from_rows,
    curation_from_rows,
    entity_row_key,
    involves,
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
        return (await self.aliases()).get(key, key)

    async def of(self, keys: Collection[str], pairs: Collection[Pair]) -> dict[str, Row]:
        """The stored rows of these subjects."""
        if not await self._store.count():
            return {}
        return await self._store.get([*map(entity_row_key, keys), *map(relation_row_key, pairs)])

    async def relations_with(self, keys: frozenset[str]) -> Curation:
        """Curations of all relations that have one of the keys as an end. Reads every curated relation."""
        rows = {key: row async for key, row in self._store.scan(RELATION) if involves(key.removeprefix(RELATION), keys)}
        return curation_from_rows(rows)
