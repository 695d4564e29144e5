"""What is told all over the corpus, without what it loses: worked out from its stored fold and a look at few others.

A fold tells by itself what counts come to. Which texts move up where one is lost is told by the first chunks in their
order, and which files and times are left by one chunk of each document. What that does not tell is folded anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import chain

from lightrag_server.core.curation import Curation, folded_entity, folded_relation
from lightrag_server.core.folding import (
    BEGINNING,
    Aliases,
    Contributions,
    EntityContribution,
    RelationContribution,
    Rest,
    Source,
    keeps_any,
    relation_without,
    without,
)
from lightrag_server.core.ids import document_of, pair_from, subject_of
from lightrag_server.core.records import Entity, Origin, Pair, Relation, Stage, Subject
from lightrag_server.engine import refold
from lightrag_server.engine.refold import Refold
from lightrag_server.engine.stores import Stores
from lightrag_server.ports.doc_status import Filter
from lightrag_server.ports.kv import Row

FIRST = 16
"""So many chunks are read of each subject; where there are fewer, it is folded anew."""
WORTH_IT = 0.6
"""What is read at most, of the chunks that would be read to fold everything anew."""
LAST = 2**31
UNSETTLED = frozenset(Stage) - {Stage.COMMITTED}


@dataclass(slots=True)
class Lighter:
    """Folds without what they lose, by key and pair."""

    entities: dict[str, Entity] = field(default_factory=dict[str, Entity])
    relations: dict[Pair, Relation] = field(default_factory=dict[Pair, Relation])

    def subjects(self) -> set[Subject]:
        return {*self.entities, *map(subject_of, self.relations)}


@dataclass(frozen=True, slots=True)
class _Losing:
    """Folds as they are stored, and what each loses."""

    entities: dict[str, tuple[Entity, list[EntityContribution]]]
    relations: dict[Pair, tuple[Relation, list[RelationContribution]]]

    def left(self, rests: _Rests) -> Lighter:
        entities = ((k, without(e, gone, rests.of_entity(k))) for k, (e, gone) in self.entities.items())
        relations = ((p, relation_without(r, gone, rests.of_pair(p))) for p, (r, gone) in self.relations.items())
        return Lighter({k: e for k, e in entities if e}, {p: r for p, r in relations if r})

    def but(self, done: Lighter) -> _Losing:
        """The others, without those of which nothing stays."""
        entities = {k: (e, gone) for k, (e, gone) in self.entities.items() if len(gone) < e.mentions}
        relations = {p: (r, gone) for p, (r, gone) in self.relations.items() if len(gone) < r.mentions}
        return _Losing(
            {key: losing for key, losing in entities.items() if key not in done.entities},
            {pair: losing for pair, losing in relations.items() if pair not in done.relations},
        )

    def subjects(self) -> set[Subject]:
        return {*self.entities, *map(subject_of, self.relations)}

    def of_lost_texts(self) -> set[Subject]:
        """Those that lose a text that their fold keeps, or, as relations do, one that it does not tell: a fact."""
        keys = {key for key, (entity, gone) in self.entities.items() if keeps_any(entity, gone)}
        return keys.union(map(subject_of, self.relations))


@dataclass(frozen=True, slots=True)
class _Rests:
    """What was read: by subject the first chunks that speak of it, where texts are lost, one of each document that
    does, and what those chunks tell."""

    first: Mapping[Subject, Sequence[str]] = field(default_factory=dict[Subject, Sequence[str]])
    spokesmen: Mapping[Subject, Collection[str]] = field(default_factory=dict[Subject, Collection[str]])
    told: Mapping[str, Contributions] = field(default_factory=dict[str, Contributions])
    sources: Mapping[str, Source] = field(default_factory=dict[str, Source])

    def chunk_ids(self) -> set[str]:
        return {i for chunk_ids in (*self.first.values(), *self.spokesmen.values()) for i in chunk_ids}

    def of_entity(self, key: str) -> Rest[EntityContribution]:
        first = [c for i in self.first.get(key, ()) if (c := self.told[i].entities.get(key))]
        return Rest(first, _end(first), self._sources(key))

    def of_pair(self, pair: Pair) -> Rest[RelationContribution]:
        subject = subject_of(pair)
        first = [c for i in self.first.get(subject, ()) if (c := self.told[i].relations.get(pair))]
        return Rest(first, _end(first), self._sources(subject))

    def _sources(self, subject: Subject) -> list[Source]:
        return [self.sources[i] for i in self.spokesmen.get(subject, ())]


def _end(first: Sequence[EntityContribution | RelationContribution]) -> Origin:
    """Behind all that they tell."""
    return Origin(first[-1].source.index, first[-1].source.chunk_id, LAST) if first else BEGINNING


async def lighter(stores: Stores, work: Refold, before: Curation, after: Curation) -> Lighter:
    """As far as it can be told. A stored fold does not tell all spellings and facts that documents use, so it is no
    help where those by hand change or the subject goes."""
    losing = await _losing(stores, work, before, after)
    done = losing.left(_Rests())
    others = losing.but(done)
    if not others.subjects():
        return done
    more = others.left(await _rests(stores, others, work))
    return Lighter(done.entities | more.entities, done.relations | more.relations)


async def _losing(stores: Stores, work: Refold, before: Curation, after: Curation) -> _Losing:
    pairs = [p for s in work.losing if (p := pair_from(s)) and not any(map(after.is_deleted, p))]
    keys = [
        subject
        for subject in work.losing
        if pair_from(subject) is None
        and before.name_of(subject) == after.name_of(subject)
        and not after.is_deleted(subject)
    ]
    # an edit has all chunks tell anew of the relations that it touches
    entities, relations = await asyncio.gather(
        stores.graph.entities(keys), stores.graph.relations([] if work.curated else pairs)
    )
    lost_by_key, lost_by_pair = refold.lost_by_subject(work.lost.values())
    return _Losing(
        {k: (f, lost_by_key.get(k, [])) for k, stored in entities.items() if (f := folded_entity(stored))},
        {p: (f, lost_by_pair.get(p, [])) for p, stored in relations.items() if (f := folded_relation(stored))},
    )


async def _rests(stores: Stores, losing: _Losing, work: Refold) -> _Rests:
    told_in = await stores.graph.chunks_of(losing.subjects())
    unsettled = await stores.documents.find(Filter(stages=UNSETTLED))
    changed = {*work.lost, *work.gained}
    others = {subject: [i for i in chunk_ids if i not in changed] for subject, chunk_ids in told_in.items()}
    chosen = await asyncio.to_thread(_chosen, others, losing.of_lost_texts(), {d.id for d in unsettled})
    wanted = chosen.chunk_ids()
    anyway = {i for s, chunk_ids in others.items() if s not in chosen.spokesmen for i in chunk_ids}
    if len(anyway | wanted) > WORTH_IT * len({i for chunk_ids in others.values() for i in chunk_ids}):
        return _Rests()
    rows = await stores.contributions.get(sorted(wanted))
    if rows.keys() != wanted:
        return _Rests()
    return await asyncio.to_thread(_read, chosen, rows, work.aliases)


def _chosen(others: Mapping[Subject, Sequence[str]], of_lost_texts: Set[Subject], unsettled: Set[str]) -> _Rests:
    """Of a document that is committed all chunks have one source; of another, parts of two versions may be stored."""
    places = {i: place for chunk_ids in others.values() for i in chunk_ids if (place := _place(i))}
    many = {s: ids for s, ids in others.items() if len(ids) > FIRST and places.keys() >= set(ids)}
    first = {s: nsmallest(FIRST, many[s], key=places.__getitem__) for s in of_lost_texts if s in many}
    owners = {i: i if (document := places[i][2]) in unsettled else document for ids in many.values() for i in ids}
    speakers: dict[str, str] = {}
    for chunk_id in chain(*first.values(), owners):
        speakers.setdefault(owners[chunk_id], chunk_id)
    return _Rests(first, {s: {speakers[owners[i]] for i in chunk_ids} for s, chunk_ids in many.items()})


def _place(chunk_id: str) -> tuple[int, str, str] | None:
    """What sorts chunks as their origins do, and the document; None where the id does not tell."""
    document = document_of(chunk_id)
    return (int(chunk_id[len(document) + len("-chunk-") :]), chunk_id, document) if document else None


def _read(chosen: _Rests, rows: Mapping[str, Row], aliases: Aliases) -> _Rests:
    wanted: dict[str, set[Subject]] = {}
    for subject, chunk_ids in chosen.first.items():
        for chunk_id in chunk_ids:
            wanted.setdefault(chunk_id, set()).add(subject)
    told = {i: refold.told_of(subjects, i, rows[i], aliases) for i, subjects in wanted.items()}
    sources = {i: refold.source_from(i, row) for i, row in rows.items()}
    return _Rests(chosen.first, chosen.spokesmen, told, sources)
