"""Everything of a workspace accounted for: what its documents call for is stored, once, and nothing else is.

Reads the stores of a stopped server through the storages' own classes. What the doctor looks at is left to it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightrag_server.core import ids, lexical
from lightrag_server.core.encoding import chunk_from_row, chunked_from_bytes, extraction_from_row
from lightrag_server.core.folding import Contributions, Source, contributions_of
from lightrag_server.core.records import Chunk, DocStatus, Document, Stage
from lightrag_server.engine import blob_keys, job_kinds
from lightrag_server.engine.doctor.checkup import Checkup
from lightrag_server.engine.leftovers import ORPHAN_AFTER_S
from lightrag_server.engine.stores import Stores, open_stores
from lightrag_server.engine.texts import Wanted, entity_texts, fact_texts, window_texts
from lightrag_server.jobs.reconcile import remove_orphans
from lightrag_server.ports.doc_status import Filter
from lightrag_server.ports.storage import Backends
from lightrag_server.ports.vectors import VectorStore
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.local_blobs import LocalBlobStore
from lightrag_server.storages.sqlite.backend import SQLiteBackend
from lightrag_server.storages.sqlite.jobs import SQLiteJobQueue

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
COSINE_OF_EQUALS = 0.999
"""Vectors are kept in half precision."""


@dataclass(slots=True)
class Account:
    """What is there, and every way in which it is not what it should be."""

    documents: int = 0
    chunks: int = 0
    windows: int = 0
    entities: int = 0
    relations: int = 0
    entity_vectors: int = 0
    fact_vectors: int = 0
    evidence: int = 0
    faults: list[str] = field(default_factory=list[str])

    def check(self, holds: bool, what: str) -> None:
        if not holds:
            self.faults.append(what)

    def check_same(self, stored: Iterable[Any], wanted: Iterable[Any], what: str) -> None:
        """Equal as multisets: nothing lacks, nothing is left over, nothing is there twice."""
        have, want = Counter([*stored]), Counter([*wanted])
        if lacking := sorted(map(str, want - have)):
            self.faults.append(f"{what}: {len(lacking)} lacking, as {lacking[:3]}")
        if extra := sorted(map(str, have - want)):
            self.faults.append(f"{what}: {len(extra)} too many, as {extra[:3]}")


@asynccontextmanager
async def opened(working_dir: Path, workspace: str = "") -> AsyncIterator[Stores]:
    backend = SQLiteBackend(working_dir, SQLiteSettings())
    await backend.open()
    try:
        backends = Backends(backend, backend, backend, backend, backend)
        yield open_stores(workspace, backends, LocalBlobStore(working_dir / "blobs"))
    finally:
        await backend.close()


async def account(working_dir: Path, names: Collection[str], embed: Embed | None = None) -> Account:
    """Compare with `names`, the acknowledged file paths; vectors by value where `embed`, the model, is given."""
    told = Account()
    async with opened(working_dir) as stores:
        documents = await stores.documents.find(Filter())
        await remove_orphans(stores, int(time.time()) + ORPHAN_AFTER_S)  # what the server does a minute after its start
        _check_documents(told, documents, names)
        chunks = await _check_chunks(told, stores, documents)
        contributions = await _check_contributions(told, stores, chunks, documents)
        await _count_graph(told, stores)
        await _check_vectors(told, stores, chunks, contributions, embed)
        await _check_lexical(told, stores, chunks)
        await _check_blobs(told, stores, documents)
        await _check_doctor(told, stores, working_dir)
    await _check_jobs(told, working_dir)
    unfinished = working_dir / "blobs" / "unfinished+"
    told.check_same(unfinished.iterdir() if unfinished.exists() else [], [], "unfinished blobs")
    return told


def _check_documents(told: Account, documents: Sequence[Document], names: Collection[str]) -> None:
    told.documents = len(documents)
    told.check_same((d.file_path for d in documents), names, "documents")
    for document in documents:
        is_done = (document.status, document.stage) == (DocStatus.PROCESSED, Stage.COMMITTED)
        told.check(is_done, f"{document.file_path} is {document.status.value}: {document.error}")
        told.check(bool(document.chunk_ids), f"{document.file_path} has no chunks")
        told.check(document.error is None, f"{document.file_path} is processed and has the error {document.error}")


async def _check_chunks(told: Account, stores: Stores, documents: Sequence[Document]) -> dict[str, Chunk]:
    """That they are those cut from the texts the doctor says; here, that they are all of the text."""
    chunks = {key: chunk_from_row(row) async for key, row in stores.chunks.scan()}
    told.chunks = len(chunks)
    told.check_same(chunks, (i for d in documents for i in d.chunk_ids), "chunks")
    for document in documents:
        [key] = await stores.blobs.list(stores.workspace, blob_keys.all_parsed(document.id)) or [""]
        kept = await stores.blobs.get(stores.workspace, key) if key else None
        if kept is None:
            continue
        parsed, _ = chunked_from_bytes(kept)
        of_document = [chunks[i] for i in document.chunk_ids if i in chunks]
        covered = {n for c in of_document for n in range(c.start, c.end)}
        bare = [n for n, character in enumerate(parsed.text) if not character.isspace() and n not in covered]
        told.check(not bare, f"{len(bare)} characters of {document.file_path} are in no chunk")
    return chunks


async def _check_contributions(
    told: Account, stores: Stores, chunks: Mapping[str, Chunk], documents: Sequence[Document]
) -> dict[str, Contributions]:
    made = {d.id: d for d in documents}
    found: dict[str, Contributions] = {}
    async for key, row in stores.contributions.scan():
        source = Source(key, row["index"], row["file_path"], row["created_at"])
        found[key] = contributions_of(source, extraction_from_row(row["extraction"]))
        if (chunk := chunks.get(key)) and (document := made.get(chunk.document_id)):
            wanted = Source(key, chunk.index, document.file_path, document.created_at)
            told.check(source == wanted, f"the contribution of {key} is of {source}")
            told.check(row["windows"] == len(chunk.windows), f"the contribution of {key} counts other windows")
    told.check_same(found, chunks, "contributions")
    return found


async def _count_graph(told: Account, stores: Stores) -> None:
    """Whether it is the fold of the contributions, and the evidence what they speak of, the doctor says."""
    counts = await stores.graph.counts()
    told.entities, told.relations, told.evidence = counts.entities, counts.relations, counts.evidence


async def _check_vectors(
    told: Account,
    stores: Stores,
    chunks: Mapping[str, Chunk],
    contributions: Mapping[str, Contributions],
    embed: Embed | None,
) -> None:
    windows = {i: w for chunk in chunks.values() for i, w in window_texts(chunk).items()}
    entities = {i: w for c in contributions.values() for i, w in entity_texts(c).items()}
    facts = {i: w for c in contributions.values() for i, w in fact_texts(c).items()}
    told.windows = await _check_store(told, "window vectors", stores.windows, windows, embed)
    told.entity_vectors = await _check_store(told, "entity vectors", stores.entities, entities, embed)
    told.fact_vectors = await _check_store(told, "fact vectors", stores.facts, facts, embed)


async def _check_store(told: Account, what: str, store: VectorStore, wanted: Wanted, embed: Embed | None) -> int:
    """A store cannot be listed: as many as wanted and none of them missing is the same set."""
    count, items = await store.count(), await store.get(wanted)
    told.check_same(items, wanted, what)
    told.check(count == len(wanted), f"{count} {what} where {len(wanted)} are called for")
    for id_, item in items.items():
        told.check(item.ref == wanted[id_][0], f"{what}: {id_} stands for {item.ref}")
    if embed and items:
        vectors = embed([wanted[i][1] for i in items])
        cosines = [float(item.vector @ vector) for item, vector in zip(items.values(), vectors, strict=True)]
        told.check(min(cosines) > COSINE_OF_EQUALS, f"{what}: one is of another text (cosine {min(cosines):.3f})")
    return count


async def _check_lexical(told: Account, stores: Stores, chunks: Mapping[str, Chunk]) -> None:
    wanted = {
        ids.window_id(c.id, n): lexical.terms(c.window_text(w))
        for c in chunks.values()
        for n, w in enumerate(c.windows)
    }
    count = await stores.lexical.count()
    told.check(count == len(wanted), f"{count} lexical items where {len(wanted)} windows are")
    for id_, terms in wanted.items():
        hits = await stores.lexical.search(terms, len(wanted) + 1) if terms else []
        told.check(not terms or id_ in {hit.id for hit in hits}, f"the window {id_} is not found by its own words")
        told.check(len({hit.id for hit in hits}) == len(hits), f"a search for {id_} finds an item twice")


async def _check_blobs(told: Account, stores: Stores, documents: Sequence[Document]) -> None:
    """That nothing is left over the doctor says, but for what is younger than a minute."""
    parsed = await stores.blobs.list(stores.workspace, blob_keys.PARSED)
    wanted = [*parsed, *(d.blob_key for d in documents)]
    told.check_same(await stores.blobs.list(stores.workspace), wanted, "blobs")


async def _check_doctor(told: Account, stores: Stores, working_dir: Path) -> None:
    """What a doctor finds is a fault, whether or not it is one of those that are counted here."""
    queue = SQLiteJobQueue(working_dir / "coordination.sqlite", SQLiteSettings())
    try:
        report = await Checkup(stores, queue).run()
    finally:
        await queue.close()
    told.faults += [f"doctor: {flaw.kind}: {flaw.count} {flaw.what}, as {flaw.examples}" for flaw in report.flaws]


async def _check_jobs(told: Account, working_dir: Path) -> None:
    queue = SQLiteJobQueue(working_dir / "coordination.sqlite", SQLiteSettings())
    try:
        open_jobs = [j for j in await queue.open_jobs() if j.kind not in job_kinds.BACKGROUND]
        told.check_same(((j.kind, j.subject) for j in open_jobs), [], "open jobs")
        told.check_same((p.name for p in await queue.progress("")), [], "progress rows")
    finally:
        await queue.close()
