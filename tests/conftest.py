"""Every collected test runs (pytest-xdist runs only one of several that share an id), however slow the machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Schemathesis names the operation in the name of an item, of which pytest 9.2 makes no part of the id."""
    if (label := getattr(item, "operation_label", None)) and label not in item.nodeid:
        item._id = type(item.id)(path=item.id.path, names=item.id.names, params=label)  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    repeated = [f"{test} ({count} times)" for test, count in Counter(i.nodeid for i in items).items() if count > 1]
    if repeated:
        raise pytest.UsageError(f"tests with equal ids would not all run: {', '.join(repeated)}")
