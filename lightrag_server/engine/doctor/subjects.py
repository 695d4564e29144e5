"""The graph and the vectors of names and facts against what chunks and people say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence

from lightrag_server.core.curation import ENTITY, RELATION
from lightrag_server.core.ids import pair_from, subject_of
from lightrag_server.core.records import Subject
from lightrag_server.engine.doctor.faults import Check, Fault, Kind
from lightrag_server.engine.doctor.law import Expected, Law, is_same_relation
from lightrag_server.engine.doctor.vectors import is_damaged
from lightrag_server.engine.stores import Stores
from lightrag_server.ports.vectors import VectorItem, VectorStore

BATCH = 200


class Subjects:
    def __init__(self, stores: Stores, dimension: int | None) -> None:
        self._stores = stores
        self._dimension = dimension
        self._law = Law(stores)

    def checks(self) -> Iterator[Check]:
        yield Check("entities", self._entity_keys, self.examine)
        yield Check("relations", self._relation_subjects, self.examine)
        yield Check("what people decided", self._curated_subjects, self.examine)
        yield Check("names", lambda: _ids(self._stores.entities), self.names)
        yield Check("facts", lambda: _ids(self._stores.facts), self.facts)

    async def examine(self, subjects: Sequence[Subject]) -> list[Fault]:
        """Whether they are what they have to be, with all their vectors."""
        expected = await self._law.expected(subjects)
        stored = await self._stores.graph.entities(expected.entities)
        edges = await self._stores.graph.relations(expected.relations)
        wrong = [key for key, entity in expected.entities.items() if stored.get(key) != entity]
        wrong += [subject_of(p) for p, r in expected.relations.items() if not is_same_relation(edges.get(p), r)]
        no_name = await self._stores.entities.missing(expected.names)
        no_fact = await self._stores.facts.missing(expected.facts)
        return [
            *(_of_subject(Kind.SUBJECT, s) for s in wrong),
            *(_of_subject(Kind.NO_NAME_VECTOR, key) for key in sorted({expected.names[i][0] for i in no_name})),
            *(_of_subject(Kind.NO_FACT_VECTOR, s) for s in sorted({expected.facts[i][0] for i in no_fact})),
        ]

    async def names(self, ids: Sequence[str]) -> list[Fault]:
        items = await self._stores.entities.get(ids)
        expected = await self._expected(items)
        return self._of_vectors(items, expected.names, Kind.EXTRA_NAME, Kind.BAD_NAME)

    async def facts(self, ids: Sequence[str]) -> list[Fault]:
        items = await self._stores.facts.get(ids)
        expected = await self._expected(items)
        return self._of_vectors(items, expected.facts, Kind.EXTRA_FACT, Kind.BAD_FACT)

    async def _expected(self, items: dict[str, VectorItem]) -> Expected:
        return await self._law.expected({item.ref for item in items.values()})

    def _of_vectors(
        self, items: dict[str, VectorItem], wanted: dict[str, tuple[str, str]], extra: Kind, damaged: Kind
    ) -> list[Fault]:
        faults: list[Fault] = []
        for id_, item in items.items():
            if id_ not in wanted or wanted[id_][0] != item.ref:
                faults.append(Fault(extra, id_, item.ref))
            elif is_damaged(item, self._dimension):
                faults.append(Fault(damaged, id_, item.ref))
        return faults

    async def _entity_keys(self) -> AsyncIterator[Sequence[str]]:
        async for batch in self._stores.graph.scan_entities():
            yield [entity.key for entity in batch]

    async def _relation_subjects(self) -> AsyncIterator[Sequence[str]]:
        async for batch in self._stores.graph.scan_relations():
            yield [subject_of(relation.pair) for relation in batch]

    async def _curated_subjects(self) -> AsyncIterator[Sequence[str]]:
        for begins in (ENTITY, RELATION):
            batch: list[str] = []
            async for key, _ in self._stores.curated.scan(begins):
                batch.append(key.removeprefix(begins))
                if len(batch) == BATCH:
                    yield batch
                    batch = []
            if batch:
                yield batch


def _of_subject(kind: Kind, subject: Subject) -> Fault:
    return Fault(kind, _shown(subject), subjects=(subject,))


def _shown(subject: Subject) -> str:
    pair = pair_from(subject)
    return " — ".join(pair) if pair else subject


async def _ids(store: VectorStore) -> AsyncIterator[Sequence[str]]:
    async for items in store.scan():
        yield [item.id for item in items]
