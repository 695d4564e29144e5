"""`lightrag-server backup`: everything of a folder of data in one file, while servers go on.

The files of one moment would need them to stop. What makes the copy whole is the order: kept files, then the rows that
name them, then the kept files that came meanwhile (they are written before their row and removed after it), and the
jobs at last. Jobs that lack are queued again by the next server that starts, those of unknown documents end at once.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from lightrag_server import __version__, logs
from lightrag_server.access.tokens import SECRET_FILE
from lightrag_server.core.records import Document
from lightrag_server.engine import blob_keys
from lightrag_server.engine.clock import utc_now
from lightrag_server.engine.commit import EMBEDDING_KEY
from lightrag_server.engine.doctor.treatment import Treatment
from lightrag_server.engine.doctor.work import Work
from lightrag_server.engine.leftovers import ORPHAN_AFTER_S
from lightrag_server.engine.stores import Stores, open_stores
from lightrag_server.entrance import ACCESS_FILE
from lightrag_server.errors import ConfigError, NotFound, StorageError
from lightrag_server.kept import BLOBS_FOLDER, COORDINATION_FILE, DIRECTORY_FILE, open_kept
from lightrag_server.ports.doc_status import Filter
from lightrag_server.ports.storage import Backends
from lightrag_server.settings import Settings
from lightrag_server.settings.loader import from_process
from lightrag_server.storages.local_blobs import LocalBlobStore, folder_of_workspace
from lightrag_server.storages.registry import backend_names
from lightrag_server.storages.sqlite.backend import SQLiteBackend
from lightrag_server.storages.sqlite.jobs import SQLiteJobQueue
from lightrag_server.storages.sqlite.snapshot import copy_database, edit, schema_version
from lightrag_server.upkeep.layout import (
    FORMAT,
    MANIFEST,
    PRIVATE,
    UNFINISHED,
    files_below,
    workspace_file,
    workspaces_of,
)

COMPRESSION = 1
"""Of gzip: vectors hardly shrink, texts shrink enough."""
PAGE = 500
TRIES = 5
LEFT_AFTER_S = 24 * 3600.0
"""A folder of a backup that was killed is removed by one that begins so much later."""


def run(program: str, arguments: Sequence[str]) -> int:
    given = _parser(program).parse_args(arguments)
    settings = from_process({"WORKING_DIR": given.working_dir} if given.working_dir else {}).settings
    logs.configure("WARNING")
    asyncio.run(back_up(settings, given.file, given.workspace))
    print(f"{given.file}: {given.file.stat().st_size:,} bytes", file=sys.stderr)
    return 0


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Keep documents, knowledge, jobs and access keys in one file, also while a server runs. "
        "The file holds secrets; it is readable for you alone.",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="to be written; such as backup.tar.gz")
    parser.add_argument("--working-dir", help="folder of all data [WORKING_DIR]")
    parser.add_argument("--workspace", metavar="NAME", help="only this one, without access keys; else everything")
    return parser


async def back_up(settings: Settings, file: Path, name: str | None = None) -> None:
    """The file is there when this returns, and whole; else it is as it was. Raises `ConfigError` where the data is kept
    elsewhere, or no workspace has the name."""
    folder = settings.server.working_dir
    if not folder.is_dir():
        raise ConfigError(f"WORKING_DIR is {str(folder)!r}, and there is no such folder; is this the right place?")
    if other := set(backend_names(settings).values()) - {SQLiteBackend.name}:
        raise ConfigError(f"a backup holds SQLite's data only; {', '.join(sorted(other))} keeps some here")
    only = None if name is None else await _key_of(settings, name)
    with _stage(folder) as stage:
        backup = _Backup(settings, stage, only)
        await backup.gather()
        await asyncio.to_thread(_write, file, stage, await backup.about())


async def _key_of(settings: Settings, name: str) -> str:
    async with open_kept(settings) as kept:
        try:
            return (await kept.register.existing(name)).key
        except NotFound as error:
            raise ConfigError(str(error)) from error


@contextmanager
def _stage(folder: Path) -> Iterator[Path]:
    """A folder beside the data, where kept files need not be copied. What killed backups left goes."""
    for left in folder.glob(f"{UNFINISHED}backup-*"):
        if left.stat().st_mtime < time.time() - LEFT_AFTER_S:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{UNFINISHED}backup-", dir=folder) as stage:
        yield Path(stage)


@dataclass(slots=True)
class _Backup:
    """`only` is the storage key of the one workspace that is wanted, None for all."""

    settings: Settings
    stage: Path
    only: str | None
    workspaces: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def folder(self) -> Path:
        return self.settings.server.working_dir

    async def gather(self) -> None:
        await asyncio.to_thread(self._shared)
        keys = workspaces_of(self.folder)
        for number, key in enumerate(keys, 1):
            if self.only in (None, key):
                print(f"workspace {key or 'default'} ({number} of {len(keys)})", file=sys.stderr)
                await self._workspace(key)
        await self._jobs()

    async def about(self) -> dict[str, Any]:
        databases = [path for path in self.stage.iterdir() if path.suffix == ".sqlite"]
        return {
            "format": FORMAT,
            "version": __version__,
            "made_at": utc_now().isoformat(),
            "schemas": {path.name: await asyncio.to_thread(schema_version, path) for path in databases},
            "workspaces": self.workspaces,
        }

    def _shared(self) -> None:
        """The directory goes before the data: without its row data would be a workspace of another name."""
        self._copy(DIRECTORY_FILE)
        if self.only is not None:
            self._edit(DIRECTORY_FILE, "DELETE FROM workspaces WHERE key <> ?")
            return
        self._copy(ACCESS_FILE)
        if (secret := self.folder / SECRET_FILE).exists():
            shutil.copyfile(secret, self.stage / SECRET_FILE)

    async def _workspace(self, key: str) -> None:
        lost: list[str] = []
        for _ in range(TRIES):
            await asyncio.to_thread(self._link_blobs, key)
            await asyncio.to_thread(self._copy, workspace_file(key))
            await asyncio.to_thread(self._link_blobs, key)
            if not (lost := await self._described(key)):
                return
        print(f"the originals of {len(lost)} document(s) are gone, as {lost[0]}; see doctor", file=sys.stderr)

    async def _described(self, key: str) -> list[str]:
        """Note what the manifest says of it; return documents whose original is not there: it was removed together
        with a row that came and went while files were gathered."""
        async with self._staged(key) as stores:
            lost = await _without_original(stores)
            embedding = (await stores.meta.get([EMBEDDING_KEY])).get(EMBEDDING_KEY)
        others = [known for known in self.workspaces if known["key"] != key]
        self.workspaces = [*others, {"key": key, "embedding": embedding}]
        return lost

    @asynccontextmanager
    async def _staged(self, key: str) -> AsyncIterator[Stores]:
        backend = SQLiteBackend(self.stage, self.settings.sqlite)
        try:
            backends = Backends(backend, backend, backend, backend, backend)
            yield open_stores(key, backends, LocalBlobStore(self.stage / BLOBS_FOLDER))
        finally:
            await backend.close()

    async def _jobs(self) -> None:
        """Those under way are put back, for nobody will be working on them, and what the server would look after at
        its start is looked after here: the file holds what `doctor` finds nothing in."""
        await asyncio.to_thread(self._copy, COORDINATION_FILE)
        if self.only is not None:
            for table in ("jobs", "progress", "notes"):
                self._edit(COORDINATION_FILE, f"DELETE FROM {table} WHERE workspace <> ?")
        queue = SQLiteJobQueue(self.stage / COORDINATION_FILE, self.settings.sqlite)
        try:
            await queue.reap(-1.0)
            for known in self.workspaces:
                async with self._staged(known["key"]) as stores:
                    faults = await Work(stores, queue, _later).examine()
                    await Treatment(stores, queue, utc_now).give(faults)
        finally:
            await queue.close()

    # -- in threads

    def _copy(self, name: str) -> None:
        source, target = self.folder / name, self.stage / name
        if not source.exists():
            return
        target.unlink(missing_ok=True)
        target.touch(mode=0o600)
        copy_database(source, target, self.settings.sqlite.busy_timeout_s)

    def _edit(self, name: str, statement: str) -> None:
        if (self.stage / name).exists():
            edit(self.stage / name, statement, self.only)

    def _link_blobs(self, key: str) -> None:
        """Kept files are never changed, only replaced, so another name for one keeps it as it is."""
        below = Path(BLOBS_FOLDER) / folder_of_workspace(key)
        for path in files_below(self.folder / below):
            target = self.stage / path.relative_to(self.folder)
            if not target.exists():
                _link(path, target)


def _later() -> datetime:
    """In the copy no upload is under way."""
    return utc_now() + timedelta(seconds=2 * ORPHAN_AFTER_S)


async def _without_original(stores: Stores) -> list[str]:
    kept = set(await stores.blobs.list(stores.workspace, blob_keys.ORIGINALS))
    lost: list[str] = []
    after: str | None = None
    while page := await stores.documents.find(Filter(), PAGE, after):
        lost += [document.file_path for document in page if not _originals(document) <= kept]
        after = page[-1].id
    return lost


def _originals(document: Document) -> set[str]:
    keys = (document.blob_key, document.serving.blob_key if document.serving else None)
    return {key for key in keys if key}


def _link(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target)
    except FileNotFoundError:
        return  # removed meanwhile, and so was whatever named it
    except OSError:  # a file system without links
        shutil.copyfile(path, target)


# ----------------------------------------------------------------------------- the file


class _Summed(io.RawIOBase):
    """Reads a file and sums up what was read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sum = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.sum.update(data)
        return data


