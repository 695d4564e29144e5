from __future__ import annotations

from typing import Protocol

from lightrag_server.core.records import ParsedDocument


class Parser(Protocol):
    """Bytes of a file to text with structure.

    Raises `UnsupportedFile` where nothing reads the kind, `UnreadableFile` for a torn, encrypted, empty or hostile
    file, `TooLarge` beyond a limit. Never blocks the event loop; leaves no process behind, also when cancelled.
    """

    async def parse(self, name: str, data: bytes) -> ParsedDocument:
        """`name` is the original file name: data that decides by its suffix only, never a path to open."""
        ...

    def extensions(self) -> list[str]:
        """Suffixes that can be read, with dot, lower case, sorted."""
        ...
