"""What a run measured, and its form as JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from lightrag_server.core.records import Usage
from lightrag_server.errors import ConfigError
from lightrag_server.evaluation.measures import Scores, measure_names
from lightrag_server.evaluation.questions import Case, Gold
from lightrag_server.evaluation.ranking import Place
from lightrag_server.evaluation.statistics import Estimate, Latency, estimate, latency

FORMAT = "lightrag-server eval 1"

Compared = dict[str, dict[str, Scores]]
"""By mode and id of the question: what two runs are compared by."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`usage` is None where the server does not tell."""

    text: str
    seconds: float
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class Row:
    """One question in one mode. `seconds` is the time to the evidence. One that failed found nothing, and says why."""

    case: Case
    places: tuple[Place, ...]
    scores: Scores
    seconds: float
    answer: Answer | None = None
    error: str = ""

    def missed(self, k: int) -> list[Gold]:
        """The gold sources that are not in the first k places."""
        found = {i for place in self.places[:k] for i in place.gold}
        return [gold for i, gold in enumerate(self.case.gold) if i not in found]


@dataclass(frozen=True, slots=True)
class Summary:
    """One mode. Measures that no question gave ground for are absent; `usage` is per question."""

    measures: dict[str, Estimate]
    evidence: Latency | None
    answer: Latency | None
    calls: float | None
    prompt_tokens: float | None
    completion_tokens: float | None
    failed: int


@dataclass(frozen=True, slots=True)
class Run:
    """`about` says what was asked: server, models, settings. Rows are by mode, in the order of the questions."""

    about: dict[str, Any]
    ks: tuple[int, ...]
    with_answers: bool
    rows: dict[str, tuple[Row, ...]]

    @property
    def names(self) -> list[str]:
        return measure_names(self.ks, with_answers=self.with_answers)

    def summaries(self) -> dict[str, Summary]:
        return {mode: _summary(rows, self.names) for mode, rows in self.rows.items()}

    def compared(self) -> Compared:
        return {mode: {row.case.id: row.scores for row in rows} for mode, rows in self.rows.items()}


def _summary(rows: Sequence[Row], names: Sequence[str]) -> Summary:
    measured = {n: estimate([row.scores[n] for row in rows if n in row.scores]) for n in names}
    asked = [row for row in rows if not row.error]
    answers = [row.answer for row in asked if row.answer]
    usages = [answer.usage for answer in answers if answer.usage]
    spent = sum(usages, Usage())
    count = len(usages)
    return Summary(
        measures={n: e for n, e in measured.items() if e},
        evidence=latency([row.seconds for row in asked]),
        answer=latency([answer.seconds for answer in answers]),
        calls=spent.calls / count if count else None,
        prompt_tokens=spent.prompt_tokens / count if count else None,
        completion_tokens=spent.completion_tokens / count if count else None,
        failed=len(rows) - len(asked),
    )


# ----------------------------------------------------------------------------- files


def as_json(run: Run) -> str:
    modes = {
        mode: {"summary": asdict(summary), "rows": [_row(row) for row in run.rows[mode]]}
        for mode, summary in run.summaries().items()
    }
    whole = {"format": FORMAT, "about": run.about, "k": run.ks, "answers": run.with_answers, "modes": modes}
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def _row(row: Row) -> dict[str, Any]:
    """Scores stand beside the other fields, so that the file is easy to read with other tools."""
    case = row.case
    written: dict[str, Any] = {
        "id": case.id,
        "question": case.question,
        "gold": [asdict(gold) if gold.quote else gold.source for gold in case.gold],
        "answers": case.answers,
        "returned": [{"document": place.document, "gold": place.gold} for place in row.places],
        **row.scores,
        "seconds": row.seconds,
    }
    if row.answer:
        written["answer"] = asdict(row.answer)
    return written | {"error": row.error} if row.error else written


def read_compared(name: str, data: bytes) -> Compared:
    """The scores in a file that `--json` wrote. Raises `ConfigError` for another file."""
    try:
        modes = cast("dict[str, Any]", json.loads(data)["modes"])
        return {mode: {str(row["id"]): _numbers(row) for row in of["rows"]} for mode, of in modes.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"{name} is no result that `lightrag-server eval --json` wrote") from None


def _numbers(row: dict[str, Any]) -> Scores:
    return {n: float(v) for n, v in row.items() if isinstance(v, int | float) and not isinstance(v, bool)}
