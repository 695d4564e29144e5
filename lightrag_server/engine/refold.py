"""Which contributions each touched subject is folded from, and which texts have or need a vector. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from lightrag_server.core.curation import Curation, involves
from lightrag_server.core.encoding import (
    entity_mention_from_row,
    extraction_from_row,
    relation_mention_from_row,
)
from lightrag_server.core.folding import (
    Aliases,
    Contributions,
    EntityContribution,
    RelationContribution,
    Source,
    contributions_of,
    grouped,
    key_of,
)
from lightrag_server.core.ids import entity_vector_id, fact_vector_id, pair_from, pair_of, subject_of
from lightrag_server.core.records import Entity, EntityMention, Pair, RelationMention, Subject
from lightrag_server.engine.texts import Wanted, entity_texts, fact_texts
from lightrag_server.ports.kv import Row


@dataclass(frozen=True, slots=True)
class Refold:
    """Chunks whose contributions change, and the subjects that are folded anew for it or for another reason."""

    lost: Mapping[str, Contributions]
    gained: Mapping[str, Contributions]
    losing: set[Subject]
    aliases: Aliases
    curated: Mapping[str, Row | None] = field(default_factory=dict[str, Row | None])
    """Curated rows that the same transaction writes; None deletes."""

    def touched(self) -> tuple[set[str], set[Pair]]:
        """Keys of entities, those at the ends of relations among them, and pairs of relations."""
        pairs = {pair for s in self.losing if (pair := pair_from(s))}
        pairs |= {pair for told in self.gained.values() for pair in told.relations}
        keys = {s for s in self.losing if pair_from(s) is None}
        keys |= {key for told in self.gained.values() for key in told.entities}
        return keys | {key for pair in pairs for key in pair}, pairs


@dataclass(frozen=True, slots=True)
class Told:
    """All contributions that each touched subject is folded from."""

    entities: dict[str, list[EntityContribution]]
    relations: dict[Pair, list[RelationContribution]]


def lost_by_subject(
    lost: Iterable[Contributions],
) -> tuple[dict[str, list[EntityContribution]], dict[Pair, list[RelationContribution]]]:
    by_key: dict[str, list[EntityContribution]] = {}
    by_pair: dict[Pair, list[RelationContribution]] = {}
    for told in lost:
        for key, entity in told.entities.items():
            by_key.setdefault(key, []).append(entity)
        for pair, relation in told.relations.items():
            by_pair.setdefault(pair, []).append(relation)
    return by_key, by_pair


def told_from(
    losing: set[Subject],
    others: Iterable[Contributions],
    gained: Iterable[Contributions],
    lighter: Iterable[Subject] = (),
) -> Told:
    """By subject: all other contributions where it is folded anew, and everything that is new. Of the `lighter`
    ones only the latter: `others` tell of them by the way, as ends of relations."""
    entities: dict[str, list[EntityContribution]] = {s: [] for s in losing if pair_from(s) is None}
    relations: dict[Pair, list[RelationContribution]] = {p: [] for s in losing if (p := pair_from(s))}
    for told in others:
        for key, entity in told.entities.items():
            if key in entities:
                entities[key].append(entity)
        for pair, relation in told.relations.items():
            if pair in relations:
                relations[pair].append(relation)
    for told in gained:
        for key, entity in told.entities.items():
            entities.setdefault(key, []).append(entity)
        for pair, relation in told.relations.items():
            relations.setdefault(pair, []).append(relation)
    for subject in lighter:
        if pair := pair_from(subject):
            relations.setdefault(pair, [])
        else:
            entities.setdefault(subject, [])
    return Told(entities, relations)


# ----------------------------------------------------------------------------- contributions from stored rows


def source_from(chunk_id: str, row: Row) -> Source:
    return Source(chunk_id, row["index"], row["file_path"], row["created_at"])


def contributions_from(chunk_id: str, row: Row, aliases: Aliases) -> Contributions:
    return contributions_of(source_from(chunk_id, row), extraction_from_row(row["extraction"]), aliases)


def told_of(losing: Container[Subject], chunk_id: str, row: Row, aliases: Aliases) -> Contributions:
    """What a stored chunk says of the losing subjects; of what it says of others as little as possible is decoded."""
    entities: list[tuple[int, EntityMention]] = []
    relations: list[tuple[int, RelationMention]] = []
    listed: set[str] = set()
    for number, told in enumerate(row["extraction"]["entities"]):
        if (key := key_of(told[0], aliases)) in losing:
            listed.add(key)
            entities.append((number, entity_mention_from_row(told)))
    for number, told in enumerate(row["extraction"]["relations"], len(row["extraction"]["entities"])):
        ends = key_of(told[0], aliases), key_of(told[1], aliases)
        # an end that is listed needs no relation to be known
        if subject_of(pair_of(*ends)) in losing or any(end in losing and end not in listed for end in ends):
            relations.append((number, relation_mention_from_row(told)))
    return grouped(source_from(chunk_id, row), entities, relations, aliases)


def only(told: Contributions, subjects: Container[Subject]) -> Contributions:
    return Contributions(
        {key: c for key, c in told.entities.items() if key in subjects},
        {pair: c for pair, c in told.relations.items() if subject_of(pair) in subjects},
    )


def retold_subjects(
    old: Mapping[str, Contributions], new: Mapping[str, Contributions], retold: frozenset[str]
) -> set[Subject]:
    """Subjects that chunks tell differently now, and all that involve one of the retold keys."""
    subjects: set[Subject] = set()
    for chunk_id, before in old.items():
        after = new[chunk_id]
        subjects |= {k for k in before.entities | after.entities if before.entities.get(k) != after.entities.get(k)}
        pairs = before.relations | after.relations
        subjects |= {subject_of(p) for p in pairs if before.relations.get(p) != after.relations.get(p)}
        subjects |= {s for told in (before, after) for s in told.subjects() if involves(s, retold)}
    return subjects


# ----------------------------------------------------------------------------- vectors


def stale_entity_vectors(
    told: Told,
    lost: Iterable[Contributions],
    before: Curation,
    after: Curation,
    dead: Container[str],
    lighter: Mapping[str, Entity],
) -> set[str]:
    """Vectors of spellings that nobody uses any more. What the `lighter` ones lose is spelled as what they keep."""
    gone = {(key, f.text) for of_chunk in lost for key, c in of_chunk.entities.items() for f in c.names}
    gone |= {(key, f.text) for key, of_key in told.entities.items() if key in dead for c in of_key for f in c.names}
    gone |= {(key, c.name) for key, c in before.entities.items() if c.name and key in told.entities}
    used = {key: _names(told, after, key, lighter.get(key)) for key, _ in gone if key not in dead}
    return {entity_vector_id(key, name) for key, name in gone if name not in used.get(key, ())}


def stale_fact_vectors(
    told: Told,
    lost: Iterable[Contributions],
    before: Curation,
    after: Curation,
    dead: Container[Pair],
    lighter: Container[Pair],
) -> set[str]:
    """Vectors of facts that nobody tells any more. What the `lighter` ones lose others tell, too."""
    gone = {(pair, fact) for of_chunk in lost for pair, c in of_chunk.relations.items() for fact in c.facts}
    gone |= {(pair, f) for pair, of_pair in told.relations.items() if pair in dead for c in of_pair for f in c.facts}
    gone |= {(pair, c.fact) for pair, c in before.relations.items() if c.fact and pair in told.relations}
    gone = {(pair, fact) for pair, fact in gone if pair not in lighter}
    used = {pair: _facts(told, after, pair) for pair, _ in gone if pair not in dead}
    return {fact_vector_id(pair, fact) for pair, fact in gone if fact not in used.get(pair, ())}


def wanted_entities(told: Told, told_by: Iterable[Contributions], after: Curation, dead: Container[str]) -> Wanted:
    """Texts that must have a vector, of the entities that are there afterwards."""
    alive = {key for key in told.entities if key not in dead}
    wanted = {i: (key, t) for c in told_by for i, (key, t) in entity_texts(c).items() if key in alive}
    own = ((key, c.name) for key, c in after.entities.items() if key in alive and c.name)
    return wanted | {entity_vector_id(key, name): (key, name) for key, name in own}


def wanted_facts(told: Told, told_by: Iterable[Contributions], after: Curation, dead: Container[Pair]) -> Wanted:
    alive = {subject_of(pair): pair for pair in told.relations if pair not in dead}
    wanted = {i: (subject, t) for c in told_by for i, (subject, t) in fact_texts(c).items() if subject in alive}
    own = ((pair, c.fact) for pair, c in after.relations.items() if subject_of(pair) in alive and c.fact)
    return wanted | {fact_vector_id(pair, fact): (subject_of(pair), fact) for pair, fact in own}


def _names(told: Told, curation: Curation, key: str, lighter: Entity | None) -> set[str]:
    own = curation.name_of(key)
    kept = lighter.names if lighter else ()
    return {f.text for c in told.entities[key] for f in c.names} | {f.text for f in kept} | ({own} if own else set())


def _facts(told: Told, curation: Curation, pair: Pair) -> set[str]:
    own = curation.relations[pair].fact if pair in curation.relations else None
    return {fact for c in told.relations[pair] for fact in c.facts} | ({own} if own else set())
