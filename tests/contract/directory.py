"""What every directory of workspaces must do; `test_directory.py` runs it over all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lightrag_server.errors import Conflict
from lightrag_server.ports.directory import Directory, WorkspaceRow

BOOKS = WorkspaceRow("books", "books", "2026-01-02T03:04:05+00:00", "All “books” 📚", {"top_k": 5, "types": ["a", "b"]})


class DirectoryContract:
    """A subclass gives the fixture `directory`."""

    async def test_a_new_directory_is_empty(self, directory: Directory):
        assert await directory.rows() == []

    async def test_rows_come_back_as_they_were_added_in_the_order_of_their_names(self, directory: Directory):
        unnamed = WorkspaceRow("", "", None)
        last = WorkspaceRow("a", "zoo", is_leaving=True)
        for row in (last, BOOKS, unnamed):
            assert await directory.add(row)
        assert await directory.rows() == [unnamed, BOOKS, last]

    async def test_a_key_or_a_name_that_is_taken_is_not_added(self, directory: Directory):
        await directory.add(BOOKS)
        assert not await directory.add(WorkspaceRow("books", "other"))
        assert not await directory.add(WorkspaceRow("other", "books"))
        assert await directory.add(WorkspaceRow("Books", "Books"))
        assert [row.key for row in await directory.rows()] == ["Books", "books"]

    async def test_a_row_is_replaced_by_what_the_edit_makes_of_it(self, directory: Directory):
        await directory.add(BOOKS)
        changed = await directory.change("books", lambda row: replace(row, name="library", is_leaving=True))
        assert changed == replace(BOOKS, name="library", is_leaving=True)
        assert await directory.rows() == [changed]
        assert await directory.add(WorkspaceRow("books-2", "books")), "the old name is free again"

    async def test_the_key_cannot_be_changed(self, directory: Directory):
        await directory.add(BOOKS)
        await directory.change("books", lambda row: replace(row, key="other", description="new"))
        assert await directory.rows() == [replace(BOOKS, description="new")]

    async def test_a_name_of_another_row_is_refused_and_nothing_changes(self, directory: Directory):
        await directory.add(BOOKS)
        await directory.add(WorkspaceRow("films", "films"))
        with pytest.raises(Conflict):
            await directory.change("films", lambda row: replace(row, name="books", description="new"))
        assert await directory.rows() == [BOOKS, WorkspaceRow("films", "films")]

    async def test_changing_what_is_not_there_gives_none(self, directory: Directory):
        assert await directory.change("books", lambda row: row) is None
        assert await directory.rows() == []

    async def test_a_removed_row_is_gone_and_its_key_and_name_are_free(self, directory: Directory):
        await directory.add(BOOKS)
        await directory.remove("books")
        await directory.remove("unknown")
        assert await directory.rows() == []
        assert await directory.add(BOOKS)

    async def test_close_may_be_called_twice(self, directory: Directory):
        await directory.close()
        await directory.close()
