from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Reranker(Protocol):
    """Scores of texts for a question. Every failure is a `ProviderError`."""

    identity: str
    """Binding and model."""
    least_score: float | None
    """A text that scores lower is to be left out; None where scores only tell what is better."""

    reads_pairs: bool
    """Whether question and text are read together, as cross-encoders do: then the order of scores is worth more."""

    async def rank(self, question: str, texts: Sequence[str]) -> list[float]:
        """One score per text in the order given; larger is better. No call to the vendor for an empty list."""
        ...

    async def close(self) -> None: ...
