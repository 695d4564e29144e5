"""The complete fake: all roles in dictionaries, with the transactions and fences of a real backend.

Not meant for much data: a transaction and most reads cost the size of the workspace.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lightrag_server.errors import JobLost
from lightrag_server.ports.storage import Capabilities
from lightrag_server.storages.memory_graph import MemoryGraphStore
from lightrag_server.storages.memory_rows import MemoryDocStatusStore, MemoryKVStore
from lightrag_server.storages.memory_search import MemoryLexicalStore, MemoryVectorStore
from lightrag_server.storages.memory_space import Cell, Space


class MemoryBackend:
    name = "memory"
    capabilities = Capabilities(transactions=True, shared_writes=False, persistent=False)

    def __init__(self) -> None:
        self._cells: dict[str, Cell] = {}

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        self._cells.clear()

    def kv(self, workspace: str, namespace: str) -> MemoryKVStore:
        return MemoryKVStore(self._cell(workspace), namespace)

    def vectors(self, workspace: str, namespace: str) -> MemoryVectorStore:
        return MemoryVectorStore(self._cell(workspace), namespace)

    def graph(self, workspace: str) -> MemoryGraphStore:
        return MemoryGraphStore(self._cell(workspace))

    def doc_status(self, workspace: str) -> MemoryDocStatusStore:
        return MemoryDocStatusStore(self._cell(workspace))

    def lexical(self, workspace: str, namespace: str) -> MemoryLexicalStore:
        return MemoryLexicalStore(self._cell(workspace), namespace)

    @asynccontextmanager
    async def transaction(self, workspace: str, fence: int | None = None) -> AsyncIterator[None]:
        cell = self._cell(workspace)
        if cell.in_transaction:
            raise RuntimeError(f"the workspace {workspace!r} is in a transaction already")
        async with cell.transaction() as space:
            if fence is not None:
                _raise_fence(space, workspace, fence)
            yield

    async def raise_fence(self, workspace: str, fence: int) -> None:
        async with self._cell(workspace).writing() as space:
            _raise_fence(space, workspace, fence)

    async def workspaces(self) -> list[str]:
        return sorted(name for name, cell in self._cells.items() if not cell.space.is_empty())

    async def drop(self, workspace: str) -> None:
        async with self._cell(workspace).writing() as space:
            space.clear()

    def _cell(self, workspace: str) -> Cell:
        return self._cells.setdefault(workspace, Cell(workspace))


def _raise_fence(space: Space, workspace: str, fence: int) -> None:
    if space.fence > fence:
        raise JobLost(f"the job {fence} on the workspace {workspace!r} was superseded by {space.fence}")
    space.fence = fence
