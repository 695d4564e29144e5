"""GraphML with the attribute names that LightRAG writes; other programs' files are read where names fit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from typing import BinaryIO
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

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
NAMESPACE = "http://graphml.graphdrawing.org/xmlns"
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold."""

_NODE_DATA = ("entity_id", *ENTITY_COLUMNS[1:])
_EDGE_DATA = RELATION_COLUMNS[2:]
_NAMES_OF_NODES = ("entity_id", "entity_name", "name", "label")


class GraphMLWriter:
    def begin(self) -> bytes:
        keys = [*(_key(f"n{i}", "node", name) for i, name in enumerate(_NODE_DATA))]
        keys += [_key(f"e{i}", "edge", name) for i, name in enumerate(_EDGE_DATA)]
        head = f'<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="{NAMESPACE}">\n'
        return (head + "".join(keys) + '<graph edgedefault="undirected">\n').encode()

    def entities(self, rows: Iterable[EntityRow]) -> bytes:
        return "".join(f"<node id={_quoted(row.name)}>{_data('n', row.values())}</node>\n" for row in rows).encode()

    def relations(self, rows: Iterable[RelationRow]) -> bytes:
        edges = (
            f"<edge source={_quoted(r.source)} target={_quoted(r.target)}>{_data('e', r.values()[2:])}</edge>\n"
            for r in rows
        )
        return "".join(edges).encode()

    def end(self) -> bytes:
        return b"</graph>\n</graphml>\n"


def _key(key: str, domain: str, name: str) -> str:
    kind = "double" if name == "weight" else "string"
    return f'<key id="{key}" for="{domain}" attr.name="{name}" attr.type="{kind}"/>\n'


def _data(prefix: str, values: Iterable[str | float | None]) -> str:
    texts = ((i, "" if value is None else str(value)) for i, value in enumerate(values))
    return "".join(f'<data key="{prefix}{i}">{_escaped(text)}</data>' for i, text in texts)


def _escaped(text: str) -> str:
    return escape(_NO_XML.sub("", text), {"\r": "&#13;"})


def _quoted(text: str) -> str:
    return quoteattr(_NO_XML.sub("", text))


def read(file: BinaryIO) -> Iterator[EntityRow | RelationRow]:
    """Nodes must stand before the edges between them. Document type declarations are refused, for they can make a
    small file large and name other files."""
    reader = _Reader()
    for piece in iter(partial(file.read, PIECE_BYTES), b""):
        yield from reader.fed(piece)
    yield from reader.fed(b"", is_last=True)
    if not reader.has_graph:
        raise InvalidInput("line 1: there is no graph in this XML")


class _Reader:
    """Rows of the elements that have ended so far."""

    def __init__(self) -> None:
        self.has_graph = False
        self._rows: list[EntityRow | RelationRow] = []
        self._columns: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._element: dict[str, str] = {}
        self._values: dict[str, str] = {}
        self._line = 0
        self._key = ""
        self._text: list[str] | None = None
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._refuse

    def fed(self, piece: bytes, *, is_last: bool = False) -> list[EntityRow | RelationRow]:
        try:
            self._parser.Parse(piece, is_last)
        except expat.ExpatError as error:
            what = expat.ErrorString(error.code)
            raise InvalidInput(f"line {error.lineno}, column {error.offset}: {what}") from error
        except (ValueError, LookupError) as error:
            # an encoding that is declared and unknown
            raise InvalidInput(f"line {self._parser.CurrentLineNumber}: {error}") from error
        rows, self._rows = self._rows, []
        return rows

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        match tag.rpartition(" ")[2]:
            case "graph":
                self.has_graph = True
            case "key":
                self._columns[attributes.get("id", "")] = attributes.get("attr.name", "")
            case "node" | "edge":
                self._element, self._values, self._line = attributes, {}, self._parser.CurrentLineNumber
            case "data":
                self._key, self._text = attributes.get("key", ""), []
            case _:
                pass

    def _end(self, tag: str) -> None:
        match tag.rpartition(" ")[2]:
            case "data" if self._text is not None:
                self._values[self._columns.get(self._key, self._key)] = "".join(self._text)
                self._text = None
            case "node":
                self._rows.append(self._entity())
            case "edge":
                self._rows.append(self._relation())
            case _:
                pass

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _refuse(self, name: str, *declared: object) -> None:
        raise InvalidInput(f"line {self._parser.CurrentLineNumber}: document type declarations are refused")

    def _entity(self) -> EntityRow:
        place = f"line {self._line}"
        identifier = self._element.get("id", "")
        named = (self._values.get(column, "").strip() for column in _NAMES_OF_NODES)
        name = next((text for text in named if text), identifier)
        self._names[identifier] = name
        return entity_from(self._values | {"entity_name": name}, place)

    def _relation(self) -> RelationRow:
        place = f"line {self._line}"
        ends: dict[str, str] = {}
        for column, end in (("source_entity", "source"), ("target_entity", "target")):
            identifier = self._element.get(end, "")
            if identifier not in self._names:
                raise InvalidInput(f"{place}: the {end} {identifier[:100]!r} is no node that stands before this edge")
            ends[column] = self._names[identifier]
        return relation_from(self._values | ends, place)
