"""Documents against the files that are kept of them and the chunks that were cut from them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress

from lightrag_server.core.encoding import chunk_from_row, chunked_from_bytes
from lightrag_server.core.ids import md5_hex
from lightrag_server.core.records import Chunk, Document, Version
from lightrag_server.engine import blob_keys
from lightrag_server.engine.doctor.faults import Check, Fault, Kind
from lightrag_server.engine.doctor.law import UNREADABLE
from lightrag_server.engine.stores import Stores
from lightrag_server.engine.versions import served
from lightrag_server.errors import StorageCorrupt
from lightrag_server.ports.doc_status import Filter
from lightrag_server.ports.kv import Row

BATCH = 20
"""Their texts and originals are read one by one."""


class Documents:
    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def checks(self) -> Iterator[Check]:
        yield Check("documents", self._ids, self.examine)

    async def examine(self, ids: Sequence[str]) -> list[Fault]:
        faults: list[Fault] = []
        for document in (await self._stores.documents.get(ids)).values():
            faults += await self._originals(document)
            if version := served(document):
                faults += await self._version(document, version)
        return faults

    async def _originals(self, document: Document) -> list[Fault]:
        """The name of an original holds the digest of its bytes."""
        named = {document.blob_key, document.serving.blob_key if document.serving else None}
        for key in sorted(key for key in named if key):
            data = await self._stores.blobs.get(self._stores.workspace, key)
            if data is None or await asyncio.to_thread(md5_hex, data) != blob_keys.digest_of(key):
                return [Fault(Kind.LOST_ORIGINAL, document.file_path, document.id)]
        return []

    async def _version(self, document: Document, version: Version) -> list[Fault]:
        lost = await self._stores.contributions.missing(version.chunk_ids)
        faults = [Fault(Kind.LOST_CHUNK, document.file_path, document.id)] if lost else []
        if version.blob_key is None:
            return faults
        cut = await chunks_cut(self._stores, document.id, version.blob_key)
        if cut is None:
            return [*faults, Fault(Kind.LOST_TEXT, document.file_path, document.id)]
        if {c.id for c in cut} != set(version.chunk_ids):
            return [*faults, Fault(Kind.LOST_CHUNK, document.file_path, document.id)]
        rows = await self._stores.chunks.get(version.chunk_ids)
        wrong = await asyncio.to_thread(lambda: [c.id for c in cut if _chunk_or_none(rows.get(c.id)) != c])
        return [*faults, *(Fault(Kind.CHUNK_ROW, i, document.id) for i in wrong if i not in lost)]

    async def _ids(self) -> AsyncIterator[Sequence[str]]:
        after: str | None = None
        while page := await self._stores.documents.find(Filter(), BATCH, after):
            yield [document.id for document in page]
            after = page[-1].id


async def chunks_cut(stores: Stores, document_id: str, original: str) -> list[Chunk] | None:
    """The chunks as they were cut from the text of an acceptance; None where the text is gone or torn."""
    for key in await stores.blobs.list(stores.workspace, blob_keys.parsed_of(document_id, original)):
        kept = await stores.blobs.get(stores.workspace, key)
        with suppress(StorageCorrupt, *UNREADABLE):
            return (await asyncio.to_thread(chunked_from_bytes, kept or b""))[1]
    return None


def _chunk_or_none(row: Row | None) -> Chunk | None:
    with suppress(*UNREADABLE):
        return chunk_from_row(row) if row else None
    return None
