"""Rows by key and documents in dictionaries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence

from lightrag_server.core.encoding import document_from_row, document_to_row, from_bytes, to_bytes
from lightrag_server.core.records import DocStatus, Document
from lightrag_server.ports.doc_status import Change, Filter, Page
from lightrag_server.ports.kv import Row
from lightrag_server.storages.memory_space import Cell


class MemoryKVStore:
    """Keeps JSON, so that what comes back is never the object that was put."""

    def __init__(self, cell: Cell, namespace: str) -> None:
        self._cell = cell
        self._namespace = namespace

    @property
    def _rows(self) -> dict[str, bytes]:
        return self._cell.space.kv[self._namespace]

    async def get(self, keys: Collection[str]) -> dict[str, Row]:
        rows = self._rows
        return {key: from_bytes(rows[key]) for key in keys if key in rows}

    async def put(self, rows: Mapping[str, Row]) -> None:
        encoded = {key: to_bytes(row) for key, row in rows.items()}
        async with self._cell.writing() as space:
            space.kv[self._namespace].update(encoded)

    async def delete(self, keys: Collection[str]) -> None:
        async with self._cell.writing() as space:
            for key in keys:
                space.kv[self._namespace].pop(key, None)

    async def missing(self, keys: Collection[str]) -> set[str]:
        return set(keys) - self._rows.keys()

    async def scan(self, prefix: str = "") -> AsyncIterator[tuple[str, Row]]:
        for key in sorted(key for key in self._rows if key.startswith(prefix)):
            if (value := self._rows.get(key)) is not None:
                yield key, from_bytes(value)

    async def count(self) -> int:
        return len(self._rows)

    async def clear(self) -> None:
        async with self._cell.writing() as space:
            space.kv.pop(self._namespace, None)


class MemoryDocStatusStore:
    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    async def add(self, documents: Sequence[Document]) -> set[str]:
        present: set[str] = set()
        async with self._cell.writing() as space:
            for document in documents:
                if document.id in space.documents:
                    present.add(document.id)
                else:
                    space.documents[document.id] = _detached(document)
        return present

    async def put(self, documents: Sequence[Document]) -> None:
        async with self._cell.writing() as space:
            space.documents.update({d.id: _detached(d) for d in documents})

    async def update(self, id: str, change: Change) -> Document | None:
        async with self._cell.writing() as space:
            stored = space.documents.get(id)
            changed = change(_detached(stored)) if stored else None
            if changed is not None:
                space.documents[id] = _detached(changed)
            return changed

    async def get(self, ids: Collection[str]) -> dict[str, Document]:
        documents = self._cell.space.documents
        return {i: _detached(documents[i]) for i in ids if i in documents}

    async def find(self, where: Filter, limit: int | None = None, after: str | None = None) -> list[Document]:
        found = sorted(self._matching(where), key=lambda d: (d.created_at, d.id))
        if after is not None:
            last = self._cell.space.documents.get(after)
            found = [d for d in found if last and (d.created_at, d.id) > (last.created_at, last.id)]
        return [_detached(d) for d in found[:limit]]

    async def page(self, where: Filter, page: Page) -> tuple[list[Document], int]:
        def order(document: Document) -> tuple[str, str]:
            return getattr(document, page.sort), document.id

        found = sorted(self._matching(where), key=order, reverse=page.descending)
        start = (page.number - 1) * page.size
        return [_detached(d) for d in found[start : start + page.size]], len(found)

    async def counts(self) -> dict[DocStatus, int]:
        counts = dict.fromkeys(DocStatus, 0)
        for document in self._cell.space.documents.values():
            counts[document.status] += 1
        return counts

    async def delete(self, ids: Collection[str]) -> None:
        async with self._cell.writing() as space:
            for i in ids:
                space.documents.pop(i, None)

    async def clear(self) -> None:
        async with self._cell.writing() as space:
            space.documents.clear()

    def _matching(self, where: Filter) -> list[Document]:
        return [d for d in self._cell.space.documents.values() if _matches(d, where)]


def _detached(document: Document) -> Document:
    """A copy that shares no metadata with the caller's."""
    return document_from_row(from_bytes(to_bytes(document_to_row(document))))


def _matches(document: Document, where: Filter) -> bool:
    return (
        (where.statuses is None or document.status in where.statuses)
        and (where.stages is None or document.stage in where.stages)
        and (where.track_id is None or document.track_id == where.track_id)
        and (where.content_hash is None or document.content_hash == where.content_hash)
        and (where.file_path is None or document.file_path == where.file_path)
        and where.name_part.casefold() in document.file_path.casefold()
        and where.tags.issubset(document.tags)
        and (not where.any_tags or not where.any_tags.isdisjoint(document.tags))
        and (where.is_enabled is None or document.is_enabled == where.is_enabled)
        and (where.updated_from is None or document.updated_at >= where.updated_from)
    )
