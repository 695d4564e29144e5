"""Advisory locks between processes on an open file; they end with the process that holds them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: callers keep to files of their own process there
    fcntl = None

HAS_FILE_LOCKS = fcntl is not None


@contextmanager
def locked(descriptor: int, *, is_exclusive: bool) -> Iterator[None]:
    """Hold the lock of an open file, waiting for it; shared holders do not exclude each other.

    Given back explicitly: closing would not do where the descriptor was duplicated, as `mmap` does.
    """
    if fcntl is None:
        yield
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX if is_exclusive else fcntl.LOCK_SH)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def try_lock_exclusive(descriptor: int) -> bool:
    """Take the lock when it is free, until the file is closed; False when somebody holds it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_unlocked(path: Path) -> bool:
    """Whether the process that locked the file for its whole life has ended; False where there is no file."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return try_lock_exclusive(descriptor)
    finally:
        os.close(descriptor)
