"""A document's next version: what is worked out again, what answers rest on meanwhile, and what stopping leaves."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lightrag_server.core.encoding import chunk_from_row
from lightrag_server.core.ids import window_id
from lightrag_server.core.records import Chunk, DocStatus, Document, Extraction, Profile, Stage
from lightrag_server.engine import blob_keys, job_kinds
from lightrag_server.engine.documents import Documents
from lightrag_server.engine.incoming import Terms
from lightrag_server.engine.leftovers import ORPHAN_AFTER_S
from lightrag_server.engine.versions import REPLACEMENT_FAILED, give_up, key_of
from lightrag_server.engine.workspace import Workspaces
from lightrag_server.errors import Conflict, ExtractionFailed, InvalidInput, JobLost, NotFound, ProviderTimeout
from lightrag_server.jobs.handlers import Handlers, RetryLater
from lightrag_server.jobs.reconcile import remove_orphans, remove_parts
from lightrag_server.ports.doc_status import Filter
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.sqlite.backend import SQLiteBackend
from tests.core.test_chunk_reuse import SPEC, joined, paragraph
from tests.engine.conftest import NOW, Bench, opened_bench
from tests.engine.test_commit_law import CHEAP, rows

ONE = "entity<|#|>Scrooge<|#|>person<|#|>a miser\nrelation<|#|>Scrooge<|#|>Marley<|#|>partner<|#|>a firm"
TWO = "entity<|#|>Scrooge<|#|>person<|#|>a changed man\nrelation<|#|>Scrooge<|#|>Fred<|#|>nephew<|#|>a family"
THREE = "entity<|#|>Belle<|#|>person<|#|>left him"


async def row_of(bench: Bench, document_id: str) -> Document:
    return (await bench.stores.documents.get([document_id]))[document_id]


async def replace(bench: Bench, document_id: str, text: str) -> None:
    """Accept, prepare and commit."""
    await bench.intake.replace_text(document_id, text)
    await bench.prepare.run(document_id)
    await bench.write()


async def names(bench: Bench) -> set[str]:
    return set(await bench.stores.graph.labels())


async def blobs(bench: Bench) -> list[str]:
    return await bench.stores.blobs.list("")


async def check_blobs(bench: Bench, *documents: Document) -> None:
    """The original and its text are kept of each, and nothing else."""
    wanted = [(d.id, blob_keys.acceptance_of(key_of(d)), kind) for d in documents for kind in ("originals", "parsed")]
    found = [(key.split("/")[1], key.split("/")[2], key.split("/")[0]) for key in await blobs(bench)]
    assert sorted(found) == sorted(wanted)


async def fresh_like(bench: Bench, document_id: str, text: str) -> dict[str, Any]:
    """What a workspace knows into which the text was inserted in the chunks that it has here."""
    async with opened_bench() as other:
        [document] = (await other.intake.accept_texts([(text, "a.txt")])).documents
        assert document.id == document_id
        here = await row_of(bench, document_id)
        [kept] = await bench.stores.blobs.list("", blob_keys.parsed_of(document_id, key_of(here)))
        key = blob_keys.parsed(document_id, key_of(document), other.embedder.identity)
        await other.stores.blobs.put("", key, await bench.stores.blobs.get("", kept) or b"")
        await other.prepare.run(document_id)
        await other.write()
        here_ids, here_vectors = await vectors(bench)
        fresh_ids, fresh_vectors = await vectors(other)
        assert here_ids == fresh_ids
        assert np.allclose(here_vectors, fresh_vectors, atol=2e-3)
        return await other.knowledge()


async def vectors(bench: Bench) -> tuple[list[str], NDArray[np.float32]]:
    """Of all windows, by id."""
    chunks = [chunk_from_row(row) async for _, row in bench.stores.chunks.scan()]
    wanted = sorted(window_id(c.id, n) for c in chunks for n in range(len(c.windows)))
    items = await bench.stores.windows.get(wanted)
    return wanted, np.asarray([items[i].vector for i in wanted])


# ----------------------------------------------------------------------------- what is worked out again


@pytest.mark.parametrize("change", ["middle", "top"])
async def test_only_what_changed_is_extracted_and_embedded_again(change: str) -> None:
    before = [paragraph(n) for n in range(190)]
    after = [*before[:90], paragraph(1000), *before[91:]] if change == "middle" else [paragraph(1000), *before]
    async with opened_bench(spec=SPEC) as bench:
        [document_id] = await bench.insert(("a.txt", joined(before)))
        assert len((await row_of(bench, document_id)).chunk_ids) >= 60
        bench.extractor.calls.clear()
        bench.embedder.texts.clear()
        await replace(bench, document_id, joined(after))
        row = await row_of(bench, document_id)
        assert row.stage is Stage.COMMITTED
        assert 1 <= len(bench.extractor.calls) <= 3
        new_chunks = [chunk_from_row(r) async for _, r in bench.stores.chunks.scan()]
        extracted = [c for c in new_chunks if c.id in bench.extractor.calls]
        assert set(bench.embedder.texts) <= {c.window_text(w) for c in extracted for w in c.windows}
        assert joined(after)[: new_chunks[0].end] == new_chunks[0].text
        assert await bench.knowledge() == await fresh_like(bench, document_id, joined(after))


@st.composite
def versions(draw: st.DrawFn) -> list[str]:
    """Texts of one document: each is the one before with lines put in, taken out and moved."""
    lines = draw(st.lists(rows(), min_size=1, max_size=14))
    texts = ["first\n" + "\n".join(lines)]
    for number in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines)))
        gone = draw(st.integers(0, len(lines) - at))
        lines = [*lines[:at], *draw(st.lists(rows(), max_size=3)), *lines[at + gone :]]
        texts.append(f"version {number}\n" + "\n".join(lines))
    return texts


@given(versions())
@CHEAP
def test_replacing_gives_what_inserting_the_last_version_alone_gives(texts: list[str]) -> None:
    async def check() -> None:
        async with opened_bench() as bench:
            [document_id] = await bench.insert(("a.txt", texts[0]))
            for text in texts[1:]:
                await replace(bench, document_id, text)
            assert await bench.knowledge() == await fresh_like(bench, document_id, texts[-1])
            await check_blobs(bench, await row_of(bench, document_id))

    asyncio.run(check())


async def test_sqlite_replaces_as_memory_does() -> None:
    with TemporaryDirectory() as folder:
        async with opened_bench(SQLiteBackend(Path(folder), SQLiteSettings())) as bench:
            [document_id] = await bench.insert(("a.txt", "\n".join([ONE, TWO])))
            await replace(bench, document_id, "\n".join([THREE, ONE]))
            assert await bench.knowledge() == await fresh_like(bench, document_id, "\n".join([THREE, ONE]))


async def test_another_document_keeps_what_it_says_of_the_same_things() -> None:
    async with opened_bench() as bench, opened_bench() as plain:
        first, _ = await bench.insert(("a.txt", ONE), ("b.txt", "b\n" + ONE))
        await replace(bench, first, THREE)
        await plain.insert(("a.txt", THREE), ("b.txt", "b\n" + ONE))
        assert await bench.knowledge() == await plain.knowledge()


async def test_a_large_document_is_replaced_in_one_transaction() -> None:
    lines = [f"entity<|#|>Name {n}<|#|>person<|#|>description of number {n}" for n in range(700)]
    async with opened_bench() as bench:
        [document_id] = await bench.insert(("a.txt", "\n".join(lines)))
        assert len((await row_of(bench, document_id)).chunk_ids) > 200
        seen: list[int] = []
        real = bench.stores.contributions.put

        async def counted(rows: dict[str, Any]) -> None:
            seen.append(len(rows))
            await real(rows)

        bench.stores.contributions.put = counted  # type: ignore[method-assign]
        await replace(bench, document_id, "\n".join(["entity<|#|>New<|#|>person<|#|>first", *lines]))
        assert len(seen) == 1


# ----------------------------------------------------------------------------- what answers rest on


async def test_the_version_before_stays_until_the_new_one_is_committed() -> None:
    async with opened_bench() as bench:
        [document_id] = await bench.insert(("a.txt", ONE))
        before, knowledge = await row_of(bench, document_id), await bench.knowledge()
        accepted = await bench.intake.replace_text(document_id, TWO)
        [document] = accepted.documents
        assert (document.status, document.track_id) == (DocStatus.PENDING, accepted.track_id)
        assert document.serving
        assert document.serving.chunk_ids == before.chunk_ids
        await bench.prepare.run(document_id)
        assert (await bench.knowledge()) | {"documents": ()} == knowledge | {"documents": ()}
        documents = Documents(bench.stores, lambda: NOW)
        assert await documents.text(document_id) == ONE
        assert (await documents.original(document_id)).data == ONE.encode()
        assert [c.text for c in (await documents.chunks(document_id, 1, 50))[0]] == [ONE]
        await bench.write()
        row = await row_of(bench, document_id)
        assert (row.status, row.serving, row.error) == (DocStatus.PROCESSED, None, None)
        assert (row.created_at, row.metadata["version"]) == (before.created_at, 2)
        assert await names(bench) == {"Scrooge", "Fred"}
        assert await documents.text(document_id) == TWO
        await check_blobs(bench, row)


async def test_content_that_is_there_already_is_not_worked_on() -> None:
    async with opened_bench() as bench:
        [document_id] = await bench.insert(("a.txt", ONE))
        before = await row_of(bench, document_id)
        accepted = await bench.intake.replace_text(document_id, ONE, Terms(tags=("x",)))
        assert [d.id for d in accepted.duplicates] == [document_id]
        assert not accepted.documents
        assert await row_of(bench, document_id) == before.with_(tags=("x",))
        assert not [j for j in await bench.queue.open_jobs("") if j.kind == job_kinds.PREPARE and j.attempt == 0][1:]


async def test_replacing_by_the_content_before_takes_a_replacement_back() -> None:
    async with opened_bench() as bench:
        [document_id] = await bench.insert(("a.txt", ONE))
        before, knowledge = await row_of(bench, document_id), await bench.knowledge()
        await bench.intake.replace_text(document_id, TWO)
        accepted = await bench.intake.replace_text(document_id, ONE)
        assert not accepted.documents
        after = await row_of(bench, document_id)
        assert after == before.with_(track_id=after.track_id)
        await bench.prepare.run(document_id)
        await bench.write()
        assert await bench.knowledge() == knowledge
        await check_blobs(bench, before)


async def test_a_document_is_indexed_again_with_another_profile_without_being_parsed() -> None:
    class Nothing:
        async def extract(self, chunks: list[Chunk], done: Callable[[Chunk, Extraction], Awaitable[None]]) -> None:
            for chunk in chunks:
                await done(chunk, Extraction())

    async with opened_bench() as bench:
        [document_id] = await bench.insert(("a.txt", ONE))
        tools = bench.prepare._tools  # pyright: ignore[reportPrivateUsage]
        tools.extractors[Profile.VECTOR] = Nothing()  # type: ignore[index]

        async def refused(name: str, data: bytes) -> None:
            raise AssertionError("parsed again")

        tools.parser.parse = refused  # type: ignore[method-assign]
        bench.embedder.texts.clear()
        for profile, known in ((Profile.VECTOR, set[str]()), (Profile.FULL, {"Scrooge", "Marley"})):
            await bench.intake.reindex(document_id, profile)
            await bench.prepare.run(document_id)
            await bench.write()
            row = await row_of(bench, document_id)
            assert (row.stage, row.profile) == (Stage.COMMITTED, profile)
            assert await names(bench) == known
            await check_blobs(bench, row)
        assert ONE not in bench.embedder.texts


# ----------------------------------------------------------------------------- one after another


async def test_a_replacement_that_is_replaced_never_answers() -> None:
    async with opened_bench() as bench:
        [document_id] = await bench.insert(("a.txt", ONE))
        serving = await row_of(bench, document_id)
        await bench.intake.replace_text(document_id, TWO)
        await bench.intake.replace_text(document_id, THREE)
        row = await row_of(bench, document_id)
        assert row.serving
        assert row.serving.blob_key == serving.blob_key
        assert len(await bench.stores.blobs.list("", blob_keys.ORIGINALS)) == 2
        await bench.prepare.run(document_id)
        await bench.write()
        assert await names(bench) == {"Belle"}
        await check_blobs(bench, await row_of(bench, document_id))


async def test_work_on_an_older_acceptance_never_changes_the_row_of_a_newer_one() -> None:
    async with opened_bench() as bench:
        [document_id] = await bench.insert(("a.txt", ONE))
        await bench.intake.replace_text(document_id, TWO)
        real = bench.extractor.extract

        async def overtaken(chunks, done):  # type: ignore[no-untyped-def]
            await bench.intake.replace_text(document_id, THREE)
            await real(chunks, done)

        bench.extractor.extract = overtaken  # type: ignore[method-assign]
        with pytest.raises(JobLost):
            await bench.prepare.run(document_id)
        bench.extractor.extract = real  # type: ignore[method-assign]
        assert (await row_of(bench, document_id)).stage is Stage.ACCEPTED
        await bench.prepare.run(document_id)
        await bench.write()
        await remove_parts(bench.stores)
        await remove_orphans(bench.stores, int(NOW.timestamp()) + ORPHAN_AFTER_S)
        assert await names(bench) == {"Belle"}
        await check_blobs(bench, await row_of(bench, document_id))


@contextmanager
def during_commit(bench: Bench, work: Callable[[], Awaitable[None]]) -> Iterator[None]:
    """Run `work` after a commit has read what it writes and before it writes."""
    real = bench.stores.contributions.get
    is_done = False

    async def get(keys):  # type: ignore[no-untyped-def]
        nonlocal is_done
        if not is_done:
            is_done = True
            await work()
        return await real(keys)

    bench.stores.contributions.get = get  # type: ignore[method-assign]
    try:
        yield
    finally:
        bench.stores.contributions.get = real  # type: ignore[method-assign]
    assert is_done


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_version_accepted_while_the_one_before_is_committed_comes_next(is_first: bool) -> None:
    async with opened_bench() as bench:
        document_id = await prepared_two(bench, is_first)

        async def third() -> None:
            await bench.intake.replace_text(document_id, THREE)

        with during_commit(bench, third):
            await bench.write()
        row = await row_of(bench, document_id)
        assert (row.stage, await names(bench)) == (Stage.ACCEPTED, {"Scrooge", "Fred"})
        assert row.serving
        assert row.serving.chunk_ids
        assert await Documents(bench.stores, lambda: NOW).text(document_id) == TWO
        await bench.prepare.run(document_id)
        await bench.write()
        assert await names(bench) == {"Belle"}
        assert await bench.knowledge() == await fresh_like(bench, document_id, THREE)
        await check_blobs(bench, await row_of(bench, document_id))


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_version_given_up_while_the_one_before_is_committed_leaves_that_one(is_first: bool) -> None:
    async with opened_bench() as bench:
        document_id = await prepared_two(bench, is_first)

        async def third_and_no() -> None:
            await bench.intake.replace_text(document_id, THREE)
            await bench.intake.cancel_one(document_id)

        with during_commit(bench, third_and_no):
            await bench.write()
        row = await row_of(bench, document_id)
        assert (row.stage, row.status, row.serving) == (Stage.COMMITTED, DocStatus.PROCESSED, None)
        assert await names(bench) == {"Scrooge", "Fred"}
        assert await Documents(bench.stores, lambda: NOW).text(document_id) == TWO


async def prepared_two(bench: Bench, is_first: bool) -> str:
    """A document whose version TWO is prepared: its first one, or the one after ONE."""
    if is_first:
        [document] = (await bench.intake.accept_texts([(TWO, "a.txt")])).documents
        document_id = document.id
    else:
        [document_id] = await bench.insert(("a.txt", ONE))
        await bench.intake.replace_text(document_id, TWO)
    await bench.prepare.run(document_id)
    return document_id


# ----------------------------------------------------------------------------- what stops one


async def test_a_replacement_that_fails_puts_the_version_before_back() -> None:
    async with opened_bench() as bench:
        [document_id] = await bench.insert(("a.txt", ONE))
        before, knowledge = await row_of(bench, document_id), await bench.knowledge()
        await bench.intake.replace_text(document_id, TWO)
        row = await row_of(bench, document_id)
        assert await give_up(bench.stores, row, "it cannot be read", NOW)
        after = await row_of(bench, document_id)
        assert after == before.with_(
            error=f"{REPLACEMENT_FAILED}: it cannot be read", track_id=row.track_id, updated_at=after.updated_at
        )
        assert await bench.knowledge() == knowledge
        await check_blobs(bench, after)
        with pytest.raises(Conflict):
            await bench.intake.retry(document_id)


async def test_a_replacement_is_tried_again_before_it_is_given_up() -> None:
    async with opened_bench() as bench:
        [document_id] = await bench.insert(("a.txt", ONE))
        before = await row_of(bench, document_id)
        await bench.queue.cancel("", (job_kinds.PREPARE,))
        await bench.intake.replace_text(document_id, TWO)

        async def failing(chunks, done):  # type: ignore[no-untyped-def]
            raise ExtractionFailed({0: ProviderTimeout("the model did not answer")})

        bench.extractor.extract = failing  # type: ignore[method-assign]
        workspace = SimpleNamespace(key="", name="", stores=bench.stores, prepare=bench.prepare)
        workspaces = cast(Workspaces, SimpleNamespace(get=AsyncMock(return_value=workspace)))
        handlers = Handlers(workspaces, bench.queue, max_attempts=2, retry_delay_s=1.0, clock=lambda: NOW)
        job = await bench.queue.claim("me", (job_kinds.PREPARE,))
        assert job
        with pytest.raises(RetryLater):
            await handlers.run(job)
        row = await row_of(bench, document_id)
        assert (row.stage, row.metadata["tries"]) == (Stage.ACCEPTED, 1)
        await handlers.run(job)
        row = await row_of(bench, document_id)
        assert (row.stage, row.status, row.blob_key) == (Stage.COMMITTED, DocStatus.PROCESSED, before.blob_key)
        assert "the model did not answer" in (row.error or "")
        assert row.metadata == before.metadata
        await check_blobs(bench, row)


async def test_a_cancelled_replacement_leaves_the_version_before_and_others_end_as_failed() -> None:
    async with opened_bench() as bench:
        [document_id] = await bench.insert(("a.txt", ONE))
        await bench.intake.replace_text(document_id, TWO)
        [new] = (await bench.intake.accept_texts([(THREE, "b.txt")])).documents
        assert await bench.intake.cancel() == 2
        assert (await row_of(bench, document_id)).stage is Stage.COMMITTED
        assert (await row_of(bench, new.id)).stage is Stage.FAILED
        assert (await bench.intake.retry(new.id)).stage is Stage.ACCEPTED
        await bench.prepare.run(new.id)
        await bench.write()
        assert await names(bench) == {"Scrooge", "Marley", "Belle"}


async def test_one_document_is_cancelled_and_the_others_go_on() -> None:
    async with opened_bench() as bench:
        documents = (await bench.intake.accept_texts([(ONE, "a.txt"), (TWO, "b.txt")])).documents
        stopped = await bench.intake.cancel_one(documents[0].id)
        assert (stopped.status, stopped.error) == (DocStatus.FAILED, "User cancelled before it was finished")
        assert {j.subject for j in await bench.queue.open_jobs("")} == {documents[1].id}
        with pytest.raises(Conflict):
            await bench.intake.cancel_one(documents[0].id)
        with pytest.raises(NotFound):
            await bench.intake.cancel_one("doc-unknown")


async def test_the_text_of_another_document_is_refused_as_a_replacement() -> None:
    async with opened_bench() as bench:
        first, second = await bench.insert(("a.txt", ONE), ("b.txt", TWO))
        knowledge = await bench.knowledge()
        for document_id, text, twin in ((first, TWO, second), (second, ONE, first)):
            await bench.intake.replace_text(document_id, text)
            await bench.prepare.run(document_id)
            row = await row_of(bench, document_id)
            assert row.stage is Stage.COMMITTED
            assert row.error
            assert twin in row.error
        await bench.write()
        assert await bench.knowledge() == knowledge


async def test_deleting_while_a_replacement_is_prepared_removes_everything() -> None:
    async with opened_bench() as bench:
        [document_id] = await bench.insert(("a.txt", ONE))
        await bench.intake.replace_text(document_id, TWO)
        await bench.prepare.run(document_id)
        await bench.delete(document_id)
        assert await blobs(bench) == []
        assert (await bench.stores.graph.counts()).entities == 0
        assert await bench.stores.windows.count() == 0
        with pytest.raises(NotFound):
            await bench.intake.replace_text(document_id, THREE)


async def test_a_file_is_replaced_by_one_of_its_kind_only() -> None:
    async with opened_bench() as bench:
        [document] = (await bench.intake.accept_file("a.txt", ONE.encode())).documents
        bench.prepare._tools.parser.extensions = lambda: [".txt", ".md"]  # type: ignore[method-assign]
        with pytest.raises(InvalidInput, match=r"'\.md'"):
            await bench.intake.replace_file(document.id, "b.md", TWO.encode())
        [replaced] = (await bench.intake.replace_file(document.id, "other name.TXT", TWO.encode())).documents
        assert replaced.file_path == "a.txt"


async def test_what_its_owner_notes_of_a_document_outlives_the_work_on_it() -> None:
    async with opened_bench() as bench:
        terms = Terms(attributes={"year": 2025, "draft": True}, tags=("a",))
        [document] = (await bench.intake.accept_texts([(ONE, "a.txt")], terms=terms)).documents
        documents = Documents(bench.stores, lambda: NOW)
        real = bench.extractor.extract

        async def changed_meanwhile(chunks, done):  # type: ignore[no-untyped-def]
            await documents.change(document.id, {"year": 2026, "draft": None}, ("b", "c"), is_enabled=False)
            await real(chunks, done)

        bench.extractor.extract = changed_meanwhile  # type: ignore[method-assign]
        await bench.prepare.run(document.id)

        async def once_more() -> None:
            await documents.change(document.id, {"late": 1})

        with during_commit(bench, once_more):
            await bench.write()
        row = await row_of(bench, document.id)
        assert row.stage is Stage.COMMITTED
        assert (row.attributes, row.tags, row.is_enabled) == ({"year": 2026, "late": 1}, ("b", "c"), False)
        bench.extractor.extract = real  # type: ignore[method-assign]
        await replace(bench, document.id, TWO)
        row = await row_of(bench, document.id)
        assert (row.attributes, row.tags, row.is_enabled) == ({"year": 2026, "late": 1}, ("b", "c"), False)


async def test_conflicts_are_answered_as_the_request_says() -> None:
    async with opened_bench() as bench:
        [document_id] = await bench.insert(("a.txt", ONE))
        with pytest.raises(Conflict):
            await bench.intake.accept_texts([(TWO, "a.txt")], terms=Terms(on_conflict="error"))
        skipped = await bench.intake.accept_texts([(TWO, "a.txt")])
        assert [d.id for d in skipped.duplicates] == [document_id]
        texts = [(TWO, "a.txt"), (THREE, "b.txt")]
        both = await bench.intake.accept_texts(texts, terms=Terms(on_conflict="replace"))
        for document in both.documents:
            await bench.prepare.run(document.id)
        await bench.write()
        assert await names(bench) == {"Scrooge", "Fred", "Belle"}


# ----------------------------------------------------------------------------- killed anywhere


class Killed(BaseException):
    """The process is gone: nothing catches this."""


@asynccontextmanager
async def killed_at(bench: Bench, step: int):  # type: ignore[no-untyped-def]
    """Die before the write of this number; writes are those of blobs, rows, transactions and jobs."""
    count = itertools.count()
    stores, queue = bench.stores, bench.queue
    places = [
        (stores.blobs, "put"), (stores.blobs, "delete"), (stores.documents, "update"), (stores.documents, "delete"),
        (stores.contributions, "put"), (stores.graph, "put"), (queue, "enqueue"), (queue, "cancel"),
    ]  # fmt: skip
    real = [(place, name, getattr(place, name)) for place, name in places]

    def watched(work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counted(*arguments: Any) -> Any:
            if next(count) == step:
                raise Killed
            return await work(*arguments)

        return counted

    for place, name, work in real:
        setattr(place, name, watched(work))
    try:
        yield
    except Killed:
        pass
    finally:
        for place, name, work in real:
            setattr(place, name, work)


async def healed(bench: Bench) -> None:
    """What start and the minutes after it do."""
    for _ in range(3):
        for document in await bench.stores.documents.find(Filter()):
            await bench.prepare.run(document.id)
        await bench.write()
        await remove_parts(bench.stores)
        later: datetime = NOW + timedelta(seconds=ORPHAN_AFTER_S)
        await remove_orphans(bench.stores, int(later.timestamp()))


@pytest.mark.parametrize("end", ["commit", "cancel", "again", "delete"])
async def test_a_kill_at_any_write_leaves_one_whole_version_and_no_orphan(end: str) -> None:
    for step in range(40):
        async with opened_bench() as bench:
            [document_id] = await bench.insert(("a.txt", ONE))
            is_over = False
            async with killed_at(bench, step):
                await bench.intake.replace_text(document_id, TWO)
                await bench.prepare.run(document_id)
                if end == "cancel":
                    await bench.intake.replace_text(document_id, THREE)
                    await bench.intake.cancel_one(document_id)
                if end == "again":
                    await bench.intake.replace_text(document_id, THREE)
                    await bench.prepare.run(document_id)
                if end == "delete":
                    await bench.intake.delete([document_id])
                await bench.write()
                is_over = True
            await healed(bench)
            rows = list((await bench.stores.documents.get([document_id])).values())
            await check_blobs(bench, *rows)
            for row in rows:
                assert (row.stage, row.serving) == (Stage.COMMITTED, None), step
                text = await Documents(bench.stores, lambda: NOW).text(document_id)
                assert await bench.knowledge() == await fresh_like(bench, document_id, text), step
            if not rows:
                assert await bench.stores.windows.count() == 0
            if is_over:
                assert step > 8
                return
    raise AssertionError("it never came to an end")
