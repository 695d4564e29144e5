from __future__ import annotations

from lightrag_server.storages.blob_keys import folders_of, segments_of


class MemoryBlobStore:
    """A complete blob store in memory: for tests and for servers that keep nothing."""

    def __init__(self) -> None:
        self._blobs: dict[tuple[str, str], bytes] = {}

    async def put(self, workspace: str, key: str, data: bytes) -> None:
        segments_of(key)
        self._blobs[workspace, key] = bytes(data)

    async def get(self, workspace: str, key: str) -> bytes | None:
        segments_of(key)
        return self._blobs.get((workspace, key))

    async def list(self, workspace: str, prefix: str = "") -> list[str]:
        folders_of(prefix)
        return sorted(key for owner, key in self._blobs if owner == workspace and key.startswith(prefix))

    async def delete(self, workspace: str, prefix: str) -> None:
        if prefix and not prefix.endswith("/"):
            segments_of(prefix)
            self._blobs.pop((workspace, prefix), None)
            return
        for key in await self.list(workspace, prefix):
            del self._blobs[workspace, key]
