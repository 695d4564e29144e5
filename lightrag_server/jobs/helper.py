"""Who may carry out the jobs of a process in its place, so that it has its hands free for whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lightrag_server.settings import Settings


class Helper(Protocol):
    """Another process that works on the same queue while there is work, and is not there while there is none."""

    @property
    def is_at_work(self) -> bool:
        """Whether it lives, or is on its way: then all jobs are left to it."""
        ...

    def call(self) -> bool:
        """Have it come, unless it is there; False where it cannot."""
        ...

    def open(self, settings: Settings, ended: Callable[[], None]) -> None:
        """It is to work with the models of `settings`. From now on `ended` is called, in the running event loop, when
        it has ended, however it did."""
        ...

    async def close(self) -> None:
        """Have it end as at a stop, and wait for that."""
        ...
