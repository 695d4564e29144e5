from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from lightrag_server.compute import Compute
from tests.vendor import Vendor, in_thread


@pytest.fixture(scope="session")
def running_vendor() -> Iterator[Vendor]:
    with in_thread() as vendor:
        yield vendor


@pytest.fixture
def vendor(running_vendor: Vendor) -> Vendor:
    """A vendor on a real port, without any fault and with counters at zero."""
    running_vendor.reset()
    return running_vendor


@pytest.fixture
async def compute() -> AsyncIterator[Compute]:
    compute = Compute(1)
    yield compute
    await compute.close()
