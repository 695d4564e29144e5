"""Taking documents in, new ones and new versions: bytes first, then the row, then the job, so that what is listed can
always be worked on. What a crash leaves in between, reconcile puts right."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from lightrag_server.core import ids
from lightrag_server.core.records import DocStatus, Document, Profile, Stage, Version
from lightrag_server.engine import blob_keys, job_kinds
from lightrag_server.engine.clock import Clock
from lightrag_server.engine.incoming import CHUNKING, IS_TEXT, PLAIN, Incoming, Terms
from lightrag_server.engine.stores import Stores
from lightrag_server.engine.versions import VERSION, forget, put_back, served
from lightrag_server.errors import Conflict, NotFound, StorageError, StorageUnavailable
from lightrag_server.ports.jobs import JobQueue

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Accepted:
    """`documents` are being indexed. `duplicates` are the stored ones whose name or content was sent again; their
    content stays. `refused` says of each file that was left out why."""

    track_id: str
    documents: tuple[Document, ...]
    duplicates: tuple[Document, ...]
    refused: tuple[str, ...] = ()


class Acceptance:
    def __init__(self, stores: Stores, queue: JobQueue, wake: Callable[[], None], clock: Clock) -> None:
        self._stores = stores
        self._queue = queue
        self._wake = wake
        self._clock = clock

    async def accept(self, incoming: Sequence[Incoming], track: str, terms: Terms = PLAIN) -> Accepted:
        """Of names that are known those that failed are taken again, and with `replace` all. Raises `Conflict` for one
        that is being deleted, and with `error` for any."""
        unique = {item.id: item for item in incoming}
        known = await self._stores.documents.get(list(unique))
        _refuse(known.values(), terms)
        accepted = await self._added([item for i, item in unique.items() if i not in known], track, terms)
        for row in known.values():
            if row.stage is Stage.FAILED or terms.on_conflict == "replace":
                try:
                    document = await self.succeed(row, unique[row.id], track, terms)
                except NotFound as error:
                    raise Conflict(f"{row.file_path!r} was just deleted; try again") from error
                accepted += [document] if document else []
        fresh = {d.id for d in accepted}
        duplicates = await self._stores.documents.get([i for i in unique if i not in fresh])
        return Accepted(track, tuple(accepted), tuple(duplicates.values()))

    async def succeed(self, row: Document, item: Incoming, track: str, terms: Terms) -> Document | None:
        """Accept `item` as the next version of the document in `row`; None when it has or gets this content already.
        Raises `NotFound` or `Conflict` when the document goes away meanwhile."""
        if row.stage is not Stage.FAILED and _is_version(row, item, terms):
            await self._noted(row, terms)
            return None
        if row.serving and _is_version(row.serving, item, terms) and await self._taken_back(row):
            await self._noted(row, terms)
            return None
        return await self.renew(row, item, track, terms, terms.profile or row.profile)

    async def renew(
        self, row: Document, item: Incoming, track: str, terms: Terms, profile: Profile | None
    ) -> Document | None:
        """Accept `item` as the next version, equal or not; None when somebody else was faster with a failed one."""
        reused = row.blob_key if _may_go_on(row, item, profile) else None
        key = reused or await self._kept(item)
        now = self._clock()
        replaced: list[Document] = []

        def change(current: Document) -> Document | None:
            if current.stage is Stage.DELETING:
                return None
            if reused and (current.stage is not Stage.FAILED or current.blob_key != reused):
                return None
            replaced[:] = [current]
            return _successor(current, item, key, track, terms, profile, now)

        document = await self._stores.documents.update(row.id, change)
        if document is None:
            await self._withdrawn(row, None if reused else key)
            return None
        await self._queued([document], [d.id for d in replaced if d.stage is Stage.ACCEPTED])
        for before in replaced:
            # one that is prepared may be about to be committed
            if before.stage in (Stage.ACCEPTED, Stage.FAILED) and before.blob_key != key:
                await forget(self._stores, before.id, before.blob_key)
        return document

    async def queue_again(self, documents: Sequence[Document]) -> None:
        await self._queued(documents, [])

    # -- steps

    async def _added(self, items: Sequence[Incoming], track: str, terms: Terms) -> list[Document]:
        """New rows are written together, all or none; a disk that fails in the end may leave it open which."""
        documents: list[Document] = []
        try:
            for item in items:
                key = await self._kept(item)
                documents.append(_new(item, key, track, terms, self._clock()))
            taken = await self._stores.documents.add(documents)
        except StorageError:
            with suppress(StorageError):
                await self._drop(await self._unlisted(documents))
            raise
        await self._drop([d for d in documents if d.id in taken])
        added = [d for d in documents if d.id not in taken]
        await self._queued(added, [])
        return added

    async def _kept(self, item: Incoming) -> str:
        key = blob_keys.original(item.id, ids.md5_hex(item.data), int(self._clock().timestamp()), secrets.token_hex(4))
        await self._stores.blobs.put(self._stores.workspace, key, item.data)
        return key

    async def _unlisted(self, documents: Sequence[Document]) -> list[Document]:
        """Those whose bytes no row names."""
        rows = await self._stores.documents.get([d.id for d in documents])
        return [d for d in documents if d.id not in rows or rows[d.id].blob_key != d.blob_key]

    async def _drop(self, documents: Iterable[Document]) -> None:
        """Remove bytes that have no row. What is missed here, reconcile removes."""
        for document in documents:
            await self._stores.blobs.delete(self._stores.workspace, document.blob_key or "-")

    async def _queued(self, documents: Sequence[Document], superseded: Sequence[str]) -> None:
        """A listed document is accepted: should the queue be unavailable, reconcile queues it within a minute. Work on
        what is superseded is asked to stop."""
        workspace = self._stores.workspace
        try:
            for document_id in superseded:
                await self._queue.cancel(workspace, (job_kinds.PREPARE,), document_id)
            await self._queue.enqueue([job_kinds.prepare(workspace, d.id) for d in documents])
        except StorageUnavailable as error:
            log.warning("documents wait for the queue workspace=%s: %s", workspace, error)
        self._wake()

    async def _taken_back(self, row: Document) -> bool:
        """Put the version before back, which a replacement by its own content comes to; False when it is too late."""
        now = self._clock()

        def change(current: Document) -> Document | None:
            is_same = current.stage is Stage.ACCEPTED and current.blob_key == row.blob_key
            return put_back(current, None, now) if is_same and current.serving == row.serving else None

        if not await self._stores.documents.update(row.id, change):
            return False
        await self._queue.cancel(self._stores.workspace, (job_kinds.PREPARE,), row.id)
        await forget(self._stores, row.id, row.blob_key)
        return True

    async def _noted(self, row: Document, terms: Terms) -> None:
        """What is said of a document that stays as it is."""
        if terms.attributes is None and terms.tags is None:
            return
        now = self._clock().isoformat()
        await self._stores.documents.update(row.id, lambda current: _owned(current, terms).with_(updated_at=now))

    async def _withdrawn(self, row: Document, key: str | None) -> None:
        """The row could not take the new version."""
        if key:
            await self._stores.blobs.delete(self._stores.workspace, key)
        current = (await self._stores.documents.get([row.id])).get(row.id)
        if current is None:
            raise NotFound(f"no such document: {row.id!r}")
        _refuse([current], PLAIN)


def _refuse(known: Iterable[Document], terms: Terms) -> None:
    for document in known:
        if document.stage is Stage.DELETING:
            raise Conflict(f"{document.file_path!r} is being deleted; try again in a moment")
        if terms.on_conflict == "error" and document.stage is not Stage.FAILED:
            raise Conflict(f"{document.file_path!r} is stored already ({document.status.value})")


def _is_content(version: Document | Version, item: Incoming) -> bool:
    if not version.blob_key or bool(version.metadata.get(IS_TEXT)) != bool(item.metadata.get(IS_TEXT)):
        return False
    return blob_keys.digest_of(version.blob_key) == ids.md5_hex(item.data)


def _is_version(version: Document | Version, item: Incoming, terms: Terms) -> bool:
    return _is_content(version, item) and terms.profile in (None, version.profile)


def _may_go_on(row: Document, item: Incoming, profile: Profile | None) -> bool:
    """The same again after a failure: what was worked out before the failure need not be worked out again."""
    return (
        row.stage is Stage.FAILED
        and profile is row.profile
        and row.metadata.get(CHUNKING) == item.metadata.get(CHUNKING)
        and _is_content(row, item)
    )


def _new(item: Incoming, key: str, track: str, terms: Terms, now: datetime) -> Document:
    return Document(
        id=item.id,
        file_path=item.file_path,
        status=DocStatus.PENDING,
        stage=Stage.ACCEPTED,
        created_at=now.isoformat(),
        updated_at=now.isoformat(),
        track_id=track,
        content_summary=item.summary,
        content_length=item.length,
        profile=terms.profile,
        blob_key=key,
        metadata={**item.metadata, VERSION: 1},
        attributes=terms.attributes or {},
        tags=terms.tags or (),
    )


def _successor(
    row: Document, item: Incoming, key: str, track: str, terms: Terms, profile: Profile | None, now: datetime
) -> Document:
    serving = served(row)
    made = _new(item, key, track, terms, now)
    chunking = {CHUNKING: row.metadata[CHUNKING]} if CHUNKING in row.metadata else {}
    number = int(serving.metadata.get(VERSION, 1)) + 1 if serving else 1
    return _owned(row, terms).with_(
        status=made.status,
        stage=made.stage,
        created_at=row.created_at if serving else made.created_at,
        updated_at=made.updated_at,
        track_id=track,
        content_summary=made.content_summary,
        content_length=made.content_length,
        content_hash=None,
        chunk_ids=(),
        profile=profile,
        error=None,
        blob_key=key,
        metadata={**chunking, **item.metadata, VERSION: number},
        serving=serving,
    )


def _owned(row: Document, terms: Terms) -> Document:
    return row.with_(
        attributes=row.attributes if terms.attributes is None else terms.attributes,
        tags=row.tags if terms.tags is None else terms.tags,
    )
