"""Looks at everything of a workspace, batch by batch, also while a server works on it.

A batch that looks wrong is looked at again inside a transaction, where nobody writes: what a commit was just changing
is nothing wrong. The cost grows with what is stored, the memory does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from lightrag_server.engine.clock import Clock, utc_now
from lightrag_server.engine.commit import EMBEDDING_KEY
from lightrag_server.engine.doctor.chunks import Chunks
from lightrag_server.engine.doctor.documents import Documents
from lightrag_server.engine.doctor.faults import Check, Fault, flaws_of
from lightrag_server.engine.doctor.subjects import Subjects
from lightrag_server.engine.doctor.work import Work
from lightrag_server.engine.stores import Stores
from lightrag_server.engine.workspace import check_embedding
from lightrag_server.errors import DimensionMismatch, StorageError
from lightrag_server.ports.embedding import Embedder
from lightrag_server.ports.jobs import JobQueue
from lightrag_server.ports.storage import Flaw, SelfChecking

SECOND_LOOK_S = 2.0
"""Between a row and its job, or a commit and the removal of its parts, lies less."""

Progress = Callable[[str, int], None]
"""What is being looked at, and how many of it were."""


@dataclass(frozen=True, slots=True)
class Report:
    """`flaws` are what people read, `faults` what mending goes by: of those of the storage itself there are none."""

    counts: dict[str, int] = field(default_factory=dict[str, int])
    flaws: tuple[Flaw, ...] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def is_sound(self) -> bool:
        return not self.flaws

    @property
    def can_mend(self) -> bool:
        return any(flaw.can_mend for flaw in self.flaws)


class Checkup:
    def __init__(
        self, stores: Stores, queue: JobQueue, embedder: Embedder | None = None, clock: Clock = utc_now
    ) -> None:
        """Without an embedder it is not asked whether the vectors are those of the model."""
        self._stores = stores
        self._embedder = embedder
        self._work = Work(stores, queue, clock)

    async def run(self, progress: Progress = lambda title, count: None) -> Report:
        """What is there and what is wrong with it. Rows that cannot be read end the look at what they are part of."""
        try:
            flaws = [*await self._storage(), *await self._embedding()]
            counts = await self._counts()
            faults, unread = await self._faults(progress)
        except StorageError as error:
            return Report(flaws=(_unreadable(error),))
        return Report(counts, (*flaws, *unread, *flaws_of(faults)), tuple(faults))

    async def _storage(self) -> list[Flaw]:
        checking = (b for b in self._stores.backends.distinct() if isinstance(b, SelfChecking))
        return [flaw for backend in checking for flaw in await backend.flaws(self._stores.workspace)]

    async def _embedding(self) -> list[Flaw]:
        if self._embedder is None:
            return []
        try:
            await check_embedding(self._stores, self._embedder, None)
        except DimensionMismatch as error:
            what, remedy = "vectors of another model", str(error)
            return [Flaw("other-embedding", what, await self._stores.windows.count(), (), remedy, can_mend=False)]
        return []

    async def _faults(self, progress: Progress) -> tuple[list[Fault], list[Flaw]]:
        known = (await self._stores.meta.get([EMBEDDING_KEY])).get(EMBEDDING_KEY)
        dimension = known["dimension"] if known else None
        subjects = Subjects(self._stores, dimension)
        chunks = Chunks(self._stores, subjects, dimension)
        faults: list[Fault] = []
        unread: list[Flaw] = []
        for check in chain(Documents(self._stores).checks(), chunks.checks(), subjects.checks()):
            try:
                faults += await self._checked(check, progress)
            except StorageError as error:
                unread.append(replace(_unreadable(error), what=f"{check.title} that could not all be looked at"))
        return faults + await self._settled_work(), unread

    async def _checked(self, check: Check, progress: Progress) -> list[Fault]:
        faults: list[Fault] = []
        done = 0
        async for batch in check.batches():
            if await check.examine(batch):
                faults += await self._undisturbed(check, batch)
            done += len(batch)
            progress(check.title, done)
        return faults

    async def _undisturbed(self, check: Check, batch: Sequence[str]) -> list[Fault]:
        async with self._stores.transaction():
            return await check.examine(batch)

    async def _settled_work(self) -> list[Fault]:
        if not (first := await self._work.examine()):
            return []
        await asyncio.sleep(SECOND_LOOK_S)
        again = await self._work.examine()
        return [fault for fault in again if fault in first]

    async def _counts(self) -> dict[str, int]:
        stores, graph = self._stores, await self._stores.graph.counts()
        return {
            "documents": sum((await stores.documents.counts()).values()),
            "chunks": await stores.chunks.count(),
            "passages": await stores.windows.count(),
            "entities": graph.entities,
            "relations": graph.relations,
            "evidence": graph.evidence,
            "names": await stores.entities.count(),
            "facts": await stores.facts.count(),
        }


def _unreadable(error: StorageError) -> Flaw:
    return Flaw("unreadable", "stores that cannot be read", 1, (str(error),), "restore a backup", can_mend=False)
