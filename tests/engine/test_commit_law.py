"""The graph is a projection: what is stored depends on which documents are in, not on how they came."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightrag_server.errors import JobLost
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.sqlite.backend import SQLiteBackend
from tests.engine.conftest import opened_bench

NAMES = st.sampled_from(["Scrooge", "SCROOGE", "Marley", "Bob Cratchit", "Tiny Tim", "Fred", "Belle"])
WORDS = st.sampled_from(["partner", "clerk", "nephew", "ghost", "was seen", "sat by the fire", "died"])


@st.composite
def rows(draw: st.DrawFn) -> str:
    if draw(st.booleans()):
        return f"entity<|#|>{draw(NAMES)}<|#|>person<|#|>{draw(NAMES)} {draw(WORDS)}"
    return f"relation<|#|>{draw(NAMES)}<|#|>{draw(NAMES)}<|#|>{draw(WORDS)}<|#|>{draw(WORDS)} {draw(WORDS)}"


@st.composite
def documents(draw: st.DrawFn) -> list[tuple[str, str]]:
    """At most six documents with distinct texts, some of several chunks."""
    texts = draw(st.lists(st.lists(rows(), min_size=1, max_size=12), min_size=2, max_size=6))
    return [(f"{n}.txt", f"document {n}\n" + "\n".join(lines)) for n, lines in enumerate(texts)]


CHEAP = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(documents(), st.data())
@CHEAP
def test_order_and_batches_of_commits_do_not_matter(texts: list[tuple[str, str]], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(texts) - 1))

    async def check() -> None:
        async with opened_bench() as at_once, opened_bench() as forwards, opened_bench() as backwards:
            await at_once.insert(*texts)
            await forwards.insert(*texts[:cut])
            await forwards.insert(*texts[cut:])
            await backwards.insert(*texts[cut:])
            await backwards.insert(*texts[:cut])
            assert await forwards.knowledge() == await at_once.knowledge()
            assert await backwards.knowledge() == await at_once.knowledge()

    asyncio.run(check())


@given(documents(), st.data())
@CHEAP
def test_deleting_what_was_inserted_leaves_what_the_rest_alone_would_have_made(
    texts: list[tuple[str, str]], data: st.DataObject
) -> None:
    gone = data.draw(st.sets(st.integers(0, len(texts) - 1), min_size=1))

    async def check() -> None:
        async with opened_bench() as both, opened_bench() as rest:
            made = await both.insert(*texts)
            await both.delete(*(made[n] for n in gone))
            if kept := [t for n, t in enumerate(texts) if n not in gone]:
                await rest.insert(*kept)
            assert await both.knowledge() == await rest.knowledge()

    asyncio.run(check())


@given(documents())
@settings(CHEAP, max_examples=8)
def test_sqlite_holds_what_memory_holds(texts: list[tuple[str, str]]) -> None:
    async def check(folder: str) -> None:
        backend = SQLiteBackend(Path(folder), SQLiteSettings())
        async with opened_bench() as memory, opened_bench(backend) as sqlite:
            for bench in (memory, sqlite):
                made = await bench.insert(*texts)
                await bench.delete(made[0])
            assert await sqlite.knowledge() == await memory.knowledge()

    with TemporaryDirectory() as folder:
        asyncio.run(check(folder))


async def test_committing_the_same_parts_again_changes_nothing() -> None:
    """As after a crash between the transaction and the removal of the parts."""
    text = "entity<|#|>Scrooge<|#|>person<|#|>a miser\nrelation<|#|>Scrooge<|#|>Marley<|#|>partner<|#|>firm"
    async with opened_bench() as bench:
        accepted = await bench.intake.accept_texts([(text, "a.txt")])
        await bench.prepare.run(accepted.documents[0].id)
        kept = {key: await bench.stores.blobs.get("", key) for key in await bench.stores.blobs.list("")}
        [prepared] = (await bench.stores.documents.get([accepted.documents[0].id])).values()
        await bench.write()
        before = await bench.knowledge()
        for key, data in kept.items():
            await bench.stores.blobs.put("", key, data or b"")
        await bench.stores.documents.put([prepared])
        await bench.write()
        assert await bench.knowledge() == before


async def test_deleting_calls_no_extractor_and_no_embedder() -> None:
    async with opened_bench() as bench:
        made = await bench.insert(
            ("a.txt", "relation<|#|>Scrooge<|#|>Marley<|#|>partner<|#|>one"),
            ("b.txt", "relation<|#|>Scrooge<|#|>Fred<|#|>nephew<|#|>two"),
        )
        bench.extractor.calls.clear()
        bench.embedder.texts.clear()
        await bench.delete(made[0])
        assert not bench.extractor.calls
        assert not bench.embedder.texts


async def test_a_commit_that_was_superseded_writes_nothing() -> None:
    async with opened_bench() as bench:
        await bench.stores.raise_fence(10)
        accepted = await bench.intake.accept_texts([("entity<|#|>A<|#|>person<|#|>d", "a.txt")])
        await bench.prepare.run(accepted.documents[0].id)
        try:
            await bench.commit.run(9)
        except JobLost:
            pass
        else:
            raise AssertionError("an older holder wrote")
        assert (await bench.stores.graph.counts()).entities == 0


async def test_a_document_deleted_while_it_was_prepared_leaves_nothing() -> None:
    async with opened_bench() as bench:
        accepted = await bench.intake.accept_texts([("entity<|#|>A<|#|>person<|#|>d", "a.txt")])
        await bench.prepare.run(accepted.documents[0].id)
        await bench.delete(accepted.documents[0].id)
        assert (await bench.stores.graph.counts()).entities == 0
        assert await bench.stores.blobs.list("") == []


async def test_an_interrupted_document_goes_on_behind_its_finished_chunks() -> None:
    text = "\n".join(f"entity<|#|>Name {n}<|#|>person<|#|>description of number {n}" for n in range(60))
    async with opened_bench() as bench, opened_bench() as undisturbed:
        await undisturbed.insert(("a.txt", text))
        accepted = await bench.intake.accept_texts([(text, "a.txt")])
        real, seen = bench.extractor.extract, 0

        async def interrupted(chunks, done):  # type: ignore[no-untyped-def]
            async def counted(chunk, extraction):  # type: ignore[no-untyped-def]
                nonlocal seen
                seen += 1
                if seen > 20:
                    raise JobLost("killed")
                await done(chunk, extraction)

            await real(chunks, counted)

        bench.extractor.extract = interrupted  # type: ignore[method-assign]
        try:
            await bench.prepare.run(accepted.documents[0].id)
        except JobLost:
            bench.extractor.extract = real  # type: ignore[method-assign]
        first = set(bench.extractor.calls)
        bench.extractor.calls.clear()
        await bench.prepare.run(accepted.documents[0].id)
        await bench.write()
        assert len(first) > 16
        assert len(set(bench.extractor.calls) & first) <= len(first) - 16
        assert await bench.knowledge() == await undisturbed.knowledge()
