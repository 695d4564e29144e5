"""`--documents`: what is in a folder is in the workspace, too, before questions are asked."""

from __future__ import annotations

import asyncio
import time
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightrag_server.errors import ConfigError, LightRAGError
from lightrag_server.evaluation.progress import Progress
from lightrag_server.evaluation.target import FAILED, State, Target

LOOK_S = 0.5
LOOK_SHARE = 5
"""So many times as long as a look takes nobody looks again: lists of large workspaces are long."""
STALLED_S = 1800.0


@dataclass(frozen=True, slots=True)
class Brought:
    """`refused` and `failed` say why, by file name."""

    uploaded: int
    known: int
    refused: dict[str, str]
    failed: dict[str, str]


def files_of(folder: Path, apart_from: Collection[Path]) -> list[Path]:
    """Regular files directly in the folder, by name, hidden ones left out. Raises `ConfigError`."""
    if not folder.is_dir():
        raise ConfigError(f"--documents {folder}: there is no such folder")
    left_out = {path.resolve() for path in apart_from}
    found = [p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".") and p.resolve() not in left_out]
    if not found:
        raise ConfigError(f"--documents {folder}: it holds no files")
    return sorted(found)


async def bring(target: Target, files: Sequence[Path], progress: Progress) -> Brought:
    """Upload what is not there by its name, and wait until all of it is processed or failed."""
    named = {unicodedata.normalize("NFC", path.name): path for path in files}
    known = named.keys() & await target.documents()
    new = {name: path for name, path in named.items() if name not in known}
    refused = await _upload(target, new, progress)
    states = await _settled(target, [name for name in named if name not in refused], progress)
    failed = {name: state.error for name, state in states.items() if state.status == FAILED}
    return Brought(len(new) - len(refused), len(known), refused, failed)


async def _upload(target: Target, files: Mapping[str, Path], progress: Progress) -> dict[str, str]:
    """What was refused, and why."""
    refused: dict[str, str] = {}
    for n, (name, path) in enumerate(files.items(), 1):
        try:
            await target.upload(name, await asyncio.to_thread(path.read_bytes))
        except (LightRAGError, OSError) as error:
            refused[name] = str(error)
        progress.show(f"uploading {n}/{len(files)}", is_last=n == len(files))
    return refused


async def _settled(target: Target, names: Sequence[str], progress: Progress) -> dict[str, State]:
    """The states of these documents once none is under way. One that is not listed yet is."""
    changed_at, before = time.monotonic(), Counter[str]()
    while True:
        began = time.monotonic()
        listed = await target.documents()
        states = {name: listed.get(name, State("waiting")) for name in names}
        counts = Counter(state.status for state in states.values())
        is_done = all(state.is_settled for state in states.values())
        progress.show("indexing " + ", ".join(f"{n} {status}" for status, n in sorted(counts.items())), is_last=is_done)
        if is_done:
            return states
        if counts != before:
            changed_at, before = began, counts
        elif began - changed_at > STALLED_S:
            raise LightRAGError(f"the documents are not indexed: nothing has changed for {STALLED_S / 60:.0f} minutes")
        await asyncio.sleep(max(LOOK_S, LOOK_SHARE * (time.monotonic() - began)))
