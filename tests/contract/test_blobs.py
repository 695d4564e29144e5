from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lightrag_server.errors import InvalidInput
from lightrag_server.ports.blobs import BlobStore
from lightrag_server.storages.local_blobs import LocalBlobStore
from lightrag_server.storages.memory_blobs import MemoryBlobStore
from tests.contract.blobs import BlobStoreContract


class TestMemoryBlobs(BlobStoreContract):
    @pytest.fixture
    def blobs(self) -> BlobStore:
        return MemoryBlobStore()


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def run(script: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


KILLED_WHILE_WRITING = """
    import asyncio, os, sys, time
    from pathlib import Path
    from lightrag_server.storages.local_blobs import LocalBlobStore

    def stop_here(descriptor):
        print("writing", flush=True)
        time.sleep(60)

    os.fsync = stop_here
    asyncio.run(LocalBlobStore(Path(sys.argv[1])).put("w", "a", b"x" * 100_000))
"""

DISK_FULL = """
    import asyncio, resource, sys
    from pathlib import Path
    from lightrag_server.errors import StorageUnavailable
    from lightrag_server.storages.local_blobs import LocalBlobStore

    async def main():
        blobs = LocalBlobStore(Path(sys.argv[1]))
        await blobs.put("w", "a", b"before")
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        try:
            await blobs.put("w", "a", b"x" * 100_000)
        except StorageUnavailable as error:
            print("refused:", error.retryable, (await blobs.get("w", "a")).decode())

    asyncio.run(main())
"""


class TestLocalBlobs(BlobStoreContract):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> BlobStore:
        return LocalBlobStore(tmp_path / "blobs")

    async def test_blobs_survive_reopening(self, tmp_path: Path):
        await LocalBlobStore(tmp_path).put("w", "a/b", b"data")
        assert await LocalBlobStore(tmp_path).get("w", "a/b") == b"data"

    async def test_nothing_but_the_blob_is_left_after_a_put(self, tmp_path: Path):
        await LocalBlobStore(tmp_path).put("w", "a/b", b"data")
        assert files_below(tmp_path) == ["w-w/a+/b"]

    async def test_a_put_that_meets_a_full_disk_leaves_the_old_blob_and_nothing_else(self, tmp_path: Path):
        with run(DISK_FULL, str(tmp_path)) as process:
            output, _ = await asyncio.to_thread(process.communicate)
        assert output.strip() == "refused: True before"
        assert files_below(tmp_path) == ["w-w/a"]

    async def test_what_a_killed_process_was_writing_is_not_listed_and_is_cleared_at_open(self, tmp_path: Path):
        living = LocalBlobStore(tmp_path)
        await living.put("w", "b", b"data")
        with run(KILLED_WHILE_WRITING, str(tmp_path)) as process:
            assert process.stdout is not None
            await asyncio.to_thread(process.stdout.readline)
            assert await living.list("w") == ["b"]
            await LocalBlobStore(tmp_path).list("w")
            assert len(files_below(tmp_path)) == 2, "a living process keeps what it is writing"
            os.kill(process.pid, signal.SIGKILL)
        assert len(files_below(tmp_path)) == 2
        reopened = LocalBlobStore(tmp_path)
        assert await reopened.list("w") == ["b"]
        assert files_below(tmp_path) == ["w-w/b"]

    async def test_a_half_deleted_folder_is_cleared_at_open(self, tmp_path: Path):
        rest = tmp_path / "unfinished+" / "gone" / "a+"
        rest.mkdir(parents=True)
        (rest / "x").write_bytes(b"")
        assert await LocalBlobStore(tmp_path).list("w") == []
        assert files_below(tmp_path) == []

    async def test_a_link_out_of_the_folder_is_not_followed(self, tmp_path: Path):
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "secret").write_bytes(b"secret")
        blobs = LocalBlobStore(tmp_path / "blobs")
        await blobs.put("w", "kept", b"")
        (tmp_path / "blobs" / "w-w" / "link+").symlink_to(outside)
        for attempt in (
            blobs.get("w", "link/secret"),
            blobs.put("w", "link/new", b""),
            blobs.delete("w", "link/secret"),
            blobs.delete("w", "link/"),
        ):
            with pytest.raises(InvalidInput):
                await attempt
        assert await blobs.list("w") == ["kept"]
        await blobs.delete("w", "")
        assert files_below(outside) == ["secret"]
