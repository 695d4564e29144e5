"""Advisory locks between processes on an open file; they end with the process that holds them."""

from __future__ import annotations

try:
    import fcntl
except ImportError:  # Windows: callers keep to files of their own process there
    fcntl = None

HAS_FILE_LOCKS = fcntl is not None


def lock_shared(descriptor: int) -> None:
    """Wait until nobody holds the lock exclusively. Closing the descriptor gives it back."""
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_SH)


def lock_exclusive(descriptor: int) -> None:
    """Wait until nobody else holds the lock. Closing the descriptor gives it back."""
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def try_lock_exclusive(descriptor: int) -> bool:
    """Take the lock when it is free; False when somebody holds it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
