"""What chosen chunks say of an entity or relation, folded anew from their contributions.

The graph keeps the first few texts of each subject, each with the first place that says it: what is left when those
of other documents are taken out may be less than what the chosen ones say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from lightrag_server.core.folding import Aliases, fold_entity, fold_relation
from lightrag_server.core.records import Entity, Fragment, Pair, Relation, Subject
from lightrag_server.engine.curated import Curated
from lightrag_server.engine.refold import Told, told_from, told_of
from lightrag_server.engine.stores import Stores
from lightrag_server.ports.kv import Row

RETOLD_CHUNKS = 24
"""A subject is folded from so many chunks, the openings of documents first."""


class Retold:
    """For one question: rows are read once."""

    def __init__(self, stores: Stores) -> None:
        self._contributions = stores.contributions
        self._curated = Curated(stores)
        self._rows: dict[str, Row] = {}
        self._aliases: Aliases | None = None

    async def entities(self, told_in: Mapping[str, Sequence[str]]) -> dict[str, Entity]:
        """By key, from the chunks given for each."""
        told = await self._told(told_in)
        return {key: entity for key, of_key in told.entities.items() if (entity := fold_entity(None, of_key))}

    async def relations(self, told_in: Mapping[Subject, Sequence[str]]) -> dict[Pair, Relation]:
        told = await self._told(told_in)
        return {
            pair: relation for pair, of_pair in told.relations.items() if (relation := fold_relation(None, of_pair))
        }

    async def _told(self, told_in: Mapping[Subject, Sequence[str]]) -> Told:
        if not told_in:
            return Told({}, {})
        chosen = {subject: set(sorted(ids, key=_place)[:RETOLD_CHUNKS]) for subject, ids in told_in.items()}
        wanted = set[str]().union(*chosen.values())
        self._rows |= await self._contributions.get(wanted - self._rows.keys())
        if self._aliases is None:
            self._aliases = await self._curated.aliases()
        return await asyncio.to_thread(_told, chosen, wanted, self._rows, self._aliases)


def _told(chosen: Mapping[Subject, set[str]], wanted: set[str], rows: Mapping[str, Row], aliases: Aliases) -> Told:
    others = [
        told_of({s for s, chunks in chosen.items() if chunk_id in chunks}, chunk_id, rows[chunk_id], aliases)
        for chunk_id in sorted(wanted & rows.keys())
    ]
    return told_from(set(chosen), others, ())


def _place(chunk_id: str) -> tuple[int, str]:
    _, _, index = chunk_id.rpartition("-")
    return int(index) if index.isdecimal() else 0, chunk_id


def is_cut(stored: Entity | Relation, shown: Entity | Relation) -> bool:
    """Whether the scope may say more than what is left."""
    return [len(texts) for texts in _lists(stored)] != [len(texts) for texts in _lists(shown)]


def _lists(told: Entity | Relation) -> tuple[tuple[Fragment, ...], tuple[Fragment, ...]]:
    return told.fragments, told.names if isinstance(told, Entity) else told.keywords
