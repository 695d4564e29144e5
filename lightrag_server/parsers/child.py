"""The process that reads one document: `python -m lightrag_server.parsers.child`.

It gets a line of JSON (suffix, limits, size) and the file's bytes on standard input, answers with one JSON object on
standard output and ends. It opens no file by a name of the user's and has no network use. It also ends when its
limits of time or memory are reached and when its standard input closes, that is, when its parent is gone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from lightrag_server.core.records import ParsedDocument
from lightrag_server.errors import LightRAGError, TooLarge, UnreadableFile
from lightrag_server.parsers.archives import open_checked

NICENESS = 10
"""Queries come before parsing."""
_GRACE_S = 5
"""The parent ends a child that takes too long; this is for a child whose parent cannot."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the child is asked to read, and its limits."""

    suffix: str
    size_bytes: int
    max_expanded_bytes: int
    max_pages: int
    max_memory_bytes: int
    timeout_s: float


def main() -> None:
    requests, replies = _take_pipes()
    order = Order(**json.loads(requests.readline()))
    _limit(order)
    data = requests.read(order.size_bytes)
    threading.Thread(target=_end_with_parent, args=(requests,), daemon=True).start()
    reply = json.dumps(_answer(order, data), ensure_ascii=False)
    replies.write(reply.encode("utf-8", "replace"))
    replies.flush()
    os._exit(0)  # without joining the threads of native libraries


def read(order: Order, data: bytes) -> ParsedDocument:
    """Read a document of any suffix in `READERS`."""
    parsed = READERS[order.suffix](order, data)
    if not parsed.text.strip():
        raise UnreadableFile("holds no text (pictures of text are not read)")
    return parsed


def _docx(order: Order, data: bytes) -> ParsedDocument:
    from lightrag_server.parsers.docx import read_docx

    return read_docx(open_checked(data, order.max_expanded_bytes))


def _pptx(order: Order, data: bytes) -> ParsedDocument:
    from lightrag_server.parsers.pptx import read_pptx

    return read_pptx(open_checked(data, order.max_expanded_bytes))


def _xlsx(order: Order, data: bytes) -> ParsedDocument:
    from lightrag_server.parsers.xlsx import with_formulas

    return _kreuzberg(order, with_formulas(open_checked(data, order.max_expanded_bytes), data))


def _zipped(order: Order, data: bytes) -> ParsedDocument:
    open_checked(data, order.max_expanded_bytes)
    return _kreuzberg(order, data)


def _html(order: Order, data: bytes) -> ParsedDocument:
    from lightrag_server.parsers.html import read_html

    return read_html(data)


def _eml(order: Order, data: bytes) -> ParsedDocument:
    from lightrag_server.parsers.eml import read_eml

    return read_eml(data)


def _tex(order: Order, data: bytes) -> ParsedDocument:
    from lightrag_server.parsers.encoding import decoded
    from lightrag_server.parsers.tex import broken_into_lines

    source = decoded(data)
    parsed = _kreuzberg(order, broken_into_lines(source).encode("utf-8"))
    return parsed if parsed.text.strip() else ParsedDocument(source, format="tex")


def _kreuzberg(order: Order, data: bytes) -> ParsedDocument:
    from lightrag_server.parsers.kreuzberg_reader import read_with_kreuzberg

    return read_with_kreuzberg(order.suffix, data, order.max_pages)


READERS: dict[str, Callable[[Order, bytes], ParsedDocument]] = {
    ".docm": _docx,
    ".docx": _docx,
    ".eml": _eml,
    ".epub": _zipped,
    ".htm": _html,
    ".html": _html,
    ".ipynb": _kreuzberg,
    ".ods": _zipped,
    ".odt": _zipped,
    ".pdf": _kreuzberg,
    ".pptm": _pptx,
    ".pptx": _pptx,
    ".rtf": _kreuzberg,
    ".tex": _tex,
    ".xhtml": _html,
    ".xlsm": _xlsx,
    ".xlsx": _xlsx,
}
WITHOUT_KREUZBERG = frozenset({".docm", ".docx", ".pptm", ".pptx"})


def _answer(order: Order, data: bytes) -> dict[str, Any]:
    """The document as JSON, or the class name and message of the error."""
    try:
        return {"parsed": asdict(read(order, data))}
    except LightRAGError as error:
        kind = "TooLarge" if isinstance(error, TooLarge) else "UnreadableFile"
        return {"error": kind, "message": error.message}
    except MemoryError:
        return {"error": "UnreadableFile", "message": "needs more memory than PARSE_MEMORY_LIMIT allows"}
    except ImportError:
        return {
            "error": "UnreadableFile",
            "message": "found no working parser: kreuzberg cannot be loaded, perhaps "
            "because PARSE_MEMORY_LIMIT is too low",
        }
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return {"error": "UnreadableFile", "message": f"cannot be read ({type(error).__name__})"}


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output for ourselves; what a library prints goes to standard error."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return requests, replies


def _limit(order: Order) -> None:
    if sys.platform == "win32":
        return
    import resource

    seconds = int(order.timeout_s) + _GRACE_S
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (order.max_memory_bytes, order.max_memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (order.max_expanded_bytes, order.max_expanded_bytes))
    signal.alarm(seconds)


def _end_with_parent(requests: BinaryIO) -> None:
    requests.read(1)
    os._exit(1)


if __name__ == "__main__":
    main()
