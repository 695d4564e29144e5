"""What comes in: files and texts with the names they are known by, checked before anything is kept."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lightrag_server.core import ids
from lightrag_server.core.records import Profile
from lightrag_server.errors import InvalidInput, TooLarge, UnsupportedFile

UNKNOWN_SOURCE = "unknown_source"
MAX_NAME_BYTES = 255
SUMMARY_CHARS = 250
CHUNKING = "chunking"
"""Key of a document's metadata: how it is cut, where the request said so."""
IS_TEXT = "is_text"
"""Key of a document's metadata: it came as text, whatever its name says."""
BYTES = "bytes"
"""Key of a document's metadata: how long the original is."""
FAILURE_METADATA = ("tries", "failed_chunks", "error_type")
"""What a failed try leaves in a document's metadata, and the next success or restart removes."""
_NO_SOURCE = ("", "no-file-path", UNKNOWN_SOURCE)

OnConflict = Literal["skip", "replace", "error"]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a request says of the documents it brings. None leaves what is; `on_conflict`: what becomes of one whose
    name is known."""

    attributes: dict[str, Any] | None = None
    tags: tuple[str, ...] | None = None
    profile: Profile | None = None
    on_conflict: OnConflict = "skip"


PLAIN = Terms()


@dataclass(frozen=True, slots=True)
class Incoming:
    id: str
    file_path: str
    data: bytes
    summary: str
    length: int
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])


def incoming_file(name: str, data: bytes, max_bytes: int) -> Incoming:
    """Of a checked name. Raises `InvalidInput` for an empty file and `TooLarge`."""
    if len(data) > max_bytes:
        raise TooLarge(f"the file has {len(data):,} bytes; at most {max_bytes:,} are accepted")
    if not data.strip():
        raise InvalidInput(f"the file {name!r} is empty")
    return Incoming(ids.document_id(name, data), name, data, "", len(data), {BYTES: len(data)})


def incoming_text(text: str, source: str | None, metadata: dict[str, Any]) -> Incoming:
    """Without a source the content is the identity. Raises `InvalidInput` for a blank text or an odd source."""
    if not text.strip():
        raise InvalidInput("the text is blank")
    source = unicodedata.normalize("NFC", (source or "").strip())
    if source in _NO_SOURCE:
        source = UNKNOWN_SOURCE
    if len(source.encode("utf-8", "replace")) > MAX_NAME_BYTES or _has_category(source, ("Cc", "Cs")):
        raise InvalidInput(f"file_source must be at most {MAX_NAME_BYTES} bytes without control characters")
    data = text.encode("utf-8", "replace")
    identity = ids.document_id(None if source == UNKNOWN_SOURCE else source, data)
    kept = {**metadata, IS_TEXT: True, BYTES: len(data)}
    return Incoming(identity, source, data, text.strip()[:SUMMARY_CHARS], len(text), kept)


def checked_name(name: str, extensions: Collection[str]) -> str:
    """The canonical file name, or `InvalidInput`. Names are data: they never become paths of ours."""
    canonical = unicodedata.normalize("NFC", name)
    if not canonical or canonical != canonical.strip():
        raise InvalidInput("Invalid filename: it is empty or begins or ends with white space")
    if _has_category(canonical, ("Cc", "Cs", "Cn")):
        raise InvalidInput("Invalid filename: it contains control characters")
    if canonical in (".", "..") or any(c in canonical for c in "/\\:"):
        raise InvalidInput("Unsafe filename detected: it contains a path")
    if len(canonical.encode()) > MAX_NAME_BYTES:
        raise InvalidInput(f"Invalid filename: it is longer than {MAX_NAME_BYTES} bytes")
    if Path(canonical).suffix.lower() not in extensions:
        raise UnsupportedFile(
            f"Unsupported file type {Path(canonical).suffix!r}. Supported: {', '.join(sorted(extensions))}"
        )
    return canonical


def _has_category(text: str, categories: Collection[str]) -> bool:
    return any(unicodedata.category(character) in categories for character in text)
