from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

import pytest

from lightrag_server.ports.doc_status import Filter
from lightrag_server.settings.storages import SQLiteSettings
from lightrag_server.storages.sqlite.backend import SQLiteBackend
from tests.contract.values import document

DOCUMENTS = 10_000
AT_MOST = 15
"""Times the cost of reading one row by its id; walking through all rows is more than a hundred."""


@pytest.mark.parametrize("where", [Filter(is_enabled=False), Filter(updated_from="2027-01-01")], ids=repr)
async def test_what_is_read_again_and_again_walks_through_no_table(tmp_path: Path, where: Filter) -> None:
    """Disabled documents are looked up for every question, changed ones twice a second for every event stream."""
    backend = SQLiteBackend(tmp_path, SQLiteSettings())
    store = backend.doc_status("")
    await store.put([document(f"d{n}") for n in range(DOCUMENTS)])
    one = await cpu_of(lambda: store.get(["d77"]))
    assert await cpu_of(lambda: store.find(where)) < AT_MOST * one
    assert await cpu_of(lambda: store.find(Filter(is_enabled=True, tags=frozenset({"x"})))) > AT_MOST * one
    await backend.close()


async def cpu_of(read: Callable[[], Awaitable[object]]) -> float:
    costs: list[float] = []
    for _ in range(15):
        began = time.process_time()
        await read()
        costs.append(time.process_time() - began)
    return median(costs)
