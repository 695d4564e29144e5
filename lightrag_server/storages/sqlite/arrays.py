"""Lists as SQL parameters: `… IN (SELECT value FROM json_each(?))` binds any number of values at once."""

from __future__ import annotations

from collections.abc import Iterable

from lightrag_server.core.encoding import to_bytes
from lightrag_server.errors import InvalidInput


def text_array(values: Iterable[str]) -> str:
    """The JSON array to bind."""
    listed = list(values)
    array = to_bytes(listed).decode()
    if "\\u0000" in array:
        refuse_nul(listed)
    return array


def id_array(values: Iterable[int]) -> str:
    return to_bytes(list(values)).decode()


def refuse_nul(ids: Iterable[str]) -> None:
    """SQLite's JSON functions end a text at a NUL character, so an id that has one could never be found again."""
    if any("\0" in text for text in ids):
        raise InvalidInput("an id must not contain a NUL character")
