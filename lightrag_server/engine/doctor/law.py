"""What entities and relations have to be: the fold of what chunks say of them, under what people decided.

The chunks are those that the evidence names, read some hundred at a time, however many speak of a subject.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from lightrag_server.core.curation import Curation, curated_entity, curated_relation, curation_from_rows
from lightrag_server.core.folding import (
    Aliases,
    Contributions,
    EntityContribution,
    RelationContribution,
    fold_entity,
    fold_relation,
)
from lightrag_server.core.ids import entity_vector_id, fact_vector_id, pair_from, subject_of
from lightrag_server.core.records import Entity, Pair, Relation, Subject
from lightrag_server.engine.curated import Curated
from lightrag_server.engine.refold import contributions_from, told_of
from lightrag_server.engine.stores import Stores
from lightrag_server.engine.texts import Wanted
from lightrag_server.ports.kv import Row

READ_AT_ONCE = 200
WEIGHT_TOLERANCE = 1e-4
"""Weights are sums, and sums depend on their order."""

UNREADABLE = (KeyError, TypeError, ValueError, IndexError, AttributeError)
"""What decoding a row of another shape raises."""


@dataclass(frozen=True, slots=True)
class Expected:
    """None: it is not to be there. The texts are those that must have a vector."""

    entities: dict[str, Entity | None]
    relations: dict[Pair, Relation | None]
    names: Wanted
    facts: Wanted


class Law:
    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._curated = Curated(stores)

    async def expected(self, subjects: Collection[Subject]) -> Expected:
        """Costs the reading of all chunks that speak of the subjects."""
        aliases = await self._curated.aliases()
        told_in = await self._stores.graph.chunks_of(subjects)
        chunk_ids = sorted({i for of_subject in told_in.values() for i in of_subject})
        folds = _Folds(set(subjects))
        for start in range(0, len(chunk_ids), READ_AT_ONCE):
            rows = await self._stores.contributions.get(chunk_ids[start : start + READ_AT_ONCE])
            await asyncio.to_thread(folds.add, rows, aliases)
        keys, pairs = _divided(subjects)
        ends = {key for pair in pairs for key in pair}
        curation = curation_from_rows(await self._curated.of(keys | ends, pairs))
        return folds.under(curation, keys, pairs)


@dataclass(slots=True)
class _Folds:
    subjects: set[Subject]
    entities: dict[str, Entity | None] = field(default_factory=dict[str, Entity | None])
    relations: dict[Pair, Relation | None] = field(default_factory=dict[Pair, Relation | None])
    names: Wanted = field(default_factory=Wanted)
    facts: Wanted = field(default_factory=Wanted)

    def add(self, rows: Mapping[str, Row], aliases: Aliases) -> None:
        by_key: dict[str, list[EntityContribution]] = {}
        by_pair: dict[Pair, list[RelationContribution]] = {}
        for chunk_id, row in rows.items():
            told = self._told(chunk_id, row, aliases)
            for key, entity in told.entities.items():
                by_key.setdefault(key, []).append(entity)
            for pair, relation in told.relations.items():
                by_pair.setdefault(pair, []).append(relation)
        for key, of_key in by_key.items():
            self.entities[key] = fold_entity(self.entities.get(key), of_key)
            self.names |= {entity_vector_id(key, f.text): (key, f.text) for c in of_key for f in c.names}
        for pair, of_pair in by_pair.items():
            self.relations[pair] = fold_relation(self.relations.get(pair), of_pair)
            self.facts |= {fact_vector_id(pair, f): (subject_of(pair), f) for c in of_pair for f in c.facts}

    def _told(self, chunk_id: str, row: Row, aliases: Aliases) -> Contributions:
        try:
            told = told_of(self.subjects, chunk_id, row, aliases)
        except UNREADABLE:
            return Contributions({}, {})
        return Contributions(
            {key: c for key, c in told.entities.items() if key in self.subjects},
            {pair: c for pair, c in told.relations.items() if subject_of(pair) in self.subjects},
        )

    def under(self, curation: Curation, keys: set[str], pairs: set[Pair]) -> Expected:
        entities = {key: curated_entity(self.entities.get(key), curation.entities.get(key)) for key in keys}
        relations = {pair: curated_relation(self.relations.get(pair), curation.relations.get(pair)) for pair in pairs}
        for pair in pairs:
            if any(map(curation.is_deleted, pair)):
                relations[pair] = None
        own_names = ((key, name) for key in keys if (name := curation.name_of(key)))
        names = self.names | {entity_vector_id(key, name): (key, name) for key, name in own_names}
        own_facts = ((pair, c.fact) for pair, c in curation.relations.items() if pair in pairs and c.fact)
        facts = self.facts | {fact_vector_id(pair, fact): (subject_of(pair), fact) for pair, fact in own_facts}
        return Expected(
            entities,
            relations,
            names={i: wanted for i, wanted in names.items() if entities[wanted[0]]},
            facts={i: (s, fact) for i, (s, fact) in facts.items() if (pair := pair_from(s)) and relations[pair]},
        )


def told_or_none(chunk_id: str, row: Row, aliases: Aliases) -> Contributions | None:
    """What a stored chunk says; None where its row has another shape than we write."""
    try:
        int(row["windows"])
        return contributions_from(chunk_id, row, aliases)
    except UNREADABLE:
        return None


def is_same_relation(stored: Relation | None, expected: Relation | None) -> bool:
    if stored is None or expected is None:
        return stored is expected
    return (
        math.isclose(stored.weight, expected.weight, rel_tol=WEIGHT_TOLERANCE, abs_tol=WEIGHT_TOLERANCE)
        and is_same_relation(stored.folded, expected.folded)
        and _unweighed(stored) == _unweighed(expected)
    )


def _unweighed(relation: Relation) -> Relation:
    return replace(relation, names=relation.pair, weight=0.0, folded=None)


def _divided(subjects: Collection[Subject]) -> tuple[set[str], set[Pair]]:
    pairs = {pair for subject in subjects if (pair := pair_from(subject))}
    return {subject for subject in subjects if pair_from(subject) is None}, pairs
