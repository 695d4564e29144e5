"""`lightrag-server restore`: a folder of data from the file that `backup` made.

Everything is unpacked beside its place and checked before anything that is there moves; what was there is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import shutil
import sys
import tarfile
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightrag_server import logs
from lightrag_server.entrance import ACCESS_FILE
from lightrag_server.errors import Conflict, InvalidInput, StorageError
from lightrag_server.jobs.liveness import Liveness
from lightrag_server.kept import COORDINATION_FILE, DIRECTORY_FILE, PROCESSES_FOLDER
from lightrag_server.settings.loader import from_process
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.sqlite.access import SQLiteAccessStore
from lightrag_server.storages.sqlite.backend import SQLiteBackend
from lightrag_server.storages.sqlite.directory import SQLiteDirectory
from lightrag_server.storages.sqlite.jobs import SQLiteJobQueue
from lightrag_server.upkeep.layout import (
    FORMAT,
    FORMER,
    MANIFEST,
    PRIVATE,
    UNFINISHED,
    checked_member,
    workspaces_of,
)

MAX_MANIFEST_BYTES = 1 << 30
_COPIED_BYTES = 1 << 20
_NO_DATA = ("lost+found",)
"""What an empty file system holds."""


def run(program: str, arguments: Sequence[str]) -> int:
    given = _parser(program).parse_args(arguments)
    settings = from_process({}).settings
    logs.configure("WARNING")
    folder = given.into or settings.server.working_dir
    former = asyncio.run(restore(given.file, folder, settings.sqlite, force=given.force))
    print(f"{folder}: restored from {given.file}", file=sys.stderr)
    if former:
        print(f"what was there before is in {former}; delete it when all is well", file=sys.stderr)
    return 0


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program, description="Bring back what a backup holds. No server may run on it."
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="as `backup` wrote it")
    parser.add_argument("--into", metavar="DIR", type=Path, help="folder of all data [WORKING_DIR]")
    parser.add_argument("--force", action="store_true", help="also into a folder that is not empty")
    return parser


async def restore(file: Path, folder: Path, settings: SQLiteSettings, *, force: bool = False) -> Path | None:
    """Where that is now which was there before, if anything was. Raises `Conflict` for a folder that is in use or not
    empty, `InvalidInput` for a file that is no whole backup, and `StorageError` for one of a newer version; then the
    folder is as it was."""
    _refuse_used(folder, force=force)
    try:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{UNFINISHED}restore-", dir=folder) as name:
            stage = Path(name)
            await asyncio.to_thread(_unpack, file, stage)
            await _check_schemas(stage, settings)
            await asyncio.to_thread(os.sync)
            _refuse_used(folder, force=True)
            return await asyncio.to_thread(_exchange, folder, stage)
    except OSError as error:
        raise StorageError(f"{str(folder)!r} cannot be restored: {error.strerror or error}") from error


def _refuse_used(folder: Path, *, force: bool) -> None:
    """A server that runs would go on with the files that it has open, so no force helps there."""
    marks = folder / PROCESSES_FOLDER
    if marks.is_dir() and {mark.name for mark in marks.iterdir()} - set(Liveness(marks).dead_owners()):
        raise Conflict(f"a server runs on {str(folder)!r}; stop it, then restore")
    is_empty = not folder.exists() or not _entries(folder)
    if not is_empty and not force:
        raise Conflict(f"{str(folder)!r} is not empty; name another folder with --into, or replace it with --force")


def _entries(folder: Path) -> list[Path]:
    """What would be replaced."""
    return [path for path in folder.iterdir() if path.name not in _NO_DATA and not _is_ours(path)]


def _is_ours(path: Path) -> bool:
    return path.name.startswith((UNFINISHED, FORMER))


# ----------------------------------------------------------------------------- unpacking and checking


def _unpack(file: Path, stage: Path) -> None:
    if not file.is_file():
        raise InvalidInput(f"there is no file {str(file)!r}")
    try:
        with tarfile.open(file, "r:gz") as tar:
            sums = {member.name: _unpack_member(tar, member, stage) for member in tar}
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise InvalidInput(f"{str(file)!r} is no backup, or not all of one: {error}") from error
    _check_sums(_manifest(stage / MANIFEST, file), sums)
    (stage / MANIFEST).unlink()


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, stage: Path) -> str:
    """The sum of its content."""
    path = stage / checked_member(member.name)
    content = tar.extractfile(member) if member.isreg() else None
    if content is None or path.exists():
        raise InvalidInput(f"the file holds {member.name!r} twice or as no plain file; nothing was restored")
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if path.name in PRIVATE else 0o644)
    total = hashlib.sha256()
    with open(descriptor, "wb") as target:
        while data := content.read(_COPIED_BYTES):
            target.write(data)
            total.update(data)
    return total.hexdigest()


def _manifest(path: Path, file: Path) -> dict[str, Any]:
    if not path.exists() or path.stat().st_size > MAX_MANIFEST_BYTES:
        raise InvalidInput(f"{str(file)!r} has no manifest: it is no backup, or not all of one")
    try:
        manifest = json.loads(path.read_bytes())
        number, _ = int(manifest["format"]), dict(manifest["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"the manifest of {str(file)!r} cannot be read: {error}") from error
    if number > FORMAT:
        raise InvalidInput(
            f"{str(file)!r} was made by lightrag-server {manifest.get('version')}: upgrade to restore it"
        )
    return manifest


def _check_sums(manifest: dict[str, Any], sums: dict[str, str]) -> None:
    wanted = {name: entry["sha256"] for name, entry in manifest["files"].items()}
    found = {name: total for name, total in sums.items() if name != MANIFEST}
    if wrong := sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)):
        raise InvalidInput(f"{len(wrong)} file(s) of the backup are not what was backed up, as {wrong[0]!r}")


async def _check_schemas(stage: Path, settings: SQLiteSettings) -> None:
    """Open every database as a server would: an older one is brought up to date, a newer one refused."""
    backend = SQLiteBackend(stage, settings)
    queue = SQLiteJobQueue(stage / COORDINATION_FILE, settings)
    directory = SQLiteDirectory(stage / DIRECTORY_FILE, settings)
    access = SQLiteAccessStore(stage / ACCESS_FILE, settings)
    try:
        await backend.open()
        for key in workspaces_of(stage):
            await backend.doc_status(key).counts()
        await queue.open_jobs()
        await directory.rows()
        await access.known()
    finally:
        for opened in (backend, queue, directory, access):
            await opened.close()


# ----------------------------------------------------------------------------- taking its place


def _exchange(folder: Path, stage: Path) -> Path | None:
    """Within the folder, which may be the root of a file system of its own. When a step fails all go back."""
    former = folder / f"{FORMER}{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    former.mkdir()
    moves = [(path, former / path.name) for path in _entries(folder)]
    moves += [(path, folder / path.name) for path in stage.iterdir()]
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            source.rename(target)
            done.append((source, target))
    except BaseException:
        for source, target in reversed(done):
            target.rename(source)
        former.rmdir()
        raise
    if any(former.iterdir()):
        return former
    shutil.rmtree(former)
    return None
