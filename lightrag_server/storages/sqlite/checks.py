"""What can be wrong with a workspace file below what its stores show, and what mends it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lightrag_server.core.encoding import document_from_row, entity_from_row, from_bytes, relation_from_row
from lightrag_server.errors import StorageCorrupt
from lightrag_server.ports.storage import Flaw
from lightrag_server.storages.sqlite import lexical
from lightrag_server.storages.sqlite.arrays import id_array

MAX_EXAMPLES = 5
RESTORE = "restore a backup"

_IN_INDEX = ("missing from index", "wrong # of entries in index", "non-unique entry in index")
_REMADE = ("contributions", "text_chunks", "llm_response_cache", "edit_outcomes", "unresolved", "duplicates")
"""Namespaces whose rows are found to be missing, or are only missed."""

_INTEGRITY = "PRAGMA integrity_check(100)"
_BAD_VALUES = "SELECT namespace, key FROM kv WHERE NOT is_row(value)"
_BAD_DOCUMENTS = "SELECT id FROM documents WHERE NOT is_document(data)"
_BAD_ENTITIES = "SELECT name FROM entities WHERE NOT is_entity(data)"
_BAD_RELATIONS = "SELECT id FROM relations WHERE NOT is_relation(data)"
_BAD_VECTORS = (
    "SELECT namespace, id FROM vectors JOIN vector_spaces ON number = space"
    " WHERE id IS NOT NULL AND length(vector) IS NOT 2 * dimension"
)
_DEGREE = (
    "(SELECT count(*) FROM pairs WHERE a = entities.id AND weight IS NOT NULL)"
    " + (SELECT count(*) FROM pairs WHERE b = entities.id AND a <> b AND weight IS NOT NULL)"
)
_BAD_DEGREES = f"SELECT name FROM entities WHERE degree <> {_DEGREE}"
_BAD_PAIRS = (
    "SELECT 'pair ' || pairs.id FROM pairs LEFT JOIN relations USING (id)"
    " WHERE (weight IS NULL) <> (relations.id IS NULL)"
    " UNION ALL SELECT 'relation ' || id FROM relations WHERE id NOT IN (SELECT id FROM pairs)"
    " UNION ALL SELECT 'entity ' || name FROM entities WHERE id NOT IN (SELECT id FROM nodes)"
    " UNION ALL SELECT 'pair ' || id FROM pairs"
    " WHERE a NOT IN (SELECT id FROM nodes) OR b NOT IN (SELECT id FROM nodes)"
)
_BAD_COLUMNS = (
    "SELECT id FROM documents WHERE is_document(data) AND (status, stage, file_path)"
    " IS NOT (json_extract(CAST(data AS TEXT), '$.status'), json_extract(CAST(data AS TEXT), '$.stage'),"
    " json_extract(CAST(data AS TEXT), '$.file_path'))"
)


def flaws(connection: sqlite3.Connection) -> list[Flaw]:
    """All but what FTS5 thinks of its index. When the pages themselves are torn nothing else is looked at."""
    _add_functions(connection)
    torn = [text for (text,) in connection.execute(_INTEGRITY) if text != "ok"]
    pages = [text for text in torn if not any(part in text for part in _IN_INDEX)]
    if pages:
        return [_flaw("torn-file", "pages of the database that are damaged", pages, RESTORE, can_mend=False)]
    found = [_flaw("torn-index", "indexes of the database that lack rows", torn, "indexes are made anew")]
    return [flaw for flaw in (*found, *_rows(connection), *_graph(connection)) if flaw.count]


def _rows(connection: sqlite3.Connection) -> Iterator[Flaw]:
    values = connection.execute(_BAD_VALUES).fetchall()
    remade = [f"{namespace}/{key}" for namespace, key in values if namespace in _REMADE]
    other = [f"{namespace}/{key}" for namespace, key in values if namespace not in _REMADE]
    other += [f"documents/{id}" for (id,) in connection.execute(_BAD_DOCUMENTS)]
    yield _flaw("unreadable-rows", "rows that cannot be read", remade, "they go, and what they said is made anew")
    yield _flaw("lost-rows", "rows that cannot be read or made anew", other, RESTORE, can_mend=False)
    torn = [f"{namespace}/{id}" for namespace, id in connection.execute(_BAD_VECTORS)]
    yield _flaw("torn-vectors", "vectors of a wrong length", torn, "they go, and their texts are embedded again")
    yield _flaw(
        "torn-lexical", "places of the lexical index that are damaged", lexical.flawed_items(connection),
        "the index is made anew",
    )  # fmt: skip
    columns = [id for (id,) in connection.execute(_BAD_COLUMNS)]
    yield _flaw("torn-documents", "documents listed under another state", columns, "columns are written anew")


def _graph(connection: sqlite3.Connection) -> Iterator[Flaw]:
    torn = [f"entity {name}" for (name,) in connection.execute(_BAD_ENTITIES)]
    torn += [f"relation {id}" for (id,) in connection.execute(_BAD_RELATIONS)]
    torn += [text for (text,) in connection.execute(_BAD_PAIRS)]
    yield _flaw("torn-graph", "rows of the graph that are damaged", torn, "they go, and are folded anew")
    degrees = [name for (name,) in connection.execute(_BAD_DEGREES)]
    yield _flaw("wrong-degrees", "entities with a wrong number of relations", degrees, "they are counted again")


def _add_functions(connection: sqlite3.Connection) -> None:
    """What the stores would make of a row; SQLite's own view of JSON is not theirs."""
    readers: dict[str, Callable[[Any], object]] = {
        "is_row": dict,
        "is_document": document_from_row,
        "is_entity": entity_from_row,
        "is_relation": relation_from_row,
    }
    for name, read in readers.items():
        connection.create_function(name, 1, _checker(read), deterministic=True)


