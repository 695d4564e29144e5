"""What owners note of their documents: attributes and tags, and their limits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, cast

from lightrag_server.errors import InvalidInput

MAX_KEYS = 64
MAX_KEY_CHARS = 128
MAX_TEXT_CHARS = 4096
MAX_LIST = 64
MAX_TAGS = 64
MAX_TAG_CHARS = 128
MAX_INTEGER = 2**53
"""Beyond it JSON readers round."""


def checked_attributes(value: object) -> dict[str, Any]:
    """The object with all limits held, or `InvalidInput` that names what breaks one."""
    if not isinstance(value, Mapping):
        raise InvalidInput("metadata must be a JSON object")
    attributes = dict(cast(Mapping[Any, Any], value))
    if len(attributes) > MAX_KEYS:
        raise InvalidInput(f"metadata has {len(attributes)} keys; at most {MAX_KEYS} are kept")
    for key, item in attributes.items():
        if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY_CHARS or not _is_text(key):
            raise InvalidInput(f"a key of metadata must be a text of 1 to {MAX_KEY_CHARS} characters")
        if not _is_value(item):
            raise InvalidInput(
                f"metadata {key!r} must be a text of at most {MAX_TEXT_CHARS} characters, a finite number, true, "
                f"false, null, or a list of at most {MAX_LIST} of these"
            )
    return attributes


def merged_attributes(attributes: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """JSON merge patch: null removes a key, anything else sets it."""
    merged = {**attributes, **changes}
    removed = {key for key, value in changes.items() if value is None}
    return checked_attributes({key: value for key, value in merged.items() if key not in removed})


def checked_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Trimmed, distinct, in the order given; empty ones are left out. `InvalidInput` beyond the limits."""
    distinct = tuple(dict.fromkeys(clean for tag in tags if (clean := tag.strip())))
    if len(distinct) > MAX_TAGS:
        raise InvalidInput(f"{len(distinct)} tags were given; at most {MAX_TAGS} are kept")
    if any(len(tag) > MAX_TAG_CHARS or not _is_text(tag) for tag in distinct):
        raise InvalidInput(f"each of the tags must be a text of at most {MAX_TAG_CHARS} characters")
    return distinct


def _is_value(value: object) -> bool:
    if isinstance(value, list):
        items = cast(list[object], value)
        return len(items) <= MAX_LIST and all(_is_scalar(item) for item in items)
    return _is_scalar(value)


def _is_scalar(value: object) -> bool:
    match value:
        case None | bool():
            return True
        case int():
            return abs(value) <= MAX_INTEGER
        case float():
            return math.isfinite(value)
        case str():
            return len(value) <= MAX_TEXT_CHARS and _is_text(value)
        case _:
            return False


def _is_text(text: str) -> bool:
    """Lone surrogates are no characters; they cannot be stored."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
