"""The numbers of all processes of a host: of those that live as they stand, of those that ended as one file of totals.

Whoever opens or reads does it under a lock, and moves what the dead left into the totals: they stay right whatever is
killed, and there are never more files than processes. Totals name the files that they hold, so that one that could not
be removed any more is not counted twice.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from lightrag_server.file_locks import is_unlocked
from lightrag_server.telemetry.cells import Cells, read_cells

log = logging.getLogger(__name__)

SUFFIX = ".cells"
TOTALS_FILE = "totals.json"
LOCK_FILE = "lock"

Sums = dict[str, float]
Keep = Callable[[str], str | None]
"""Key of a number → the key under which it counts when its process has ended; None for what ends with it."""


@dataclass(frozen=True, slots=True)
class _Totals:
    numbers: Sums
    files: frozenset[str] = frozenset()


def open_cells(folder: Path, keep: Keep) -> Cells:
    """A file for this process. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        _moved(folder, _read(folder), keep)
        return Cells(folder / f"{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}")


def close_cells(cells: Cells, keep: Keep) -> None:
    cells.close()
    read_all(cells.path.parent, keep)


def read_all(folder: Path, keep: Keep) -> Sums:
    """The sums by key. Raises `OSError`."""
    with _locked(folder):
        totals = _moved(folder, _read(folder), keep)
        sums = dict(totals.numbers)
        for path in _files(folder):
            _add(sums, read_cells(path))
        return sums


def _moved(folder: Path, totals: _Totals, keep: Keep) -> _Totals:
    """The totals with what the dead left. What keeps its totals under another key by now is moved, too."""
    for name in totals.files:
        (folder / name).unlink(missing_ok=True)
    dead = [path for path in _files(folder) if is_unlocked(path)]
    numbers = _kept(totals.numbers, keep)
    if not dead and numbers.keys() == totals.numbers.keys():
        return totals
    for path in dead:
        _add(numbers, _kept(read_cells(path), keep))
    moved = _Totals(numbers, frozenset(path.name for path in dead))
    _write(folder, moved)
    for path in dead:
        path.unlink(missing_ok=True)
    return moved


def _kept(numbers: Mapping[str, float], keep: Keep) -> Sums:
    kept: Sums = {}
    for key, number in numbers.items():
        if (new := keep(key)) is not None:
            kept[new] = kept.get(new, 0.0) + number
    return kept


def _add(sums: Sums, more: Mapping[str, float]) -> None:
    for key, number in more.items():
        sums[key] = sums.get(key, 0.0) + number


def _files(folder: Path) -> Collection[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))


def _read(folder: Path) -> _Totals:
    try:
        row = orjson.loads((folder / TOTALS_FILE).read_bytes())
        return _Totals(dict(row["numbers"]), frozenset(row["files"]))
    except FileNotFoundError:
        return _Totals({})
    except (ValueError, KeyError, TypeError) as error:
        log.warning("the totals of the metrics cannot be read and begin anew: %r", error)
        return _Totals({})


def _write(folder: Path, totals: _Totals) -> None:
    fresh = folder / f"{TOTALS_FILE}.new"
    with fresh.open("wb") as file:
        file.write(orjson.dumps({"numbers": dict(totals.numbers), "files": sorted(totals.files)}))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / TOTALS_FILE)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    file = os.open(folder / LOCK_FILE, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
