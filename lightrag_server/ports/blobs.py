from __future__ import annotations

from typing import Protocol


class BlobStore(Protocol):
    """Bytes by key within one workspace: originals, parsed texts and prepared parts.

    Keys are slash-separated segments of [A-Za-z0-9._-], each of at most 200 characters and not only dots; anything
    else raises `InvalidInput`. A key may also be the beginning of another (`a` and `a/b`).
    """

    async def put(self, workspace: str, key: str, data: bytes) -> None:
        """Durable and all-or-nothing when it returns. The second put of a key wins."""
        ...

    async def get(self, workspace: str, key: str) -> bytes | None: ...

    async def list(self, workspace: str, prefix: str = "") -> list[str]:
        """Keys below a folder-like prefix (ends with a slash, or is empty), sorted."""
        ...

    async def delete(self, workspace: str, prefix: str) -> None:
        """Remove the blob of this key, or everything below it when it ends with a slash; all of the workspace when
        it is empty. Unknown ones are no error."""
        ...
