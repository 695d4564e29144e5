"""The merge law: an entity or relation is a pure fold of what chunks contributed to it.

Folding is commutative, associative and, over the set of contributing chunks, independent of how they were batched:
`fold(fold(None, A), B) == fold(fold(None, B), A) == fold(None, A + B)`. Bounded parts keep the smallest items of a
total order, which is what makes them mergeable although they forget. What cannot be taken back from a fold is
removed by folding the remaining contributions anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from lightrag_server.core import ids
from lightrag_server.core.records import (
    Entity,
    EntityMention,
    Extraction,
    Fragment,
    Origin,
    Pair,
    Relation,
    RelationMention,
)

MAX_FRAGMENTS = 8
MAX_FRAGMENT_CHARS = 600
MAX_NAMES = 12
MAX_KEYWORDS = 12
MAX_FILE_PATHS = 20
UNKNOWN_TYPE = "UNKNOWN"
BEGINNING = Origin(-1, "")
"""Before whatever is told."""


@dataclass(frozen=True, slots=True)
class Source:
    """The chunk that contributes."""

    chunk_id: str
    index: int
    file_path: str
    created_at: str


@dataclass(frozen=True, slots=True)
class EntityContribution:
    """Everything one chunk says of one entity."""

    key: str
    source: Source
    names: tuple[Fragment, ...]
    types: tuple[str, ...]
    descriptions: tuple[Fragment, ...]


@dataclass(frozen=True, slots=True)
class RelationContribution:
    """Everything one chunk says of one pair. `facts` are the texts that are embedded to find this relation."""

    pair: Pair
    source: Source
    keywords: tuple[Fragment, ...]
    descriptions: tuple[Fragment, ...]
    weight: float
    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contributions:
    """What one chunk contributes, by subject."""

    entities: dict[str, EntityContribution]
    relations: dict[Pair, RelationContribution]

    def subjects(self) -> list[str]:
        return [*self.entities, *(ids.subject_of(pair) for pair in self.relations)]


T_co = TypeVar("T_co", EntityContribution, RelationContribution, covariant=True)
Aliases = Mapping[str, str]
"""Keys of names that were merged into another entity → that entity's key."""
NO_ALIASES: Aliases = {}


def contributions_of(source: Source, extraction: Extraction, aliases: Aliases = NO_ALIASES) -> Contributions:
    """Group what a chunk's extraction says by subject. Ends of relations that were not listed become entities too."""
    relations = enumerate(extraction.relations, len(extraction.entities))
    return grouped(source, enumerate(extraction.entities), relations, aliases)


def key_of(name: str, aliases: Aliases) -> str:
    """The key under which a name is told."""
    key = ids.entity_key(name)
    return aliases.get(key, key)


def grouped(
    source: Source,
    entities: Iterable[tuple[int, EntityMention]],
    relations: Iterable[tuple[int, RelationMention]],
    aliases: Aliases = NO_ALIASES,
) -> Contributions:
    """The same for a selection of mentions, each with its number in the extraction (relations behind entities)."""
    mentions: dict[str, list[tuple[int, EntityMention]]] = {}
    rows: dict[Pair, list[tuple[int, RelationMention]]] = {}
    for ordinal, mention in entities:
        if key := key_of(mention.name, aliases):
            mentions.setdefault(key, []).append((ordinal, mention))
    for ordinal, relation in relations:
        a, b = key_of(relation.source, aliases), key_of(relation.target, aliases)
        if not a or not b or ids.entity_key(relation.source) == ids.entity_key(relation.target):
            continue
        if a != b:
            rows.setdefault(ids.pair_of(a, b), []).append((ordinal, relation))
        # what tells of two that were merged tells of the one that they are
        for key, name in ((a, relation.source), (b, relation.target)):
            if key not in mentions:
                mentions[key] = [(ordinal, EntityMention(name, "", ""))]
    return Contributions(
        {key: _entity_contribution(key, source, of_key) for key, of_key in mentions.items()},
        {pair: _relation_contribution(pair, source, of_pair) for pair, of_pair in rows.items()},
    )


def _entity_contribution(key: str, source: Source, mentions: list[tuple[int, EntityMention]]) -> EntityContribution:
    return EntityContribution(
        key,
        source,
        names=_fragments(source, ((n, ids.display_name(m.name)) for n, m in mentions)),
        types=tuple(sorted({m.type for _, m in mentions if m.type})),
        descriptions=_fragments(source, ((n, m.description) for n, m in mentions)),
    )