def _write(file: Path, stage: Path, about: dict[str, Any]) -> None:
    """Beside its place, synced, then in one step. The manifest is the last member: a torn file has none."""
    part = file.with_name(file.name + ".part")
    try:
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as raw:
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=COMPRESSION) as packed:
                _write_members(packed, stage, about)
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(part, file)
        _sync(file.absolute().parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StorageError(f"the backup {str(file)!r} cannot be written: {error.strerror or error}") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _write_members(packed: gzip.GzipFile, stage: Path, about: dict[str, Any]) -> None:
    sums: dict[str, dict[str, Any]] = {}
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in files_below(stage):
            name = path.relative_to(stage).as_posix()
            with path.open("rb") as file:
                summed = _Summed(file)
                info = _member(name, path.stat().st_size)
                tar.addfile(info, summed)
                sums[name] = {"sha256": summed.sum.hexdigest(), "bytes": info.size}
            if len(sums) % 1000 == 0:
                print(f"{len(sums):,} files", file=sys.stderr)
        manifest = json.dumps(about | {"files": sums}, indent=1).encode()
        tar.addfile(_member(MANIFEST, len(manifest)), io.BytesIO(manifest))


def _member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mtime = size, int(time.time())
    info.mode = 0o600 if name in PRIVATE else 0o644
    return info


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
