"""What surrounds every embedder: batches, a limit, retries, prefixes and checks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lightrag_server.bindings.limiter import Limiter
from lightrag_server.bindings.sharing import SharedBatches
from lightrag_server.bindings.together import all_of
from lightrag_server.bindings.wrappers import Backoff, Counts, Tally
from lightrag_server.errors import BadReply, DimensionMismatch
from lightrag_server.ports.embedding import Embedder, Purpose


class BatchedEmbedder:
    """`dimension` is the configured one, else the inner embedder's, else that of the first reply; any other length
    is a `DimensionMismatch`. `prefixes` are put before the texts of each purpose. With `shares`, texts of documents
    that several callers bring at about the same time go to the vendor together; questions are asked at once."""

    def __init__(
        self,
        inner: Embedder,
        *,
        batch_size: int,
        limiter: Limiter,
        backoff: Backoff,
        shares: bool = False,
        dimension: int | None = None,
        prefixes: dict[Purpose, str] | None = None,
    ) -> None:
        self.identity = inner.identity
        self.threshold = inner.threshold
        self.passage_tokens = inner.passage_tokens
        self.dimension = dimension or inner.dimension
        self._inner = inner
        self._batch_size = batch_size
        self._limiter = limiter
        self._backoff = backoff
        self._shared = SharedBatches(lambda texts: self._batch(texts, "document"), batch_size) if shares else None
        self._prefixes: dict[Purpose, str] = prefixes or {}
        self._tally = Tally(limiter)

    def snapshot(self) -> Counts:
        """Counts of batches, which are the vendor's calls before retries."""
        return self._tally.snapshot()

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> NDArray[np.float32]:
        if not texts:
            return np.empty((0, self.dimension or 0), np.float32)
        prefix = self._prefixes.get(purpose, "")
        ready = [prefix + sendable(text) for text in texts]
        if self._shared and purpose == "document":
            return await self._shared.embed(ready)
        size = self._batch_size
        batches = [ready[i : i + size] for i in range(0, len(ready), size)]
        if len(batches) == 1:
            return await self._batch(batches[0], purpose)
        return np.concatenate(await all_of(self._batch(batch, purpose) for batch in batches))

    async def close(self) -> None:
        if self._shared:
            await self._shared.close()
        await self._inner.close()

    async def _batch(self, texts: list[str], purpose: Purpose) -> NDArray[np.float32]:
        async with self._tally.call():
            return await self._backoff.run(lambda: self._once(texts, purpose))

    async def _once(self, texts: list[str], purpose: Purpose) -> NDArray[np.float32]:
        async with self._limiter.slot(in_background=purpose == "document") as call:
            vectors = await self._inner.embed(texts, purpose)
            call.size = sum(map(len, texts))
        return self._checked(vectors, len(texts))

    def _checked(self, vectors: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        if vectors.ndim != 2 or len(vectors) != count:
            raise BadReply(f"{self.identity} did not send one vector for each of {count} texts")
        self.dimension = self.dimension or vectors.shape[1]
        if vectors.shape[1] != self.dimension:
            raise DimensionMismatch(
                f"{self.identity} sends vectors of length {vectors.shape[1]} where {self.dimension} is expected; "
                "set EMBEDDING_DIM to the model's length or index the documents anew"
            )
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(norms).all() or not norms.all():
            raise BadReply(f"{self.identity} sent a vector without a direction")
        return np.asarray(vectors / norms, np.float32)


def sendable(text: str) -> str:
    """Text that every vendor takes: none refuses a dash, many refuse blank input, zero bytes or half a surrogate pair
    (which PDF text may hold)."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text.replace("\0", " ") if text.strip("\0 \t\r\n") else "-"
