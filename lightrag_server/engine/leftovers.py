"""Kept files that no document needs any more."""

from __future__ import annotations

from lightrag_server.core.records import Stage
from lightrag_server.engine import blob_keys
from lightrag_server.engine.stores import Stores

ORPHAN_AFTER_S = 60
"""An upload under way keeps its bytes before its row; after this long no row is coming."""

_UNFINISHED = frozenset({Stage.ACCEPTED, Stage.PREPARED, Stage.DELETING})
_MAY_HAVE_PARTS = (Stage.ACCEPTED, Stage.PREPARED, Stage.FAILED, Stage.DELETING)


async def left_parts(stores: Stores) -> set[str]:
    """Folders of parts of documents that are committed or gone, and of acceptances that were given up."""
    names = await stores.blobs.list(stores.workspace, blob_keys.PREPARED)
    documents = await stores.documents.get({blob_keys.document_of(name) for name in names})
    due = {
        blob_keys.parts(document.id, document.blob_key)
        for document in documents.values()
        if document.stage in _MAY_HAVE_PARTS and document.blob_key
    }
    return {folder for name in names if (folder := name.rpartition("/")[0] + "/") not in due}


async def orphans(stores: Stores, now: int) -> list[str]:
    """Originals and parsed texts that no document names, the former once they are old enough. Those of a document that
    is worked on are none: a commit under way may be about to name them."""
    originals = await stores.blobs.list(stores.workspace, blob_keys.ORIGINALS)
    old = [key for key in originals if blob_keys.stamp_of(key) <= now - ORPHAN_AFTER_S]
    parsed = await stores.blobs.list(stores.workspace, blob_keys.PARSED)
    documents = await stores.documents.get({blob_keys.document_of(key) for key in (*old, *parsed)})
    named = {blob_keys.acceptance_of(d.blob_key) for d in documents.values() if d.blob_key}
    at_work = {d.id for d in documents.values() if d.stage in _UNFINISHED}
    left = [key for key in (*old, *parsed) if blob_keys.acceptance_of(key) not in named]
    return [key for key in left if blob_keys.document_of(key) not in at_work]
