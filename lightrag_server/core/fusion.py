"""Rankings from several kinds of evidence made into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item", str, int)


@dataclass(frozen=True, slots=True)
class Leg:
    """One kind of evidence: scores by place id, larger is better, and how much it counts."""

    scores: Mapping[str, float]
    weight: float


def fuse(legs: Sequence[Leg]) -> dict[str, float]:
    """Weighted sum of the legs, each scaled to [0, 1] by its own range; a place that a leg lacks gets 0 from it.

    Scores rather than ranks, so that a clear winner of one leg stays ahead of places that are middling in all.
    """
    fused: dict[str, float] = {}
    for leg in legs:
        for place, score in scaled(leg.scores).items():
            fused[place] = fused.get(place, 0.0) + leg.weight * score
    return fused


def scaled(scores: Mapping[str, float]) -> dict[str, float]:
    """Scores mapped so that the best is 1 and the worst is just above 0."""
    if not scores:
        return {}
    top, bottom = max(scores.values()), min(scores.values())
    span = (top - bottom) or 1.0
    least = 1.0 / (len(scores) + 1)
    return {
        place: least + (1.0 - least) * (score - bottom) / span if top != bottom else 1.0
        for place, score in scores.items()
    }


def ranked(scores: Mapping[str, float], limit: int | None = None) -> list[str]:
    """Places best first, ties by id."""
    return sorted(scores, key=lambda place: (-scores[place], place))[:limit]


def with_floor(ranking: Sequence[str], floor: Sequence[str], limit: int) -> list[str]:
    """The first `limit` of a ranking, its last ones giving way to what the first half of `floor` has and it lacks."""
    chosen = list(ranking[:limit])
    owed = [place for place in floor[: limit // 2] if place not in set(chosen)]
    return [*chosen[: max(limit - len(owed), 0)], *owed] if len(chosen) == limit else [*chosen, *owed][:limit]


def interleave(*rankings: Sequence[Item]) -> list[Item]:
    """Round robin over rankings without repeats: the best of each comes before the second of any."""
    merged: dict[Item, None] = {}
    for depth in range(max((len(r) for r in rankings), default=0)):
        for ranking in rankings:
            if depth < len(ranking):
                merged.setdefault(ranking[depth])
    return list(merged)
