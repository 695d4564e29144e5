"""Which document a chunk belongs to, as the rows of the documents say."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass

from lightrag_server.core.ids import document_of, window_place
from lightrag_server.core.records import Document, Stage
from lightrag_server.engine.stores import Stores
from lightrag_server.engine.versions import served


@dataclass(frozen=True, slots=True)
class Owners:
    documents: dict[str, Document]

    @classmethod
    async def of(cls, stores: Stores, chunk_ids: Iterable[str]) -> Owners:
        ids = {document for chunk_id in chunk_ids if (document := document_of(chunk_id))}
        return cls(await stores.documents.get(ids))

    def of_chunk(self, chunk_id: str) -> Document | None:
        """None for an orphan. While a document is worked on it may have any chunks: commits have slices."""
        document = self.documents.get(document_of(chunk_id) or "")
        if document is None or (document.stage is Stage.COMMITTED and chunk_id not in document.chunk_ids):
            return None
        return document

    def is_owed(self, chunk_id: str) -> bool:
        """Whether answers rest on a version that has this chunk."""
        document = self.of_chunk(chunk_id)
        version = served(document) if document else None
        return version is not None and chunk_id in version.chunk_ids


def place_of(window: str) -> tuple[str, int] | None:
    """As `window_place`; None for an id that is none."""
    with suppress(ValueError):
        return window_place(window)
    return None


def chunks_of_windows(windows: Collection[str]) -> set[str]:
    return {place[0] for window in windows if (place := place_of(window))}
