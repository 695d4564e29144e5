"""What can be wrong with a workspace file below what its stores show, and what mends it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from lightrag_server.core.encoding import document_from_row, entity_from_row, from_bytes, relation_from_row, unpacked
from lightrag_server.errors import StorageCorrupt
from lightrag_server.ports.storage import Flaw
from lightrag_server.storages.sqlite import lexical
from lightrag_server.storages.sqlite.arrays import id_array
from lightrag_server.storages.sqlite.graph_writes import move_version

T = TypeVar("T")

MAX_EXAMPLES = 5
RESTORE = "restore a backup"

_IN_INDEX = ("missing from index", "wrong # of entries in index", "non-unique entry in index")
_REMADE = ("contributions", "text_chunks", "llm_response_cache", "edit_outcomes", "unresolved", "duplicates")
"""Namespaces whose rows are found to be missing, or are only missed."""

_INTEGRITY = "PRAGMA integrity_check(100)"
_VALUES = "SELECT namespace || '/' || key, value FROM kv"
_DOCUMENTS = "SELECT id, data FROM documents"
_ENTITIES = "SELECT id, data FROM entities"
_RELATIONS = "SELECT id, data FROM relations"
_COLUMNS = "SELECT id, status, stage, file_path, data FROM documents"
_SET_COLUMNS = "UPDATE documents SET status = ?, stage = ?, file_path = ? WHERE id = ?"
_BAD_VECTORS = (
    "SELECT namespace, id FROM vectors JOIN vector_spaces ON number = space"
    " WHERE id IS NOT NULL AND length(vector) IS NOT 2 * dimension"
)
_DEGREE = (
    "(SELECT count(*) FROM pairs WHERE a = entities.id AND weight IS NOT NULL)"
    " + (SELECT count(*) FROM pairs WHERE b = entities.id AND a <> b AND weight IS NOT NULL)"
)
_BAD_DEGREES = f"SELECT name FROM entities WHERE degree <> {_DEGREE}"
_ENDLESS = "SELECT id FROM pairs WHERE a NOT IN (SELECT id FROM nodes) OR b NOT IN (SELECT id FROM nodes)"
_BAD_PAIRS = (
    "SELECT 'pair ' || pairs.id FROM pairs LEFT JOIN relations USING (id)"
    " WHERE (weight IS NULL) <> (relations.id IS NULL)"
    " UNION ALL SELECT 'relation ' || id FROM relations WHERE id NOT IN (SELECT id FROM pairs)"
    " UNION ALL SELECT 'entity ' || name FROM entities WHERE id NOT IN (SELECT id FROM nodes)"
    f" UNION ALL SELECT 'pair ' || id FROM ({_ENDLESS})"
)
_WRONGLY_TOLD = (
    "SELECT id FROM chunks LEFT JOIN (SELECT chunk, count(*) AS subjects FROM evidence GROUP BY chunk) ON chunk = id"
    " WHERE NOT json_valid(CAST(told AS TEXT)) OR json_array_length(CAST(told AS TEXT)) <> coalesce(subjects, 0)"
    " UNION SELECT chunk FROM evidence WHERE chunk NOT IN (SELECT id FROM chunks)"
)


def flaws(connection: sqlite3.Connection) -> list[Flaw]:
    """All but what FTS5 thinks of its index. When the pages themselves are torn nothing else is looked at."""
    torn = [text for (text,) in connection.execute(_INTEGRITY) if text != "ok"]
    pages = [text for text in torn if not any(part in text for part in _IN_INDEX)]
    if pages:
        return [_flaw("torn-file", "pages of the database that are damaged", pages, RESTORE, can_mend=False)]
    indexes = _flaw("torn-index", "rows that an index of the database lacks", torn, "indexes are made anew")
    return [flaw for flaw in (indexes, *_rows(connection), *_graph(connection)) if flaw.count]


def torn_vectors(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Ids of vectors of a wrong length, by namespace."""
    found: dict[str, list[str]] = {}
    for namespace, id in connection.execute(_BAD_VECTORS):
        found.setdefault(namespace, []).append(id)
    return found


def mend(connection: sqlite3.Connection) -> None:
    """All but the vectors, which have to leave through their store."""
    connection.execute("REINDEX")
    gone = [place.split("/", 1) for place in _unreadable(connection, _VALUES, dict) if _can_be_remade(place)]
    connection.executemany("DELETE FROM kv WHERE namespace = ? AND key = ?", gone)
    connection.executemany(_SET_COLUMNS, list(_wrong_columns(connection)))
    _mend_graph(connection)
    if lexical.flawed_items(connection) or not lexical.index_is_sound(connection):
        lexical.rebuild(connection)


# ----------------------------------------------------------------------------- looking


