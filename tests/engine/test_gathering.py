"""Which documents a commit takes together, and for whom it waits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from lightrag_server.core.edits import DeleteEntity
from lightrag_server.engine import commit
from lightrag_server.engine.edits import Edits
from lightrag_server.engine.plan import Slice
from tests.engine.conftest import Bench, opened_bench

TEXT = "entity<|#|>Ada<|#|>Person<|#|>Wrote the notes of {}"


@dataclass
class Slices:
    """Chunks of the slices that were written, in their order."""

    sizes: list[int] = field(default_factory=list[int])


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Slices:
    slices, write = Slices(), commit.Commit._write

    async def noted(self: commit.Commit, piece: Slice, fence: int) -> None:
        slices.sizes.append(piece.size)
        await write(self, piece, fence)

    monkeypatch.setattr(commit.Commit, "_write", noted)
    monkeypatch.setattr(commit, "SLICE_CHUNKS", 4)
    monkeypatch.setattr(commit, "LOOK_S", 0.01)
    return slices


async def accepted(bench: Bench, first: int, end: int) -> list[str]:
    named = [(TEXT.format(n), f"{n}.txt") for n in range(first, end)]
    return [d.id for d in (await bench.intake.accept_texts(named)).documents]


async def prepared(bench: Bench, first: int, end: int) -> None:
    for document_id in await accepted(bench, first, end):
        await bench.prepare.run(document_id)


async def just_committed(bench: Bench) -> None:
    await prepared(bench, 100, 101)
    await bench.write()


async def test_many_documents_fill_slices(written: Slices) -> None:
    async with opened_bench() as bench:
        await prepared(bench, 0, 10)
        await bench.write()
    assert written.sizes == [4, 4, 2]


async def test_a_large_document_is_divided_and_takes_no_other_along(written: Slices) -> None:
    async with opened_bench() as bench:
        lines = [TEXT.format(f"{n} " * 20) for n in range(9)]
        accepted = await bench.intake.accept_texts(
            [("\n".join(lines), "large.txt"), (TEXT.format("small"), "small.txt")]
        )
        for document in accepted.documents:
            await bench.prepare.run(document.id)
        await bench.write()
        chunks = [len(document.chunk_ids) for document in await bench.committed()]
    assert max(chunks) > 4
    assert max(written.sizes) == 4
    assert sum(written.sizes) == sum(chunks)
    assert written.sizes[-1] == 1


async def test_documents_on_their_way_are_waited_for(written: Slices) -> None:
    async with opened_bench() as bench:
        await just_committed(bench)
        await prepared(bench, 0, 2)
        later = await accepted(bench, 2, 3)
        writing = asyncio.create_task(bench.write())
        await asyncio.sleep(0.1)
        assert written.sizes == [1]
        await bench.prepare.run(later[0])
        await asyncio.wait_for(writing, 5)
    assert written.sizes == [1, 3]


async def test_a_full_slice_waits_for_nobody(written: Slices) -> None:
    async with opened_bench() as bench:
        await just_committed(bench)
        await prepared(bench, 0, 4)
        await accepted(bench, 4, 5)
        await asyncio.wait_for(bench.write(), commit.SECONDS_FOR_COMPANY / 2)
    assert written.sizes == [1, 4]


async def test_the_wait_has_an_end(written: Slices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "SECONDS_FOR_COMPANY", 0.2)
    async with opened_bench() as bench:
        await just_committed(bench)
        await prepared(bench, 0, 1)
        await accepted(bench, 1, 2)
        await asyncio.wait_for(bench.write(), 5)
    assert written.sizes == [1, 1]


async def test_an_edit_ends_the_wait(written: Slices) -> None:
    async with opened_bench() as bench:
        await just_committed(bench)
        await prepared(bench, 0, 1)
        await accepted(bench, 1, 2)
        writing = asyncio.create_task(bench.write())
        await asyncio.sleep(0.1)
        assert written.sizes == [1]
        await Edits(bench.stores, bench.queue).submit(DeleteEntity("Ada"))
        await asyncio.wait_for(writing, commit.SECONDS_FOR_COMPANY / 2)
        assert await bench.stores.graph.labels() == []
    assert written.sizes == [1, 1]


async def test_a_removal_goes_first_and_the_wait_goes_on(written: Slices) -> None:
    async with opened_bench() as bench:
        [old] = await bench.insert(("old.txt", TEXT.format("old")))
        await prepared(bench, 0, 1)
        later = await accepted(bench, 1, 2)
        writing = asyncio.create_task(bench.write())
        await asyncio.sleep(0.1)
        await bench.intake.delete([old])
        await asyncio.sleep(0.2)
        assert written.sizes == [1, 1]
        assert not await bench.stores.documents.get([old])
        await bench.prepare.run(later[0])
        await asyncio.wait_for(writing, commit.SECONDS_FOR_COMPANY / 2)
    assert written.sizes == [1, 1, 2]
