"""JSON: an object with the lists `entities` and `relations`, written with one item a line."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, cast

import orjson

from lightrag_server.core.graph_formats.rows import (
    ENTITY_COLUMNS,
    RELATION_COLUMNS,
    EntityRow,
    RelationRow,
    entity_from,
    relation_from,
)
from lightrag_server.errors import InvalidInput

PIECE_BYTES = 1 << 16
MAX_ITEM_CHARS = 1 << 21
ENTITIES = ("entities",)
RELATIONS = ("relations", "relationships")
_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


class JSONWriter:
    def __init__(self) -> None:
        self._is_first = True
        self._is_at_relations = False

    def begin(self) -> bytes:
        return b'{"entities": ['

    def entities(self, rows: Iterable[EntityRow]) -> bytes:
        return self._items(ENTITY_COLUMNS, (row.values() for row in rows))

    def relations(self, rows: Iterable[RelationRow]) -> bytes:
        return self._second() + self._items(RELATION_COLUMNS, (row.values() for row in rows))

    def end(self) -> bytes:
        return self._second() + b"\n]}\n"

    def _second(self) -> bytes:
        if self._is_at_relations:
            return b""
        self._is_at_relations = self._is_first = True
        return b'\n], "relations": ['

    def _items(self, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> bytes:
        lines = [orjson.dumps(dict(zip(columns, row, strict=True))) for row in rows]
        if not lines:
            return b""
        start = b"\n" if self._is_first else b",\n"
        self._is_first = False
        return start + b",\n".join(lines)


def read(file: BinaryIO) -> Iterator[EntityRow | RelationRow]:
    """Other members of the object are passed over. LightRAG's names of lists and fields are known too."""
    text = _Text(file)
    text.take("{")
    is_known = False
    while not text.takes("}"):
        name = text.value()
        text.take(":")
        if name in ENTITIES or name in RELATIONS:
            is_known = True
            for number, item, line in text.items():
                yield _row(name, number, item, line)
        else:
            text.value()
        if not text.takes(","):
            text.take("}")
            break
    text.finish()
    if not is_known:
        raise InvalidInput("the object has neither a list of entities nor one of relations")


def _row(name: str, number: int, item: Any, line: int) -> EntityRow | RelationRow:
    place = f"line {line}, {name}[{number}]"
    if not isinstance(item, dict):
        raise InvalidInput(f"{place}: an object is expected")
    values = cast(dict[str, Any], item)
    return entity_from(values, place) if name in ENTITIES else relation_from(values, place)


class _Text:
    """A file as JSON values, of which at most one is held at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._held = ""
        self._at = 0
        self._line = 1
        self._is_whole = False

    def takes(self, mark: str) -> bool:
        """Whether `mark` comes next; then it is passed over."""
        self._skip_space()
        is_next = self._held.startswith(mark, self._at)
        self._at += is_next
        return is_next

    def take(self, mark: str) -> None:
        if not self.takes(mark):
            raise InvalidInput(f"line {self._line}: {mark!r} is expected")

    def items(self) -> Iterator[tuple[int, Any, int]]:
        """Number, value and line of each item of the list that comes next."""
        self.take("[")
        if self.takes("]"):
            return
        number = 0
        while True:
            self._skip_space()
            line = self._line
            yield number, self.value(), line
            number += 1
            if not self.takes(","):
                self.take("]")
                return

    def value(self) -> Any:
        """The value that comes next. Read on while it is not whole, for a mistake only up to `MAX_ITEM_CHARS`."""
        self._skip_space()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._held, self._at)
            except (ValueError, RecursionError) as error:
                if self._is_whole or len(self._held) - self._at > MAX_ITEM_CHARS:
                    raise InvalidInput(self._mistake(error)) from error
            else:
                # a number or word may go on behind what is held
                if end < len(self._held) or self._is_whole:
                    self._pass(end)
                    return value
            self._read(len(self._held) - self._at)

    def finish(self) -> None:
        self._skip_space()
        if self._at < len(self._held):
            raise InvalidInput(f"line {self._line}: nothing may follow the object")

    def _mistake(self, error: ValueError | RecursionError) -> str:
        if not isinstance(error, json.JSONDecodeError):
            return f"line {self._line}: a value is nested too deeply, or a number is too long"
        line = self._line + self._held.count("\n", self._at, error.pos)
        return f"line {line}: this is not JSON: {error.msg}"

    def _skip_space(self) -> None:
        while True:
            self._pass(cast(re.Match[str], _SPACE.match(self._held, self._at)).end())
            if self._at < len(self._held) or self._is_whole:
                return
            self._read(0)

    def _pass(self, end: int) -> None:
        self._line += self._held.count("\n", self._at, end)
        self._at = end

    def _read(self, least: int) -> None:
        """Hold more, at least as much again: long values cost no more than twice their length."""
        data = self._file.read(max(PIECE_BYTES, least))
        try:
            more = self._decode.decode(data, not data)
        except UnicodeDecodeError as error:
            raise InvalidInput(f"behind line {self._line}: the text is not UTF-8") from error
        self._held = self._held[self._at :] + more
        self._at = 0
        self._is_whole = not data
