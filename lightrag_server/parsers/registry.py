"""Which reader reads which kind of file."""

from __future__ import annotations

import asyncio
from pathlib import PurePosixPath

from lightrag_server.core.records import ParsedDocument
from lightrag_server.errors import InvalidInput, UnsupportedFile
from lightrag_server.parsers import documents, text
from lightrag_server.parsers.documents import DocumentReader
from lightrag_server.settings.ingest import IngestSettings


class Parsers:
    """The parser port for all formats: text in a thread, everything else in a child process."""

    def __init__(self, settings: IngestSettings) -> None:
        self._documents = DocumentReader(settings)

    async def parse(self, name: str, data: bytes) -> ParsedDocument:
        suffix = PurePosixPath(name).suffix.lower()
        try:
            if suffix in text.SUFFIXES:
                return await asyncio.to_thread(text.read_text, suffix, data)
            if suffix in documents.SUFFIXES:
                return await self._documents.read(suffix, data)
        except InvalidInput as error:
            raise type(error)(f"the file {name!r} {error.message}") from error
        raise UnsupportedFile(f"no parser reads the file {name!r}: its suffix is {suffix!r}")

    def extensions(self) -> list[str]:
        return sorted(text.SUFFIXES | documents.readable_suffixes())
