"""One document: what is known and kept of it, and what its owner may change of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from lightrag_server.core.attributes import merged_attributes
from lightrag_server.core.encoding import chunk_from_row, chunked_from_bytes
from lightrag_server.core.records import Chunk, Document, Stage
from lightrag_server.engine import blob_keys
from lightrag_server.engine.clock import Clock
from lightrag_server.engine.incoming import IS_TEXT
from lightrag_server.engine.stores import Stores
from lightrag_server.engine.versions import served, version_of
from lightrag_server.errors import NotFound

TEXT_SUFFIX = ".txt"


@dataclass(frozen=True, slots=True)
class Original:
    """The bytes that were sent, and the name to hand them out under."""

    name: str
    data: bytes


class Documents:
    """Text, chunks and original are those that answers rest on; of a new document those it is to get."""

    def __init__(self, stores: Stores, clock: Clock) -> None:
        self._stores = stores
        self._clock = clock

    async def get(self, document_id: str) -> Document:
        """Raises `NotFound`, as all methods here."""
        row = (await self._stores.documents.get([document_id])).get(document_id)
        if row is None:
            raise NotFound(f"no such document: {document_id!r}")
        return row

    async def chunks(self, document_id: str, number: int, size: int) -> tuple[list[Chunk], int]:
        """Page `number` (from 1) of the chunks, and how many there are; none before the first version is indexed."""
        version = served(await self.get(document_id))
        ids = version.chunk_ids if version else ()
        wanted = ids[(number - 1) * size : number * size]
        rows = await self._stores.chunks.get(wanted)
        return [chunk_from_row(rows[i]) for i in wanted if i in rows], len(ids)

    async def text(self, document_id: str) -> str:
        row = await self.get(document_id)
        version = served(row) or version_of(row)
        folder = blob_keys.parsed_of(document_id, version.blob_key) if version.blob_key else ""
        keys = await self._stores.blobs.list(self._stores.workspace, folder) if folder else []
        data = await self._stores.blobs.get(self._stores.workspace, keys[0]) if keys else None
        if data is None:
            raise NotFound(f"the text of {row.file_path!r} is not read yet")
        parsed, _ = await asyncio.to_thread(chunked_from_bytes, data)
        return parsed.text

    async def original(self, document_id: str) -> Original:
        row = await self.get(document_id)
        version = served(row) or version_of(row)
        data = await self._stores.blobs.get(self._stores.workspace, version.blob_key) if version.blob_key else None
        if data is None:
            raise NotFound(f"the original of {row.file_path!r} is gone")
        is_named_otherwise = PurePosixPath(row.file_path).suffix.lower() != TEXT_SUFFIX
        suffix = TEXT_SUFFIX if version.metadata.get(IS_TEXT) and is_named_otherwise else ""
        return Original(row.file_path + suffix, data)

    async def change(
        self,
        document_id: str,
        attributes: Mapping[str, Any] | None = None,
        tags: tuple[str, ...] | None = None,
        is_enabled: bool | None = None,
    ) -> Document:
        """Merge attributes (null removes one), replace tags, switch. Holds at once, also while the document is worked
        on. Raises `InvalidInput` when there are too many attributes then."""
        now = self._clock().isoformat()

        def changed(row: Document) -> Document | None:
            if row.stage is Stage.DELETING:
                return None
            return row.with_(
                attributes=row.attributes if attributes is None else merged_attributes(row.attributes, attributes),
                tags=row.tags if tags is None else tags,
                is_enabled=row.is_enabled if is_enabled is None else is_enabled,
                updated_at=now,
            )

        row = await self._stores.documents.update(document_id, changed)
        if row is None:
            raise NotFound(f"no such document: {document_id!r}")
        return row
