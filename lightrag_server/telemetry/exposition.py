"""Samples as Prometheus reads them: its text format, version 0.0.4. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from lightrag_server.core.metrics import Metric
from lightrag_server.telemetry.meter import Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

Labels = tuple[str, ...]


def text(samples: Iterable[Sample]) -> str:
    """Samples of the same labels are added up."""
    families: dict[Metric, dict[Labels, dict[str, float]]] = {}
    for sample in samples:
        parts = families.setdefault(sample.metric, {}).setdefault(sample.labels, {})
        parts[sample.part] = parts.get(sample.part, 0.0) + sample.value
    ordered = sorted(families.items(), key=lambda item: item[0].name)
    return "".join(f"{line}\n" for metric, rows in ordered for line in _family(metric, rows))


def _family(metric: Metric, rows: Mapping[Labels, Mapping[str, float]]) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.help.translate(_ESCAPES)}"
    yield f"# TYPE {metric.name} {metric.kind}"
    for labels, parts in sorted(rows.items()):
        pairs = list(zip(metric.labels, labels, strict=True))
        if metric.kind == "histogram":
            yield from _histogram(metric, pairs, parts)
        else:
            yield _line(metric.name, pairs, parts[""])


def _histogram(metric: Metric, pairs: list[tuple[str, str]], parts: Mapping[str, float]) -> Iterator[str]:
    total = 0.0
    for n, bound in enumerate((*metric.buckets, float("inf"))):
        total += parts.get(str(n), 0.0)
        shown = "+Inf" if bound == float("inf") else f"{bound:g}"
        yield _line(f"{metric.name}_bucket", [*pairs, ("le", shown)], total)
    yield _line(f"{metric.name}_sum", pairs, parts.get("sum", 0.0))
    yield _line(f"{metric.name}_count", pairs, total)


def _line(name: str, pairs: list[tuple[str, str]], value: float) -> str:
    labels = ",".join(f'{label}="{text.translate(_ESCAPES)}"' for label, text in pairs)
    return f"{name}{{{labels}}} {_number(value)}" if labels else f"{name} {_number(value)}"


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
