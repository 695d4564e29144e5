"""Which keys of blobs are allowed; the same for every blob store."""

from __future__ import annotations

import re

from lightrag_server.errors import InvalidInput

MAX_SEGMENT_CHARS = 200

_SEGMENT = re.compile(rf"(?!\.+\Z)[A-Za-z0-9._-]{{1,{MAX_SEGMENT_CHARS}}}\Z")


def segments_of(key: str) -> list[str]:
    """The parts of a key between its slashes."""
    segments = key.split("/")
    if not all(_SEGMENT.match(segment) for segment in segments):
        raise InvalidInput(f"{key!r} is not the key of a blob")
    return segments


def folders_of(prefix: str) -> list[str]:
    """The parts of a folder-like prefix: empty, or a key followed by a slash."""
    if not prefix:
        return []
    if not prefix.endswith("/"):
        raise InvalidInput(f"{prefix!r} is not a prefix of blobs: it must end with a slash")
    return segments_of(prefix[:-1])
