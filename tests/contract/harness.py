"""How contract tests open the storages they are run against."""

from __future__ import annotations

from collections.abc import Callable

from lightrag_server.ports.storage import Backend


class Harness:
    """One storage under test. `make` gives a backend over the same data each time it is called, as another process
    would have; where nothing is persistent, only the first one is of use."""

    def __init__(self, make: Callable[[], Backend]) -> None:
        self._make = make
        self._opened: list[Backend] = []

    async def connect(self) -> Backend:
        backend = self._make()
        self._opened.append(backend)
        await backend.open()
        return backend

    async def close(self) -> None:
        while self._opened:
            await self._opened.pop().close()

    async def reconnect(self) -> Backend:
        await self.close()
        return await self.connect()
