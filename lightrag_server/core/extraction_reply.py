"""What a model wrote, read as an extraction. Models break the format in many ways; nothing here raises.

Read are LightRAG's rows, the older rows in parentheses, and JSON, each also when damaged or cut off.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, cast

from lightrag_server.core import ids
from lightrag_server.core.records import EntityMention, Extraction, RelationMention

END_MARKER = "<|COMPLETE|>"
UNTYPED = "other"
MAX_TYPE_CHARS = 40
MAX_ROW_LINES = 6
MAX_JSON_ATTEMPTS = 500

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)|\A(?:(?!<think).)*?</think(?:ing)?>", re.S | re.I)
_END = re.compile(r"[<＜]?[|｜]\s*COMPLETE\s*[|｜][>＞]?|[<＜]\s*COMPLETE\s*[>＞]", re.I)

_CLEAN, _BROKEN = "\x01", "\x02"
"""Stand for a delimiter as asked for, and for one that the model garbled."""
_DELIMITER = re.compile(
    r"(<\|#\|>)"
    r"|[<＜]\s?\\?(?=[|｜#＃])[|｜#＃\\ ]{1,6}[>＞]"
    r"|[<＜]?[|｜]\\?[#＃][|｜][>＞]?"
    r"|[<＜][|｜][#＃]"
)
# No repetition here is unbounded: a reply may be a hundred thousand blanks.
_ROW = re.compile(
    rf"(?<![^\W_])(?P<open>\(?)[\"'“*]{{0,3}}(?P<kind>entity|relation(?:ship)?)s?[\"'”*]{{0,3}}[ \t]{{0,3}}"
    rf"(?=[{_CLEAN}{_BROKEN}])",
    re.I,
)
_FIELDS = re.compile(f"[{_CLEAN}{_BROKEN}]")
_WRAPPING = " \t\r\n\"'“”*`"
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_KEYWORD_BREAK = re.compile(r"[,，、;；|]")
_NO_TYPE = re.compile(r"[^\w\-]+")


def read_reply(text: str) -> Extraction:
    """Everything usable in a reply. `repairs` counts what was mended or dropped; a reply that has neither records nor
    the sign that there are none counts as one."""
    text = _THOUGHT.sub("", _CONTROLS.sub("", text))
    marked = _DELIMITER.sub(lambda match: _CLEAN if match[1] else _BROKEN, _END.sub(f"\n{_ENDED}\n", text))
    collected = _Collected()
    if _ROW.search(marked):
        _read_rows(marked, collected)
    elif _ENDED not in marked and text.strip():
        _read_json(text, collected)
    return collected.extraction()


_ENDED = "\x03"


# ----------------------------------------------------------------------------- records


class _Collected:
    """Valid and distinct mentions in the order of the reply."""

    def __init__(self) -> None:
        self.repairs = 0
        self._entities: dict[tuple[str, str], EntityMention] = {}
        self._relations: dict[tuple[ids.Pair, str], RelationMention] = {}

    def entity(self, name: str, type: str, description: str) -> None:
        name, description = ids.display_name(name), _one_line(description)
        key = ids.entity_key(name)
        if not key or not description or (key, description) in self._entities:
            self.repairs += 1
            return
        self._entities[key, description] = EntityMention(name, _type(type), description)

    def relation(self, source: str, target: str, keywords: str, description: str) -> None:
        source, target, description = ids.display_name(source), ids.display_name(target), _one_line(description)
        a, b = ids.entity_key(source), ids.entity_key(target)
        identity = (ids.pair_of(a, b), description)
        if not a or not b or a == b or not description or identity in self._relations:
            self.repairs += 1
            return
        self._relations[identity] = RelationMention(source, target, _keywords(keywords), description)

    def extraction(self) -> Extraction:
        return Extraction(tuple(self._entities.values()), tuple(self._relations.values()), self.repairs)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _type(text: str) -> str:
    """Lower case without blanks; of alternatives such as `person/artist` the first."""
    parts = [part for part in _NO_TYPE.split("".join(text.split()).lower()) if part]
    return parts[0][:MAX_TYPE_CHARS] if parts else UNTYPED


def _keywords(text: str) -> tuple[str, ...]:
    words = (_one_line(word).strip(_WRAPPING) for word in _KEYWORD_BREAK.split(text))
    return tuple(dict.fromkeys(word for word in words if word))


# ----------------------------------------------------------------------------- rows


@dataclass(frozen=True, slots=True)
class _Row:
    kind: str
    fields: list[str]
    is_mended: bool
    is_cut: bool
    """It ends where the reply ends, and the reply has no end marker."""


def _read_rows(marked: str, collected: _Collected) -> None:
    for row in _rows(marked, collected):
        if row.kind == "entity" and len(row.fields) == 4:
            _relation_row(row, collected)
            collected.repairs += 1
        elif row.kind == "entity":
            _entity_row(row, collected)
        else:
            _relation_row(row, collected)
        collected.repairs += row.is_mended


def _rows(marked: str, collected: _Collected) -> Iterator[_Row]:
    """A row lasts to its line's end, or to the next row on the line; lines that lack fields take in the next one."""
    starts = [match for match in _ROW.finditer(marked) if not _is_field(marked, match.start())]
    for match, following in zip_longest(starts, starts[1:]):
        end = following.start() if following else len(marked)
        kind = match["kind"].lower()
        body, rest = _first_lines(marked[match.end() + 1 : end].split(_ENDED)[0], 3 if kind == "entity" else 4)
        collected.repairs += sum(1 for line in rest if _FIELDS.search(line))
        fields = [field.strip(_WRAPPING) for field in _FIELDS.split(_unwrapped(body, bool(match["open"])))]
        is_mended = (
            _BROKEN in marked[match.end() : match.end() + 1] + body
            or bool(match["open"])
            or kind == "relationship"
            or "\n" in body.strip()
            or (following is not None and "\n" not in marked[match.end() : end])
        )
        is_cut = following is None and not rest and _ENDED not in marked
        yield _Row(kind, fields, is_mended, is_cut)


