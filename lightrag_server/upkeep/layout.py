"""What lies in a folder of data, and what of it a backup holds. Caches and marks of living processes are made anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from lightrag_server.access.tokens import SECRET_FILE
from lightrag_server.entrance import ACCESS_FILE
from lightrag_server.errors import InvalidInput
from lightrag_server.kept import BLOBS_FOLDER, COORDINATION_FILE, DIRECTORY_FILE
from lightrag_server.storages.sqlite.backend import SUFFIX, file_stem, workspace_of

MANIFEST = "manifest.json"
FORMAT = 1
PRIVATE = frozenset({ACCESS_FILE, SECRET_FILE})
"""Readable for their owner alone."""
UNFINISHED = "unfinished-"
"""Begins the name of a folder in which a backup or a restore is under way."""
FORMER = "before-restore-"

_SHARED = (COORDINATION_FILE, DIRECTORY_FILE, ACCESS_FILE, SECRET_FILE)
_BLOB = re.compile(rf"{BLOBS_FOLDER}(/(?!\.+(/|\Z))[A-Za-z0-9._+-]{{1,255}})+\Z")


def workspace_file(key: str) -> str:
    return file_stem(key) + SUFFIX


def workspaces_of(folder: Path) -> list[str]:
    """Storage keys of the workspaces that have a file."""
    keys = (workspace_of(path.stem) for path in folder.glob("*" + SUFFIX))
    return sorted(key for key in keys if key is not None)


def checked_member(name: str) -> str:
    """A name that a backup may hold; anything else, such as a way out of the folder, raises `InvalidInput`."""
    is_database = name.endswith(SUFFIX) and workspace_of(name.removesuffix(SUFFIX)) is not None
    if name in (*_SHARED, MANIFEST) or is_database or _BLOB.match(name):
        return name
    raise InvalidInput(f"the file holds {name!r}, which no backup does; nothing was restored")


def files_below(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
