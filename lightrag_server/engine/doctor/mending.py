"""What mending writes, worked out from what is stored when its turn comes. The commit is the one writer meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence

from lightrag_server.core.edits import Mend
from lightrag_server.core.encoding import chunk_from_row, chunk_to_row
from lightrag_server.core.folding import Contributions
from lightrag_server.core.ids import subject_of, window_id
from lightrag_server.core.records import Chunk
from lightrag_server.engine.curated import Curated
from lightrag_server.engine.doctor.documents import chunks_cut
from lightrag_server.engine.doctor.law import UNREADABLE, Law, told_or_none
from lightrag_server.engine.doctor.owners import Owners, chunks_of_windows, place_of
from lightrag_server.engine.plan import Changes, lexical_items
from lightrag_server.engine.stores import Stores
from lightrag_server.engine.texts import Vectorizer, Wanted, window_texts
from lightrag_server.engine.versions import served
from lightrag_server.ports.kv import Row
from lightrag_server.ports.storage import SelfChecking
from lightrag_server.ports.vectors import VectorItem, VectorStore


class Mending:
    def __init__(self, stores: Stores, vectorizer: Vectorizer) -> None:
        self._stores = stores
        self._vectorizer = vectorizer
        self._curated = Curated(stores)
        self._law = Law(stores)

    async def storage(self) -> None:
        for backend in self._stores.backends.distinct():
            if isinstance(backend, SelfChecking):
                await backend.mend(self._stores.workspace)

    async def changes_for(self, mend: Mend) -> Changes:
        """Costs embedding what lacks a vector, and no LLM call."""
        changes = Changes()
        await self._plan_chunks(changes, mend.chunk_ids)
        await self._plan_windows(changes, mend.windows)
        await self._plan_subjects(changes, mend)
        return changes

    async def _plan_chunks(self, changes: Changes, chunk_ids: Sequence[str]) -> None:
        if not chunk_ids:
            return
        rows = await self._stores.contributions.get(chunk_ids)
        told = await self._told(rows)
        owners = await Owners.of(self._stores, chunk_ids)
        chunks = await self._chunks(owners, chunk_ids)
        for chunk_id in chunk_ids:
            if owners.of_chunk(chunk_id) is None or (chunk_id in rows and chunk_id not in told):
                changes.stale_chunks.append(chunk_id)
                changes.stale_windows |= _windows_of(chunk_id, rows.get(chunk_id), chunks.get(chunk_id))
            elif chunk_id in told and chunk_id in chunks:
                chunk = chunks[chunk_id]
                changes.chunks[chunk_id] = chunk_to_row(chunk)
                changes.contributions[chunk_id] = rows[chunk_id] | {"windows": len(chunk.windows)}
                changes.evidence[chunk_id] = told[chunk_id].subjects()
                changes.lexical += lexical_items(chunk)
        wanted = {i: w for chunk_id in changes.chunks for i, w in window_texts(chunks[chunk_id]).items()}
        changes.windows += await self._items(self._stores.windows, wanted, ())

    async def _told(self, rows: Mapping[str, Row]) -> dict[str, Contributions]:
        aliases = await self._curated.aliases()
        read = await asyncio.to_thread(lambda: {i: told_or_none(i, row, aliases) for i, row in rows.items()})
        return {i: told for i, told in read.items() if told is not None}

    async def _chunks(self, owners: Owners, chunk_ids: Collection[str]) -> dict[str, Chunk]:
        """As cut from the text where that is kept, else as stored."""
        chunks: dict[str, Chunk] = {}
        for chunk_id, row in (await self._stores.chunks.get(chunk_ids)).items():
            try:
                chunks[chunk_id] = chunk_from_row(row)
            except UNREADABLE:
                continue
        for document in owners.documents.values():
            version = served(document)
            if version and version.blob_key:
                cut = await chunks_cut(self._stores, document.id, version.blob_key)
                chunks |= {chunk.id: chunk for chunk in cut or ()}
        return chunks

    async def _plan_windows(self, changes: Changes, windows: Sequence[str]) -> None:
        chunk_ids = chunks_of_windows(windows)
        owners = await Owners.of(self._stores, chunk_ids)
        chunks = await self._chunks(owners, chunk_ids)
        owned = {i for i in chunk_ids if owners.of_chunk(i)}
        items = {item.id: item for i in owned & chunks.keys() for item in lexical_items(chunks[i])}
        texts = {w: text for i in owned & chunks.keys() for w, text in window_texts(chunks[i]).items()}
        called_for = [w for w in windows if w in items]
        unsure = {w for w in windows if (place := place_of(w)) and place[0] in owned - chunks.keys()}
        changes.stale_windows |= set(windows) - items.keys() - unsure
        changes.lexical += [items[w] for w in called_for]
        changes.windows += await self._items(self._stores.windows, {w: texts[w] for w in called_for}, called_for)

    async def _plan_subjects(self, changes: Changes, mend: Mend) -> None:
        expected = await self._law.expected({*mend.subjects, *(ref for _, ref in (*mend.names, *mend.facts))})
        wrong = set(mend.subjects)
        for key, entity in expected.entities.items():
            if entity and key in wrong:
                changes.entities.append(entity)
            elif key in wrong:
                changes.stale_entities.append(key)
        for pair, relation in expected.relations.items():
            if relation and subject_of(pair) in wrong:
                changes.relations.append(relation)
            elif subject_of(pair) in wrong:
                changes.stale_relations.append(pair)
        names, facts = [i for i, _ in mend.names], [i for i, _ in mend.facts]
        changes.stale_entity_vectors = set(names) - expected.names.keys()
        changes.stale_fact_vectors = set(facts) - expected.facts.keys()
        changes.entity_vectors = _by_id(await self._items(self._stores.entities, expected.names, names))
        changes.fact_vectors = _by_id(await self._items(self._stores.facts, expected.facts, facts))

    async def _items(self, store: VectorStore, wanted: Wanted, anew: Collection[str]) -> list[VectorItem]:
        """Of those that lack a vector, and of those whose vector is made anew."""
        absent = await store.missing(wanted) | (wanted.keys() & set(anew))
        return [*(await self._vectorizer.items({i: wanted[i] for i in sorted(absent)}, remember=False)).values()]


def _by_id(items: Iterable[VectorItem]) -> dict[str, VectorItem]:
    return {item.id: item for item in items}


def _windows_of(chunk_id: str, row: Row | None, chunk: Chunk | None) -> set[str]:
    told = row.get("windows") if row else None
    count = max(told if isinstance(told, int) else 0, len(chunk.windows) if chunk else 0)
    return {window_id(chunk_id, n) for n in range(count)}
