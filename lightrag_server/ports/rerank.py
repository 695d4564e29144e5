from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Reranker(Protocol):
    """Scores of texts for a question."""

    async def rank(self, question: str, texts: Sequence[str]) -> list[float]:
        """One score per text in the order given; larger is better."""
        ...
