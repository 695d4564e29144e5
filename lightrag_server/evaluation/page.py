"""The report of a run as one HTML page that loads nothing. Pure. All that comes from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files

from lightrag_server.evaluation.compare import Difference
from lightrag_server.evaluation.plots import latency_plot, recall_plot
from lightrag_server.evaluation.questions import Gold
from lightrag_server.evaluation.results import Row, Run
from lightrag_server.evaluation.table import Cells, difference_cells, summary_cells

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
SHOWN_CHARS = 160


def page(run: Run, compared: Sequence[Difference] = ()) -> str:
    sections = [_head(run), _section("Measures", _table(summary_cells(run)) + _legend()), *_plots(run)]
    if compared:
        sections.append(_section("Compared with the run before", _table(difference_cells(compared), "differences")))
    sections.append(_section("Questions that missed gold", "".join(_missed(run))))
    style = files("lightrag_server.evaluation").joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>Evaluation</title>\n<style>\n{style}</style></head>\n<body>\n{''.join(sections)}</body></html>\n"
    )


def _head(run: Run) -> str:
    told = [
        f"<div><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>"
        for name, value in run.about.items()
        if value != ""
    ]
    return f"<h1>Evaluation</h1>\n<dl>{''.join(told)}</dl>\n"


def _legend() -> str:
    return (
        "<p>recall@k: share of the gold sources in the first k places, with its 95 % bootstrap interval. all-gold@k: "
        "share of questions with all of them there. mrr: one by the rank of the first. Milliseconds are p50 / p95.</p>"
    )


def _plots(run: Run) -> Iterator[str]:
    asked = {mode: [row for row in rows if not row.error] for mode, rows in run.rows.items()}
    evidence = {mode: [row.seconds for row in rows] for mode, rows in asked.items()}
    answers = {mode: [row.answer.seconds for row in rows if row.answer] for mode, rows in asked.items()}
    plots = {
        "Recall by k": recall_plot(run),
        "Time to the evidence": latency_plot(evidence, "Time to the evidence"),
        "Time to the whole answer": latency_plot(answers, "Time to the whole answer"),
    }
    yield from (_section(title, f"<figure>{plot}</figure>") for title, plot in plots.items() if plot)


def _missed(run: Run) -> Iterator[str]:
    """By mode, folded up."""
    k = run.ks[-1]
    for mode, rows in run.rows.items():
        missed = [row for row in rows if row.missed(k) or row.error]
        title = f"{escape(mode)}: {len(missed)} of {len(rows)} questions"
        if not missed:
            yield f"<p>{title}</p>\n"
            continue
        body = "".join(_missed_row(row, k) for row in missed)
        head = f"<tr><th>question</th><th>not in the first {k}</th><th>returned, in order</th></tr>"
        table = f'<div class="wide"><table class="texts">{head}{body}</table></div>'
        yield f"<details><summary>{title}</summary>{table}</details>\n"


def _missed_row(row: Row, k: int) -> str:
    answer = f"<br><small>{escape(_short(row.answer.text))}</small>" if row.answer else ""
    gold = "<br>".join(escape(_gold(gold)) for gold in row.missed(k))
    return f"<tr><td>{escape(row.case.question)}{answer}</td><td>{gold}</td><td>{_returned(row, k)}</td></tr>\n"


def _returned(row: Row, k: int) -> str:
    if row.error:
        return f'<span class="bad">failed: {escape(row.error)}</span>'
    names = [f"<b>{escape(p.document)}</b>" if p.gold else escape(p.document) for p in row.places[:k]]
    return " · ".join(names) or "nothing"


def _gold(gold: Gold) -> str:
    return f"{gold.source}: “{_short(gold.quote)}”" if gold.quote else gold.source


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"


def _section(title: str, body: str) -> str:
    return f"<h2>{title}</h2>\n{body}\n"


def _table(cells: Cells, kind: str = "") -> str:
    head, *rows = (
        "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) + "</tr>"
        for row, tag in zip(cells, ["th", *["td"] * len(cells)], strict=False)
    )
    return (
        f'<div class="wide"><table class="{kind}"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>\n'
    )
