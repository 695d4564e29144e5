"""A backend: the connection that hands out the stores of a workspace."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from lightrag_server.ports.doc_status import DocStatusStore
from lightrag_server.ports.graph import GraphStore
from lightrag_server.ports.kv import KVStore
from lightrag_server.ports.lexical import LexicalStore
from lightrag_server.ports.vectors import VectorStore


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend promises; bootstrap refuses combinations that cannot work."""

    transactions: bool
    """Writes inside `transaction` become visible together or not at all."""
    shared_writes: bool
    """Several processes may write at once."""
    persistent: bool


class Backend(Protocol):
    """Opened once per process. Store handles are cheap values; a backend that lacks a role raises `ConfigError`."""

    name: str
    capabilities: Capabilities

    async def open(self) -> None: ...

    async def close(self) -> None:
        """Release everything. Idempotent."""
        ...

    def kv(self, workspace: str, namespace: str) -> KVStore: ...

    def vectors(self, workspace: str, namespace: str) -> VectorStore: ...

    def graph(self, workspace: str) -> GraphStore: ...

    def doc_status(self, workspace: str) -> DocStatusStore: ...

    def lexical(self, workspace: str, namespace: str) -> LexicalStore: ...

    def transaction(self, workspace: str, fence: int | None = None) -> AbstractAsyncContextManager[None]:
        """Join all writes of the current task to this workspace's stores into one atomic write.

        With a `fence`, raise `JobLost` and write nothing when a larger one was already seen (see `raise_fence`).
        Leaving with an exception writes nothing. Not re-entrant. Reads inside see what was written inside.
        """
        ...

    async def raise_fence(self, workspace: str, fence: int) -> None:
        """Make every transaction with a smaller fence fail from now on; raise `JobLost` when a larger one was seen."""
        ...

    async def workspaces(self) -> list[str]:
        """Names of the workspaces that hold anything, sorted."""
        ...

    async def drop(self, workspace: str) -> None:
        """Remove everything of a workspace from this backend."""
        ...


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something wrong with the form in which a backend keeps data. `kind` is a stable word, `what` a phrase in the
    plural; `remedy` says what mends it, and `can_mend` whether `SelfChecking.mend` does."""

    kind: str
    what: str
    count: int
    examples: tuple[str, ...]
    remedy: str
    can_mend: bool = True


@runtime_checkable
class SelfChecking(Protocol):
    """A backend that can look for torn files and other flaws below what its stores show."""

    async def flaws(self, workspace: str) -> list[Flaw]:
        """Costs a reading of everything; nothing is changed."""
        ...

    async def mend(self, workspace: str) -> None:
        """Mend what can be mended without knowing what the rows mean. Rows that cannot be read and can be made anew go.
        Inside `transaction`, all or nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Backends:
    """Which backend serves which role; one backend may serve several."""

    kv: Backend
    vectors: Backend
    graph: Backend
    doc_status: Backend
    lexical: Backend

    def distinct(self) -> list[Backend]:
        """Each once; the document states last, so that without a common transaction they are committed last."""
        order = (self.kv, self.vectors, self.lexical, self.graph, self.doc_status)
        return [b for n, b in enumerate(order) if all(b is not later for later in order[n + 1 :])]
