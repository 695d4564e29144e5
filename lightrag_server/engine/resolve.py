"""Looks for entities that may be one. Only what is new or changed is looked at, in batches; nothing is loaded whole.

Entities whose names are related meet in *blocks*: rows of the keys that share a normal form, an acronym, initials.
What several chunks tell of also meets the entities with the nearest names by vector; a search costs a look at all
vectors, so what is told once is left to its name.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from lightrag_server.core import ids
from lightrag_server.core.fusion import closeness
from lightrag_server.core.names import sure_form
from lightrag_server.core.records import Entity, Pair
from lightrag_server.core.resolution import (
    OPEN,
    Appearance,
    Candidate,
    appearance_of,
    candidate_from_row,
    likeness,
    meeting_places,
    near_cosine,
    nearest_kin,
    types_clash,
)
from lightrag_server.engine import job_kinds
from lightrag_server.engine.duplicates import MODEL, RULE, Duplicates, Groups, merge_of
from lightrag_server.engine.edits import Edits
from lightrag_server.engine.judge import Judge
from lightrag_server.engine.stores import Stores
from lightrag_server.errors import InvalidInput, ProviderError
from lightrag_server.ports.jobs import JobQueue
from lightrag_server.ports.vectors import VectorItem
from lightrag_server.settings.ingest import ResolutionMode

log = logging.getLogger(__name__)

BATCH = 200
MAX_BLOCK = 40
"""A block of more says nothing: its key is what many names share."""
NEAREST = 6
MOST_SEARCHED = 20_000
"""Among more entities a search for each costs more than the indexing: they meet by name alone."""
NEIGHBOURS_KNOWN = 50
DESCRIPTION_CHARS = 300
EVERYTHING = "everything"
"""The subject of a job that looks at all entities again."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Entities that are looked at, those they may be, and the pairs of both."""

    entities: Mapping[str, Entity]
    pairs: frozenset[Pair]


