"""How similar the windows of the chunks in the running are to a question; each vector is read once."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from lightrag_server.core import ids
from lightrag_server.engine.scope import Knowledge
from lightrag_server.engine.searches import Hits


class Places:
    def __init__(self, knowledge: Knowledge, hits: Hits) -> None:
        self._windows = knowledge.windows
        self._asked = hits.asked
        self.similarity: dict[str, float] = {h.id: h.score for h in hits.windows}
        """By window."""
        places = [ids.window_place(window) for window in (*self.similarity, *(h.id for h in hits.lexical))]
        self._most_windows = 1 + max((number for _, number in places), default=0)
        self._best: dict[str, float] = {}
        self._own: dict[str, list[str]] = {}
        self._keep(self.similarity)

    async def add(self, chunk_ids: Collection[str]) -> None:
        """One read. How many windows a chunk has stands in its row, which is worth reading for few; what was found
        tells how many the largest have, and those of a larger one beyond that are passed over."""
        wanted = [ids.window_id(i, n) for i in chunk_ids for n in range(self._most_windows)]
        stored = await self._windows.get([window for window in wanted if window not in self.similarity])
        if stored:
            similarity = np.stack([item.vector for item in stored.values()]) @ self._asked.T
            found = dict(zip(stored, similarity.max(axis=1).tolist(), strict=True))
            self.similarity |= found
            self._keep(found)

    def best(self) -> dict[str, float]:
        """Of each chunk the similarity of its best window."""
        return self._best

    def windows_of(self, chunk_id: str) -> list[str]:
        """Those whose similarity is known."""
        return self._own.get(chunk_id, [])

    def _keep(self, found: dict[str, float]) -> None:
        for window, similarity in found.items():
            chunk_id, _ = ids.window_place(window)
            self._own.setdefault(chunk_id, []).append(window)
            self._best[chunk_id] = max(similarity, self._best.get(chunk_id, -1.0))
