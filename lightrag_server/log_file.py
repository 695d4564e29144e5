"""The log file of LOG_DIR, which any number of processes write at once."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

from lightrag_server.errors import ConfigError

NAME = "lightrag.log"


class LogFile(logging.Handler):
    """Each line is one appending write, so lines of several processes never mix. Whoever finds the file full puts it
    aside under a lock; the others see that the name leads elsewhere and follow. What somebody writes meanwhile is in
    the file that was put aside: no line is lost. Tools such as logrotate may move the file as well."""

    def __init__(self, folder: Path, max_bytes: int, backups: int) -> None:
        """Raises `OSError`. With `max_bytes` 0 it is never put aside."""
        super().__init__()
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / NAME
        self._max_bytes = max_bytes
        self._backups = backups
        self._file = self._opened()

    @classmethod
    def of(cls, folder: Path | None, max_bytes: int, backups: int) -> LogFile | None:
        """None without a folder. Raises `ConfigError` where it cannot be written to."""
        try:
            return cls(folder, max_bytes, backups) if folder else None
        except OSError as error:
            raise ConfigError(f"LOG_DIR is {str(folder)!r}, which cannot be written to: {error.strerror}.") from error

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
            self._follow()
            os.write(self._file, line)
            if self._max_bytes and os.fstat(self._file).st_size >= self._max_bytes:
                self._put_aside()
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        self.acquire()
        try:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
        finally:
            self.release()
        super().close()

    def _opened(self) -> int:
        return os.open(self._path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def _follow(self) -> None:
        """Open the file anew where its name leads to another one by now."""
        if self._file < 0 or not self._is_ours():
            old, self._file = self._file, self._opened()
            if old >= 0:
                os.close(old)

    def _is_ours(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._file))
        except FileNotFoundError:
            return False

    def _put_aside(self) -> None:
        lock = os.open(self._path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._is_ours():  # else another process was faster
                self._shift()
        finally:
            os.close(lock)

    def _shift(self) -> None:
        for n in range(self._backups - 1, 0, -1):
            if self._backup(n).exists():
                self._backup(n).replace(self._backup(n + 1))
        if self._backups:
            self._path.replace(self._backup(1))
        else:
            self._path.unlink()

    def _backup(self, number: int) -> Path:
        return self._path.with_name(f"{NAME}.{number}")