class Resolve:
    def __init__(
        self,
        stores: Stores,
        queue: JobQueue,
        duplicates: Duplicates,
        edits: Edits,
        *,
        mode: ResolutionMode,
        threshold: float,
        judge: Judge | None,
    ) -> None:
        """`threshold` is the embedder's."""
        self._stores = stores
        self._queue = queue
        self._duplicates = duplicates
        self._edits = edits
        self._mode: ResolutionMode = mode
        self._threshold = threshold
        self._judge = judge

    async def due(self) -> None:
        """Queue a search, a little later, when there is something new: many commits share one."""
        if self._mode != "off" and await self._stores.unresolved.count():
            await self._queue.enqueue([job_kinds.resolve(self._stores.workspace, delay_s=job_kinds.RESOLVE_DELAY_S)])

    async def submit(self) -> int:
        """Queue a look at everything; the job's id."""
        if self._mode == "off":
            raise InvalidInput("ENTITY_RESOLUTION is off")
        [job] = await self._queue.enqueue([job_kinds.resolve(self._stores.workspace, EVERYTHING)])
        return job

    async def run(self, subject: str = "") -> bool:
        """Look at what is new, let the model judge, and merge what is sure, as far as that is configured. False when
        the rest has to wait: for edits that are under way, or for documents, beside which one batch is looked at."""
        if self._mode == "off":
            await self._stores.unresolved.clear()
            return True
        if subject == EVERYTHING:
            async for batch in self._stores.graph.scan_entities():
                await self._stores.unresolved.put({entity.key: {} for entity in batch})
        while rows := await self._next():
            await self._look(rows.keys())
            await self._looked_at(rows)
            if await self._is_busy():
                return False
        if self._judge:
            await self._put_to_model(self._judge)
        return self._mode != "auto" or await self._merge()

    async def _is_busy(self) -> bool:
        jobs = await self._queue.open_jobs(self._stores.workspace)
        return any(job.kind in (job_kinds.PREPARE, job_kinds.COMMIT) for job in jobs)

    async def _next(self) -> dict[str, dict[str, object]]:
        rows: dict[str, dict[str, object]] = {}
        async for key, row in self._stores.unresolved.scan():
            rows[key] = row
            if len(rows) == BATCH:
                break
        return rows

    async def _looked_at(self, rows: Mapping[str, Mapping[str, object]]) -> None:
        """Not what was changed again meanwhile."""
        now = await self._stores.unresolved.get(rows.keys())
        await self._stores.unresolved.delete([key for key, row in now.items() if row == rows[key]])

    # -- one batch

    async def _look(self, keys: Collection[str]) -> None:
        known = await self._stores.graph.entities(keys)
        partners = await self._duplicates.partners(keys)
        before = {ids.pair_of(key, other) for key, others in partners.items() for other in others}
        seen = {key: appearance_of(entity) for key, entity in known.items()}
        met = await self._met_by_name(seen) | await self._met_by_vector(seen)
        others = {key for pair in met | before for key in pair} - known.keys()
        known |= await self._stores.graph.entities(others)
        pairs = frozenset(pair for pair in met | before if known.keys() >= set(pair))
        decided = await self._duplicates.decided(pairs)
        found = await self._compared(Batch(known, pairs - decided.keys()))
        await self._duplicates.replace(before, found)

    async def _met_by_name(self, seen: Mapping[str, Appearance]) -> set[Pair]:
        """Pairs in one block; the blocks know those that were looked at afterwards."""
        places = await asyncio.to_thread(lambda: {key: meeting_places(a) for key, a in seen.items()})
        wanted = {place for of_key in places.values() for place in of_key}
        rows = await self._stores.name_blocks.get(wanted)
        blocks: dict[str, list[str]] = {place: rows[place]["keys"] if place in rows else [] for place in wanted}
        await self._make_room([block for block in blocks.values() if len(block) >= MAX_BLOCK])
        pairs: set[Pair] = set()
        changed: set[str] = set()
        for key, of_key in places.items():
            for place in of_key:
                block = blocks[place]
                if key not in block and len(block) < MAX_BLOCK:
                    block.append(key)
                    changed.add(place)
                pairs |= {ids.pair_of(key, other) for other in block if other != key}
        await self._stores.name_blocks.put({place: {"keys": blocks[place]} for place in changed})
        return pairs

    async def _make_room(self, full: list[list[str]]) -> None:
        """Take out entities that are gone."""
        there = await self._stores.graph.names({key for block in full for key in block}) if full else {}
        for block in full:
            block[:] = [key for key in block if key in there]

    async def _met_by_vector(self, seen: Mapping[str, Appearance]) -> set[Pair]:
        if await self._stores.entities.count() > MOST_SEARCHED:
            return set()
        told_often = [a for a in seen.values() if a.mentions > 1]
        vectors = await self._vectors(told_often)
        pairs: set[Pair] = set()
        for key, item in vectors.items():
            hits = await self._stores.entities.search(item.vector, NEAREST, near_cosine(self._threshold))
            pairs |= {ids.pair_of(key, hit.ref) for hit in hits if hit.ref != key}
        return pairs

    async def _vectors(self, entities: Iterable[Appearance]) -> dict[str, VectorItem]:
        by_id = {ids.entity_vector_id(a.key, a.names[0]): a.key for a in entities}
        return {by_id[id_]: item for id_, item in (await self._stores.entities.get(by_id)).items()}

    async def _compared(self, batch: Batch) -> list[Candidate]:
        """Names first, for most pairs of a block end there."""
        bare = {key: appearance_of(entity) for key, entity in batch.entities.items()}
        vectors = await self._vectors([bare[key] for key in {key for pair in batch.pairs for key in pair}])
        near = await asyncio.to_thread(_related, batch.pairs, bare, vectors, self._threshold)
        around = await self._stores.graph.expand({key for pair in near for key in pair}, NEIGHBOURS_KNOWN)
        neighbours = {key: {end for r in e.relations for end in r.pair if end != key} for key, e in around.items()}
        told = {key: appearance_of(batch.entities[key], neighbours[key]) for key in around}
        known = await self._duplicates.of(near.keys())
        found: list[Candidate] = []
        for pair, nearby in near.items():
            if pair[0] not in told or pair[1] not in told:
                continue
            if like := likeness(told[pair[0]], told[pair[1]], nearby):
                a, b = (batch.entities[key] for key in pair)
                found.append(
                    Candidate(
                        pair,
                        (a.name, b.name),
                        (a.type, b.type),
                        like.score,
                        like.reasons,
                        like.is_sure,
                        known[pair].verdict if pair in known else None,
                        descriptions=(a.description[:DESCRIPTION_CHARS], b.description[:DESCRIPTION_CHARS]),
                    )
                )
        return found

    # -- what becomes of candidates

    async def _open(self) -> list[Candidate]:
        """Open ones, as they were found."""
        found = [candidate_from_row(key, row) async for key, row in self._stores.duplicates.scan(OPEN)]
        decided = await self._duplicates.decided(c.pair for c in found)
        return sorted((c for c in found if c.pair not in decided), key=lambda c: (-c.score, c.pair))

    async def _put_to_model(self, judge: Judge) -> None:
        unsure = [c for c in await self._open() if not c.is_sure and c.verdict is None]
        for start in range(0, len(unsure), judge.pairs_at_once):
            try:
                judged = await judge.judged(unsure[start : start + judge.pairs_at_once])
            except ProviderError as error:  # they stay open, and the next search asks again
                log.warning("the model was not heard on duplicates workspace=%s: %s", self._stores.workspace, error)
                return
            await self._duplicates.replace([], judged)

    async def _merge(self) -> bool:
        """Merge what is approved by rule or model; reject what the model told apart. Nothing is joined through a third
        name: all pairs that become one must be approved, each by itself."""
        if await self._stores.edits.count():
            return False
        candidates = await self._open()
        approved = {c.pair for c in candidates if c.is_approved}
        groups = await self._duplicates.groups()
        for candidate in candidates:
            if candidate.pair in approved:
                if await self._all_approved(groups.crossing(candidate.pair), approved):
                    await self._join(candidate, groups)
            elif candidate.verdict is not None and not candidate.verdict.is_same:
                await self._duplicates.decide(candidate, "rejected", MODEL)
        return True

    async def _all_approved(self, crossing: set[Pair], approved: Collection[Pair]) -> bool:
        """A name that is no entity any more has no candidates: of it the rule for names says it."""
        decided = await self._duplicates.decided(crossing)
        if any(candidate.status == "rejected" for candidate in decided.values()):
            return False
        there = await self._stores.graph.names({key for pair in crossing for key in pair})
        unknown = [pair for pair in crossing if pair not in approved and pair not in decided]
        return all(not there.keys() >= set(pair) and sure_form(pair[0]) == sure_form(pair[1]) for pair in unknown)

    async def _join(self, candidate: Candidate, groups: Groups) -> None:
        there = await self._stores.graph.entities(candidate.pair)
        if len(there) < 2:
            return
        by = RULE if candidate.is_sure else MODEL
        why = candidate.verdict.why if candidate.verdict and not candidate.is_sure else ", ".join(candidate.reasons)
        edit = merge_of(candidate, there, None, f"{by}: {why}")
        await self._edits.submit(edit)
        await self._duplicates.decide(candidate, "accepted", by, edit.into)
        groups.join(candidate.pair)


def _related(
    pairs: Iterable[Pair], known: Mapping[str, Appearance], vectors: Mapping[str, VectorItem], threshold: float
) -> dict[Pair, float]:
    """Pairs that names or vectors bring together, and how near their vectors are."""
    near: dict[Pair, float] = {}
    for pair in sorted(pairs):
        a, b = known[pair[0]], known[pair[1]]
        if types_clash(a, b):
            continue
        cosine = -1.0
        if a.key in vectors and b.key in vectors:
            cosine = float(np.dot(vectors[a.key].vector, vectors[b.key].vector))
        if cosine >= near_cosine(threshold) or nearest_kin(a, b):
            near[pair] = closeness(cosine, threshold)
    return near
