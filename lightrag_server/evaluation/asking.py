"""Asking every question in every mode, one at a time, so that latencies mean something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lightrag_server.core.records import Mode
from lightrag_server.errors import LightRAGError
from lightrag_server.evaluation.measures import answer_scores, found_scores
from lightrag_server.evaluation.progress import Progress
from lightrag_server.evaluation.questions import Case
from lightrag_server.evaluation.ranking import ranking, unknown_names
from lightrag_server.evaluation.results import Answer, Row
from lightrag_server.evaluation.target import Asked, Evidence, Target


@dataclass(frozen=True, slots=True)
class Plan:
    modes: tuple[Mode, ...]
    ks: tuple[int, ...]
    top_k: int | None
    chunk_top_k: int | None
    with_answers: bool
    rerank: bool | None = None

    def asked(self, case: Case, mode: Mode) -> Asked:
        return Asked(case.question, mode, self.top_k, self.chunk_top_k, self.rerank)


async def ask_all(target: Target, cases: Sequence[Case], plan: Plan, progress: Progress) -> dict[Mode, tuple[Row, ...]]:
    """Rows by mode. A question that fails is a row that found nothing and says why."""
    await _warm_up(target, cases[0], plan)
    rows: dict[Mode, tuple[Row, ...]] = {}
    for mode in plan.modes:
        done: list[Row] = []
        for case in cases:
            done.append(await _row(target, case, mode, plan))
            progress.show(f"asking in mode {mode} {len(done)}/{len(cases)}", is_last=len(done) == len(cases))
        rows[mode] = tuple(done)
    return rows


async def _warm_up(target: Target, case: Case, plan: Plan) -> None:
    """Models and indexes are loaded by the first question ever; it is asked twice, and measured the second time."""
    for mode in plan.modes:
        try:
            await target.find(plan.asked(case, mode))
        except LightRAGError:
            return  # it fails again when it is measured, and is told then


async def _row(target: Target, case: Case, mode: Mode, plan: Plan) -> Row:
    evidence, answer, failure = Evidence((), "", 0.0), None, ""
    try:
        evidence, answer = await _told(target, plan.asked(case, mode), with_answer=plan.with_answers)
    except LightRAGError as error:
        failure = str(error)
    places = ranking(case.gold, evidence.pieces)
    scores = found_scores(case, places, evidence.context, plan.ks)
    if plan.with_answers:
        scores |= answer_scores(case, answer.text if answer else "")
    return Row(case, tuple(places), scores, evidence.seconds, answer, failure)


async def _told(target: Target, asked: Asked, *, with_answer: bool) -> tuple[Evidence, Answer | None]:
    return await target.answer(asked) if with_answer else (await target.find(asked), None)


async def unknown_sources(target: Target, cases: Sequence[Case]) -> list[str]:
    """Gold sources that no document of the workspace has the name of: mistakes, more often than not."""
    sources = dict.fromkeys(gold.source for case in cases for gold in case.gold)
    if not sources:
        return []
    return unknown_names(sources, await target.documents())
