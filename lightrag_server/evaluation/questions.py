"""Question files: JSON lines, a JSON list, or CSV. Pure; every mistake is told with its line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from lightrag_server.errors import ConfigError

QUESTION_FIELDS = ("question", "query")
GOLD_FIELDS = ("gold", "sources")
ANSWER_FIELDS = ("answer", "answers")
GOLD_KEYS = {"source", "quote"}
CELL_SEPARATOR = "|"
"""Between the items of a list in a CSV cell; a cell that begins with [ or { is JSON instead."""
DELIMITERS = ",;\t"
CSV_SUFFIXES = (".csv", ".tsv")

Entry = tuple[int, Any]
"""Line (from 1) and value."""


@dataclass(frozen=True, slots=True)
class Gold:
    """Where an answer stands: a document and, where one is given, the words that a passage has to contain."""

    source: str
    quote: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """One question and what is known of it. `id` pairs it with the same question of another run."""

    id: str
    question: str
    gold: tuple[Gold, ...] = ()
    answers: tuple[str, ...] = ()


class _Wrong(Exception):
    """What is wrong with an entry, and its line where the reader of the file found it."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def read_questions(name: str, data: bytes) -> list[Case]:
    """The questions in file order; the ending of `name` decides between CSV and JSON. Without an id the text of a
    question is its id. Raises `ConfigError` with file, line and mistake."""
    cases: dict[str, tuple[int, Case]] = {}
    line = 1
    try:
        for line, value in _entries(name, _decoded(data)):
            case = _case(value)
            if case.id in cases:
                raise _Wrong(f"the id {case.id!r} is that of line {cases[case.id][0]}, too")
            cases[case.id] = line, case
    except _Wrong as wrong:
        raise ConfigError(f"{name}, line {wrong.line or line}: {wrong}") from None
    if not cases:
        raise ConfigError(f"{name} holds no questions")
    return [case for _, case in cases.values()]


# ----------------------------------------------------------------------------- entries


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Wrong("this is not UTF-8 text", data[: error.start].count(b"\n") + 1) from None


def _entries(name: str, text: str) -> Iterator[Entry]:
    if name.lower().endswith(CSV_SUFFIXES):
        return _csv_rows(text)
    return _list_items(text) if text.lstrip().startswith("[") else _json_lines(text)


def _json_lines(text: str) -> Iterator[Entry]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                raise _Wrong(f"this is no JSON: {error}", number) from None


def _list_items(text: str) -> Iterator[Entry]:
    """Item by item, so that the line of each is known."""
    decoder, at = json.JSONDecoder(), _past_blanks(text, text.index("[") + 1)
    while text[at : at + 1] != "]":
        try:
            value, end = decoder.raw_decode(text, at)
        except ValueError as error:
            raise _Wrong(f"this is no JSON: {error}", _line_of(text, at)) from None
        yield _line_of(text, at), value
        at = _past_blanks(text, end)
        if text[at : at + 1] not in (",", "]"):
            raise _Wrong("a comma or the end of the list is missing", _line_of(text, end))
        if text[at] == ",":
            at = _past_blanks(text, at + 1)
    if text[at + 1 :].strip():
        raise _Wrong("the list has ended, but there is more", _line_of(text, at))


def _past_blanks(text: str, at: int) -> int:
    while text[at : at + 1].isspace():
        at += 1
    return at


def _line_of(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _csv_rows(text: str) -> Iterator[Entry]:
    header = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(DELIMITERS, key=header.count), strict=True)
    line = 2
    try:
        for row in reader:
            if None in row:
                raise _Wrong("this row has more cells than the first one", line)
            yield line, {name.strip(): value for name, cell in row.items() if (value := _cell(name, cell)) is not None}
            line = reader.line_num + 1
    except (csv.Error, ValueError) as error:
        raise _Wrong(f"this is no CSV: {error}", reader.line_num) from None


def _cell(name: str, cell: str | None) -> Any:
    """None for an empty cell; a list in the columns that hold lists."""
    if cell is None or not cell.strip():
        return None
    if name.strip() not in (*GOLD_FIELDS, *ANSWER_FIELDS):
        return cell
    if cell.lstrip().startswith(("[", "{")):
        return json.loads(cell)
    return [part for part in cell.split(CELL_SEPARATOR) if part.strip()]


# ----------------------------------------------------------------------------- cases


def _case(value: Any) -> Case:
    if not isinstance(value, dict):
        raise _Wrong("a question is an object with the fields question, gold, answers and id")
    fields = cast("dict[str, Any]", value)
    question = _text(_first(fields, QUESTION_FIELDS), "question")
    given_id = fields.get("id")
    return Case(
        id=question if given_id is None else _text(given_id, "id"),
        question=question,
        gold=tuple(dict.fromkeys(map(_gold, _items(_first(fields, GOLD_FIELDS))))),
        answers=tuple(dict.fromkeys(_text(item, "an answer") for item in _items(_first(fields, ANSWER_FIELDS)))),
    )


def _first(fields: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _items(value: Any) -> list[Any]:
    """A list as it is, a single value as a list of one."""
    if value is None:
        return []
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def _gold(item: Any) -> Gold:
    if not isinstance(item, dict):
        return Gold(_text(item, "a gold source"))
    fields = cast("dict[str, Any]", item)
    if odd := fields.keys() - GOLD_KEYS:
        raise _Wrong(f"a gold source has the fields source and quote, not {sorted(odd)[0]!r}")
    quote = fields.get("quote")
    return Gold(_text(fields.get("source"), "source"), "" if quote is None else _text(quote, "quote"))


def _text(value: Any, field: str) -> str:
    """Numbers are taken as they are written: an answer may be a year."""
    if value is None:
        raise _Wrong(f"{field} is missing")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _Wrong(f"{field} is {json.dumps(value, ensure_ascii=False)[:60]}; it must be text")
    text = str(value).strip()
    if not text or any("\ud800" <= c <= "\udfff" for c in text):
        raise _Wrong(f"{field} is blank" if not text else f"{field} holds half a character (a lone surrogate)")
    return text
