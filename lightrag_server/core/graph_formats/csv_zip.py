"""CSV: entities.csv and relations.csv in a zip, for spreadsheets. Either file is also read on its own.

A cell that a spreadsheet would take for a formula is written with an apostrophe before it, and read back without.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, BinaryIO

from lightrag_server.core.graph_formats.rows import (
    ENTITY_COLUMNS,
    RELATION_COLUMNS,
    EntityRow,
    RelationRow,
    entity_from,
    relation_from,
)
from lightrag_server.errors import InvalidInput, TooLarge

ENTITIES, RELATIONS = "entities.csv", "relations.csv"
MAX_EXPANDED_BYTES = 1 << 30
ZIP_BEGINNING = b"PK\x03\x04"
ENCODING = "utf-8-sig"
"""Spreadsheets take UTF-8 for what it is only behind a byte order mark."""
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_GUARDED = re.compile(r"'+[=+\-@\t\r]")


class CSVWriter:
    """A zip that is given out as it grows."""

    def __init__(self) -> None:
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_DEFLATED)
        self._member: IO[bytes] | None = None
        self._is_at_relations = False

    def begin(self) -> bytes:
        return self._open(ENTITIES, ENTITY_COLUMNS)

    def entities(self, rows: Iterable[EntityRow]) -> bytes:
        return self._written(row.values() for row in rows)

    def relations(self, rows: Iterable[RelationRow]) -> bytes:
        return self._second() + self._written(row.values() for row in rows)

    def end(self) -> bytes:
        begun = self._second()
        self._close()
        self._zip.close()
        return begun + self._sink.given()

    def _second(self) -> bytes:
        if self._is_at_relations:
            return b""
        self._is_at_relations = True
        return self._open(RELATIONS, RELATION_COLUMNS)

    def _open(self, name: str, columns: tuple[str, ...]) -> bytes:
        self._close()
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED
        self._member = self._zip.open(info, "w", force_zip64=True)
        self._member.write(_lines([columns]).encode(ENCODING))
        return self._sink.given()

    def _close(self) -> None:
        if self._member:
            self._member.close()

    def _written(self, rows: Iterable[tuple[Any, ...]]) -> bytes:
        assert self._member is not None
        self._member.write(_lines(rows).encode())
        return self._sink.given()


class _Sink(io.RawIOBase):
    """Keeps what is written until it is given out."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def given(self) -> bytes:
        data, self._parts = b"".join(self._parts), []
        return data


def _lines(rows: Iterable[tuple[Any, ...]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([_guarded(cell) for cell in row] for row in rows)
    return text.getvalue()


def _guarded(cell: Any) -> Any:
    return "'" + cell if isinstance(cell, str) and _FORMULA.match(cell) else cell


def _plain(cell: str) -> str:
    return cell[1:] if _GUARDED.match(cell) else cell


def read(file: BinaryIO) -> Iterator[EntityRow | RelationRow]:
    head = file.read(len(ZIP_BEGINNING))
    file.seek(0)
    if head != ZIP_BEGINNING:
        yield from _rows(file, "")
        return
    try:
        with zipfile.ZipFile(file) as archive:
            yield from _members(archive)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise InvalidInput(f"the zip file cannot be read: {error}") from error


def _members(archive: zipfile.ZipFile) -> Iterator[EntityRow | RelationRow]:
    names = {info.filename.rpartition("/")[2]: info for info in archive.infolist()}
    found = [names[name] for name in (ENTITIES, RELATIONS) if name in names]
    if not found:
        raise InvalidInput(f"the zip file holds neither {ENTITIES} nor {RELATIONS}")
    if sum(info.file_size for info in found) > MAX_EXPANDED_BYTES:
        raise TooLarge(f"the files of the zip have more than {MAX_EXPANDED_BYTES} bytes")
    for info in found:
        with archive.open(info) as member:
            yield from _rows(member, info.filename.rpartition("/")[2])


def _rows(file: IO[bytes], name: str) -> Iterator[EntityRow | RelationRow]:
    """Rows of one file. Its head line tells whether they are entities or relations."""
    text = io.TextIOWrapper(file, ENCODING, newline="")
    lines = csv.reader(text, strict=True)
    where = f"{name}, line" if name else "line"
    try:
        columns = [column.strip() for column in next(lines, ())]
        take = _taker(columns, f"{where} 1")
        for cells in lines:
            place = f"{where} {lines.line_num}"
            if len(cells) > len(columns):
                raise InvalidInput(f"{place}: there are more cells than columns")
            if cells:
                yield take(dict(zip(columns, map(_plain, cells), strict=False)), place)
    except csv.Error as error:
        raise InvalidInput(f"{where} {lines.line_num}: {error}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"behind {where} {lines.line_num}: the text is not UTF-8") from error
    finally:
        text.detach()  # closing the file is for those who opened it


def _taker(columns: Sequence[str], place: str) -> Callable[[Mapping[str, str], str], EntityRow | RelationRow]:
    if "entity_name" in columns:
        return entity_from
    if "source_entity" in columns and "target_entity" in columns:
        return relation_from
    raise InvalidInput(f"{place}: the columns are neither those of entities nor those of relations")
