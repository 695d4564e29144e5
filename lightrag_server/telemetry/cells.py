"""Numbers by key in a file of this process, written as they change: they outlive it however it ends.

Each cell is 16 bytes (length of the key, number) and the key, padded to 8. A write of eight bytes into the system's
page cache costs about a microsecond, and a full disk is an error here, where a memory map would end the process.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from contextlib import suppress
from pathlib import Path

_HEAD = struct.Struct("<Qd")
_NUMBER = struct.Struct("<d")
_NUMBER_AT = 8
MAX_KEY_BYTES = 4096


class Cells:
    """The file is locked for as long as it is open, so that others can tell whether its process lives."""

    def __init__(self, path: Path) -> None:
        """Raises `OSError`. Others must not look at the folder meanwhile."""
        self.path = path
        self._file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._end = 0
        self._places: dict[str, int] = {}
        self._numbers: dict[str, float] = {}
        self._lock = threading.Lock()

    def add(self, key: str, value: float) -> None:
        with self._lock:
            self._put(key, self._numbers.get(key, 0.0) + value)

    def set(self, key: str, value: float) -> None:
        with self._lock:
            self._put(key, value)

    def close(self) -> None:
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _put(self, key: str, number: float) -> None:
        """What cannot be written is kept, and in the file with the next change."""
        self._numbers[key] = number
        if self._file < 0:
            return
        with suppress(OSError):
            if place := self._places.get(key):
                os.pwrite(self._file, _NUMBER.pack(number), place)
            else:
                self._append(key, number)

    def _append(self, key: str, number: float) -> None:
        encoded = key.encode()
        cell = _HEAD.pack(len(encoded), number) + encoded.ljust(_padded(len(encoded)), b"\0")
        if os.pwrite(self._file, cell, self._end) == len(cell):
            self._places[key] = self._end + _NUMBER_AT
            self._end += len(cell)


def read_cells(path: Path) -> dict[str, float]:
    """The numbers of a file, also of one that is being written; of a torn one what is whole. Empty without a file."""
    try:
        data = path.read_bytes()
    except OSError:
        return {}
    found: dict[str, float] = {}
    at = 0
    while at + _HEAD.size <= len(data):
        length, number = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        if not 0 < length <= MAX_KEY_BYTES or at + length > len(data):
            break
        found[data[at : at + length].decode("utf-8", "replace")] = number
        at += _padded(length)
    return found


def _padded(length: int) -> int:
    return -(-length // 8) * 8
