"""The texts of a chunk that get vectors, and the vectors of short texts that keep coming back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightrag_server.core import ids
from lightrag_server.core.folding import Contributions
from lightrag_server.core.records import Chunk
from lightrag_server.ports.embedding import Embedder
from lightrag_server.ports.vectors import VectorItem

REMEMBERED_TEXTS = 4096

Wanted = dict[str, tuple[str, str]]
"""Vector id → (ref, text to embed)."""


def window_texts(chunk: Chunk) -> Wanted:
    """Each window under its headings, which say what it is about."""
    head = " › ".join(chunk.headings)
    return {
        ids.window_id(chunk.id, n): (chunk.id, f"{head}\n{chunk.window_text(w)}" if head else chunk.window_text(w))
        for n, w in enumerate(chunk.windows)
    }


def entity_texts(contributions: Contributions) -> Wanted:
    """Every spelling of every entity: names do not change when descriptions do, so they are embedded once."""
    return {
        ids.entity_vector_id(key, f.text): (key, f.text) for key, c in contributions.entities.items() for f in c.names
    }


def fact_texts(contributions: Contributions) -> Wanted:
    """Every distinct fact told of every pair."""
    return {
        ids.fact_vector_id(pair, fact): (ids.subject_of(pair), fact)
        for pair, c in contributions.relations.items()
        for fact in c.facts
    }


class Vectorizer:
    """Embeds wanted texts. Remembers the last few thousand short ones, for names recur before they are committed."""

    def __init__(self, embedder: Embedder, known: OrderedDict[str, NDArray[np.float32]] | None = None) -> None:
        self._embedder = embedder
        self.identity = embedder.identity
        self._known = OrderedDict[str, NDArray[np.float32]]() if known is None else known

    def by(self, embedder: Embedder) -> Vectorizer:
        """Another one that remembers the same: `embedder` is the same model."""
        return Vectorizer(embedder, self._known)

    async def items(self, wanted: Wanted, *, remember: bool) -> dict[str, VectorItem]:
        """One item per wanted id; each distinct text goes to the model at most once."""
        texts = list(dict.fromkeys(text for _, text in wanted.values()))
        vectors = await self._vectors(texts, remember)
        return {id_: VectorItem(id_, ref, vectors[text]) for id_, (ref, text) in wanted.items()}

    async def _vectors(self, texts: Sequence[str], remember: bool) -> dict[str, NDArray[np.float32]]:
        found = {t: self._known[t] for t in texts if t in self._known}
        unknown = [t for t in texts if t not in found]
        if unknown:
            fresh = dict(zip(unknown, await self._embedder.embed(unknown, "document"), strict=True))
            found |= fresh
            if remember:
                self._known |= fresh
                while len(self._known) > REMEMBERED_TEXTS:
                    self._known.popitem(last=False)
        return found
