"""Accepting documents: kept durably first, worked on later. Also retry, cancel, delete and clear."""

from __future__ import annotations

import asyncio
import logging
import secrets
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightrag_server.core import ids
from lightrag_server.core.records import DocStatus, Document, Stage
from lightrag_server.engine import blob_keys, job_kinds
from lightrag_server.engine.clock import Clock, track_id
from lightrag_server.engine.stores import Stores
from lightrag_server.errors import (
    Conflict,
    InvalidInput,
    LightRAGError,
    StorageError,
    StorageUnavailable,
    TooLarge,
    UnsupportedFile,
)
from lightrag_server.ports.doc_status import Filter
from lightrag_server.ports.jobs import JobQueue
from lightrag_server.ports.parsing import Parser

UNKNOWN_SOURCE = "unknown_source"
MAX_NAME_BYTES = 255
SUMMARY_CHARS = 250
CHUNKING = "chunking"
"""Key of a document's metadata: how it is cut, where the request said so."""
FAILURE_METADATA = ("tries", "failed_chunks", "error_type")
"""What a failed try leaves in a document's metadata, and the next success or restart removes."""
_NO_SOURCE = ("", "no-file-path", UNKNOWN_SOURCE)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Accepted:
    """`duplicates` are the stored documents whose name or content was sent again; nothing was changed for them."""

    track_id: str
    documents: tuple[Document, ...]
    duplicates: tuple[Document, ...]


@dataclass(frozen=True, slots=True)
class Incoming:
    id: str
    file_path: str
    data: bytes
    summary: str
    length: int
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])


