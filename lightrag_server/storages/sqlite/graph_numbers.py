"""The numbers under which keys and pairs are stored, and the subjects that evidence speaks of.

A subject's number is twice its node's or, plus one, twice its pair's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping

from lightrag_server.core.encoding import to_bytes
from lightrag_server.core.ids import pair_from
from lightrag_server.core.records import Pair, Subject
from lightrag_server.storages.sqlite.arrays import text_array

_NODES = "SELECT key, id FROM nodes WHERE key IN (SELECT value FROM json_each(?))"
_PAIRS = (
    "SELECT pairs.a, pairs.b, pairs.id FROM json_each(?) AS wanted CROSS JOIN pairs"
    " ON pairs.a = json_extract(wanted.value, '$[0]') AND pairs.b = json_extract(wanted.value, '$[1]')"
)


def of_node(node: int) -> int:
    return 2 * node


def of_pair(pair: int) -> int:
    return 2 * pair + 1


def split(subjects: Iterable[int]) -> tuple[set[int], set[int]]:
    """The nodes and the pairs behind numbers of subjects."""
    nodes: set[int] = set()
    pairs: set[int] = set()
    for number in subjects:
        (pairs if number & 1 else nodes).add(number >> 1)
    return nodes, pairs


def keys_of(subjects: Iterable[Subject]) -> set[str]:
    """The keys that subjects consist of."""
    return {key for subject in subjects for key in pair_from(subject) or (subject,)}


def node_ids(connection: sqlite3.Connection, keys: Iterable[str]) -> dict[str, int]:
    """Unknown keys are absent."""
    return dict(connection.execute(_NODES, (text_array(keys),)).fetchall())


def pair_ids(connection: sqlite3.Connection, pairs: Iterable[Pair], nodes: Mapping[str, int]) -> dict[Pair, int]:
    """Unknown pairs are absent. `nodes` has the numbers of their keys."""
    wanted = {(nodes[a], nodes[b]): (a, b) for a, b in pairs if a in nodes and b in nodes}
    rows = connection.execute(_PAIRS, (to_bytes(list(wanted)).decode(),))
    return {wanted[a, b]: number for a, b, number in rows}


def subject_ids(connection: sqlite3.Connection, subjects: Collection[Subject]) -> dict[Subject, int]:
    """Numbers of subjects; unknown ones are absent."""
    nodes = node_ids(connection, keys_of(subjects))
    pairs = pair_ids(connection, {pair for s in subjects if (pair := pair_from(s))}, nodes)
    return numbered(subjects, nodes, pairs)


def numbered(subjects: Iterable[Subject], nodes: Mapping[str, int], pairs: Mapping[Pair, int]) -> dict[Subject, int]:
    numbers: dict[Subject, int] = {}
    for subject in subjects:
        pair = pair_from(subject)
        if pair is not None and pair in pairs:
            numbers[subject] = of_pair(pairs[pair])
        elif pair is None and subject in nodes:
            numbers[subject] = of_node(nodes[subject])
    return numbers
