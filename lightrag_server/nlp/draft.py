"""What one chunk yields while it is read, and the choice of what is worth keeping.

Each name and each fact is embedded later at ten times the cost of finding it: better few and right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from lightrag_server.core import ids
from lightrag_server.core.records import EntityMention, Extraction, Pair, RelationMention

MAX_DESCRIPTION_CHARS = 300
MAX_ENTITIES = 40
MAX_RELATIONS = 40
MAX_TERMS = 14
"""Entities that are not names."""
MAX_SINGLE_TERMS = 5
MAX_FACTS_PER_PAIR = 2
WEAK_WEIGHT = 0.5
"""Weight of a relation that only rests on a common sentence."""


class Rank(IntEnum):
    """How much a finding is trusted."""

    ONCE = 1
    REPEATED = 2
    NAMED = 3


class Strength(IntEnum):
    TOGETHER = 1
    STATED = 2


@dataclass(slots=True)
class _Found:
    order: int
    spellings: Counter[str] = field(default_factory=Counter[str])
    types: Counter[str] = field(default_factory=Counter[str])
    sentence: str = ""
    rank: Rank = Rank.ONCE


@dataclass(slots=True)
class _Fact:
    order: int
    source: str
    target: str
    sentence: str
    strength: Strength
    keywords: list[str]


class Draft:
    """Collects mentions and relations of one chunk; `extraction` chooses."""

    def __init__(self) -> None:
        self._found: dict[str, _Found] = {}
        self._facts: dict[tuple[Pair, str], _Fact] = {}

    def mention(self, name: str, type: str, sentence: str, rank: Rank) -> None:
        name = ids.display_name(name)
        key = ids.entity_key(name)
        if not key:
            return
        found = self._found.setdefault(key, _Found(len(self._found), sentence=bounded(sentence, name)))
        found.spellings[name] += 1
        found.types[type] += 1
        found.rank = max(found.rank, rank)

    def relate(self, source: str, target: str, keyword: str, sentence: str, strength: Strength) -> None:
        """A sentence that relates a pair several times is one fact with several keywords; stated ones beat guesses."""
        a, b = ids.entity_key(source), ids.entity_key(target)
        if not a or not b or a == b:
            return
        identity = (ids.pair_of(a, b), sentence)
        known = self._facts.get(identity)
        if known is None or known.strength < strength:
            order = known.order if known else len(self._facts)
            self._facts[identity] = _Fact(order, source, target, bounded(sentence, source), strength, [keyword])
        elif known.strength == strength and keyword not in known.keywords:
            known.keywords.append(keyword)

    def type_votes(self) -> dict[str, Counter[str]]:
        return {key: found.types for key, found in self._found.items()}

    def extraction(self, types: Mapping[str, str], max_entities: int = MAX_ENTITIES) -> Extraction:
        """`types` overrules this chunk's own view of an entity's type."""
        kept = self._kept_keys(max_entities)
        entities = tuple(
            EntityMention(
                found.spellings.most_common(1)[0][0],
                types.get(key) or found.types.most_common(1)[0][0],
                found.sentence,
            )
            for key, found in self._found.items()
            if key in kept
        )
        return Extraction(entities, self._relations(kept))

    def _kept_keys(self, limit: int) -> set[str]:
        best = sorted(self._found.items(), key=lambda item: (-item[1].rank, -item[1].spellings.total(), item[1].order))
        names = [key for key, found in best if found.rank is Rank.NAMED]
        repeated = [key for key, found in best if found.rank is Rank.REPEATED]
        related = self._related_to({*names, *repeated})
        single = [key for key, found in best if found.rank is Rank.ONCE and key in related]
        terms = (repeated + single[:MAX_SINGLE_TERMS])[:MAX_TERMS]
        return set((names + terms)[:limit])

    def _related_to(self, keys: set[str]) -> set[str]:
        """Ends of stated facts whose other end is one of these."""
        stated = [pair for (pair, _), fact in self._facts.items() if fact.strength is Strength.STATED]
        return {a for pair in stated for a, b in (pair, pair[::-1]) if b in keys}

    def _relations(self, kept: set[str]) -> tuple[RelationMention, ...]:
        of_pair: Counter[Pair] = Counter()
        chosen: list[_Fact] = []
        for (pair, _), fact in sorted(self._facts.items(), key=lambda item: (-self._worth(*item), item[1].order)):
            if pair[0] in kept and pair[1] in kept and of_pair[pair] < MAX_FACTS_PER_PAIR:
                of_pair[pair] += 1
                chosen.append(fact)
        chosen = sorted(chosen[:MAX_RELATIONS], key=lambda fact: fact.order)
        return tuple(
            RelationMention(
                self._spelling(fact.source),
                self._spelling(fact.target),
                tuple(fact.keywords),
                fact.sentence,
                1.0 if fact.strength is Strength.STATED else WEAK_WEIGHT,
            )
            for fact in chosen
        )

    def _worth(self, identity: tuple[Pair, str], fact: _Fact) -> int:
        named = sum(key in self._found and self._found[key].rank is Rank.NAMED for key in identity[0])
        return 2 * named + fact.strength

    def _spelling(self, name: str) -> str:
        return self._found[ids.entity_key(name)].spellings.most_common(1)[0][0]


def bounded(sentence: str, name: str, limit: int = MAX_DESCRIPTION_CHARS) -> str:
    """The sentence, or its part around the name, cut between words."""
    sentence = " ".join(sentence.split())
    if len(sentence) <= limit:
        return sentence
    at = max(sentence.find(name), 0)
    start = max(0, min(at - limit // 3, len(sentence) - limit + 2))
    end = start + limit - 2
    head, tail = ("…" if start else ""), ("…" if end < len(sentence) else "")
    part = sentence[start:end]
    if start and " " in part[:40]:
        part = part[part.index(" ") + 1 :]
    if tail and " " in part[-40:]:
        part = part[: part.rindex(" ")]
    return f"{head}{part.strip()}{tail}"
