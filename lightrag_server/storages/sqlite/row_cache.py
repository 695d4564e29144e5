"""Rows as they were read and decoded last, for all stores of a process.

What is kept lies under the version of the data it was read from, and every transaction that changes them moves that
version: what is stale is not asked for again, and goes first. So processes need not tell one another anything.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MOST_KEYS = 500
"""Larger reads are those of commits and copies, which do not come back."""


@dataclass(slots=True)
class _Shelf:
    """Rows of one kind and version, the older first."""

    size: Callable[[Any], int]
    rows: dict[Any, Any] = field(default_factory=dict[Any, Any])


class RowCache:
    """At most about `most_bytes`; safe to use from several threads. Values are shared: nobody may change them."""

    def __init__(self, most_bytes: int) -> None:
        self.bytes = 0
        self._most_bytes = most_bytes
        self._shelves: OrderedDict[Hashable, _Shelf] = OrderedDict()
        self._lock = threading.Lock()

    def read(
        self,
        name: Hashable,
        keys: Collection[K],
        size: Callable[[V], int],
        missing: Callable[[Collection[K]], Mapping[K, V]],
    ) -> dict[K, V]:
        """The rows of some keys, in their order; unknown ones are absent. `name` says what is read and from which
        version, `missing` reads what is not there, `size` says about how many bytes a row takes."""
        if len(keys) > MOST_KEYS:
            return dict(missing(keys))
        shelf = self._shelf(name, size)
        rows = shelf.rows
        kept: dict[K, V] = {key: rows[key] for key in keys if key in rows}
        if len(kept) == len(keys):
            return kept
        fresh = missing([key for key in keys if key not in kept])
        self._keep(name, shelf, fresh)
        kept |= fresh
        return {key: kept[key] for key in keys if key in kept}

    def outside(self, in_transaction: bool) -> RowCache:
        """Itself, or one that keeps nothing for a transaction, whose version may never come to be."""
        return RowCache(0) if in_transaction else self

    def forget(self) -> None:
        """For who looks whether rows were changed by others than us, who move no version."""
        with self._lock:
            self._shelves.clear()
            self.bytes = 0

    def _shelf(self, name: Hashable, size: Callable[[V], int]) -> _Shelf:
        with self._lock:
            shelf = self._shelves.setdefault(name, _Shelf(size))
            self._shelves.move_to_end(name)
            return shelf

    def _keep(self, name: Hashable, shelf: _Shelf, fresh: Mapping[K, V]) -> None:
        with self._lock:
            if self._shelves.get(name) is not shelf:
                return
            new = {key: row for key, row in fresh.items() if key not in shelf.rows}
            # rows are added in place and taken out by a new dictionary, so that whoever reads sees nothing vanish
            shelf.rows.update(new)
            self.bytes += sum(map(shelf.size, new.values()))
            while self.bytes > self._most_bytes and self._shelves:
                self._make_room()

    def _make_room(self) -> None:
        """Half of what was used least lately goes."""
        name, shelf = next(iter(self._shelves.items()))
        listed = list(shelf.rows.items())
        half = (len(listed) + 1) // 2
        self.bytes -= sum(shelf.size(row) for _, row in listed[:half])
        shelf.rows = dict(listed[half:])
        if not shelf.rows:
            del self._shelves[name]
