"""Whole graphs as files: GraphML, JSON, and CSV in a zip. Read and written piece by piece, never held whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal, Protocol

from lightrag_server.core.graph_formats import csv_zip, graphml, json_lines
from lightrag_server.core.graph_formats.rows import EntityRow, RelationRow

Format = Literal["graphml", "json", "csv"]


class Writer(Protocol):
    """Gives the bytes of a file: `begin`, then all entities, then all relations, then `end`."""

    def begin(self) -> bytes: ...

    def entities(self, rows: Iterable[EntityRow]) -> bytes: ...

    def relations(self, rows: Iterable[RelationRow]) -> bytes: ...

    def end(self) -> bytes: ...


Reader = Callable[[BinaryIO], Iterator[EntityRow | RelationRow]]


@dataclass(frozen=True, slots=True)
class GraphFormat:
    """`read` gives the rows of an open file in its order and raises `InvalidInput` with the place of a mistake."""

    read: Reader
    writer: Callable[[], Writer]
    suffix: str
    media_type: str


FORMATS: dict[Format, GraphFormat] = {
    "graphml": GraphFormat(graphml.read, graphml.GraphMLWriter, ".graphml", "application/xml"),
    "json": GraphFormat(json_lines.read, json_lines.JSONWriter, ".json", "application/json"),
    "csv": GraphFormat(csv_zip.read, csv_zip.CSVWriter, ".zip", "application/zip"),
}
_BY_SUFFIX: dict[str, Format] = {
    ".graphml": "graphml",
    ".xml": "graphml",
    ".json": "json",
    ".csv": "csv",
    ".zip": "csv",
}
_BEGINNINGS: tuple[tuple[bytes, Format], ...] = ((b"PK\x03\x04", "csv"), (b"<", "graphml"), (b"{", "json"))


def format_of(name: str, head: bytes) -> Format:
    """What a file is, by the end of its name, else by its first bytes; CSV where neither tells."""
    for suffix, by_name in _BY_SUFFIX.items():
        if name.lower().endswith(suffix):
            return by_name
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for beginning, by_content in _BEGINNINGS:
        if text.startswith(beginning):
            return by_content
    return "csv"
