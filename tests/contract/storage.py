"""The laws of `ports.storage`: transactions, fences, workspaces, and what outlives a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from lightrag_server.core.records import Stage
from lightrag_server.errors import JobLost
from lightrag_server.ports.lexical import LexicalItem
from lightrag_server.ports.storage import Backend
from lightrag_server.ports.vectors import VectorItem

from .harness import Harness
from .values import document, entity, relation, unit


async def write_everywhere(backend: Backend, workspace: str = "", name: str = "a") -> None:
    await backend.kv(workspace, "things").put({name: {"n": 1}})
    await backend.vectors(workspace, "places").put([VectorItem(name, name, unit(1, 0))])
    await backend.lexical(workspace, "places").put([LexicalItem(name, name, ["one", "otter"])])
    await backend.graph(workspace).put([entity(name)], [relation(name, name)], {name: [name]})
    await backend.doc_status(workspace).put([document(name)])


async def found(backend: Backend, workspace: str = "", name: str = "a") -> set[str]:
    """The roles in which the name is found."""
    graph = backend.graph(workspace)
    looks: dict[str, Callable[[], Awaitable[object]]] = {
        "kv": lambda: backend.kv(workspace, "things").get([name]),
        "vectors": lambda: backend.vectors(workspace, "places").get([name]),
        "vector search": lambda: backend.vectors(workspace, "places").search(unit(1, 0), 5),
        "lexical": lambda: backend.lexical(workspace, "places").search(["otter"], 5),
        "entities": lambda: graph.entities([name]),
        "relations": lambda: graph.relations([(name, name)]),
        "evidence": lambda: graph.subjects_of([name]),
        "documents": lambda: backend.doc_status(workspace).get([name]),
    }
    return {role for role, look in looks.items() if await look()}


async def _rewrite_and_fail(backend: Backend) -> None:
    async with backend.transaction(""):
        await write_everywhere(backend)
        await backend.kv("", "things").clear()
        await backend.vectors("", "places").clear()
        await backend.lexical("", "places").clear()
        await backend.graph("").clear()
        await backend.doc_status("").clear()
        raise RuntimeError("changed my mind")


@asynccontextmanager
async def _half_way(backend: Backend) -> AsyncIterator[asyncio.Task[None]]:
    """A task that has written everything and commits when the block ends well."""
    written, may_commit = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        async with backend.transaction(""):
            await write_everywhere(backend)
            written.set()
            await may_commit.wait()

    task = asyncio.create_task(work())
    try:
        await asyncio.wait_for(written.wait(), 10)
        yield task
        may_commit.set()
        await asyncio.wait({task})
    finally:
        task.cancel()
        await asyncio.wait({task})


EVERYWHERE = {"kv", "vectors", "vector search", "lexical", "entities", "relations", "evidence", "documents"}


class StorageContract:
    @pytest.fixture(autouse=True)
    def _needs(self, request: pytest.FixtureRequest, backend: Backend) -> None:
        for marker in request.node.iter_markers("needs"):
            if not getattr(backend.capabilities, marker.args[0]):
                pytest.skip(f"{backend.name} declares no {marker.args[0]}")

    async def test_what_a_transaction_writes_is_there_afterwards(self, backend: Backend) -> None:
        async with backend.transaction(""):
            await write_everywhere(backend)
            assert await found(backend) == EVERYWHERE
        assert await found(backend) == EVERYWHERE

    @pytest.mark.needs("transactions")
    async def test_a_transaction_that_fails_leaves_nothing_in_any_role(self, backend: Backend) -> None:
        await write_everywhere(backend, name="before")
        with pytest.raises(RuntimeError, match="changed my mind"):
            await _rewrite_and_fail(backend)
        assert await found(backend, name="before") == EVERYWHERE
        assert await found(backend) == {"vector search", "lexical"}  # of the other name
        assert await backend.lexical("", "places").count() == 1
        assert (await backend.graph("").counts()).entities == 1

    @pytest.mark.needs("transactions")
    async def test_a_transaction_that_is_cancelled_leaves_nothing(self, backend: Backend) -> None:
        async with _half_way(backend) as task:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await found(backend) == set()
        await write_everywhere(backend)
        assert await found(backend) == EVERYWHERE

    @pytest.mark.needs("transactions")
    async def test_other_tasks_never_see_half_a_transaction(self, backend: Backend) -> None:
        async with _half_way(backend):
            assert await found(backend) == set()
        assert await found(backend) == EVERYWHERE

    @pytest.mark.needs("shared_writes")
    @pytest.mark.needs("transactions")
    async def test_other_connections_never_see_half_a_transaction(self, storage: Harness, backend: Backend) -> None:
        other = await storage.connect()
        await write_everywhere(backend, name="before")
        assert await found(other, name="before") == EVERYWHERE
        async with backend.transaction(""):
            await write_everywhere(backend)
            assert await found(other) == {"vector search", "lexical"}
            assert len(await other.vectors("", "places").search(unit(1, 0), 5)) == 1
            assert len(await other.lexical("", "places").search(["otter"], 5)) == 1
        assert await found(other) == EVERYWHERE

    @pytest.mark.needs("shared_writes")
    async def test_writers_on_two_connections_lose_nothing(self, storage: Harness, backend: Backend) -> None:
        other = await storage.connect()

        async def write(through: Backend, names: str) -> None:
            for name in names:
                async with through.transaction(""):
                    await write_everywhere(through, name=name)

        await asyncio.gather(write(backend, "abcde"), write(other, "vwxyz"))
        assert await backend.kv("", "things").count() == 10
        assert await other.lexical("", "places").count() == 10
        assert len(await other.vectors("", "places").search(unit(1, 0), 20)) == 10
        assert (await backend.graph("").counts()).entities == 10

    @pytest.mark.needs("shared_writes")
    async def test_of_adds_over_two_connections_exactly_one_succeeds(self, storage: Harness, backend: Backend) -> None:
        stores = [backend.doc_status(""), (await storage.connect()).doc_status("")]
        for n in range(20):
            answers = await asyncio.gather(*(store.add([document(f"d{n}")]) for store in stores))
            assert sorted(map(len, answers)) == [0, 1]

    async def test_a_transaction_inside_another_is_refused(self, backend: Backend) -> None:
        async with backend.transaction(""):
            with pytest.raises(RuntimeError):
                async with backend.transaction(""):
                    pass

    async def test_transactions_of_two_workspaces_are_apart(self, backend: Backend) -> None:
        async with backend.transaction("one"), backend.transaction("two"):
            await write_everywhere(backend, "one")
        assert await found(backend, "one") == EVERYWHERE
        assert await found(backend, "two") == set()

    async def test_reads_in_many_tasks_inside_a_transaction_see_what_it_wrote(self, backend: Backend) -> None:
        async with backend.transaction(""):
            await write_everywhere(backend)
            answers = await asyncio.gather(*(found(backend) for _ in range(10)))
        assert answers == [EVERYWHERE] * 10

    # -- fences

    async def test_a_transaction_with_an_older_fence_is_lost_and_writes_nothing(self, backend: Backend) -> None:
        await backend.raise_fence("", 5)
        with pytest.raises(JobLost):
            async with backend.transaction("", fence=4):
                await write_everywhere(backend)
        assert await found(backend) == set()

    async def test_a_transaction_raises_the_fence_itself(self, backend: Backend) -> None:
        async with backend.transaction("", fence=7):
            await write_everywhere(backend)
        with pytest.raises(JobLost):
            async with backend.transaction("", fence=6):
                pass
        with pytest.raises(JobLost):
            await backend.raise_fence("", 6)

    async def test_the_newest_fence_and_no_fence_pass(self, backend: Backend) -> None:
        await backend.raise_fence("", 5)
        await backend.raise_fence("", 5)
        async with backend.transaction("", fence=5):
            pass
        async with backend.transaction(""):
            await write_everywhere(backend)
        assert await found(backend) == EVERYWHERE

    async def test_fences_of_workspaces_are_apart(self, backend: Backend) -> None:
        await backend.raise_fence("one", 9)
        async with backend.transaction("two", fence=1):
            await write_everywhere(backend, "two")
        assert await found(backend, "two") == EVERYWHERE

    @pytest.mark.needs("shared_writes")
    async def test_a_fence_raised_elsewhere_stops_this_one(self, storage: Harness, backend: Backend) -> None:
        async with backend.transaction("", fence=1):
            pass
        await (await storage.connect()).raise_fence("", 2)
        with pytest.raises(JobLost):
            async with backend.transaction("", fence=1):
                await write_everywhere(backend)
        assert await found(backend) == set()

    # -- workspaces

    @pytest.mark.parametrize(
        "names", [("", "default"), ("a", "A"), ("a-b", "a_b"), ("w-x", "x"), ("-", "_"), ("CON", "con")]
    )
    async def test_workspaces_are_apart(self, backend: Backend, names: tuple[str, str]) -> None:
        one, two = names
        await write_everywhere(backend, one)
        assert await found(backend, two) == set()
        await write_everywhere(backend, two, "b")
        assert await backend.workspaces() == sorted(names)
        await backend.drop(one)
        assert await found(backend, two, "b") == EVERYWHERE
        assert await backend.workspaces() == [two]

    async def test_a_workspace_that_was_only_looked_at_is_not_listed(self, backend: Backend) -> None:
        assert await found(backend, "looked") == set()
        assert await backend.workspaces() == []

    async def test_drop_removes_everything_and_the_workspace_can_be_used_again(self, backend: Backend) -> None:
        await write_everywhere(backend, "one")
        await backend.drop("one")
        assert await found(backend, "one") == set()
        assert await backend.kv("one", "things").count() == 0
        assert await backend.workspaces() == []
        await backend.vectors("one", "places").put([VectorItem("a", "a", unit(1, 0, 0))])
        await backend.vectors("one", "places").clear()
        await write_everywhere(backend, "one")
        assert await found(backend, "one") == EVERYWHERE

    async def test_drop_of_an_unknown_workspace_is_no_error(self, backend: Backend) -> None:
        await backend.drop("nowhere")
        assert await backend.workspaces() == []

    async def test_a_fence_outlives_the_drop(self, backend: Backend) -> None:
        await backend.raise_fence("one", 5)
        await backend.drop("one")
        with pytest.raises(JobLost):
            await backend.raise_fence("one", 4)

    # -- life

    async def test_close_can_be_repeated(self, backend: Backend) -> None:
        await write_everywhere(backend)
        await backend.close()
        await backend.close()

    @pytest.mark.needs("persistent")
    async def test_everything_outlives_close(self, storage: Harness, backend: Backend) -> None:
        await write_everywhere(backend)
        await write_everywhere(backend, "other", "b")
        await backend.raise_fence("", 3)
        again = await storage.reconnect()
        assert await found(again) == EVERYWHERE
        assert await found(again, "other", "b") == EVERYWHERE
        assert await again.workspaces() == ["", "other"]
        assert (await again.doc_status("").get(["a"]))["a"].stage is Stage.ACCEPTED
        with pytest.raises(JobLost):
            await again.raise_fence("", 2)

    async def test_handles_are_cheap_and_see_the_same(self, backend: Backend) -> None:
        await backend.kv("", "things").put({"a": {}})
        assert await backend.kv("", "things").count() == 1
        assert backend.kv("", "things") is not None
