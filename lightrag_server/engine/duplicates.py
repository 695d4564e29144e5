"""Pairs of entities that may be one: the open candidates, and what was decided of them.

What is decided is kept in rows of its own, which the search for candidates only reads: a decision is never lost to a
search that runs meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from lightrag_server.core import ids
from lightrag_server.core.curation import Merge
from lightrag_server.core.edits import MergeEntities
from lightrag_server.core.records import Entity, Pair
from lightrag_server.core.resolution import (
    DECIDED,
    OPEN,
    PARTNERS,
    Candidate,
    Status,
    appearance_of,
    candidate_from_row,
    candidate_to_row,
    decided_key,
    open_key,
    survivor,
)
from lightrag_server.engine.clock import Clock
from lightrag_server.engine.curated import Curated
from lightrag_server.engine.stores import Stores
from lightrag_server.errors import Conflict, InvalidInput, NotFound

PERSON, RULE, MODEL = "person", "rule", "model"
BATCH = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which candidates are asked for; `type` is that of either entity."""

    status: Status = "open"
    min_score: float = 0.0
    type: str | None = None

    def takes(self, candidate: Candidate) -> bool:
        is_typed = self.type is None or self.type in candidate.types
        return candidate.status == self.status and candidate.score >= self.min_score and is_typed


@dataclass(frozen=True, slots=True)
class Alias:
    """A name that stands for another entity. `pair` are the keys of what was merged."""

    name: str
    entity: str
    pair: Pair
    reason: str = ""
    at: str = ""


class Duplicates:
    def __init__(self, stores: Stores, clock: Clock) -> None:
        self._rows = stores.duplicates
        self._graph = stores.graph
        self._curated = Curated(stores)
        self._clock = clock

    async def listed(self, wanted: Wanted) -> list[Candidate]:
        """The likeliest first. Open ones of entities that are gone do not exist. Reads all candidates."""
        begin = OPEN if wanted.status == "open" else DECIDED
        found = [candidate_from_row(key, row) async for key, row in self._rows.scan(begin)]
        found = [candidate for candidate in found if wanted.takes(candidate)]
        if wanted.status == "open":
            found = await self._still_open(found)
        return sorted(found, key=lambda c: (-c.score, c.pair))

    async def _still_open(self, candidates: list[Candidate]) -> list[Candidate]:
        decided = await self.decided(c.pair for c in candidates)
        there = await self._graph.names({key for c in candidates for key in c.pair})
        return [
            replace(c, names=(there[c.pair[0]], there[c.pair[1]]))
            for c in candidates
            if c.pair not in decided and there.keys() >= set(c.pair)
        ]

    # -- what the search for candidates keeps

    async def of(self, pairs: Collection[Pair]) -> dict[Pair, Candidate]:
        """Open ones."""
        rows = await self._rows.get([open_key(pair) for pair in pairs])
        return {c.pair: c for key, row in rows.items() if (c := candidate_from_row(key, row))}

    async def partners(self, keys: Collection[str]) -> dict[str, set[str]]:
        """The entities with which each has candidates, by either's key: one read for all."""
        rows = await self._rows.get([PARTNERS + key for key in keys])
        return {key.removeprefix(PARTNERS): set(row["keys"]) for key, row in rows.items()}

    async def replace(self, gone: Iterable[Pair], found: Collection[Candidate]) -> None:
        """Remove candidates and keep others, in both directions."""
        gone, made = set(gone), {c.pair for c in found}
        keys = {key for pair in gone | made for key in pair}
        partners = {key: set[str]() for key in keys} | await self.partners(keys)
        for a, b in gone - made:
            partners[a].discard(b)
            partners[b].discard(a)
        for a, b in made:
            partners[a].add(b)
            partners[b].add(a)
        rows = {PARTNERS + key: {"keys": sorted(with_it)} for key, with_it in partners.items() if with_it}
        await self._rows.put(rows | {open_key(c.pair): candidate_to_row(c) for c in found})
        alone = [PARTNERS + key for key, with_it in partners.items() if not with_it]
        await self._rows.delete([*alone, *(open_key(pair) for pair in gone - made)])

    # -- decisions

    async def decided(self, pairs: Iterable[Pair]) -> dict[Pair, Candidate]:
        rows = await self._rows.get([decided_key(pair) for pair in pairs])
        return {c.pair: c for key, row in rows.items() if (c := candidate_from_row(key, row))}

    async def decide(self, candidate: Candidate, status: Status, by: str, into: str | None = None) -> None:
        """What is rejected never comes back; the last decision holds."""
        now = self._clock().isoformat()
        decided = replace(candidate, status=status, by=by, into=into, decided_at=now)
        await self._rows.put({decided_key(candidate.pair): candidate_to_row(decided)})
        await self.replace([candidate.pair], [])

    async def restore(self, pair: Pair, decided: Candidate | None) -> None:
        """A decision as it was before another one that came to nothing."""
        if decided:
            await self._rows.put({decided_key(pair): candidate_to_row(decided)})
        else:
            await self._rows.delete([decided_key(pair)])

    async def candidate(self, a: str, b: str) -> tuple[Candidate, Mapping[str, Entity]]:
        """Of two entities by name, known as a candidate or not, with both. Raises `NotFound` and `InvalidInput`."""
        keys = await self._curated.key_of(a), await self._curated.key_of(b)
        if keys[0] == keys[1]:
            raise InvalidInput(f"{a!r} and {b!r} are one entity")
        pair = ids.pair_of(*keys)
        there = await self._graph.entities(pair)
        if absent := [name for name, key in zip((a, b), keys, strict=True) if key not in there]:
            raise NotFound(f"no such entity: {', '.join(map(repr, absent))}")
        known = (await self.of([pair])).get(pair)
        first, second = there[pair[0]], there[pair[1]]
        return known or Candidate(pair, (first.name, second.name), (first.type, second.type)), there

    # -- merges that were made

    async def aliases(self) -> list[Alias]:
        """By name."""
        to, merges = await self._curated.aliases(), await self._curated.merges()
        shown = await self._graph.names(set(to.values()))
        made = [_alias(key, shown.get(into, into), merges.get(key) or Merge(key, into, "")) for key, into in to.items()]
        return sorted(made, key=lambda alias: (ids.entity_key(alias.name), alias.pair))

    async def alias(self, name: str) -> Alias:
        """Raises `NotFound`."""
        key = ids.entity_key(name)
        to = (await self._curated.aliases()).get(key)
        if to is None:
            raise NotFound(f"{name[: ids.MAX_KEY_CHARS]!r} is no other name of any entity")
        return _alias(key, to, (await self._curated.merges()).get(key) or Merge(key, to, ""))

    async def tell_apart(self, alias: Alias) -> Candidate | None:
        """Reject what is about to be split, so that nothing merges it again. Returns what was decided before."""
        before = (await self.decided([alias.pair])).get(alias.pair)
        await self.decide(before or Candidate(alias.pair, alias.pair, ("", "")), "rejected", PERSON)
        return before

    async def groups(self) -> Groups:
        """Which names stand for each entity by now."""
        return Groups(self, await self._curated.aliases())


