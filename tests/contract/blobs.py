"""What every blob store must do; `test_blobs.py` runs it over all of them."""

from __future__ import annotations

import asyncio

import pytest

from lightrag_server.errors import InvalidInput
from lightrag_server.ports.blobs import BlobStore

BAD_KEYS = ["/", "/a", "a//b", "..", ".", "a/../b", "...", "a b", "a\\b", "ä", "a\n", "a\0", "C:x", "a+", "x" * 201]
BAD_WORKSPACES = ["", "..", "a/b", "文档", "W", "w", "con", "x" * 300, "a\nb", "w-", "unfinished+", "w+"]


class BlobStoreContract:
    """A subclass gives the fixture `blobs`."""

    async def test_a_blob_comes_back_as_it_was_put(self, blobs: BlobStore):
        data = bytes(range(256)) * 1000
        await blobs.put("w", "originals/doc-1.pdf", data)
        assert await blobs.get("w", "originals/doc-1.pdf") == data

    async def test_an_empty_blob_is_not_an_unknown_one(self, blobs: BlobStore):
        await blobs.put("w", "empty", b"")
        assert await blobs.get("w", "empty") == b""
        assert await blobs.get("w", "unknown") is None
        assert await blobs.get("w", "empty/below") is None

    async def test_the_second_put_wins(self, blobs: BlobStore):
        await blobs.put("w", "a", b"first, longer")
        await blobs.put("w", "a", b"second")
        assert await blobs.get("w", "a") == b"second"
        assert await blobs.list("w") == ["a"]

    async def test_a_key_may_be_the_beginning_of_another(self, blobs: BlobStore):
        for key in ("a/b", "a", "a/b/c"):
            await blobs.put("w", key, key.encode())
        assert [await blobs.get("w", key) for key in ("a", "a/b", "a/b/c")] == [b"a", b"a/b", b"a/b/c"]
        await blobs.delete("w", "a")
        assert await blobs.list("w") == ["a/b", "a/b/c"]

    async def test_list_gives_sorted_keys_below_a_folder(self, blobs: BlobStore):
        keys = ["a", "a-b/x", "a.txt", "a/1", "a/1/x", "a/10", "ab/1", "x" * 200 + "/" + "y" * 200]
        for key in reversed(keys):
            await blobs.put("w", key, b"")
        assert await blobs.list("w") == keys
        assert await blobs.list("w", "a/") == ["a/1", "a/1/x", "a/10"]
        assert await blobs.list("w", "a/1/") == ["a/1/x"]
        assert await blobs.list("w", "unknown/") == []

    async def test_delete_removes_one_key_or_all_below_a_folder(self, blobs: BlobStore):
        for key in ("a/1", "a/2/x", "ab", "b"):
            await blobs.put("w", key, b"")
        await blobs.delete("w", "b")
        assert await blobs.list("w") == ["a/1", "a/2/x", "ab"]
        await blobs.delete("w", "a/")
        assert await blobs.list("w") == ["ab"]
        assert await blobs.get("w", "a/1") is None

    async def test_delete_of_the_empty_prefix_removes_all_of_one_workspace(self, blobs: BlobStore):
        await blobs.put("w", "a/1", b"")
        await blobs.put("x", "a/1", b"kept")
        await blobs.delete("w", "")
        assert await blobs.list("w") == []
        assert await blobs.get("x", "a/1") == b"kept"

    async def test_deleting_what_is_unknown_is_no_error(self, blobs: BlobStore):
        for prefix in ("a", "a/", ""):
            await blobs.delete("w", prefix)
            await blobs.delete("w", prefix)
        await blobs.put("w", "a", b"after")
        assert await blobs.get("w", "a") == b"after"

    @pytest.mark.parametrize("key", BAD_KEYS)
    async def test_other_keys_are_refused(self, blobs: BlobStore, key: str):
        with pytest.raises(InvalidInput):
            await blobs.put("w", key, b"")
        with pytest.raises(InvalidInput):
            await blobs.get("w", key)
        for prefix in (f"{key}/", f"a/{key}/"):
            with pytest.raises(InvalidInput):
                await blobs.list("w", prefix)
            with pytest.raises(InvalidInput):
                await blobs.delete("w", prefix)

    async def test_a_prefix_that_is_no_folder_and_an_empty_key_are_refused(self, blobs: BlobStore):
        with pytest.raises(InvalidInput):
            await blobs.list("w", "a")
        with pytest.raises(InvalidInput):
            await blobs.put("w", "", b"")
        with pytest.raises(InvalidInput):
            await blobs.put("w", "a/", b"")

    async def test_any_workspace_is_apart_from_all_others(self, blobs: BlobStore):
        for workspace in BAD_WORKSPACES:
            await blobs.put(workspace, "key", workspace.encode())
        for workspace in BAD_WORKSPACES:
            assert await blobs.get(workspace, "key") == workspace.encode()
        await blobs.delete("w", "")
        assert [w for w in BAD_WORKSPACES if not await blobs.list(w)] == ["w"]

    async def test_puts_of_one_key_at_once_leave_one_of_them_whole(self, blobs: BlobStore):
        candidates = [bytes([n]) * 200_000 for n in range(8)]
        await asyncio.gather(*(blobs.put("w", "a/b", data) for data in candidates))
        assert await blobs.get("w", "a/b") in candidates
        assert await blobs.list("w") == ["a/b"]

    async def test_puts_and_deletes_of_one_folder_at_once_all_succeed(self, blobs: BlobStore):
        puts = (blobs.put("w", f"a/{n}/x", b"data") for n in range(20))
        await asyncio.gather(*puts, *(blobs.delete("w", "a/") for _ in range(20)))
        assert all([await blobs.get("w", key) == b"data" for key in await blobs.list("w")])
