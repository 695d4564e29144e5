"""A document's row from one acceptance to the next. Every acceptance has a blob key of its own; what was worked out for
one is written only while the row still names it, and what stopped one brings the version before it back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from lightrag_server.core.records import DocStatus, Document, Stage, Version
from lightrag_server.engine import blob_keys
from lightrag_server.engine.stores import Stores
from lightrag_server.errors import StorageCorrupt

VERSION = "version"
"""Key of a document's metadata: counts from 1."""
REPLACEMENT_FAILED = "The replacement was not taken over, the version before it is kept"


def key_of(document: Document) -> str:
    """The blob key of the row's acceptance."""
    if not document.blob_key:
        raise StorageCorrupt(f"the original of {document.file_path!r} is gone")
    return document.blob_key


def version_of(document: Document) -> Version:
    return Version(
        blob_key=document.blob_key,
        content_hash=document.content_hash,
        content_summary=document.content_summary,
        content_length=document.content_length,
        chunk_ids=document.chunk_ids,
        profile=document.profile,
        metadata=document.metadata,
    )


def served(document: Document) -> Version | None:
    """The version that answers rest on; None while there is none."""
    if document.serving:
        return document.serving
    return version_of(document) if document.stage is Stage.COMMITTED else None


def carried_on(row: Document, document: Document) -> Document | None:
    """`document`, a later state of the acceptance in `row`, with what others changed in the row meanwhile; None when
    the row has been withdrawn or names another acceptance."""
    if row.stage is not Stage.ACCEPTED or row.blob_key != document.blob_key:
        return None
    return _kept_from(row, document).with_(serving=row.serving)


def committed(row: Document, document: Document, now: datetime) -> Document | None:
    """The row when the shared stores hold `document`, a state that was prepared. The row may have gone on meanwhile:
    then they hold it for as long as its next version is prepared, or for good if that was given up."""
    done = document.with_(
        stage=Stage.COMMITTED,
        status=DocStatus.PROCESSED,
        error=None,
        serving=None,
        updated_at=now.isoformat(),
        metadata=document.metadata | {"process_end_time": int(now.timestamp())},
    )
    if row.stage is Stage.DELETING:
        return None
    if row.blob_key == document.blob_key:
        return _kept_from(row, done) if row.stage is Stage.PREPARED else None
    next_one = row.with_(serving=version_of(done))
    return put_back(next_one, row.error, now) if row.stage in (Stage.COMMITTED, Stage.FAILED) else next_one


def given_up(row: Document, error: str, now: datetime, metadata: dict[str, Any]) -> Document:
    """The row once its acceptance is given up: as it was before, or failed where there was nothing before."""
    if row.serving:
        return put_back(row, f"{REPLACEMENT_FAILED}: {error}", now)
    return row.with_(
        stage=Stage.FAILED,
        status=DocStatus.FAILED,
        error=error,
        updated_at=now.isoformat(),
        metadata=row.metadata | metadata,
    )


def put_back(row: Document, error: str | None, now: datetime) -> Document:
    """The row with the version in `serving` as its own."""
    version = row.serving
    assert version is not None
    return row.with_(
        stage=Stage.COMMITTED,
        status=DocStatus.PROCESSED,
        error=error,
        updated_at=now.isoformat(),
        blob_key=version.blob_key,
        content_hash=version.content_hash,
        content_summary=version.content_summary,
        content_length=version.content_length,
        chunk_ids=version.chunk_ids,
        profile=version.profile,
        metadata=version.metadata,
        serving=None,
    )


async def give_up(
    stores: Stores, document: Document, error: str, now: datetime, metadata: dict[str, Any] | None = None
) -> Document | None:
    """Give up the acceptance of `document` unless the row has gone on; the new row. A crash in here leaves blobs that
    reconcile removes."""

    def change(row: Document) -> Document | None:
        is_own = row.stage is Stage.ACCEPTED and row.blob_key == document.blob_key
        return given_up(row, error, now, metadata or {}) if is_own else None

    row = await stores.documents.update(document.id, change)
    if row and row.blob_key != document.blob_key:
        await forget(stores, document.id, document.blob_key)
    return row


async def forget(stores: Stores, document_id: str, blob_key: str | None) -> None:
    """Remove everything that is kept of one acceptance."""
    if blob_key:
        await stores.blobs.delete(stores.workspace, blob_keys.parts(document_id, blob_key))
        await stores.blobs.delete(stores.workspace, blob_keys.parsed_of(document_id, blob_key))
        await stores.blobs.delete(stores.workspace, blob_key)


def _kept_from(row: Document, document: Document) -> Document:
    """What is its owner's comes from the row: it may change while the document is worked on."""
    return document.with_(attributes=row.attributes, tags=row.tags, is_enabled=row.is_enabled)
