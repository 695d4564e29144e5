"""Documents that only a parser can read, each in a process of its own: hostile files crash or hang that one only."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from dataclasses import asdict
from typing import Any

from lightrag_server.core.records import Heading, PageSpan, ParsedDocument
from lightrag_server.errors import TooLarge, UnreadableFile, UnsupportedFile
from lightrag_server.parsers.child import READERS, WITHOUT_KREUZBERG, Order
from lightrag_server.settings.ingest import IngestSettings

SUFFIXES = frozenset(READERS)
MAX_CHILDREN = 2
_CHILD = ("-m", "lightrag_server.parsers.child")
_READ_BYTES = 1024**2
_log = logging.getLogger(__name__)


class DocumentReader:
    """At most `MAX_CHILDREN` processes at once; each is gone when `read` returns, raises or is cancelled."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._places = asyncio.Semaphore(MAX_CHILDREN)

    async def read(self, suffix: str, data: bytes) -> ParsedDocument:
        """Messages of errors begin with a verb: the caller puts the file's name in front."""
        if suffix not in readable_suffixes():
            raise UnsupportedFile("needs the extra `documents`: pip install 'lightrag-server[documents]'")
        async with self._places:
            reply = await self._run(self._order(suffix, data), data)
        if "parsed" in reply:
            return _document(reply["parsed"])
        raise (TooLarge if reply["error"] == "TooLarge" else UnreadableFile)(reply["message"])

    def _order(self, suffix: str, data: bytes) -> Order:
        settings = self._settings
        return Order(
            suffix=suffix,
            size_bytes=len(data),
            max_expanded_bytes=settings.max_expanded_bytes,
            max_pages=settings.max_pages,
            max_memory_bytes=settings.parse_memory_bytes,
            timeout_s=settings.parse_timeout_s,
        )

    async def _run(self, order: Order, data: bytes) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *_CHILD, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, start_new_session=True
        )
        try:
            async with asyncio.timeout(order.timeout_s):
                reply = await _exchange(process, order, data)
        except TimeoutError as error:
            raise UnreadableFile(f"took longer than {order.timeout_s:g} s to read") from error
        finally:
            await _end(process)
        if not reply:
            _log.warning("a parser ended early: suffix=%s exit=%s", order.suffix, process.returncode)
            raise UnreadableFile("crashed its parser, or needs more memory than PARSE_MEMORY_LIMIT allows")
        return await asyncio.to_thread(json.loads, reply)


def readable_suffixes() -> frozenset[str]:
    """What can be read with the packages that are installed."""
    return SUFFIXES if importlib.util.find_spec("kreuzberg") else WITHOUT_KREUZBERG


async def _exchange(process: Process, order: Order, data: bytes) -> bytes:
    """Send the file, return the reply; empty when the child dies. Its input stays open: it ends with it."""
    assert process.stdin
    assert process.stdout
    try:
        process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        process.stdin.write(data)
        await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        return b""
    reply = bytearray()
    while part := await process.stdout.read(_READ_BYTES):
        reply += part
        if len(reply) > 2 * order.max_expanded_bytes:
            raise TooLarge(f"holds more than {order.max_expanded_bytes // 1024**2} MiB of text")
    return bytes(reply)


async def _end(process: Process) -> None:
    """Kill and reap, also when the waiting task is cancelled meanwhile.

    Not by `Process.kill`, which may reap the child itself and leave the event loop without its exit code.
    """
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    assert process.stdin
    process.stdin.close()
    waiting = asyncio.ensure_future(process.wait())
    try:
        await asyncio.shield(waiting)
    except asyncio.CancelledError:
        await waiting
        raise


def _document(parsed: dict[str, Any]) -> ParsedDocument:
    return ParsedDocument(
        text=parsed["text"],
        pages=tuple(PageSpan(**page) for page in parsed["pages"]),
        headings=tuple(Heading(**heading) for heading in parsed["headings"]),
        format=parsed["format"],
        warnings=tuple(parsed["warnings"]),
    )
