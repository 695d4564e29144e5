"""The chunks in the running for one question, each read once, and how similar their windows are to it."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from lightrag_server.core import ids
from lightrag_server.core.encoding import chunk_from_row
from lightrag_server.core.records import Chunk
from lightrag_server.engine.scope import Knowledge
from lightrag_server.engine.searches import Hits


class Places:
    def __init__(self, knowledge: Knowledge, hits: Hits) -> None:
        self._knowledge = knowledge
        self._asked = hits.asked
        self.chunks: dict[str, Chunk] = {}
        self.similarity: dict[str, float] = {h.id: h.score for h in hits.windows}
        """By window; of all windows of the chunks, and of what dense search found."""

    async def add(self, chunk_ids: Collection[str]) -> None:
        """Two reads: the chunks, and the vectors of windows that dense search did not find."""
        rows = await self._knowledge.chunks.get([i for i in chunk_ids if i not in self.chunks])
        added = [chunk_from_row(row) for row in rows.values()]
        self.chunks |= {chunk.id: chunk for chunk in added}
        others = [w for chunk in added for w in windows_of(chunk) if w not in self.similarity]
        stored = await self._knowledge.windows.get(others)
        if stored:
            similarity = np.stack([item.vector for item in stored.values()]) @ self._asked.T
            self.similarity |= dict(zip(stored, similarity.max(axis=1).tolist(), strict=True))

    def best(self) -> dict[str, float]:
        """Of each chunk the similarity of its best window."""
        return {
            chunk.id: max((self.similarity.get(w, -1.0) for w in windows_of(chunk)), default=-1.0)
            for chunk in self.chunks.values()
        }


def windows_of(chunk: Chunk) -> list[str]:
    return [ids.window_id(chunk.id, n) for n in range(len(chunk.windows))]