class Intake:
    def __init__(
        self,
        stores: Stores,
        queue: JobQueue,
        parser: Parser,
        *,
        max_upload_bytes: int,
        input_dir: Path,
        wake: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._stores = stores
        self._queue = queue
        self._parser = parser
        self._max_upload_bytes = max_upload_bytes
        self._wake = wake
        self._clock = clock
        self.input_dir = input_dir

    async def accept_file(self, name: str, data: bytes, track: str | None = None) -> Accepted:
        """Keep a file and queue it. Raises `InvalidInput` (name, kind, empty) or `TooLarge`."""
        name = self.checked_name(name)
        if len(data) > self._max_upload_bytes:
            raise TooLarge(f"the file has {len(data):,} bytes; at most {self._max_upload_bytes:,} are accepted")
        if not data.strip():
            raise InvalidInput(f"the file {name!r} is empty")
        incoming = Incoming(ids.document_id(name, data), name, data, "", len(data))
        return await self._accept([incoming], track or track_id("upload", self._clock()))

    async def accept_texts(
        self, texts: Sequence[tuple[str, str | None]], chunking: dict[str, Any] | None = None
    ) -> Accepted:
        """Keep texts, each with its source or None; without a source the content is the identity.

        `chunking` are fields of `ChunkSpec` that hold for these texts in place of the settings.
        """
        metadata = {CHUNKING: chunking} if chunking else {}
        incoming = [self._incoming_text(text, source, metadata) for text, source in texts]
        names = [item.file_path for item in incoming if item.file_path != UNKNOWN_SOURCE]
        if len(set(names)) != len(names):
            raise InvalidInput("file_sources names the same source twice")
        return await self._accept(incoming, track_id("insert", self._clock()))

    async def scan(self, prefix: str = "scan") -> str:
        """Queue a look into the input folder; the files found carry the track id returned."""
        track = track_id(prefix, self._clock())
        await self._queue.enqueue([job_kinds.scan(self._stores.workspace, track)])
        self._wake()
        return track

    async def accept_folder(self, track: str) -> tuple[int, list[str]]:
        """Accept the readable files of the input folder that are not known; return how many, and what was refused."""
        accepted, refused = 0, list[str]()
        for path in await asyncio.to_thread(_files_of, self.input_dir, frozenset(self._parser.extensions())):
            try:
                data = await asyncio.to_thread(path.read_bytes)
                accepted += len((await self.accept_file(path.name, data, track)).documents)
            except (LightRAGError, OSError) as error:
                refused.append(f"{path.name}: {error}")
        return accepted, refused

    async def retry_failed(self, document_ids: Sequence[str] | None = None) -> int:
        """Queue failed documents again, duplicates apart; their finished chunks are not worked on again."""
        failed = await self._stores.documents.find(Filter(stages=frozenset({Stage.FAILED})))
        chosen = [
            d for d in failed if not d.metadata.get("is_duplicate") and (document_ids is None or d.id in document_ids)
        ]
        for document in chosen:
            await self._restart(document)
        self._wake()
        return len(chosen)

    async def cancel(self) -> int:
        """Stop everything that is not committed yet; those documents end as failed and can be retried."""
        waiting = await self._stores.documents.find(Filter(stages=frozenset({Stage.ACCEPTED})))
        for document in waiting:
            await self._stores.documents.update(
                document.with_(
                    stage=Stage.FAILED,
                    status=DocStatus.FAILED,
                    error="User cancelled before it was finished",
                    updated_at=self._now(),
                ),
                {Stage.ACCEPTED},
            )
        touched = await self._queue.cancel(self._stores.workspace, (job_kinds.PREPARE, job_kinds.SCAN))
        return max(touched, len(waiting))

    async def delete(self, document_ids: Sequence[str], *, delete_file: bool = False) -> list[str]:
        """Mark documents for removal and queue it; return the ids that are not known."""
        known = await self._stores.documents.get(document_ids)
        for document in known.values():
            marked = document.with_(stage=Stage.DELETING, updated_at=self._now())
            await self._stores.documents.update(marked, set(Stage))
            await self._queue.cancel(self._stores.workspace, (job_kinds.PREPARE,), document.id)
            if delete_file:
                await asyncio.to_thread(_remove_file, self.input_dir, document.file_path)
        if known:
            await self._queue.enqueue([job_kinds.commit(self._stores.workspace)])
            self._wake()
        return [i for i in document_ids if i not in known]

    async def clear(self) -> int:
        """Queue the removal of everything in this workspace, input files included; return the job's id."""
        await self._queue.cancel(self._stores.workspace, (job_kinds.PREPARE, job_kinds.SCAN))
        [job] = await self._queue.enqueue([job_kinds.clear(self._stores.workspace)])
        self._wake()
        return job

    def checked_name(self, name: str) -> str:
        """The canonical file name, or `InvalidInput`. Names are data: they never become paths of ours."""
        canonical = unicodedata.normalize("NFC", name)
        if not canonical or canonical != canonical.strip():
            raise InvalidInput("Invalid filename: it is empty or begins or ends with white space")
        if any(unicodedata.category(c) in ("Cc", "Cs", "Cn") for c in canonical):
            raise InvalidInput("Invalid filename: it contains control characters")
        if canonical in (".", "..") or any(c in canonical for c in "/\\:"):
            raise InvalidInput("Unsafe filename detected: it contains a path")
        if len(canonical.encode()) > MAX_NAME_BYTES:
            raise InvalidInput(f"Invalid filename: it is longer than {MAX_NAME_BYTES} bytes")
        if Path(canonical).suffix.lower() not in self._parser.extensions():
            raise UnsupportedFile(
                f"Unsupported file type {Path(canonical).suffix!r}. Supported: {', '.join(self._parser.extensions())}"
            )
        return canonical

    # -- one path for files and texts

    def _incoming_text(self, text: str, source: str | None, metadata: dict[str, Any]) -> Incoming:
        if not text.strip():
            raise InvalidInput("the text is blank")
        source = unicodedata.normalize("NFC", (source or "").strip())
        if source in _NO_SOURCE:
            source = UNKNOWN_SOURCE
        if len(source.encode()) > MAX_NAME_BYTES or any(unicodedata.category(c) in ("Cc", "Cs") for c in source):
            raise InvalidInput(f"file_source must be at most {MAX_NAME_BYTES} bytes without control characters")
        data = text.encode("utf-8", "replace")
        identity = ids.document_id(None if source == UNKNOWN_SOURCE else source, data)
        return Incoming(identity, source, data, text.strip()[:SUMMARY_CHARS], len(text), metadata)

    async def _accept(self, incoming: Sequence[Incoming], track: str) -> Accepted:
        """Blob, status row, job row: in this order, so that what is listed can always be worked on."""
        unique = {item.id: item for item in incoming}
        known = await self._stores.documents.get(list(unique))
        self._refuse_while_deleting(known.values())
        fresh = [item for i, item in unique.items() if i not in known or known[i].stage is Stage.FAILED]
        documents: list[Document] = []
        try:
            for item in fresh:
                document = await self._kept(item, known.get(item.id), track)
                documents.append(document)
            taken = await self._listed(documents, known)
        except StorageError:
            with suppress(StorageError):
                await self._drop(documents, known)
            raise
        await self._drop([d for d in documents if d.id in taken], known)
        accepted = [d for d in documents if d.id not in taken]
        await self._queued(accepted)
        accepted_ids = {d.id for d in accepted}
        duplicates = await self._stores.documents.get([i for i in unique if i not in accepted_ids])
        return Accepted(track, tuple(accepted), tuple(duplicates.values()))

    async def _listed(self, documents: Sequence[Document], known: Mapping[str, Document]) -> set[str]:
        """Write the rows; return the ids that somebody else was faster with. New rows come last and together: when
        this raises, none of them is there."""
        taken: set[str] = set()
        for document in documents:
            if document.id in known and not await self._stores.documents.update(document, {Stage.FAILED}):
                taken.add(document.id)
        return taken | await self._stores.documents.add([d for d in documents if d.id not in known])

    async def _drop(self, documents: Iterable[Document], known: Mapping[str, Document]) -> None:
        """Remove the bytes of new documents that have no row. What is missed here, reconcile removes."""
        for document in documents:
            if document.id not in known and document.blob_key:
                await self._stores.blobs.delete(self._stores.workspace, document.blob_key)

    async def _queued(self, documents: Sequence[Document]) -> None:
        """A listed document is accepted: should the queue be unavailable, reconcile queues it within a minute."""
        try:
            await self._queue.enqueue([job_kinds.prepare(self._stores.workspace, d.id) for d in documents])
        except StorageUnavailable as error:
            log.warning("documents wait for the queue workspace=%s: %s", self._stores.workspace, error)
        self._wake()

    async def _kept(self, item: Incoming, failed: Document | None, track: str) -> Document:
        """Keep the bytes. Where they are those of a failed document, its work is not done again."""
        digest = ids.md5_hex(item.data)
        if failed and failed.blob_key and blob_keys.digest_of(failed.blob_key) == digest:
            key = failed.blob_key
        else:
            key = blob_keys.original(item.id, digest, int(self._clock().timestamp()), secrets.token_hex(4))
            await self._stores.blobs.put(self._stores.workspace, key, item.data)
        now = self._now()
        return Document(
            id=item.id,
            file_path=item.file_path,
            status=DocStatus.PENDING,
            stage=Stage.ACCEPTED,
            created_at=now,
            updated_at=now,
            track_id=track,
            content_summary=item.summary,
            content_length=item.length,
            blob_key=key,
            metadata=dict(item.metadata),
        )

    @staticmethod
    def _refuse_while_deleting(known: Iterable[Document]) -> None:
        for document in known:
            if document.stage is Stage.DELETING:
                raise Conflict(f"{document.file_path!r} is being deleted; try again in a moment")

    async def _restart(self, document: Document) -> None:
        fresh = document.with_(
            stage=Stage.ACCEPTED,
            status=DocStatus.PENDING,
            error=None,
            updated_at=self._now(),
            metadata={k: v for k, v in document.metadata.items() if k not in FAILURE_METADATA},
        )
        if await self._stores.documents.update(fresh, {Stage.FAILED}):
            await self._queue.enqueue([job_kinds.prepare(self._stores.workspace, document.id)])

    def _now(self) -> str:
        return self._clock().isoformat()


def _files_of(folder: Path, extensions: frozenset[str]) -> list[Path]:
    """Regular files directly in the folder whose kind can be read, by name; links are not followed out of it."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in extensions and p.is_file() and not p.is_symlink())


def _remove_file(folder: Path, name: str) -> None:
    path = folder / name
    if path.parent == folder and path.is_file() and not path.is_symlink():
        path.unlink()
