"""`--fail-under`: the least that a measure has to reach. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lightrag_server.errors import ConfigError
from lightrag_server.evaluation.results import Summary


@dataclass(frozen=True, slots=True)
class Floor:
    """`mode` is None where it holds for every mode that is asked in."""

    mode: str | None
    measure: str
    least: float


def read_floor(text: str, modes: Sequence[str], names: Sequence[str]) -> Floor:
    """`recall@5=0.7`, or `mix:recall@5=0.7` for one mode. Raises `ConfigError` for what this run does not measure."""
    mode, colon, rest = text.rpartition(":")
    measure, _, number = rest.partition("=")
    if colon and mode not in modes:
        raise ConfigError(f"--fail-under {text}: {mode!r} is none of the modes asked in ({', '.join(modes)})")
    if measure not in names:
        raise ConfigError(f"--fail-under {text}: {measure!r} is not measured; there are {', '.join(names)}")
    try:
        least = float(number)
    except ValueError:
        least = -1.0
    if not 0 <= least <= 1:
        raise ConfigError(f"--fail-under {text}: what follows = must be a number from 0 to 1, as in recall@5=0.7")
    return Floor(mode if colon else None, measure, least)


def failures(floors: Sequence[Floor], summaries: Mapping[str, Summary]) -> Iterator[str]:
    """What was not reached, such as `mix recall@5 is 0.612, under 0.700`. What no question measures is not reached."""
    for floor in floors:
        for mode in [floor.mode] if floor.mode else summaries:
            found = summaries[mode].measures.get(floor.measure)
            if found is None:
                yield f"{mode} {floor.measure} is not measured by any question"
            elif found.mean < floor.least:
                yield f"{mode} {floor.measure} is {found.mean:.3f}, under {floor.least:.3f}"
