"""Bytes of a text file to text."""

from __future__ import annotations

import codecs
import re

from charset_normalizer import from_bytes

from lightrag_server.errors import UnreadableFile

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CANDIDATES = [
    "gb18030", "big5", "cp932", "euc_jp", "cp949",
    "cp1252", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "latin_1",
]  # fmt: skip
_SAMPLE_BYTES = 64 * 1024
_STEP = 1024**2
_CONTROL = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
_MOST_CONTROL = 0.002
_MOST_REPLACED = 0.001
_EASTERN_EUROPE = re.compile("[a-zA-Z][¹³¿¼¾][a-zA-Z]")


def decoded(data: bytes) -> str:
    """The text with \\n line ends: by its byte order mark, as UTF-8, else as the encoding that its bytes look like.

    Raises `UnreadableFile` for what is no text. Messages begin with a verb: the caller puts the file's name in front.
    """
    text = _by_mark(data)
    if text is None:
        text = _strict(data, _wide(data)) or _utf8(data) or _detected(data)
    if "\0" in text or _controls(text) > _MOST_CONTROL * len(text):
        raise _not_text()
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _controls(text: str) -> int:
    """Number of control characters; in steps, so that other threads run in between."""
    return sum(len(_CONTROL.findall(text, start, start + _STEP)) for start in range(0, len(text), _STEP))


def _by_mark(data: bytes) -> str | None:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _tolerant(data[len(mark) :], encoding)
    return None


def _utf8(data: bytes) -> str | None:
    """Also where a few sequences are broken among many that are right."""
    text = data.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    if broken and broken * 20 > len(data) - len(text):
        return None
    return text


def _strict(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding) if encoding else None
    except (UnicodeDecodeError, LookupError):
        return None


def _wide(data: bytes) -> str:
    """UTF-16 without a mark, where every other byte of the beginning is mostly NUL; else empty."""
    head = data[:4096]
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if len(data) % 2 or max(even, odd) < len(head) / 5 or min(even, odd) > max(even, odd) / 20:
        return ""
    return "utf-16-le" if odd > even else "utf-16-be"


def _detected(data: bytes) -> str:
    if data[:_SAMPLE_BYTES].count(0):
        raise _not_text()
    sample = data[: data.rfind(b"\n", 0, _SAMPLE_BYTES) + 1] if len(data) > _SAMPLE_BYTES else data
    best = from_bytes(sample or data[:_SAMPLE_BYTES], cp_isolation=_CANDIDATES).best()
    if best is None:
        raise _not_text()
    return _tolerant(data, _western(data, best.encoding))


def _western(data: bytes, encoding: str) -> str:
    """The two Latin code pages are told apart by what the Central European letters are in the Western one."""
    if encoding not in ("cp1250", "cp1252", "latin_1"):
        return encoding
    western = data[:_SAMPLE_BYTES].decode("cp1252", "replace")
    if _EASTERN_EUROPE.search(western):
        return "cp1250"
    return "latin_1" if "\ufffd" in western else "cp1252"


def _tolerant(data: bytes, encoding: str) -> str:
    """A few broken characters, as at the end of a file cut short, become replacement characters."""
    text = data.decode(encoding, "replace")
    if text.count("\ufffd") > max(1, _MOST_REPLACED * len(text)):
        raise _not_text()
    return text


def _not_text() -> UnreadableFile:
    return UnreadableFile("is not text in any known encoding")
