"""Lists as SQL parameters: `… IN (SELECT value FROM json_each(?))` binds any number of values at once."""

from __future__ import annotations

from collections.abc import Iterable

from lightrag_server.core.encoding import to_bytes
from lightrag_server.errors import InvalidInput


def text_array(values: Iterable[str]) -> str:
    """The JSON array to bind. `InvalidInput` for texts that could never be found again: SQLite stores no lone
    surrogates, and its JSON functions end a text at a NUL character."""
    listed = list(values)
    array = to_bytes(listed).decode()
    if "\\u0000" in array and any("\0" in text for text in listed):
        raise InvalidInput("an id must not contain a NUL character")
    return array


def check_ids(ids: Iterable[str]) -> None:
    """Refuse the ids that `text_array` refuses, before they are stored."""
    text_array(ids)


def id_array(values: Iterable[int]) -> str:
    return to_bytes(list(values)).decode()
