"""The version that a new one replaces, and what need not be worked out again because of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lightrag_server.core import ids
from lightrag_server.core.encoding import chunked_from_bytes, extraction_from_row
from lightrag_server.core.records import Chunk, Document, Extraction, ParsedDocument
from lightrag_server.engine import blob_keys
from lightrag_server.engine.stores import Stores
from lightrag_server.engine.texts import Wanted, window_texts
from lightrag_server.ports.vectors import VectorItem

Told = tuple[tuple[str, ...], str]
"""Headings and text of a chunk: what its extraction depends on."""


@dataclass(frozen=True, slots=True)
class Former:
    """What is taken over is found by content, so it does not matter where in the document it stands now. The stores
    hold this version only until another is committed: after each read it is checked that they still did."""

    stores: Stores
    document: Document
    parsed: ParsedDocument
    chunks: list[Chunk]
    is_same_file: bool
    """The bytes are to be indexed anew: all is extracted again."""
    chunk_ids: dict[Told, str]
    window_ids: dict[str, str]
    """Digest of a text that was embedded → id of its vector."""

    @classmethod
    async def of(cls, stores: Stores, document: Document, embedding: str) -> Former | None:
        """None when nothing is replaced, or it was made with another embedding model."""
        if not (document.blob_key and document.serving and document.serving.blob_key):
            return None
        original = document.serving.blob_key
        kept = await stores.blobs.get(stores.workspace, blob_keys.parsed(document.id, original, embedding))
        if kept is None:
            return None
        is_same_file = blob_keys.digest_of(original) == blob_keys.digest_of(document.blob_key)
        takes_extractions = not is_same_file and document.profile is document.serving.profile
        return await asyncio.to_thread(_read, stores, document, kept, is_same_file, takes_extractions)

    async def extractions(self, chunks: Sequence[Chunk]) -> dict[str, Extraction]:
        """By the ids of the given chunks, for those that this version has too."""
        same = {c.id: old for c in chunks if (old := self.chunk_ids.get((c.headings, c.text)))}
        rows = await self.stores.contributions.get(set(same.values())) if same else {}
        if not rows or not await self._is_stored():
            return {}
        return {new: extraction_from_row(rows[old]["extraction"]) for new, old in same.items() if old in rows}

    async def windows(self, wanted: Wanted) -> dict[str, VectorItem]:
        """By the wanted ids, for texts that this version has too."""
        same = {id_: old for id_, (_, text) in wanted.items() if (old := self.window_ids.get(ids.md5_hex(text)))}
        items = await self.stores.windows.get(set(same.values())) if same else {}
        if not items or not await self._is_stored():
            return {}
        return {new: replace(items[old], id=new, ref=wanted[new][0]) for new, old in same.items() if old in items}

    async def _is_stored(self) -> bool:
        row = (await self.stores.documents.get([self.document.id])).get(self.document.id)
        return row is not None and row.serving == self.document.serving


def _read(stores: Stores, document: Document, kept: bytes, is_same_file: bool, takes_extractions: bool) -> Former:
    parsed, chunks = chunked_from_bytes(kept)
    return Former(
        stores=stores,
        document=document,
        parsed=parsed,
        chunks=chunks,
        is_same_file=is_same_file,
        chunk_ids={(c.headings, c.text): c.id for c in chunks} if takes_extractions else {},
        window_ids={ids.md5_hex(text): id_ for chunk in chunks for id_, (_, text) in window_texts(chunk).items()},
    )
