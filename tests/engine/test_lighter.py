"""What is told all over the corpus loses documents without a look at all the others, and is then as if folded anew."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightrag_server.core.edits import EditEntity, EntityFields, MergeEntities
from lightrag_server.engine.lighter import FIRST
from lightrag_server.ports.doc_status import Filter
from tests.engine.conftest import NOW, Bench, opened_bench
from tests.engine.test_commit_law import NAMES, WORDS
from tests.engine.test_curation import carried_out, state

HUBS = ("Scrooge", "Marley")
COUNT = 40


@st.composite
def corpora(draw: st.DrawFn) -> list[tuple[str, str]]:
    """Many documents that all speak of the hubs, in few words, and now and then of others."""
    texts: list[tuple[str, str]] = []
    for number in range(COUNT):
        lines = [f"entity<|#|>{hub}<|#|>person<|#|>{draw(WORDS)}" for hub in HUBS]
        lines.append(f"relation<|#|>{HUBS[0]}<|#|>{draw(NAMES)}<|#|>{draw(WORDS)}<|#|>{draw(WORDS)} {number}")
        texts.append((f"{number:02}.txt", f"number {number}\n" + "\n".join(lines)))
    return texts


async def filled(bench: Bench, texts: list[tuple[str, str]], left_out: set[int]) -> dict[int, str]:
    """Ids by number; each document comes at a time of its own, which is the same in every workspace."""
    made: dict[int, str] = {}
    for number, text in enumerate(texts):
        if number not in left_out:
            bench.time[0] = NOW + timedelta(minutes=number)
            [made[number]] = await bench.insert(text)
    return made


@given(corpora(), st.sets(st.integers(0, COUNT - 1), min_size=1, max_size=12))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_deletions_from_many_leave_what_the_rest_alone_would_have_made(
    texts: list[tuple[str, str]], gone: set[int]
) -> None:
    async def check() -> None:
        async with opened_bench() as all_of_them, opened_bench() as rest:
            made = await filled(all_of_them, texts, set())
            await all_of_them.delete(*(made[n] for n in gone))
            await filled(rest, texts, gone)
            assert await state(all_of_them) == await state(rest)

    asyncio.run(check())


@given(corpora(), st.sets(st.integers(0, COUNT - 1), min_size=1, max_size=12))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_also_under_edits(texts: list[tuple[str, str]], gone: set[int]) -> None:
    edits = [EditEntity("Scrooge", EntityFields(description="by hand")), MergeEntities(("Fred",), "Marley")]

    async def check() -> None:
        async with opened_bench() as before, opened_bench() as after:
            everybody = [("all.txt", "entity<|#|>Fred<|#|>person<|#|>a nephew"), *texts]
            numbers = {n + 1 for n in gone}
            made = await filled(before, everybody, set())
            await carried_out(before, edits)
            await before.delete(*(made[n] for n in numbers))
            made = await filled(after, everybody, set())
            await after.delete(*(made[n] for n in numbers))
            after.time[0] = before.time[0]
            await carried_out(after, edits)
            assert await state(before) == await state(after)

    asyncio.run(check())


async def test_a_document_is_deleted_without_reading_all_others() -> None:
    texts = [
        (f"{n:02}.txt", f"number {n}\nentity<|#|>Scrooge<|#|>person<|#|>a miser\nentity<|#|>Other {n}<|#|>person<|#|>x")
        for n in range(COUNT)
    ]
    async with opened_bench() as bench:
        made = await filled(bench, texts, set())
        asked: list[int] = []
        real = bench.stores.contributions.get

        async def counted(keys):  # type: ignore[no-untyped-def]
            asked.append(len(keys))
            return await real(keys)

        bench.stores.contributions.get = counted  # type: ignore[method-assign]
        await bench.delete(made[30])
        assert sum(asked) == 1
        [scrooge] = (await bench.stores.graph.entities(["scrooge"])).values()
        assert (scrooge.mentions, scrooge.types) == (COUNT - 1, {"person": COUNT - 1})


async def test_also_one_that_came_first_and_whose_texts_are_shown() -> None:
    """Of documents of many chunks that all tell of one entity one chunk each is read, and the first ones."""
    lines = [f"entity<|#|>Scrooge<|#|>person<|#|>a miser, who was seen counting {n}" for n in range(60)]
    texts = [(f"{n}.txt", "\n\n".join(f"{line} coins of number {n}" for line in lines)) for n in range(4)]
    async with opened_bench() as bench, opened_bench() as rest:
        made = await filled(bench, texts, set())
        chunks = {n: len(row.chunk_ids) for n, row in enumerate(await bench.stores.documents.find(Filter()))}
        assert sum(chunks.values()) - chunks[0] > 3 * FIRST
        asked: list[int] = []
        real = bench.stores.contributions.get

        async def counted(keys):  # type: ignore[no-untyped-def]
            asked.append(len(keys))
            return await real(keys)

        bench.stores.contributions.get = counted  # type: ignore[method-assign]
        await bench.delete(made[0])
        assert sum(asked) <= chunks[0] + FIRST + len(texts)
        await filled(rest, texts, {0})
        assert await state(bench) == await state(rest)