_SEPARATORS = (_CLEAN, _BROKEN)


def _is_field(marked: str, position: int) -> bool:
    """Whether a delimiter stands before it: an entity may be named `entity`."""
    return marked[max(0, position - 4) : position].rstrip(" \t").endswith(_SEPARATORS)


def _first_lines(text: str, fields: int) -> tuple[str, list[str]]:
    """The fewest lines that hold so many fields, a few at most, and the lines after them."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    for taken in range(1, min(len(lines), MAX_ROW_LINES) + 1):
        body = "\n".join(lines[:taken])
        if len(_FIELDS.findall(body)) >= fields - 1 and not body.endswith(_SEPARATORS):
            return body, lines[taken:]
    return "\n".join(lines[:MAX_ROW_LINES]), lines[MAX_ROW_LINES:]


def _unwrapped(body: str, is_parenthesised: bool) -> str:
    body = body.strip().removesuffix("##").rstrip()
    return body.removesuffix(")") if is_parenthesised else body


def _entity_row(row: _Row, collected: _Collected) -> None:
    if len(row.fields) < 3:
        collected.repairs += 1
        return
    name, type, *description = row.fields
    collected.repairs += len(description) > 1
    collected.entity(name, type, " ".join(description))


def _relation_row(row: _Row, collected: _Collected) -> None:
    match row.fields:
        case [source, target, description, keywords, weight] if _NUMBER.fullmatch(weight):
            collected.relation(source, target, keywords, description)
        case [source, target, description, weight] if _NUMBER.fullmatch(weight):
            collected.relation(source, target, "", description)
        case [source, target, keywords, description, *more]:
            collected.repairs += bool(more)
            collected.relation(source, target, keywords, " ".join([description, *more]))
        case [source, target, description] if not row.is_cut:
            collected.repairs += 1
            collected.relation(source, target, "", description)
        case _:
            collected.repairs += 1


# ----------------------------------------------------------------------------- JSON

_NAMES = ("name", "entity_name", "entity", "entity_id")
_TYPES = ("type", "entity_type")
_DESCRIPTIONS = ("description", "entity_description", "relationship_description", "relation_description")
_SOURCES = ("source", "src", "source_entity", "src_id", "source_name")
_TARGETS = ("target", "tgt", "dst", "target_entity", "tgt_id", "target_name")
_KEYWORDS = ("keywords", "relationship_keywords", "relation_keywords", "keyword")
_LISTS = ("entities", "nodes", "relationships", "relations", "edges")
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")
_DECODER = json.JSONDecoder(strict=False)


def _read_json(text: str, collected: _Collected) -> None:
    """Read each complete object, from the outside in: of a list that was cut off the finished items remain."""
    text = _TRAILING_COMMA.sub(r"\1", text)
    position, failures, found = text.find("{"), 0, 0
    while position >= 0 and failures < MAX_JSON_ATTEMPTS:
        try:
            value, position = _DECODER.raw_decode(text, position)
            found += _read_value(value, collected)
        except (ValueError, RecursionError):
            failures += 1
            position += 1
        position = text.find("{", position)
    collected.repairs += 1 if failures or not found else 0


def _read_value(value: Any, collected: _Collected) -> int:
    """How many records, or lists that might hold some, `value` has."""
    if isinstance(value, list):
        return sum(_read_value(item, collected) for item in cast(list[Any], value))
    if not isinstance(value, dict):
        return 0
    row = {_clean(key): item for key, item in cast(dict[str, Any], value).items()}
    lists = [row[name] for name in _LISTS if isinstance(row.get(name), list)]
    if lists:
        return len(lists) + sum(_read_value(item, collected) for item in lists)
    if source := _text(row, _SOURCES):
        collected.relation(source, _text(row, _TARGETS), _text(row, _KEYWORDS), _text(row, _DESCRIPTIONS))
        return 1
    if name := _text(row, _NAMES):
        collected.entity(name, _text(row, _TYPES), _text(row, _DESCRIPTIONS))
        return 1
    return 0


def _text(row: dict[str, Any], names: tuple[str, ...]) -> str:
    """The first of these fields that is set; a list of words is joined with commas."""
    for name in names:
        value = row.get(name)
        if isinstance(value, list):
            value = ", ".join(str(item) for item in cast(list[Any], value))
        if isinstance(value, str | int | float) and str(value).strip():
            return _clean(str(value))
    return ""


def _clean(text: str) -> str:
    return _CONTROLS.sub("", text)
