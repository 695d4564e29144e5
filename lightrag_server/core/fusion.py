"""Rankings from several kinds of evidence made into one.

One ranking leads, by its order alone. Another speaks up as far as its best stands out from its own background: what a
leg is worth depends on embedder, language and question, and a margin shows it where a fixed weight guesses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

Item = TypeVar("Item", str, int)

RANKED = 20
"""Places that the leading ranking tells apart; the next ones count alike."""
BACKGROUND_RANK = 10
"""The score at this rank is what a place reaches that is merely near the subject."""


def by_order(ranking: Sequence[str]) -> dict[str, float]:
    """1 for the first, a step less for each of the next, 0 from `RANKED` on."""
    return {place: 1.0 - rank / RANKED for rank, place in enumerate(ranking[:RANKED])}


def lexical_margins(scores: Mapping[str, float], clear: float = 2.0) -> dict[str, float]:
    """How far each place stands out by its words, in [0, 1]: the square of its share of the best score, times 1 when
    the best is `1 + clear` times the background or more, and 0 when it is no better. Sums of rare words make BM25's
    ratios comparable between questions and collections, which its scores are not."""
    if not scores:
        return {}
    best = max(scores.values())
    certainty = _within_unit((best / _background(scores) - 1.0) / clear) if best > 0 else 0.0
    return {place: certainty * (score / best) ** 2 for place, score in scores.items() if score > 0}


def dense_margins(
    scores: Mapping[str, float], clear: float = 4.0, background_rank: int = BACKGROUND_RANK
) -> dict[str, float]:
    """The same for similarities, whose scale and offset belong to the embedder: distances are measured by that from
    the background to the last place given; those within the background get nothing."""
    ordered = sorted(scores.values(), reverse=True)
    if len(ordered) <= background_rank:
        return {}
    best, background, last = ordered[0], ordered[background_rank - 1], ordered[-1]
    span, unit = best - background, background - last
    if span <= 0 or unit <= 0:
        return {}
    certainty = _within_unit(span / unit / clear)
    return {place: certainty * (s - background) / span for place, s in scores.items() if s > background}


def _background(scores: Mapping[str, float]) -> float:
    """Of a short list less than its last, for what is not in it has no word in common at all."""
    ordered = sorted(scores.values(), reverse=True)
    rank = min(len(ordered), BACKGROUND_RANK)
    return max(ordered[rank - 1] * rank / BACKGROUND_RANK, 1e-9)


def closeness(similarity: float, threshold: float) -> float:
    """How far a cosine is on the way from what the embedder gives unrelated texts, its `threshold`, to the very same
    text, in [0, 1]."""
    return _within_unit((similarity - threshold) / max(1.0 - threshold, 1e-6))


def _within_unit(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def added(*legs: tuple[Mapping[str, float], float]) -> dict[str, float]:
    """The weighted sum of some scores; what a leg lacks gets nothing from it."""
    total: dict[str, float] = {}
    for scores, weight in legs:
        for place, score in scores.items():
            total[place] = total.get(place, 0.0) + weight * score
    return total


def scaled(scores: Mapping[str, float]) -> dict[str, float]:
    """To [0, 1]: the best is 1, the worst 0; all 1 where they are equal."""
    if not scores:
        return {}
    top, bottom = max(scores.values()), min(scores.values())
    return {place: (score - bottom) / (top - bottom) if top > bottom else 1.0 for place, score in scores.items()}


def ranked(scores: Mapping[str, float], limit: int | None = None) -> list[str]:
    """Places best first, ties by id."""
    return sorted(scores, key=lambda place: (-scores[place], place))[:limit]


def less_crowded(scores: Mapping[str, float], group_of: Callable[[str], str], penalty: float) -> dict[str, float]:
    """The scores, each less `penalty` for every better place of its group."""
    seen: dict[str, int] = {}
    set_back: dict[str, float] = {}
    for place in ranked(scores):
        group = group_of(place)
        set_back[place] = scores[place] - penalty * seen.get(group, 0)
        seen[group] = seen.get(group, 0) + 1
    return set_back


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
