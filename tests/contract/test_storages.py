"""The contract suites over every storage. A new backend is one line in `MAKERS`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from lightrag_server.core.records import DocStatus
from lightrag_server.errors import InvalidInput
from lightrag_server.ports.storage import Backend
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages import registry
from lightrag_server.storages.memory import MemoryBackend
from lightrag_server.storages.sqlite.backend import SQLiteBackend, file_stem, workspace_of

from .doc_status import DocStatusContract
from .graph import GraphContract
from .harness import Harness
from .kv import KVContract
from .lexical import LexicalContract
from .storage import StorageContract
from .vectors import VectorsContract

MAKERS: dict[str, Callable[[Path], Backend]] = {
    "memory": lambda folder: MemoryBackend(),
    "sqlite": lambda folder: SQLiteBackend(folder / "data", SQLiteSettings()),
}


@pytest.fixture(params=MAKERS)
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    harness = Harness(lambda: MAKERS[request.param](tmp_path))
    yield harness
    await harness.close()


@pytest.fixture
async def backend(storage: Harness) -> Backend:
    return await storage.connect()


class TestKV(KVContract): ...


class TestVectors(VectorsContract): ...


class TestGraph(GraphContract): ...


class TestDocStatus(DocStatusContract): ...


class TestLexical(LexicalContract): ...


class TestStorage(StorageContract): ...


def test_every_registered_backend_is_under_contract() -> None:
    assert set(MAKERS) == set(registry.BACKENDS)


# ----------------------------------------------------------------------------- what only SQLite promises

_ADD_FROM_ANOTHER_PROCESS = """
import asyncio, sys
from pathlib import Path
from lightrag_server.core.records import DocStatus, Document, Stage
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.sqlite.backend import SQLiteBackend

async def main():
    backend = SQLiteBackend(Path(sys.argv[1]), SQLiteSettings())
    await backend.open()
    store = backend.doc_status("")
    sys.stdin.readline()
    won = 0
    for n in range(60):
        row = Document(f"d{n}", "f", DocStatus.PENDING, Stage.ACCEPTED, "2026", "2026", track_id=sys.argv[2])
        won += not await store.add([row])
    await backend.close()
    print(won)

asyncio.run(main())
"""


async def test_of_two_processes_that_add_one_id_exactly_one_succeeds(tmp_path: Path) -> None:
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", _ADD_FROM_ANOTHER_PROCESS, str(tmp_path), name,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    answers = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert sum(int(out) for out, _ in answers) == 60
    backend = SQLiteBackend(tmp_path, SQLiteSettings())
    assert (await backend.doc_status("").counts())[DocStatus.PENDING] == 60
    await backend.close()


@pytest.mark.parametrize("workspace", ["", "default", "Default", "w-a", "A", "a", "AAA", "aAa", "-", "_", "x" * 100])
def test_file_names_lead_back_to_their_workspace(workspace: str) -> None:
    assert workspace_of(file_stem(workspace)) == workspace


def test_file_names_differ_where_case_is_ignored() -> None:
    names = ["", "default", "Default", "a", "A", "aB", "Ab", "AB", "ab", "w-a", "-a", "_a"]
    assert len({file_stem(name).casefold() for name in names}) == len(names)


@pytest.mark.parametrize("stem", ["coordination", "w-", "w-A", "w-a+", "w-a+1", "w-a b", "a", "w-Default"])
def test_other_files_are_no_workspaces(stem: str) -> None:
    assert workspace_of(stem) is None


@pytest.mark.parametrize("workspace", ["../x", "a/b", "a.b", "a b", "é", "a\n", "a\0", "x" * 101])
async def test_names_that_could_leave_the_folder_are_refused(tmp_path: Path, workspace: str) -> None:
    backend = SQLiteBackend(tmp_path, SQLiteSettings())
    with pytest.raises(InvalidInput):
        backend.kv(workspace, "things")
    await backend.close()


def test_drop_gives_space_back(tmp_path: Path) -> None:
    asyncio.run(_fill_and_drop(tmp_path))
    assert sum(path.stat().st_size for path in tmp_path.glob("w-big*")) < 500_000


async def _fill_and_drop(tmp_path: Path) -> None:
    backend = SQLiteBackend(tmp_path, SQLiteSettings())
    await backend.kv("big", "things").put({f"k{n}": {"text": "x" * 5_000} for n in range(500)})
    await backend.drop("big")
    await backend.close()


async def test_an_id_that_sqlite_could_not_find_again_is_refused(tmp_path: Path) -> None:
    backend = SQLiteBackend(tmp_path, SQLiteSettings())
    for refused in ("a\0b", "\ud800"):
        with pytest.raises(InvalidInput):
            await backend.kv("", "things").put({refused: {}})
        with pytest.raises(InvalidInput):
            await backend.kv("", "things").get([refused])
    await backend.close()
