"""Two runs, question by question. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lightrag_server.errors import ConfigError
from lightrag_server.evaluation.measures import ALL_GOLD, ANSWER_CONTAINS, ANSWER_F1, IN_CONTEXT, MRR, RECALL, Scores
from lightrag_server.evaluation.results import Compared
from lightrag_server.evaluation.statistics import Estimate, estimate

TIE = 1e-9
_KINDS = (RECALL, ALL_GOLD, MRR, IN_CONTEXT, ANSWER_F1, ANSWER_CONTAINS)
_MEASURE = re.compile(rf"({RECALL}|{ALL_GOLD})(\d+)|{MRR}|{IN_CONTEXT}|{ANSWER_F1}|{ANSWER_CONTAINS}")


@dataclass(frozen=True, slots=True)
class Difference:
    """`change` is second minus first over the questions that both have, with its paired bootstrap interval; wins are
    questions that the second does better."""

    mode: str
    measure: str
    first: float
    second: float
    change: Estimate
    wins: int
    ties: int
    losses: int

    @property
    def is_clear(self) -> bool:
        """The interval excludes no difference."""
        return self.change.low > 0 or self.change.high < 0


def differences(first: Compared, second: Compared) -> list[Difference]:
    """By mode and measure, of what both have. Raises `ConfigError` when they have no question in common."""
    found = [d for mode in first if mode in second for d in _of_mode(mode, first[mode], second[mode])]
    if not found:
        raise ConfigError("the two results have no question in common that was asked in the same mode and measured")
    return found


def _of_mode(mode: str, first: dict[str, Scores], second: dict[str, Scores]) -> Iterator[Difference]:
    common = [(first[i], second[i]) for i in first if i in second]
    names = {n for a, b in common for n in a if n in b and _MEASURE.fullmatch(n)}
    for name in sorted(names, key=_order):
        yield _difference(mode, name, [(a[name], b[name]) for a, b in common if name in a and name in b])


def _order(name: str) -> tuple[int, int]:
    kind, _, k = name.partition("@")
    return next(i for i, known in enumerate(_KINDS) if known.rstrip("@") == kind), int(k or 0)


def _difference(mode: str, name: str, pairs: list[tuple[float, float]]) -> Difference:
    changes = [b - a for a, b in pairs]
    change = estimate(changes)
    assert change is not None
    return Difference(
        mode=mode,
        measure=name,
        first=sum(a for a, _ in pairs) / len(pairs),
        second=sum(b for _, b in pairs) / len(pairs),
        change=change,
        wins=sum(c > TIE for c in changes),
        ties=sum(abs(c) <= TIE for c in changes),
        losses=sum(c < -TIE for c in changes),
    )