def _relation_contribution(pair: Pair, source: Source, rows: list[tuple[int, RelationMention]]) -> RelationContribution:
    return RelationContribution(
        pair,
        source,
        keywords=_fragments(source, ((n, k) for n, r in rows for k in r.keywords)),
        descriptions=_fragments(source, ((n, r.description) for n, r in rows)),
        weight=sum(r.weight for _, r in rows),
        facts=tuple(dict.fromkeys(fact_text(r) for _, r in rows)),
    )


def fact_text(relation: RelationMention) -> str:
    """A relation as a short statement: subject, predicate, object."""
    parts = (relation.source, " ".join(relation.keywords), relation.target)
    return " ".join(ids.display_name(part) for part in parts if part)[:MAX_FRAGMENT_CHARS]


def _fragments(source: Source, numbered: Iterable[tuple[int, str]]) -> tuple[Fragment, ...]:
    told = [(ordinal, clean) for ordinal, text in numbered if (clean := text.strip()[:MAX_FRAGMENT_CHARS])]
    made = [Fragment(Origin(source.index, source.chunk_id, ordinal), text) for ordinal, text in told]
    return tuple(made) if len(made) < 2 else first_told(made, limit=None)


def first_told(fragments: Iterable[Fragment], limit: int | None) -> tuple[Fragment, ...]:
    """Distinct texts, each with its first origin, in order of origin, at most `limit`."""
    earliest: dict[str, Fragment] = {}
    for fragment in fragments:
        known = earliest.get(fragment.text)
        if known is None or fragment.origin < known.origin:
            earliest[fragment.text] = fragment
    return tuple(sorted(earliest.values(), key=lambda f: (f.origin, f.text)))[:limit]


def fold_entity(base: Entity | None, added: Iterable[EntityContribution]) -> Entity | None:
    """The entity after `added`; None when nothing contributes. `base` is a fold of contributions not in `added`."""
    new = list(added)
    if not new:
        return base
    names = first_told([*(base.names if base else ()), *(f for c in new for f in c.names)], MAX_NAMES)
    types = Counter(base.types if base else {})
    types.update(t for c in new for t in c.types)
    return Entity(
        key=new[0].key,
        name=names[0].text,
        type=_majority(types),
        fragments=first_told(
            [*(base.fragments if base else ()), *(f for c in new for f in c.descriptions)], MAX_FRAGMENTS
        ),
        types=dict(sorted(types.items())),
        names=names,
        mentions=(base.mentions if base else 0) + len(new),
        file_paths=_file_paths(base, (c.source for c in new)),
        created_at=_created_at(base, (c.source for c in new)),
    )


@dataclass(frozen=True, slots=True)
class Rest(Generic[T_co]):
    """What is known of the contributions that stay: in the order of their chunks the first ones, all up to `end`, and
    sources, at least one for each file and time."""

    first: Sequence[T_co] = ()
    end: Origin = BEGINNING
    sources: Sequence[Source] = ()


def without(entity: Entity, gone: Sequence[EntityContribution], rest: Rest[EntityContribution]) -> Entity | None:
    """The fold without some of its contributions, where it and the rest tell what that is; else None.

    Counts are taken off. Of what is bounded, that which they did not say stays, and what they said is told by the rest
    as far as it goes. So what is told all over the corpus loses a document without a look at all the others. Every
    spelling that they used is one that the entity keeps.
    """
    names = _left(entity.names, MAX_NAMES, gone, [f for c in rest.first for f in c.names], rest.end)
    fragments = _left(entity.fragments, MAX_FRAGMENTS, gone, [f for c in rest.first for f in c.descriptions], rest.end)
    dates = _left_dates(entity, gone, rest.sources)
    if names is None or fragments is None or dates is None:
        return None
    if len(gone) >= entity.mentions or {f.text for c in gone for f in c.names} - {f.text for f in names}:
        return None
    types = Counter(entity.types)
    types.subtract(t for c in gone for t in c.types)
    return replace(
        entity,
        name=names[0].text,
        type=_majority(+types),
        fragments=fragments,
        types=dict(sorted((+types).items())),
        names=names,
        mentions=entity.mentions - len(gone),
        file_paths=dates[0],
        created_at=dates[1],
    )


