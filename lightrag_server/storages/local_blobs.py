"""Blobs as files: `<folder>/<workspace>/<segment>+/…/<segment>`.

Folders carry a mark that keys cannot contain, so `a` and `a/b` can both exist. Everything unfinished lives in one
folder beside the workspaces and is removed when the store is opened next, except what a living process is writing.
"""

from __future__ import annotations

import asyncio
import builtins
import os
import re
import shutil
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lightrag_server.core.ids import md5_hex
from lightrag_server.errors import InvalidInput, StorageUnavailable
from lightrag_server.file_locks import locked, try_lock_exclusive
from lightrag_server.storages.blob_keys import folders_of, segments_of

_FOLDER_MARK = "+"
_UNFINISHED = "unfinished+"
_PLAIN_WORKSPACE = re.compile(r"[a-z0-9_-]{0,64}\Z")
_TRIES = 10
_DISTURBED = (FileNotFoundError, FileExistsError)
"""Meanwhile others removed the folder that is written to, or opened the store."""


class LocalBlobStore:
    """Opens on first use: makes the folder and clears what killed processes left. Any number of processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opening = threading.Lock()
        self._is_open = False

    async def put(self, workspace: str, key: str, data: bytes) -> None:
        path = self._path(workspace, key)
        await asyncio.to_thread(self._put, path, data)

    async def get(self, workspace: str, key: str) -> bytes | None:
        path = self._path(workspace, key)
        return await asyncio.to_thread(self._get, path)

    async def list(self, workspace: str, prefix: str = "") -> builtins.list[str]:
        top = self._top(workspace, prefix)
        return await asyncio.to_thread(self._list, top, prefix)

    async def delete(self, workspace: str, prefix: str) -> None:
        if prefix and not prefix.endswith("/"):
            await asyncio.to_thread(self._delete_file, self._path(workspace, prefix))
        else:
            await asyncio.to_thread(self._delete_folder, self._top(workspace, prefix))

    # -- places

    def _path(self, workspace: str, key: str) -> Path:
        *folders, name = segments_of(key)
        return self._place(workspace, [*map(_marked, folders), name])

    def _top(self, workspace: str, prefix: str) -> Path:
        return self._place(workspace, [*map(_marked, folders_of(prefix))])

    def _place(self, workspace: str, parts: builtins.list[str]) -> Path:
        return self._folder.joinpath(folder_of_workspace(workspace), *parts)

    # -- in threads

    @contextmanager
    def _opened(self, path: Path) -> Iterator[None]:
        """Translate errors; refuse a path that a link leads out of our folder."""
        try:
            with self._opening:
                if not self._is_open:
                    self._open()
                    self._is_open = True
            if not path.resolve().is_relative_to(self._folder.resolve()):
                raise InvalidInput(f"the blob {path.name!r} lies outside of the blob folder")
            yield
        except OSError as error:
            raise StorageUnavailable(f"the blob folder is not available: {error.strerror or error}") from error

    def _open(self) -> None:
        unfinished = self._folder / _UNFINISHED
        unfinished.mkdir(parents=True, exist_ok=True)
        for path in unfinished.iterdir():
            _clear(path)

    def _put(self, path: Path, data: bytes) -> None:
        with self._opened(path):
            for remaining in reversed(range(_TRIES)):
                try:
                    self._write(path, data)
                    break
                except _DISTURBED:
                    if not remaining:
                        raise
            self._make_durable(path.parent)

    def _write(self, path: Path, data: bytes) -> None:
        descriptor, name = tempfile.mkstemp(dir=self._folder / _UNFINISHED)
        try:
            # the lock tells `_clear` that a living process is at it
            with open(descriptor, "wb") as file, locked(descriptor, is_exclusive=True):
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(name, path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(name)
            raise

    def _make_durable(self, folder: Path) -> None:
        """Sync a folder and those above it, any of which may be new; a folder gone again was deleted after the put."""
        while folder != self._folder.parent:
            with suppress(FileNotFoundError):
                _sync_folder(folder)
            folder = folder.parent

    def _get(self, path: Path) -> bytes | None:
        with self._opened(path):
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None

    def _list(self, top: Path, prefix: str) -> builtins.list[str]:
        with self._opened(top):
            return sorted(prefix + key for key in _keys_below(top))

    def _delete_file(self, path: Path) -> None:
        with self._opened(path):
            path.unlink(missing_ok=True)

    def _delete_folder(self, path: Path) -> None:
        """It leaves in one step, so that nobody sees half of it."""
        with self._opened(path):
            doomed = self._folder / _UNFINISHED / uuid.uuid4().hex
            with suppress(FileNotFoundError):  # there is none, or somebody else was faster
                path.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)


def folder_of_workspace(workspace: str) -> str:
    """A folder name of its own for any workspace, on any file system (case, reserved names, length)."""
    if _PLAIN_WORKSPACE.match(workspace):
        return f"w-{workspace}"
    readable = re.sub(r"[^a-z0-9_-]+", "-", workspace.lower())[:40]
    return f"x-{readable}-{md5_hex(workspace)}"


def _marked(folder: str) -> str:
    return folder + _FOLDER_MARK


def _keys_below(top: Path) -> Iterator[str]:
    for folder, _, names in os.walk(top):
        parts = [part.removesuffix(_FOLDER_MARK) for part in Path(folder).relative_to(top).parts]
        yield from ("/".join([*parts, name]) for name in names)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # folders cannot be opened elsewhere
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _clear(path: Path) -> None:
    """Remove something unfinished unless a living process holds it."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDWR)
        try:
            if try_lock_exclusive(descriptor):
                path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)