def _alias(key: str, entity: str, merge: Merge) -> Alias:
    return Alias(merge.name, entity, ids.pair_of(key, merge.to), merge.reason, merge.at)


class Groups:
    """Entities together with the names that were merged into them, and those that are being merged."""

    def __init__(self, duplicates: Duplicates, aliases: Mapping[str, str]) -> None:
        self._duplicates = duplicates
        self._of: dict[str, set[str]] = {}
        for alias, key in aliases.items():
            self._of.setdefault(key, {key}).add(alias)

    def crossing(self, pair: Pair) -> set[Pair]:
        """All pairs that become one when these two do."""
        first, second = (self._of.get(key, {key}) for key in pair)
        return {ids.pair_of(a, b) for a in first for b in second if a != b}

    def join(self, pair: Pair) -> None:
        together = self._of.get(pair[0], {pair[0]}) | self._of.get(pair[1], {pair[1]})
        for key in together:
            self._of[key] = together

    async def refuse_rejected(self, pair: Pair) -> None:
        """Raises `Conflict` when the merge would join two names that somebody told apart."""
        others = self.crossing(pair) - {pair}
        for decided in (await self._duplicates.decided(others)).values():
            if decided.status == "rejected":
                a, b = decided.names
                raise Conflict(f"{a!r} and {b!r} were told apart; merging would join them")


def merge_of(candidate: Candidate, entities: Mapping[str, Entity], into: str | None, reason: str) -> MergeEntities:
    """The edit that lets both be one, under the name `into`, which must be one of the two; else under the name of what
    is told of most."""
    first, second = (entities[key] for key in candidate.pair)
    name = into or survivor(appearance_of(first), appearance_of(second))
    stays = next((e for e in (first, second) if ids.entity_key(name) in (e.key, ids.entity_key(e.name))), None)
    if stays is None:
        raise InvalidInput(f"{name!r} is neither {first.name!r} nor {second.name!r}")
    goes = second if stays is first else first
    return MergeEntities((goes.name,), stays.name, reason)
