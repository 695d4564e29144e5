"""What a crash leaves between stores is put right: jobs, parts, bytes without a row."""

from __future__ import annotations

import asyncio
from typing import cast

from lightrag_server.core.records import DocStatus, Stage
from lightrag_server.engine import blob_keys, job_kinds
from lightrag_server.engine.clear import Clear
from lightrag_server.engine.commit import Commit
from lightrag_server.engine.leftovers import ORPHAN_AFTER_S
from lightrag_server.engine.register import Register
from lightrag_server.engine.texts import Vectorizer
from lightrag_server.engine.workspace import Workspace, Workspaces
from lightrag_server.jobs.reconcile import Reconcile, remove_orphans
from lightrag_server.ports.jobs import JobState, Progress
from lightrag_server.storages.memory_directory import MemoryDirectory
from tests.engine.conftest import NOW, Bench, opened_bench

TEXT = "entity<|#|>Ada<|#|>Person<|#|>Wrote the notes of {}"


def reconciling(bench: Bench) -> Reconcile:
    """Over the one workspace of the bench."""
    workspace = cast(Workspace, bench)

    async def keys() -> list[str]:
        return [""]

    register = Register(MemoryDirectory(), keys, lambda: NOW, default="", auto_create=True)
    return Reconcile(Workspaces(register, lambda _: workspace, lambda _: None), bench.queue, lambda: NOW)


async def accept(bench: Bench, *names: str) -> list[str]:
    accepted = await bench.intake.accept_texts([(TEXT.format(name), name) for name in names])
    return [d.id for d in accepted.documents]


async def test_documents_without_a_job_get_one_and_others_no_second() -> None:
    async with opened_bench() as bench:
        first, second = await accept(bench, "a", "b")
        await bench.queue.cancel("", (job_kinds.PREPARE,), first)
        reconcile = reconciling(bench)
        assert await reconcile() == 1
        assert await reconcile() == 0
        assert sorted(j.subject for j in await bench.queue.open_jobs("")) == sorted([first, second])
        await bench.prepare.run(first)
        await bench.queue.cancel("", (job_kinds.COMMIT,))
        assert await reconcile() == 1


async def test_progress_of_what_is_not_worked_on_is_forgotten() -> None:
    async with opened_bench() as bench:
        [document_id] = await bench.insert(("a", TEXT.format("a")))
        [waiting] = await accept(bench, "b")
        for subject in (document_id, waiting, "doc-gone"):
            await bench.queue.set_progress("", Progress(subject, "x", "extracting", 1, 2, 0.0, 0.0))
        await reconciling(bench)()
        assert [p.subject for p in await bench.queue.progress("")] == [waiting]


async def test_bytes_without_a_row_are_removed_once_no_row_can_follow() -> None:
    async with opened_bench() as bench:
        [document_id] = await bench.insert(("a", TEXT.format("a")))
        kept = await bench.stores.blobs.list("")
        now = int(NOW.timestamp())
        orphans = [blob_keys.original(i, "digest", now, "1") for i in (document_id, "doc-gone")]
        for key in (*orphans, blob_keys.parsed("doc-gone", orphans[1], "model")):
            await bench.stores.blobs.put("", key, b"x")
        await remove_orphans(bench.stores, now + ORPHAN_AFTER_S - 1)
        assert sorted(await bench.stores.blobs.list("")) == sorted([*kept, *orphans])
        await remove_orphans(bench.stores, now + ORPHAN_AFTER_S)
        assert await bench.stores.blobs.list("") == kept


async def test_a_document_whose_prepared_work_is_gone_is_prepared_again_and_holds_up_no_other() -> None:
    async with opened_bench() as bench:
        lost, fine = await accept(bench, "lost", "fine")
        for document_id in (lost, fine):
            await bench.prepare.run(document_id)
        await bench.stores.blobs.delete("", blob_keys.all_parsed(lost))
        await bench.write()
        rows = await bench.stores.documents.get([lost, fine])
        assert rows[fine].status is DocStatus.PROCESSED
        assert rows[lost].stage is Stage.ACCEPTED
        assert (job_kinds.PREPARE, lost) in {(j.kind, j.subject) for j in await bench.queue.open_jobs("")}
        await bench.prepare.run(lost)
        await bench.write()
        assert (await bench.stores.documents.get([lost]))[lost].status is DocStatus.PROCESSED


async def test_work_prepared_with_another_embedding_model_is_not_committed() -> None:
    async with opened_bench() as bench:
        [document_id] = await accept(bench, "a")
        await bench.prepare.run(document_id)
        other = Commit(bench.stores, bench.queue, Vectorizer(bench.embedder), "other-model", lambda: NOW)
        await other.run(1)
        assert await bench.stores.windows.count() == 0
        assert (await bench.stores.documents.get([document_id]))[document_id].stage is Stage.ACCEPTED


async def test_a_removal_waits_for_the_work_on_the_document_to_stop() -> None:
    async with opened_bench() as bench:
        [document_id] = await accept(bench, "a")
        job = await bench.queue.claim("me", (job_kinds.PREPARE,))
        assert job is not None
        await bench.delete(document_id)
        assert (await bench.stores.documents.get([document_id]))[document_id].stage is Stage.DELETING
        assert job_kinds.COMMIT in {j.kind for j in await bench.queue.open_jobs("")}
        await bench.queue.finish(job, JobState.CANCELLED)
        await bench.write()
        assert not await bench.stores.documents.get([document_id])
        assert await bench.stores.blobs.list("") == []


async def test_clear_leaves_nothing_but_what_was_accepted_meanwhile() -> None:
    async with opened_bench() as bench:
        await bench.insert(("a", TEXT.format("a")), ("b", TEXT.format("b")))
        empty = Clear(bench.stores, bench.queue, bench.intake.input_dir)
        bench.fence += 1
        await empty.run(bench.fence)
        assert await bench.stores.blobs.list("") == []
        assert (await bench.stores.graph.counts()).entities == 0
        assert not await bench.committed()
        await bench.insert(("a", TEXT.format("a")))
        assert len(await bench.committed()) == 1


async def test_a_name_sent_twice_at_once_leaves_one_document_and_its_bytes_only() -> None:
    async with opened_bench() as bench:
        sent = await asyncio.gather(*(bench.intake.accept_texts([(f"text {n}", "same")]) for n in range(5)))
        assert sum(len(s.documents) for s in sent) == 1
        originals = await bench.stores.blobs.list("", blob_keys.ORIGINALS)
        [document] = [d for s in sent for d in s.documents]
        assert originals == [document.blob_key]
