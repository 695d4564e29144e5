"""The tables on standard output, in Markdown that is also readable as it stands. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lightrag_server.evaluation.compare import Difference
from lightrag_server.evaluation.measures import RECALL
from lightrag_server.evaluation.results import Run, Summary
from lightrag_server.evaluation.statistics import Estimate, Latency

NOT_MEASURED = "-"
COSTS = ("LLM calls", "tokens in", "tokens out")
Cells = list[list[str]]


def summary_cells(run: Run) -> Cells:
    """The head, then a row for each mode. Latencies are p50 / p95 in milliseconds, costs are means per question."""
    times = ["evidence ms", "answer ms", *COSTS] if run.with_answers else ["evidence ms"]
    head = ["mode", "questions", *run.names, *times]
    return [head, *(_mode_cells(run, mode, summary) for mode, summary in run.summaries().items())]


def _mode_cells(run: Run, mode: str, summary: Summary) -> list[str]:
    asked = len(run.rows[mode])
    counted = f"{asked} ({summary.failed} failed)" if summary.failed else str(asked)
    measured = [measure_cell(name, summary.measures) for name in run.names]
    cells = [mode, counted, *measured, latency_cell(summary.evidence)]
    if run.with_answers:
        spent = (summary.calls, summary.prompt_tokens, summary.completion_tokens)
        cells += [latency_cell(summary.answer), *(NOT_MEASURED if n is None else f"{n:,.1f}" for n in spent)]
    return cells


def measure_cell(name: str, measures: Mapping[str, Estimate]) -> str:
    found = measures.get(name)
    if found is None:
        return NOT_MEASURED
    return f"{found.mean:.3f} ({found.low:.2f}–{found.high:.2f})" if name.startswith(RECALL) else f"{found.mean:.3f}"


def latency_cell(latency: Latency | None) -> str:
    return f"{latency.p50 * 1000:,.0f} / {latency.p95 * 1000:,.0f}" if latency else NOT_MEASURED


def difference_cells(found: Sequence[Difference]) -> Cells:
    head = ["mode", "measure", "questions", "first", "second", "difference (95 %)", "wins / ties / losses", "clear"]
    return [head, *(_difference_cells(d) for d in found)]


def _difference_cells(d: Difference) -> list[str]:
    change = f"{d.change.mean:+.3f} ({d.change.low:+.3f} to {d.change.high:+.3f})"
    counts = f"{d.wins} / {d.ties} / {d.losses}"
    clear = "yes" if d.is_clear else "no"
    return [d.mode, d.measure, str(d.change.count), f"{d.first:.3f}", f"{d.second:.3f}", change, counts, clear]


def markdown(cells: Cells) -> str:
    """The first row is the head."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    rule = " | ".join("-" * width for width in widths)
    return "\n".join(f"| {line} |" for line in (lines[0], rule, *lines[1:]))
