"""Chunks against everything that is kept of them: rows, evidence, vectors of passages, the lexical index."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence

from lightrag_server.core.folding import Contributions
from lightrag_server.core.ids import pair_from, window_id
from lightrag_server.core.records import Subject
from lightrag_server.engine.curated import Curated
from lightrag_server.engine.doctor.faults import Check, Fault, Kind
from lightrag_server.engine.doctor.law import told_or_none
from lightrag_server.engine.doctor.owners import Owners, chunks_of_windows, place_of
from lightrag_server.engine.doctor.subjects import Subjects
from lightrag_server.engine.doctor.vectors import is_damaged
from lightrag_server.engine.stores import Stores
from lightrag_server.ports.kv import KVStore, Row

BATCH = 200


class Chunks:
    def __init__(self, stores: Stores, subjects: Subjects, dimension: int | None) -> None:
        """`dimension` is that of the vectors, None where none is known yet."""
        self._stores = stores
        self._subjects = subjects
        self._dimension = dimension
        self._curated = Curated(stores)

    def checks(self) -> Iterator[Check]:
        stores = self._stores
        yield Check("contributions", lambda: keys(stores.contributions), self.contributions)
        yield Check("chunks", lambda: keys(stores.chunks), self.bare_chunks)
        yield Check("evidence", stores.graph.scan_chunk_ids, self.evidence)
        yield Check("passages", self._window_ids, self.windows)
        yield Check("lexical index", stores.lexical.scan_ids, self.terms)

    async def contributions(self, chunk_ids: Sequence[str]) -> list[Fault]:
        stores = self._stores
        rows = await stores.contributions.get(chunk_ids)
        aliases = await self._curated.aliases()
        read = await asyncio.to_thread(lambda: {i: told_or_none(i, row, aliases) for i, row in rows.items()})
        told = {i: c for i, c in read.items() if c is not None}
        owners = await Owners.of(stores, rows)
        torn = [(i, document) for i in rows if i not in told and (document := owners.of_chunk(i))]
        faults = [Fault(Kind.LOST_CHUNK, document.file_path, document.id) for _, document in torn]
        faults += [Fault(Kind.BAD_ROW, i) for i, _ in torn]
        faults += [
            Fault(Kind.ORPHAN_CHUNK, i, subjects=tuple(told[i].subjects()) if i in told else ())
            for i in rows
            if owners.of_chunk(i) is None
        ]
        owned = {i: c for i, c in told.items() if owners.of_chunk(i)}
        faults += await self._of_evidence(owned)
        faults += await self._of_windows({i: rows[i] for i in owned})
        return faults + await self._untold(owned)

    async def bare_chunks(self, chunk_ids: Sequence[str]) -> list[Fault]:
        """Chunks without contribution; one that a document owes is found with the document."""
        bare = await self._stores.contributions.missing(chunk_ids)
        bare -= await self._stores.chunks.missing(bare)
        owners = await Owners.of(self._stores, bare)
        return [Fault(Kind.ORPHAN_CHUNK, i) for i in sorted(bare) if owners.of_chunk(i) is None]

    async def evidence(self, chunk_ids: Sequence[str]) -> list[Fault]:
        bare = await self._stores.contributions.missing(chunk_ids)
        told = await self._stores.graph.subjects_of(bare)
        owners = await Owners.of(self._stores, told)
        return [Fault(Kind.STRAY_EVIDENCE, i, subjects=tuple(s)) for i, s in told.items() if not owners.is_owed(i)]

    async def windows(self, ids: Sequence[str]) -> list[Fault]:
        items = await self._stores.windows.get(ids)
        extra = await self._uncalled_for(items)
        extra |= {i for i, item in items.items() if (place := place_of(i)) and item.ref != place[0]}
        damaged = [i for i, item in items.items() if is_damaged(item, self._dimension) and i not in extra]
        faults = [Fault(Kind.EXTRA_WINDOW, i) for i in sorted(extra)]
        return faults + [Fault(Kind.BAD_WINDOW, i) for i in damaged]

    async def terms(self, ids: Sequence[str]) -> list[Fault]:
        there = set(ids) - await self._stores.lexical.missing(ids)
        return [Fault(Kind.EXTRA_TERMS, i) for i in sorted(await self._uncalled_for(there))]

    # -- parts of these

    async def _of_evidence(self, told: Mapping[str, Contributions]) -> list[Fault]:
        stored = await self._stores.graph.subjects_of(told)
        faults: list[Fault] = []
        for chunk_id, contributions in told.items():
            wanted, have = set(contributions.subjects()), set(stored.get(chunk_id, ()))
            if wanted != have:
                faults.append(Fault(Kind.EVIDENCE, chunk_id, subjects=tuple(sorted(wanted | have))))
        return faults

    async def _of_windows(self, rows: Mapping[str, Row]) -> list[Fault]:
        wanted = {window_id(i, n): i for i, row in rows.items() for n in range(row["windows"])}
        unseen = {wanted[w] for w in await self._stores.windows.missing(wanted)}
        unsaid = {wanted[w] for w in await self._stores.lexical.missing(wanted)}
        faults = [Fault(Kind.NO_VECTOR, i) for i in sorted(unseen)]
        return faults + [Fault(Kind.NO_TERMS, i) for i in sorted(unsaid)]

    async def _untold(self, told: Mapping[str, Contributions]) -> list[Fault]:
        """Subjects that chunks speak of and the graph does not have, unless people removed them."""
        subjects = {s for contributions in told.values() for s in contributions.subjects()}
        keys = {s for s in subjects if pair_from(s) is None}
        pairs = {pair for s in subjects if (pair := pair_from(s))}
        absent: set[Subject] = keys - (await self._stores.graph.names(keys)).keys()
        known = await self._stores.graph.relations(pairs)
        absent |= {s for s in subjects if (pair := pair_from(s)) and pair not in known}
        return await self._subjects.examine(sorted(absent)) if absent else []

    async def _uncalled_for(self, windows: Collection[str]) -> set[str]:
        """Those of no chunk. Of a chunk that a document owes and lacks, windows are no orphans."""
        rows = await self._stores.contributions.get(chunks_of_windows(windows))
        counts = {i: row["windows"] for i, row in rows.items() if isinstance(row.get("windows"), int)}
        owners = await Owners.of(self._stores, chunks_of_windows(windows))

        def is_called_for(window: str) -> bool:
            place = place_of(window)
            if place is None or owners.of_chunk(place[0]) is None:
                return False
            return place[1] < counts[place[0]] if place[0] in counts else owners.is_owed(place[0])

        return {window for window in windows if not is_called_for(window)}

    async def _window_ids(self) -> AsyncIterator[Sequence[str]]:
        async for items in self._stores.windows.scan():
            yield [item.id for item in items]


async def keys(store: KVStore) -> AsyncIterator[Sequence[str]]:
    """The keys of a namespace in batches."""
    batch: list[str] = []
    async for key, _ in store.scan():
        batch.append(key)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
