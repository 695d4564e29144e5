"""Means with their intervals, and percentiles. Pure and repeatable: the resampling is seeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
SEED = 7
PERCENTS = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over `count` questions and its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds."""

    p50: float
    p95: float


def estimate(values: Sequence[float]) -> Estimate | None:
    """None of nothing. The percentile bootstrap over questions."""
    if not values:
        return None
    drawn = np.random.default_rng(SEED).choice(np.asarray(values), (RESAMPLES, len(values)))
    low, high = np.percentile(drawn.mean(axis=1), PERCENTS)
    return Estimate(float(np.mean(values)), float(low), float(high), len(values))


def latency(seconds: Sequence[float]) -> Latency | None:
    if not seconds:
        return None
    p50, p95 = np.percentile(seconds, (50, 95))
    return Latency(float(p50), float(p95))
