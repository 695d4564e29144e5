from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Purpose = Literal["query", "document"]


class Embedder(Protocol):
    """Text to unit vectors. Every failure is a `ProviderError`."""

    identity: str
    """Binding and model: recorded with the data."""
    dimension: int | None
    """Known beforehand, or None until the first reply."""
    passage_tokens: int
    """Length up to which one vector tells well what a text is about, in tokens: the size of windows by default."""
    threshold: float
    """Cosine below which text is unrelated for this model; a property of the model, never a global constant."""

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> NDArray[np.float32]:
        """Shape (n, d), float32, unit length, in the order of `texts`. No call to the vendor for an empty list."""
        ...

    async def close(self) -> None: ...
