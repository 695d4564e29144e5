"""What happens to names and keys when several processes are at them at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from lightrag_server.engine.register import Register, clean_name
from lightrag_server.errors import Conflict, InvalidInput, NotFound
from lightrag_server.ports.directory import WorkspaceRow
from lightrag_server.storages.memory_directory import MemoryDirectory
from tests.engine.conftest import NOW

BOOKS = WorkspaceRow("books", "library")
"""Was renamed."""


def registers(directory: MemoryDirectory, *stored: str, default: str = "") -> tuple[Register, Register]:
    """Those of two processes."""

    async def keys() -> list[str]:
        return list(stored)

    first, second = (Register(directory, keys, lambda: NOW, default=default, auto_create=True) for _ in range(2))
    return first, second


async def directory_of(*rows: WorkspaceRow) -> MemoryDirectory:
    directory = MemoryDirectory()
    for row in rows:
        assert await directory.add(row)
    return directory


async def test_two_processes_that_write_to_a_freed_name_agree_on_its_key() -> None:
    both = registers(await directory_of(BOOKS))
    first, second = await asyncio.gather(*(r.entered("books", will_write=True) for r in both))
    assert first == second
    assert (first.key, first.name) == ("books-2", "books")


async def test_reading_a_freed_name_finds_nothing_and_makes_no_row() -> None:
    directory = await directory_of(BOOKS)
    register, _ = registers(directory, "books", "books-2")
    assert (await register.entered("books", will_write=False)).key == "books-3"
    assert await directory.rows() == [BOOKS]


async def test_data_under_a_name_that_another_has_taken_meanwhile_is_shown_under_a_free_one() -> None:
    register, _ = registers(await directory_of(BOOKS), "books", "library")
    assert [(row.name, row.key) for row in await register.all()] == [
        ("", ""),
        ("library", "books"),
        ("library-2", "library"),
    ]
    assert (await register.existing("library-2")).key == "library"


async def test_of_two_that_take_a_name_at_once_one_succeeds() -> None:
    both = registers(await directory_of())
    ends = await asyncio.gather(*(r.create("books", lambda row: row) for r in both), return_exceptions=True)
    assert {type(end) for end in ends} == {WorkspaceRow, Conflict}


async def test_changes_by_two_processes_are_both_kept() -> None:
    both = registers(await directory_of(BOOKS))

    def one_more(row: WorkspaceRow) -> WorkspaceRow:
        return replace(row, settings={"top_k": row.settings.get("top_k", 0) + 1})

    await asyncio.gather(*(r.change("library", one_more) for r in both for _ in range(5)))
    assert (await both[0].existing("library")).settings == {"top_k": 10}


async def test_a_default_that_bears_the_old_name_of_another_gets_a_key_of_its_own() -> None:
    register, _ = registers(await directory_of(BOOKS), "books", default="books")
    row = await register.entered("books", will_write=True)
    assert (row.key, row.name) == ("books-2", "books")
    assert [found.name for found in await register.all()] == ["books", "library"]


async def test_names_of_requests_are_bent_and_those_given_on_purpose_are_not() -> None:
    assert clean_name(" a b/ä ") == "a_b__"
    with pytest.raises(InvalidInput):
        clean_name("x" * 65)
    register, _ = registers(await directory_of())
    for odd in ("", "a b", "ä"):
        with pytest.raises(InvalidInput):
            await register.create(odd, lambda row: row)


async def test_what_has_just_been_renamed_elsewhere_is_not_deleted_by_its_old_name() -> None:
    directory = await directory_of(WorkspaceRow("books", "books"))
    here, there = registers(directory)
    assert (await here.entered("books", will_write=False)).key == "books"
    await there.change("books", lambda row: replace(row, name="library"))
    with pytest.raises(NotFound):
        await here.leave("books")
    assert [(row.name, row.is_leaving) for row in await directory.rows()] == [("library", False)]
