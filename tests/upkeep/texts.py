"""Texts of a few chunks."""

from __future__ import annotations

from random import Random

from tests.e2e import lives


def text_of(number: int) -> str:
    return lives.text_of(number, Random(number))
