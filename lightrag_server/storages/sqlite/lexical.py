"""BM25 over FTS5. Each namespace has an index of its own, so that counts and lengths are those of one collection.

An index holds terms only (`content=''`); the terms of an item lie compressed beside it because FTS5 wants them back
when it forgets the item. FTS5 reads all places of each term that it is asked for, so a question costs what its common
words cost. Here the rarer terms find the candidates (`REQUIRED_PLACES`), and what the common ones add to the score of
those few is counted in the terms that lie beside them: the time does not grow with the collection.
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
import zlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from lightrag_server.ports.lexical import LexicalHit, LexicalItem
from lightrag_server.storages.sqlite.arrays import check_ids, id_array, text_array
from lightrag_server.storages.sqlite.database import Database

REQUIRED_PLACES = 2000
MAX_TERMS = 64
"""A longer question is searched by its rarest terms."""
SPARE_HITS = 128
"""Candidates beyond `top_k`: common terms may lift them, and equal scores at the edge are told apart by id."""
COMMON_PLACES = 1000
MAX_COMMON_TERMS = 50_000
COUNTED_ANEW = 1.1
"""How often a common term occurs is counted again when the collection has changed by a tenth."""
K1, B = 1.2, 0.75
"""Of BM25, as FTS5 has them."""
LEAST_WEIGHT = 1e-6
SCAN_ROWS = 1000
_EVERYWHERE = "*"
"""Stands at the head of the terms of every item, so that none is without any; analysis never makes it."""

_NAMESPACE = "SELECT id FROM lexical_namespaces WHERE name = ?"
_ADD_NAMESPACE = "INSERT INTO lexical_namespaces (name) VALUES (?) RETURNING id"
_CREATE_INDEX = (
    "CREATE VIRTUAL TABLE lexical_{number} USING fts5(terms, content='', tokenize=\"ascii tokenchars '+#.-/_*'\")"
)
_CREATE_VOCABULARY = "CREATE VIRTUAL TABLE lexical_{number}_terms USING fts5vocab('lexical_{number}', row)"
_FREQUENCIES = "SELECT term, doc FROM lexical_{number}_terms WHERE term IN (SELECT value FROM json_each(?))"
_SEARCH = "SELECT rowid, -rank FROM lexical_{number} WHERE lexical_{number} MATCH ? ORDER BY rank LIMIT ?"
_ITEMS = "SELECT row, id, ref, terms FROM lexical_items WHERE row IN (SELECT value FROM json_each(?))"
_AVERAGES = "SELECT block FROM lexical_{number}_data WHERE id = 1"
_STORED = "SELECT row, id, ref, terms FROM lexical_items WHERE namespace = ? AND id IN (SELECT value FROM json_each(?))"
_PRESENT = "SELECT id FROM lexical_items WHERE namespace = ? AND id IN (SELECT value FROM json_each(?))"
_NEXT = "SELECT id FROM lexical_items WHERE namespace = ? AND id > ? ORDER BY id LIMIT ?"
_LAST_ROW = "SELECT coalesce(max(row), 0) FROM lexical_items"
_ADD_ITEM = "INSERT INTO lexical_items (row, namespace, id, ref, terms) VALUES (?, ?, ?, ?, ?)"
_ADD_TERMS = "INSERT INTO lexical_{number} (rowid, terms) VALUES (?, ?)"
_DELETE_ITEMS = "DELETE FROM lexical_items WHERE row IN (SELECT value FROM json_each(?))"
_DELETE_TERMS = "INSERT INTO lexical_{number} (lexical_{number}, rowid, terms) VALUES ('delete', ?, ?)"
_FORGET = (
    "DROP TABLE lexical_{number}_terms",
    "DROP TABLE lexical_{number}",
    "DELETE FROM lexical_items WHERE namespace = {number}",
    "DELETE FROM lexical_namespaces WHERE id = {number}",
)
_NOT_INDEXED = (
    "SELECT id FROM lexical_items WHERE namespace = {number} AND row NOT IN (SELECT id FROM lexical_{number}_docsize)"
)
_NOT_KEPT = (
    "SELECT id FROM lexical_{number}_docsize WHERE id NOT IN (SELECT row FROM lexical_items WHERE namespace = {number})"
)
_CHECK_INDEX = "INSERT INTO lexical_{number} (lexical_{number}) VALUES ('integrity-check')"
_DELETE_BY_ID = "DELETE FROM lexical_items WHERE namespace = ? AND id IN (SELECT value FROM json_each(?))"
_COUNT = "SELECT count(*) FROM lexical_items WHERE namespace = ?"


@dataclass(frozen=True, slots=True)
class _Analysed:
    id: str
    ref: str
    text: str
    packed: bytes


@dataclass(frozen=True, slots=True)
class _Extent:
    """Of a collection: its places, and how many terms they have in the mean."""

    places: int
    mean_terms: float


_Candidate = tuple[int, float]
"""The row of a place, and its score by the rarer terms."""


class SQLiteLexicalStore:
    def __init__(self, database: Database, namespace: str) -> None:
        self._database = database
        self._namespace = namespace
        self._common = _CommonTerms()

    async def search(self, terms: Sequence[str], top_k: int) -> list[LexicalHit]:
        if not terms or top_k < 1:
            return []
        wanted = {term for term in terms if term != _EVERYWHERE}

        def read(connection: sqlite3.Connection) -> list[LexicalHit]:
            number = _number(connection, self._namespace)
            if number is None:
                return []
            extent = _extent(connection, number)
            frequencies = self._common.frequencies(connection, number, wanted, extent)
            required, further = _divided(frequencies)
            found = _candidates(connection, number, required, top_k)
            while len(found) < top_k and further:
                required, further = [*required, further[0]], further[1:]
                found = _candidates(connection, number, required, top_k)
            common = _weights({term: frequencies[term] for term in further}, extent)
            return _best(connection, found, common, extent, top_k)

        return await self._database.read(read)

    async def put(self, items: Sequence[LexicalItem]) -> None:
        if not items:
            return
        check_ids(item.id for item in items)
        analysed = await asyncio.to_thread(lambda: {item.id: _analysed(item) for item in items})
        await self._database.write(lambda c: _put(c, self._namespace, analysed))

    async def delete(self, ids: Collection[str]) -> None:
        if not ids:
            return
        wanted = text_array(ids)

        def write(connection: sqlite3.Connection) -> None:
            number = _number(connection, self._namespace)
            if number is not None:
                stored = connection.execute(_STORED, (number, wanted)).fetchall()
                _remove(connection, number, {row: packed for row, _, _, packed in stored})

        await self._database.write(write)

    async def missing(self, ids: Collection[str]) -> set[str]:
        if not ids:
            return set()
        wanted = text_array(ids)

        def read(connection: sqlite3.Connection) -> set[str]:
            number = _number(connection, self._namespace)
            return {id for (id,) in connection.execute(_PRESENT, (number, wanted))}

        return set(ids) - await self._database.read(read)

    async def scan_ids(self) -> AsyncIterator[list[str]]:
        batch = await self._database.read(lambda c: self._next(c, ""))
        while batch:
            yield batch
            batch = await self._database.read(lambda c, last=batch[-1]: self._next(c, last))

    def _next(self, connection: sqlite3.Connection, above: str) -> list[str]:
        values = (_number(connection, self._namespace), above, SCAN_ROWS)
        return [id for (id,) in connection.execute(_NEXT, values)]

    async def count(self) -> int:
        def read(connection: sqlite3.Connection) -> int:
            number = _number(connection, self._namespace)
            return int(connection.execute(_COUNT, (number,)).fetchone()[0])

        return await self._database.read(read)

    async def clear(self) -> None:
        def write(connection: sqlite3.Connection) -> None:
            number = _number(connection, self._namespace)
            if number is not None:
                _forget(connection, number)

        await self._database.write(write)


def clear_all(connection: sqlite3.Connection) -> None:
    for (number,) in connection.execute("SELECT id FROM lexical_namespaces").fetchall():
        _forget(connection, number)


def flawed_items(connection: sqlite3.Connection) -> list[str]:
    """Items whose index lacks them or holds something else than their terms, or whose terms cannot be read."""
    found: list[str] = []
    for (number,) in connection.execute("SELECT id FROM lexical_namespaces").fetchall():
        found += [id for (id,) in connection.execute(_NOT_INDEXED.format(number=number))]
        found += [f"row {row} of the index" for (row,) in connection.execute(_NOT_KEPT.format(number=number))]
        found += _unreadable_items(connection, number)
    return found


def index_is_sound(connection: sqlite3.Connection) -> bool:
    """Asked of FTS5, which takes it for a write."""
    for (number,) in connection.execute("SELECT id FROM lexical_namespaces").fetchall():
        try:
            connection.execute(_CHECK_INDEX.format(number=number))
        except sqlite3.DatabaseError as error:
            if "malformed" not in str(error):
                raise
            return False
    return True


def rebuild(connection: sqlite3.Connection) -> None:
    """Make every index anew from the terms that lie beside it; items whose terms cannot be read go."""
    for (number,) in connection.execute("SELECT id FROM lexical_namespaces").fetchall():
        gone = text_array(_unreadable_items(connection, number))
        connection.execute(_DELETE_BY_ID, (number, gone))
        for statement in _FORGET[:2]:
            connection.execute(statement.format(number=number))
        connection.execute(_CREATE_INDEX.format(number=number))
        connection.execute(_CREATE_VOCABULARY.format(number=number))
        rows = connection.execute("SELECT row, terms FROM lexical_items WHERE namespace = ? ORDER BY row", (number,))
        while batch := rows.fetchmany(SCAN_ROWS):
            texts = ((row, _unpacked(packed)) for row, packed in batch)
            connection.executemany(_ADD_TERMS.format(number=number), texts)


def _unreadable_items(connection: sqlite3.Connection, number: int) -> list[str]:
    rows = connection.execute("SELECT id, terms FROM lexical_items WHERE namespace = ?", (number,))
    return [id for id, packed in rows if not _is_readable(packed)]


def _is_readable(packed: bytes) -> bool:
    try:
        _unpacked(packed)
    except (zlib.error, UnicodeDecodeError):
        return False
    return True


def _analysed(item: LexicalItem) -> _Analysed:
    text = " ".join((_EVERYWHERE, *item.terms))
    return _Analysed(item.id, item.ref, text, zlib.compress(text.encode(), 1))


class _CommonTerms:
    """In how many places the common terms of a collection are: counting them reads all those places."""

    def __init__(self) -> None:
        self._places = 0
        self._known: dict[str, int] = {}

    def frequencies(
        self, connection: sqlite3.Connection, number: int, wanted: Collection[str], extent: _Extent
    ) -> dict[str, int]:
        """Of the terms that occur."""
        is_like_before = extent.places <= COUNTED_ANEW * self._places and self._places <= COUNTED_ANEW * extent.places
        if not is_like_before or len(self._known) > MAX_COMMON_TERMS:
            self._places, self._known = extent.places, {}
        known = self._known
        found = {term: known[term] for term in wanted if term in known}
        if len(found) < len(wanted):
            sql = _FREQUENCIES.format(number=number)
            counted = dict(connection.execute(sql, (text_array(t for t in wanted if t not in found),)).fetchall())
            known |= {term: places for term, places in counted.items() if places > COMMON_PLACES}
            found |= counted
        return found


def _candidates(connection: sqlite3.Connection, number: int, required: Sequence[str], top_k: int) -> list[_Candidate]:
    """Best first."""
    if not required:
        return []
    return connection.execute(_SEARCH.format(number=number), (_any_of(required), top_k + SPARE_HITS)).fetchall()


def _best(
    connection: sqlite3.Connection,
    found: Sequence[_Candidate],
    common: Mapping[bytes, float],
    extent: _Extent,
    top_k: int,
) -> list[LexicalHit]:
    """The hits with what the common terms add to their scores. Only places that these may lift so far are read."""
    most = (K1 + 1) * sum(common.values())
    hits: list[LexicalHit] = []
    for start in range(0, len(found), top_k):
        if len(hits) == top_k and found[start][1] + most < hits[-1].score:
            break
        scores = dict(found[start : start + top_k])
        for row, id_, ref, packed in connection.execute(_ITEMS, (id_array(scores),)).fetchall():
            lifted = scores[row] + (_bm25(packed, common, extent) if common else 0.0)
            hits.append(LexicalHit(id_, ref, lifted))
        hits = sorted(hits, key=lambda hit: (-hit.score, hit.id))[:top_k]
    return hits


def _weights(common: Mapping[str, int], extent: _Extent) -> dict[bytes, float]:
    """By term, as it stands between others; without those that tell next to nothing."""
    given = {f" {term} ".encode(): _weight(places, extent) for term, places in common.items()}
    return {term: weight for term, weight in given.items() if weight > LEAST_WEIGHT}


def _weight(places: int, extent: _Extent) -> float:
    """Inverse document frequency; next to nothing for what stands in half of all places."""
    return max(math.log((extent.places - places + 0.5) / (places + 0.5)), LEAST_WEIGHT) if extent.places else 0.0


def _bm25(packed: bytes, weights: Mapping[bytes, float], extent: _Extent) -> float:
    terms = zlib.decompress(packed) + b" "
    length = K1 * (1 - B + B * terms.count(b" ") / extent.mean_terms)
    counts = ((weight, terms.count(term)) for term, weight in weights.items())
    return sum(weight * count * (K1 + 1) / (count + length) for weight, count in counts)


def _extent(connection: sqlite3.Connection, number: int) -> _Extent:
    """As FTS5 keeps it, without counting: two numbers of seven bits a byte, high bits first (its averages record)."""
    row = connection.execute(_AVERAGES.format(number=number)).fetchone()
    numbers, value = [0, 0], 0
    for byte in row[0] if row else b"":
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            numbers, value = [numbers[1], value], 0
    places, terms = numbers
    return _Extent(places, terms / places if places and terms else 1.0)


def _divided(frequencies: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """The rarer terms, of which a place must have one, and the common ones, which only add to its score."""
    rarest = sorted(frequencies, key=lambda term: (frequencies[term], term))[:MAX_TERMS]
    places = accumulate(frequencies[term] for term in rarest)
    required = sum(total <= REQUIRED_PLACES for total in places) or 1
    return rarest[:required], rarest[required:]


def _unpacked(packed: bytes) -> str:
    return zlib.decompress(packed).decode()


def _any_of(alternatives: Sequence[str]) -> str:
    return " OR ".join('"' + term.replace('"', '""') + '"' for term in alternatives)


def _number(connection: sqlite3.Connection, namespace: str) -> int | None:
    row = connection.execute(_NAMESPACE, (namespace,)).fetchone()
    return int(row[0]) if row else None


def _created(connection: sqlite3.Connection, namespace: str) -> int:
    number = int(connection.execute(_ADD_NAMESPACE, (namespace,)).fetchone()[0])
    connection.execute(_CREATE_INDEX.format(number=number))
    connection.execute(_CREATE_VOCABULARY.format(number=number))
    return number


def _put(connection: sqlite3.Connection, namespace: str, items: Mapping[str, _Analysed]) -> None:
    """What is stored already in the same form is left alone, so that putting again costs no write."""
    number = _number(connection, namespace)
    if number is None:
        number = _created(connection, namespace)
    stored = connection.execute(_STORED, (number, text_array(items))).fetchall()
    same = {i for _, i, ref, packed in stored if (items[i].ref, items[i].packed) == (ref, packed)}
    _remove(connection, number, {row: packed for row, i, _, packed in stored if i not in same})
    first = int(connection.execute(_LAST_ROW).fetchone()[0]) + 1
    fresh = list(enumerate((item for i, item in items.items() if i not in same), first))
    connection.executemany(_ADD_ITEM, ((row, number, item.id, item.ref, item.packed) for row, item in fresh))
    connection.executemany(_ADD_TERMS.format(number=number), ((row, item.text) for row, item in fresh))


def _remove(connection: sqlite3.Connection, number: int, packed: Mapping[int, bytes]) -> None:
    texts = ((row, _unpacked(terms)) for row, terms in packed.items())
    connection.executemany(_DELETE_TERMS.format(number=number), texts)
    connection.execute(_DELETE_ITEMS, (id_array(packed),))


def _forget(connection: sqlite3.Connection, number: int) -> None:
    for statement in _FORGET:
        connection.execute(statement.format(number=number))
