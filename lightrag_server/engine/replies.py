"""Kept replies of the language model, by what they were asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from lightrag_server.core.encoding import chunked_from_bytes
from lightrag_server.core.records import Document
from lightrag_server.engine import blob_keys
from lightrag_server.engine.extraction import KeptReplies, LLMExtractor
from lightrag_server.engine.stores import Stores
from lightrag_server.ports.kv import KVStore

ReplyKind = Literal["extract", "query", "summary"]
"""Extraction of chunks, questions (their keywords and answers), or descriptions. Keys of the cache begin with it."""

BATCH_KEYS = 1000


async def forget_replies(cache: KVStore, kinds: Collection[ReplyKind]) -> int:
    """Remove the kept replies of these kinds; return how many there were."""
    forgotten = 0
    for kind in kinds:
        batch: list[str] = []
        async for key, _ in cache.scan(f"{kind}:"):
            batch.append(key)
            if len(batch) == BATCH_KEYS:
                await cache.delete(batch)
                forgotten, batch = forgotten + len(batch), []
        await cache.delete(batch)
        forgotten += len(batch)
    return forgotten


@dataclass(frozen=True, slots=True)
class ExtractionReplies:
    """What the model said of the chunks of documents."""

    stores: Stores
    extractor: LLMExtractor
    kept: KeptReplies

    async def forget(self, document_ids: Collection[str]) -> int:
        """Remove what extracting these documents again would use; return how many replies there were."""
        known = await self.stores.documents.get(document_ids)
        return sum([await self._forget(document) for document in known.values()])

    async def _forget(self, document: Document) -> int:
        blobs, workspace = self.stores.blobs, self.stores.workspace
        forgotten = 0
        for key in await blobs.list(workspace, blob_keys.all_parsed(document.id)):
            if data := await blobs.get(workspace, key):
                _, chunks = await asyncio.to_thread(chunked_from_bytes, data)
                forgotten += await self.extractor.forget(chunks, self.kept)
        return forgotten
