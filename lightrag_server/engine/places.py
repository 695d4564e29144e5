"""How similar the windows of the chunks in the running are to a question; each vector is read once."""

from __future__ import annotations

from collections.abc import Collection

from lightrag_server.core import ids
from lightrag_server.engine.scope import Knowledge
from lightrag_server.engine.searches import Hits


class Places:
    def __init__(self, knowledge: Knowledge, hits: Hits) -> None:
        self._windows = knowledge.windows
        self._asked = hits.asked
        self.similarity: dict[str, float] = {h.id: h.score for h in hits.windows}
        """By window."""
        self._best: dict[str, float] = {}
        self._own: dict[str, list[str]] = {}
        self._added: set[str] = set()
        for hit in reversed(hits.windows):
            self._best[hit.ref] = hit.score
            self._own.setdefault(hit.ref, []).append(hit.id)
        found = (*self.similarity, *(hit.id for hit in hits.lexical))
        self._most_windows = 1 + max((ids.window_place(window)[1] for window in found), default=0)

    async def add(self, chunk_ids: Collection[str]) -> None:
        """One read. How many windows a chunk has stands in its row, which is worth reading for few; what was found
        tells how many the largest have, and those of a larger one beyond that are passed over."""
        fresh = [i for i in chunk_ids if i not in self._added]
        self._added.update(fresh)
        windows = {i: [ids.window_id(i, n) for n in range(self._most_windows)] for i in fresh}
        known = self.similarity
        if wanted := [window for own in windows.values() for window in own if window not in known]:
            known |= await self._windows.similarities(wanted, self._asked)
        for chunk_id, all_windows in windows.items():
            if own := [window for window in all_windows if window in known]:
                self._own[chunk_id] = own
                self._best[chunk_id] = max([known[window] for window in own])

    def best(self) -> dict[str, float]:
        """Of each chunk the similarity of its best window."""
        return self._best

    def windows_of(self, chunk_id: str) -> list[str]:
        """Those whose similarity is known."""
        return self._own.get(chunk_id, [])