def _rows(connection: sqlite3.Connection) -> Iterator[Flaw]:
    torn = list(_unreadable(connection, _VALUES, dict))
    remade = [place for place in torn if _can_be_remade(place)]
    lost = [place for place in torn if not _can_be_remade(place)]
    lost += [f"documents/{id}" for id in _unreadable(connection, _DOCUMENTS, document_from_row)]
    yield _flaw("unreadable-rows", "rows that cannot be read", remade, "they go, and what they said is made anew")
    yield _flaw("lost-rows", "rows that cannot be read or made anew", lost, RESTORE, can_mend=False)
    vectors = [f"{namespace}/{id}" for namespace, ids in torn_vectors(connection).items() for id in ids]
    yield _flaw("torn-vectors", "vectors of a wrong length", vectors, "they go, and their texts are embedded again")
    places = lexical.flawed_items(connection)
    yield _flaw("torn-lexical", "places of the lexical index that are damaged", places, "the index is made anew")
    columns = [id for *_, id in _wrong_columns(connection)]
    yield _flaw("torn-documents", "documents listed under another state", columns, "columns are written anew")


def _graph(connection: sqlite3.Connection) -> Iterator[Flaw]:
    torn = [f"entity {id}" for id in _unreadable(connection, _ENTITIES, entity_from_row)]
    torn += [f"relation {id}" for id in _unreadable(connection, _RELATIONS, relation_from_row)]
    torn += [text for (text,) in connection.execute(_BAD_PAIRS)]
    yield _flaw("torn-graph", "rows of the graph that are damaged", torn, "they go, and are folded anew")
    wrongly_told = [f"chunk {id}" for (id,) in connection.execute(_WRONGLY_TOLD)]
    remedy = "what they speak of is written anew"
    yield _flaw("torn-evidence", "chunks that speak of something else than their evidence", wrongly_told, remedy)
    degrees = [name for (name,) in connection.execute(_BAD_DEGREES)]
    yield _flaw("wrong-degrees", "entities with a wrong number of relations", degrees, "they are counted again")


def _can_be_remade(place: str) -> bool:
    return place.partition("/")[0] in _REMADE


def _unreadable(connection: sqlite3.Connection, sql: str, read: Callable[[Any], object]) -> Iterator[Any]:
    """Ids of the rows of (id, data) of which the stores could make nothing."""
    return (id for id, data in connection.execute(sql) if _read_or_none(data, read) is None)


def _read_or_none(data: bytes, read: Callable[[Any], T]) -> T | None:
    try:
        return read(from_bytes(unpacked(data)))
    except (StorageCorrupt, ValueError, TypeError, KeyError, IndexError, AttributeError):
        return None


def _wrong_columns(connection: sqlite3.Connection) -> Iterator[tuple[str, str, str, str]]:
    """What the columns of documents have to hold where they hold something else, and the id."""
    for id, status, stage, file_path, data in connection.execute(_COLUMNS):
        document = _read_or_none(data, document_from_row)
        if document and (document.status.value, document.stage.value, document.file_path) != (status, stage, file_path):
            yield document.status.value, document.stage.value, document.file_path, id


def _flaw(kind: str, what: str, examples: Sequence[str], remedy: str, *, can_mend: bool = True) -> Flaw:
    return Flaw(kind, what, len(examples), tuple(examples[:MAX_EXAMPLES]), remedy, can_mend)


# ----------------------------------------------------------------------------- mending


def _mend_graph(connection: sqlite3.Connection) -> None:
    """Evidence stays: it tells which chunks the rows that go are folded from."""
    move_version(connection)
    _delete(connection, "entities", _unreadable(connection, _ENTITIES, entity_from_row))
    _delete(connection, "relations", _unreadable(connection, _RELATIONS, relation_from_row))
    endless = [id for (id,) in connection.execute(_ENDLESS)]
    of_pairs = "subject & 1 AND subject >> 1 IN (SELECT value FROM json_each(?))"
    connection.execute(f"DELETE FROM evidence WHERE {of_pairs}", (id_array(endless),))
    _delete(connection, "pairs", endless)
    connection.execute("DELETE FROM entities WHERE id NOT IN (SELECT id FROM nodes)")
    connection.execute("DELETE FROM relations WHERE id NOT IN (SELECT id FROM pairs WHERE weight IS NOT NULL)")
    connection.execute("UPDATE pairs SET weight = NULL WHERE id NOT IN (SELECT id FROM relations)")
    connection.execute(f"UPDATE entities SET degree = {_DEGREE} WHERE degree <> {_DEGREE}")
    # a chunk without any is one whose evidence is found to be wrong
    wrongly_told = id_array(id for (id,) in connection.execute(_WRONGLY_TOLD).fetchall())
    connection.execute("DELETE FROM evidence WHERE chunk IN (SELECT value FROM json_each(?))", (wrongly_told,))
    connection.execute("UPDATE chunks SET told = '[]' WHERE id IN (SELECT value FROM json_each(?))", (wrongly_told,))


def _delete(connection: sqlite3.Connection, table: str, ids: Iterator[int] | Sequence[int]) -> None:
    connection.execute(f"DELETE FROM {table} WHERE id IN (SELECT value FROM json_each(?))", (id_array(ids),))
