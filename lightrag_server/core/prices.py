"""What models cost, as the settings say it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, cast

from lightrag_server.errors import InvalidInput

PER_TOKENS = 1_000_000
_FORMS = 'give "model=in/out" for each, comma separated, or JSON {"model": [in, out]}, per million tokens'


@dataclass(frozen=True, slots=True)
class Price:
    """Of a million tokens sent and of a million received."""

    sent: float
    received: float

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (prompt_tokens * self.sent + completion_tokens * self.received) / PER_TOKENS


def read_prices(text: str) -> dict[str, Price]:
    """By the name of the model. Raises `InvalidInput`. A single number, as embedders have it, is for what is sent."""
    text = text.strip()
    rows = _from_json(text) if text.startswith("{") else _from_list(text)
    return {name: _price(name, numbers) for name, numbers in rows}


def _from_json(text: str) -> list[tuple[str, list[Any]]]:
    try:
        given = cast("dict[str, Any]", json.loads(text))
    except ValueError as error:
        raise InvalidInput(f"it is no JSON object; {_FORMS}") from error
    return [(name, cast("list[Any]", value) if isinstance(value, list) else [value]) for name, value in given.items()]


def _from_list(text: str) -> list[tuple[str, list[Any]]]:
    """A model's name may have `=` and `/` in it, a price has neither."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    split = [part.rpartition("=") for part in parts]
    return [(name.strip(), numbers.split("/")) for name, _, numbers in split]


def _price(name: str, numbers: list[Any]) -> Price:
    try:
        values = [float(number) for number in numbers]
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"the price of {name!r} is no number; {_FORMS}") from error
    if not name or not 1 <= len(values) <= 2 or not all(math.isfinite(v) and v >= 0 for v in values):
        raise InvalidInput(f"the price of {name!r} cannot be read; {_FORMS}")
    return Price(values[0], values[1] if len(values) == 2 else 0.0)
