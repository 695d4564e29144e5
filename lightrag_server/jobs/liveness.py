"""Whether another process of this host lives, told by a lock that the system releases when it ends."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path

from lightrag_server.file_locks import is_unlocked


class Liveness:
    """Holds a locked file named after this process. Others that find it unlocked know that its owner is gone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: int | None = None
        self.owner = f"{os.getpid()}-{secrets.token_hex(4)}"

    def open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._folder / self.owner, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def close(self) -> None:
        if self._file is not None:
            (self._folder / self.owner).unlink(missing_ok=True)
            os.close(self._file)
            self._file = None

    def dead_owners(self) -> list[str]:
        """Owners of this host whose process has ended without saying so."""
        return [path.name for path in self._folder.iterdir() if path.name != self.owner and is_unlocked(path)]

    def forget(self, owner: str) -> None:
        (self._folder / owner).unlink(missing_ok=True)