def _checker(read: Callable[[Any], object]) -> Callable[[bytes], bool]:
    def can_be_read(data: bytes) -> bool:
        try:
            read(from_bytes(data))
        except (StorageCorrupt, ValueError, TypeError, KeyError, IndexError, AttributeError):
            return False
        return True

    return can_be_read


def _flaw(kind: str, what: str, examples: Sequence[str], remedy: str, *, can_mend: bool = True) -> Flaw:
    return Flaw(kind, what, len(examples), tuple(examples[:MAX_EXAMPLES]), remedy, can_mend)


def torn_vectors(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Ids of vectors of a wrong length, by namespace."""
    found: dict[str, list[str]] = {}
    for namespace, id in connection.execute(_BAD_VECTORS):
        found.setdefault(namespace, []).append(id)
    return found


def mend(connection: sqlite3.Connection) -> None:
    """All but the vectors, which have to leave through their store."""
    _add_functions(connection)
    connection.execute("REINDEX")
    names = ", ".join(f"'{name}'" for name in _REMADE)
    connection.execute(f"DELETE FROM kv WHERE NOT is_row(value) AND namespace IN ({names})")
    _mend_graph(connection)
    connection.execute(
        "UPDATE documents SET status = json_extract(CAST(data AS TEXT), '$.status'),"
        " stage = json_extract(CAST(data AS TEXT), '$.stage'),"
        f" file_path = json_extract(CAST(data AS TEXT), '$.file_path') WHERE id IN ({_BAD_COLUMNS})"
    )
    if lexical.flawed_items(connection) or not lexical.index_is_sound(connection):
        lexical.rebuild(connection)


def _mend_graph(connection: sqlite3.Connection) -> None:
    """Evidence stays: it tells which chunks the rows that go are folded from."""
    connection.execute("DELETE FROM entities WHERE NOT is_entity(data) OR id NOT IN (SELECT id FROM nodes)")
    connection.execute("DELETE FROM relations WHERE NOT is_relation(data) OR id NOT IN (SELECT id FROM pairs)")
    lost = "SELECT id FROM pairs WHERE a NOT IN (SELECT id FROM nodes) OR b NOT IN (SELECT id FROM nodes)"
    gone = id_array(id for (id,) in connection.execute(lost).fetchall())
    connection.execute(
        "DELETE FROM evidence WHERE subject & 1 AND subject >> 1 IN (SELECT value FROM json_each(?))", (gone,)
    )
    for table in ("relations", "pairs"):
        connection.execute(f"DELETE FROM {table} WHERE id IN (SELECT value FROM json_each(?))", (gone,))
    connection.execute("DELETE FROM relations WHERE id IN (SELECT id FROM pairs WHERE weight IS NULL)")
    connection.execute("UPDATE pairs SET weight = NULL WHERE id NOT IN (SELECT id FROM relations)")
    connection.execute(f"UPDATE entities SET degree = {_DEGREE} WHERE degree <> {_DEGREE}")
