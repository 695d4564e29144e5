"""What is measured of one question, and its names: the same in tables, files and `--fail-under`. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from lightrag_server.evaluation.overlap import contains, f1
from lightrag_server.evaluation.questions import Case
from lightrag_server.evaluation.ranking import Place

RECALL, ALL_GOLD = "recall@", "all-gold@"
MRR = "mrr"
IN_CONTEXT = "answer-in-context"
ANSWER_F1, ANSWER_CONTAINS = "answer-f1", "answer-contains"

Scores = dict[str, float]
"""By name of the measure, each from 0 to 1, more is better. What a question gives no ground for is absent."""


def measure_names(ks: Sequence[int], *, with_answers: bool) -> list[str]:
    """In the order in which they are shown."""
    names = [*(f"{RECALL}{k}" for k in ks), *(f"{ALL_GOLD}{k}" for k in ks), MRR, IN_CONTEXT]
    return [*names, ANSWER_F1, ANSWER_CONTAINS] if with_answers else names


def found_scores(case: Case, places: Sequence[Place], context: str, ks: Sequence[int]) -> Scores:
    """Of the evidence. recall@k is the share of the gold sources in the first k places, all-gold@k whether all of them
    are there, mrr one by the rank of the first; answer-in-context whether the evidence has a known answer in it."""
    scores: Scores = {}
    if case.gold:
        for k in ks:
            share = sum(len(place.gold) for place in places[:k]) / len(case.gold)
            scores |= {f"{RECALL}{k}": share, f"{ALL_GOLD}{k}": float(share == 1)}
        scores[MRR] = next((1 / rank for rank, place in enumerate(places, 1) if place.gold), 0.0)
    if case.answers:
        scores[IN_CONTEXT] = float(contains(context, case.answers))
    return scores


def answer_scores(case: Case, answer: str) -> Scores:
    """Of an answer, by the known answer that it agrees with best."""
    if not case.answers:
        return {}
    return {ANSWER_F1: f1(answer, case.answers), ANSWER_CONTAINS: float(contains(answer, case.answers))}
