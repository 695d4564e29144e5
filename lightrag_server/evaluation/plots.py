"""Plots as SVG inside the page, whose style sheet has their colours (classes c0, c1, … by mode). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise
from math import ceil, floor, log10

from lightrag_server.evaluation.measures import RECALL
from lightrag_server.evaluation.results import Run
from lightrag_server.evaluation.statistics import Estimate, latency

WIDTH = 720
LEFT, RIGHT, TOP, BOTTOM = 64, 96, 16, 44
PLOT_WIDTH = WIDTH - LEFT - RIGHT
RECALL_HEIGHT = 240
LANE_HEIGHT = 44
NAME_GAP = 17.0
TICKS = 5
SHORTEST_S = 1e-5

Point = tuple[float, float]


def recall_plot(run: Run) -> str:
    """Recall by k, a line for each mode, named at its end; empty where no question has gold sources."""
    found = {mode: summary.measures for mode, summary in run.summaries().items()}
    lines = {mode: [m[f"{RECALL}{k}"] for k in run.ks] for mode, m in found.items() if f"{RECALL}{run.ks[0]}" in m}
    if not lines:
        return ""
    xs = [LEFT + PLOT_WIDTH * (n + 0.5) / len(run.ks) for n in range(len(run.ks))]
    parts = [part for share in (0, 0.2, 0.4, 0.6, 0.8, 1) for part in _level(_height(share), f"{share:.1f}")]
    parts += [_text((x, TOP + RECALL_HEIGHT + 18), str(k)) for x, k in zip(xs, run.ks, strict=True)]
    parts.append(_text((LEFT + PLOT_WIDTH / 2, TOP + RECALL_HEIGHT + 38), "k: places looked at"))
    names = _apart([_height(line[-1].mean) for line in lines.values()])
    for n, ((mode, line), at) in enumerate(zip(lines.items(), names, strict=True)):
        parts += _line(n, [(x, _height(e.mean)) for x, e in zip(xs, line, strict=True)], _notes(mode, run.ks, line))
        parts.append(_text((LEFT + PLOT_WIDTH + 8, at + 4), mode, f"name c{n}"))
    return _svg(TOP + RECALL_HEIGHT + BOTTOM, "Recall by k for each mode", parts)


def latency_plot(seconds: Mapping[str, Sequence[float]], label: str) -> str:
    """A dot for each question, p50 and p95 marked, a lane for each mode; empty where nothing was measured."""
    lanes = {mode: values for mode, values in seconds.items() if values}
    if not lanes:
        return ""
    ticks = _ticks(max(max(values) for values in lanes.values()))
    scale = PLOT_WIDTH / ticks[-1]
    bottom = TOP + LANE_HEIGHT * len(lanes)
    parts = [part for t in ticks for part in _tick(LEFT + t * scale, bottom, f"{t * 1000:,.4g}")]
    parts.append(_text((LEFT + PLOT_WIDTH / 2, bottom + 38), "milliseconds"))
    for n, (mode, values) in enumerate(lanes.items()):
        middle = TOP + LANE_HEIGHT * (n + 0.5)
        parts += _lane(n, mode, [LEFT + v * scale for v in values], middle)
        parts += _marks([(LEFT + at * scale, name) for name, at in _percentiles(values)], middle)
    return _svg(bottom + BOTTOM, f"{label} by mode", parts)


# ----------------------------------------------------------------------------- parts of recall


def _height(share: float) -> float:
    return TOP + RECALL_HEIGHT * (1 - share)


def _level(y: float, label: str) -> Iterator[str]:
    yield f'<line class="grid" x1="{LEFT}" x2="{LEFT + PLOT_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
    yield _text((LEFT - 10, y + 4), label, "left")


def _line(n: int, points: Sequence[Point], notes: Sequence[str]) -> Iterator[str]:
    """Notes are what a pointer over a dot shows."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    yield f'<polyline class="line c{n}" points="{path}"/>'
    for (x, y), note in zip(points, notes, strict=True):
        yield f'<circle class="dot c{n}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{escape(note)}</title></circle>'


def _notes(mode: str, ks: Sequence[int], line: Sequence[Estimate]) -> list[str]:
    return [f"{mode}, recall@{k}: {e.mean:.3f} ({e.low:.2f}–{e.high:.2f})" for k, e in zip(ks, line, strict=True)]


def _apart(heights: Sequence[float]) -> list[float]:
    """The same heights, moved so that names do not lie on one another: down first, then up from the bottom."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    placed = list(heights)
    for above, below in pairwise(order):
        placed[below] = max(placed[below], placed[above] + NAME_GAP)
    limit = float(TOP + RECALL_HEIGHT)
    for n in reversed(order):
        placed[n] = min(placed[n], limit)
        limit = placed[n] - NAME_GAP
    return placed


# ----------------------------------------------------------------------------- parts of latency


def _ticks(longest: float) -> list[float]:
    """Round numbers from 0 to where the longest is still shown; the step is 1, 2, 2.5, 5 or 10 times a power of ten."""
    least = max(longest, SHORTEST_S) / TICKS
    power = 10.0 ** floor(log10(least))
    step = next(power * n for n in (1, 2, 2.5, 5, 10) if power * n >= least)
    return [n * step for n in range(ceil(longest / step) + 1)] if longest > step else [0.0, step]


def _tick(x: float, bottom: float, label: str) -> Iterator[str]:
    yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom:.1f}"/>'
    yield _text((x, bottom + 18), label)


def _lane(n: int, mode: str, xs: Sequence[float], y: float) -> Iterator[str]:
    yield _text((LEFT - 10, y + 4), mode, f"left name c{n}")
    yield from (f'<circle class="many c{n}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x in xs)


def _percentiles(values: Sequence[float]) -> list[tuple[str, float]]:
    found = latency(values)
    assert found is not None
    return [("p50", found.p50), ("p95", found.p95)]


def _marks(marks: Sequence[tuple[float, str]], y: float) -> Iterator[str]:
    """The first named to its left, the last to its right, for they may be close together."""
    for (x, name), side in zip(marks, ("left", "right"), strict=True):
        yield f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 14:.1f}" y2="{y + 10:.1f}"/>'
        yield _text((x + (-3 if side == "left" else 3), y - 10), name, f"small {side}")


# ----------------------------------------------------------------------------- SVG


def _text(at: Point, text: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{at[0]:.1f}" y="{at[1]:.1f}">{escape(text)}</text>'


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
    return "\n".join([head, *parts, "</svg>"])
