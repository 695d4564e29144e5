from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from lightrag_server.core.records import Chunk, Extraction


class Extractor(Protocol):
    """What a profile does to chunks."""

    async def extract(self, chunks: Sequence[Chunk], done: Callable[[Chunk, Extraction], Awaitable[None]]) -> None:
        """Call `done` once for each chunk as soon as it is extracted, in any order. A chunk that fails does not stop
        the others: after all have ended an `ExtractionFailed` names those that did not succeed."""
        ...
