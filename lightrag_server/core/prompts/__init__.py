"""Prompt texts, one file each. A text has slots such as `{{language}}` and nothing else that is interpreted."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_SLOT = re.compile(r"\{\{(\w+)\}\}")


@cache
def template(name: str) -> str:
    """The text of `<name>.txt`, trimmed."""
    return files(__name__).joinpath(f"{name}.txt").read_text(encoding="utf-8").strip()


def prompt(name: str, **slots: str | int) -> str:
    """The text with its slots filled in, in one pass: what a value contains is never taken for a slot.

    Raises `KeyError` for a slot without a value.
    """
    return _SLOT.sub(lambda match: str(slots[match[1]]), template(name))
