"""Accepting, replacing, retrying, stopping and removing documents. All of it answers at once and is worked on later."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from lightrag_server.core.records import DocStatus, Document, Profile, Stage
from lightrag_server.engine import job_kinds
from lightrag_server.engine.acceptance import Acceptance, Accepted
from lightrag_server.engine.clock import Clock, track_id
from lightrag_server.engine.incoming import (
    BYTES,
    CHUNKING,
    FAILURE_METADATA,
    IS_TEXT,
    PLAIN,
    UNKNOWN_SOURCE,
    Incoming,
    Terms,
    checked_name,
    incoming_file,
    incoming_text,
)
from lightrag_server.engine.stores import Stores
from lightrag_server.engine.versions import give_up, key_of
from lightrag_server.errors import Conflict, InvalidInput, LightRAGError, NotFound, StorageCorrupt
from lightrag_server.ports.doc_status import Filter
from lightrag_server.ports.jobs import JobQueue
from lightrag_server.ports.parsing import Parser

Read = Callable[[], Awaitable[bytes]]

CANCELLED = "User cancelled before it was finished"


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
        profiles: Collection[Profile] = tuple(Profile),
    ) -> None:
        """`profiles` are those that documents can be indexed with here."""
        self._stores = stores
        self._queue = queue
        self._parser = parser
        self._max_upload_bytes = max_upload_bytes
        self._wake = wake
        self._clock = clock
        self._profiles = frozenset(profiles)
        self._acceptance = Acceptance(stores, queue, wake, clock)
        self.input_dir = input_dir

    # -- coming in

    async def accept_file(self, name: str, data: bytes, track: str | None = None, terms: Terms = PLAIN) -> Accepted:
        """Keep a file and queue it. Raises `InvalidInput` (name, kind, empty), `TooLarge`, or `Conflict`."""
        self._check_profile(terms.profile)
        incoming = incoming_file(self.checked_name(name), data, self._max_upload_bytes)
        return await self._acceptance.accept([incoming], track or self.new_track("upload"), terms)

    async def accept_files(self, files: Sequence[tuple[str, Read]], terms: Terms = PLAIN) -> Accepted:
        """Keep several files under one track id, each read when its turn comes. What cannot be taken is left out."""
        self._check_profile(terms.profile)
        track = self.new_track("upload")
        named, refused = self._named(files)
        done: list[Accepted] = []
        for name, read in named.items():
            try:
                done.append(await self.accept_file(name, await read(), track, terms))
            except (InvalidInput, Conflict) as error:
                refused.append(f"{name}: {error}")
        return Accepted(
            track,
            tuple(d for accepted in done for d in accepted.documents),
            tuple(d for accepted in done for d in accepted.duplicates),
            tuple(refused),
        )

    def _named(self, files: Sequence[tuple[str, Read]]) -> tuple[dict[str, Read], list[str]]:
        """By checked name, and what is refused because of its name."""
        named: dict[str, Read] = {}
        refused: list[str] = []
        for name, read in files:
            try:
                canonical = self.checked_name(name)
            except InvalidInput as error:
                refused.append(f"{name!r}: {error}")
            else:
                if canonical in named:
                    refused.append(f"{name!r}: it is there twice")
                else:
                    named[canonical] = read
        return named, refused

    async def accept_texts(
        self,
        texts: Sequence[tuple[str, str | None]],
        chunking: dict[str, Any] | None = None,
        terms: Terms = PLAIN,
    ) -> Accepted:
        """Keep texts, each with its source or None; without a source the content is the identity.

        `chunking` are fields of `ChunkSpec` that hold for these texts in place of the settings.
        """
        self._check_profile(terms.profile)
        metadata = {CHUNKING: chunking} if chunking else {}
        incoming = [incoming_text(text, source, metadata) for text, source in texts]
        names = [item.file_path for item in incoming if item.file_path != UNKNOWN_SOURCE]
        if len(set(names)) != len(names):
            raise InvalidInput("file_sources names the same source twice")
        return await self._acceptance.accept(incoming, self.new_track("insert"), terms)

    async def scan(self, prefix: str = "scan") -> str:
        """Queue a look into the input folder; the files found carry the track id returned."""
        track = self.new_track(prefix)
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

    def new_track(self, prefix: str) -> str:
        return track_id(prefix, self._clock())

    def checked_name(self, name: str) -> str:
        """The canonical file name, or `InvalidInput`."""
        return checked_name(name, self._parser.extensions())

    # -- a document's next version

    async def replace_file(self, document_id: str, name: str, data: bytes, terms: Terms = PLAIN) -> Accepted:
        """Take a file as the next version of a document, whose name stays. Answers rest on the version before until
        this one is indexed. Raises `NotFound`, `InvalidInput` (another kind of file), `TooLarge` or `Conflict`."""
        row = await self._row(document_id)
        suffix, wanted = Path(self.checked_name(name)).suffix.lower(), Path(row.file_path).suffix.lower()
        if suffix != wanted:
            raise InvalidInput(f"the new file ends in {suffix!r}; {row.file_path!r} can be replaced by {wanted!r} only")
        incoming = incoming_file(row.file_path, data, self._max_upload_bytes)
        return await self._replace(row, incoming, "upload", terms)

    async def replace_text(self, document_id: str, text: str, terms: Terms = PLAIN) -> Accepted:
        """Take a text as the next version, as `replace_file`."""
        row = await self._row(document_id)
        return await self._replace(row, incoming_text(text, row.file_path, {}), "insert", terms)

    async def _replace(self, row: Document, item: Incoming, prefix: str, terms: Terms) -> Accepted:
        self._check_profile(terms.profile)
        incoming = Incoming(row.id, row.file_path, item.data, item.summary, item.length, item.metadata)
        track = self.new_track(prefix)
        document = await self._acceptance.succeed(row, incoming, track, terms)
        return Accepted(track, (document,), ()) if document else Accepted(track, (), (await self._row(row.id),))

    async def reindex(self, document_id: str, profile: Profile | None) -> Document:
        """Index a document again, with another profile or the configured one, without parsing it again. Raises
        `NotFound` or `Conflict`."""
        self._check_profile(profile)
        row = await self._row(document_id)
        data = await self._stores.blobs.get(self._stores.workspace, key_of(row))
        if data is None:
            raise StorageCorrupt(f"the original of {row.file_path!r} is gone")
        kept = {name: row.metadata[name] for name in (IS_TEXT, CHUNKING) if name in row.metadata}
        item = Incoming(
            row.id, row.file_path, data, row.content_summary, row.content_length, {**kept, BYTES: len(data)}
        )
        document = await self._acceptance.renew(row, item, self.new_track("reindex"), PLAIN, profile)
        if document is None:
            raise Conflict(f"{row.file_path!r} is being changed by somebody else; try again")
        return document

    async def _row(self, document_id: str) -> Document:
        row = (await self._stores.documents.get([document_id])).get(document_id)
        if row is None:
            raise NotFound(f"no such document: {document_id!r}")
        if row.stage is Stage.DELETING:
            raise Conflict(f"{row.file_path!r} is being deleted")
        return row

    def _check_profile(self, profile: Profile | None) -> None:
        if profile is not None and profile not in self._profiles:
            raise InvalidInput(f"the index profile {profile.value!r} needs a language model, and none is configured")

    # -- trying again, stopping

    async def retry_failed(self, document_ids: Sequence[str] | None = None) -> int:
        """Queue failed documents again, duplicates apart; their finished chunks are not worked on again."""
        failed = await self._stores.documents.find(Filter(stages=frozenset({Stage.FAILED})))
        chosen = [d for d in failed if _may_retry(d) and (document_ids is None or d.id in document_ids)]
        restarted = [d for row in chosen if (d := await self._restarted(row.id))]
        await self._acceptance.queue_again(restarted)
        return len(restarted)

    async def retry(self, document_id: str) -> Document:
        """One failed document. Raises `NotFound`, and `Conflict` for one that has nothing to be tried again."""
        row = await self._row(document_id)
        restarted = await self._restarted(document_id) if _may_retry(row) else None
        if restarted is None:
            raise Conflict(f"{row.file_path!r} did not fail ({row.status.value}), or is a duplicate")
        await self._acceptance.queue_again([restarted])
        return restarted

    async def _restarted(self, document_id: str) -> Document | None:
        now = self._clock().isoformat()

        def change(row: Document) -> Document | None:
            if row.stage is not Stage.FAILED:
                return None
            metadata = {k: v for k, v in row.metadata.items() if k not in FAILURE_METADATA}
            return row.with_(
                stage=Stage.ACCEPTED, status=DocStatus.PENDING, error=None, updated_at=now, metadata=metadata
            )

        return await self._stores.documents.update(document_id, change)

    async def cancel(self) -> int:
        """Stop everything that is not committed yet. New documents end as failed and can be retried; of replacements
        nothing stays."""
        waiting = await self._stores.documents.find(Filter(stages=frozenset({Stage.ACCEPTED})))
        for document in waiting:
            await give_up(self._stores, document, CANCELLED, self._clock())
        touched = await self._queue.cancel(self._stores.workspace, (job_kinds.PREPARE, job_kinds.SCAN))
        return max(touched, len(waiting))

    async def cancel_one(self, document_id: str) -> Document:
        """One document. Raises `NotFound`, and `Conflict` for one that is not being prepared."""
        row = await self._row(document_id)
        stopped = await give_up(self._stores, row, CANCELLED, self._clock()) if row.stage is Stage.ACCEPTED else None
        if stopped is None:
            raise Conflict(f"{row.file_path!r} is not being indexed ({row.status.value})")
        await self._queue.cancel(self._stores.workspace, (job_kinds.PREPARE,), document_id)
        return stopped

    # -- going

    async def delete(self, document_ids: Sequence[str], *, delete_file: bool = False) -> list[str]:
        """Mark documents for removal and queue it; return the ids that are not known."""
        now = self._clock().isoformat()
        known: list[Document] = []
        for document_id in document_ids:
            marked = await self._stores.documents.update(
                document_id, lambda row: row.with_(stage=Stage.DELETING, updated_at=now)
            )
            if marked is None:
                continue
            known.append(marked)
            await self._queue.cancel(self._stores.workspace, (job_kinds.PREPARE,), document_id)
            if delete_file:
                await asyncio.to_thread(_remove_file, self.input_dir, marked.file_path)
        if known:
            await self._queue.enqueue([job_kinds.commit(self._stores.workspace)])
            self._wake()
        return [i for i in document_ids if i not in {d.id for d in known}]

    async def clear(self) -> int:
        """Queue the removal of everything in this workspace, input files included; return the job's id."""
        await self._queue.cancel(self._stores.workspace, (job_kinds.PREPARE, job_kinds.SCAN))
        [job] = await self._queue.enqueue([job_kinds.clear(self._stores.workspace)])
        self._wake()
        return job


def _may_retry(document: Document) -> bool:
    return document.stage is Stage.FAILED and not document.metadata.get("is_duplicate")


def _files_of(folder: Path, extensions: frozenset[str]) -> list[Path]:
    """Regular files directly in the folder whose kind can be read, by name; links are not followed out of it."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in extensions and p.is_file() and not p.is_symlink())


def _remove_file(folder: Path, name: str) -> None:
    path = folder / name
    if path.parent == folder and path.is_file() and not path.is_symlink():
        path.unlink()