def keeps_any(entity: Entity, told: Sequence[EntityContribution]) -> bool:
    """Whether a text that the entity keeps was first told by one of these contributions."""
    chunk_ids = {c.source.chunk_id for c in told}
    return any(f.origin.chunk_id in chunk_ids for f in (*entity.fragments, *entity.names))


def relation_without(
    relation: Relation, gone: Sequence[RelationContribution], rest: Rest[RelationContribution]
) -> Relation | None:
    """As `without`. Facts are no part of the fold: the rest has to tell each one that was told."""
    keywords = _left(relation.keywords, MAX_KEYWORDS, gone, [f for c in rest.first for f in c.keywords], rest.end)
    fragments = _left(
        relation.fragments, MAX_FRAGMENTS, gone, [f for c in rest.first for f in c.descriptions], rest.end
    )
    dates = _left_dates(relation, gone, rest.sources)
    if keywords is None or fragments is None or dates is None:
        return None
    if len(gone) >= relation.mentions or {f for c in gone for f in c.facts} - {f for c in rest.first for f in c.facts}:
        return None
    return replace(
        relation,
        fragments=fragments,
        keywords=keywords,
        weight=round(relation.weight - sum(c.weight for c in gone), 6),
        mentions=relation.mentions - len(gone),
        file_paths=dates[0],
        created_at=dates[1],
    )


def _left(
    kept: tuple[Fragment, ...],
    limit: int,
    gone: Sequence[EntityContribution] | Sequence[RelationContribution],
    told: Iterable[Fragment],
    end: Origin,
) -> tuple[Fragment, ...] | None:
    """A bounded part when `gone` are gone; `told` is all that the others told up to `end`."""
    chunk_ids = {c.source.chunk_id for c in gone}
    left = [f for f in kept if f.origin.chunk_id not in chunk_ids]
    if len(left) == len(kept):
        return kept
    found = first_told([*left, *told], limit)
    is_filled = len(found) == limit and found[-1].origin <= end
    # with room left, everything that was ever told was kept
    is_told_again = len(kept) < limit and len(found) == len(kept)
    return found if is_filled or is_told_again else None


def _left_dates(
    folded: Entity | Relation,
    gone: Sequence[EntityContribution] | Sequence[RelationContribution],
    sources: Sequence[Source],
) -> tuple[tuple[str, ...], str] | None:
    """File paths and creation time."""
    is_path_kept = any(c.source.file_path in folded.file_paths for c in gone)
    if not is_path_kept and all(c.source.created_at > folded.created_at for c in gone):
        return folded.file_paths, folded.created_at
    return (_file_paths(None, sources), _created_at(None, sources)) if sources else None


def fold_relation(base: Relation | None, added: Iterable[RelationContribution]) -> Relation | None:
    """The relation after `added`, as `fold_entity`. Spellings of the ends belong to the entities: `with_names`."""
    new = list(added)
    if not new:
        return base
    return Relation(
        pair=new[0].pair,
        names=new[0].pair,
        fragments=first_told(
            [*(base.fragments if base else ()), *(f for c in new for f in c.descriptions)], MAX_FRAGMENTS
        ),
        keywords=first_told([*(base.keywords if base else ()), *(f for c in new for f in c.keywords)], MAX_KEYWORDS),
        weight=round((base.weight if base else 0.0) + sum(c.weight for c in new), 6),
        mentions=(base.mentions if base else 0) + len(new),
        file_paths=_file_paths(base, (c.source for c in new)),
        created_at=_created_at(base, (c.source for c in new)),
    )


def with_names(relation: Relation, names: Mapping[str, str]) -> Relation:
    """The relation with the spellings of its ends, as far as they are given by key."""
    a, b = relation.pair
    told = names.get(a, a), names.get(b, b)
    return relation if told == relation.names else replace(relation, names=told)


def _majority(types: Counter[str]) -> str:
    return min(types, key=lambda name: (-types[name], name)) if types else UNKNOWN_TYPE


def _file_paths(base: Entity | Relation | None, sources: Iterable[Source]) -> tuple[str, ...]:
    paths = {*(base.file_paths if base else ()), *(s.file_path for s in sources)}
    return tuple(sorted(paths))[:MAX_FILE_PATHS]


def _created_at(base: Entity | Relation | None, sources: Iterable[Source]) -> str:
    return min([*([base.created_at] if base else []), *(s.created_at for s in sources)])
