"""Zip archives: whether it is safe to unpack one, and bounded reading of its XML parts."""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from xml.etree import ElementTree

from lightrag_server.errors import TooLarge, UnreadableFile

MAX_ENTRIES = 10_000
MAX_RATIO = 200
RATIO_FREE_BYTES = 32 * 1024**2
"""Below this unpacked size no ratio is suspicious."""
_LOCAL_HEADER_BYTES = 30
_STEP = 1024**2

_REL = "{http://schemas.openxmlformats.org/package/2006/relationships}Relationship"


def open_checked(data: bytes, max_bytes: int) -> zipfile.ZipFile:
    """Open an archive that was found to unpack to at most `max_bytes`, whatever its directory claims.

    Messages begin with a verb: the caller puts the file's name in front.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise UnreadableFile("is torn, password protected, or not what its suffix says") from error
    if len(entries) > MAX_ENTRIES:
        raise TooLarge(f"holds {len(entries)} parts, more than {MAX_ENTRIES}")
    if any(entry.flag_bits & 1 for entry in entries):
        raise UnreadableFile("is password protected")
    allowed = min(max_bytes, max(len(data) * MAX_RATIO, RATIO_FREE_BYTES))
    if sum(entry.file_size for entry in entries) > allowed:
        raise _too_large(allowed)
    unpacked = 0
    for entry in entries:
        for size in _inflated_sizes(data, entry):
            unpacked += size
            if unpacked > allowed:
                raise _too_large(allowed)
    return archive


def xml_part(archive: zipfile.ZipFile, name: str) -> ElementTree.Element | None:
    """The root of an XML part; None when the archive has no such part."""
    try:
        return ElementTree.fromstring(archive.read(name))
    except KeyError:
        return None
    except (ElementTree.ParseError, zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise UnreadableFile(f"is torn: its part {name!r} cannot be read") from error


def related(archive: zipfile.ZipFile, part: str) -> dict[str, tuple[str, str]]:
    """The relationships of an OOXML part: id to (last word of the type, name of the target part)."""
    folder, name = posixpath.split(part)
    root = xml_part(archive, posixpath.join(folder, "_rels", f"{name}.rels"))
    found: dict[str, tuple[str, str]] = {}
    for element in root.iter(_REL) if root is not None else ():
        if element.get("TargetMode") != "External":
            target = posixpath.normpath(posixpath.join("/", folder, element.get("Target", ""))).lstrip("/")
            found[element.get("Id", "")] = (element.get("Type", "").rpartition("/")[2], target)
    return found


def _inflated_sizes(data: bytes, entry: zipfile.ZipInfo) -> Iterator[int]:
    """Sizes of the unpacked parts of an entry, without trusting the sizes in its headers."""
    header = data[entry.header_offset : entry.header_offset + _LOCAL_HEADER_BYTES]
    if len(header) < _LOCAL_HEADER_BYTES or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnreadableFile("is torn, or packed in an unusual way")
    start = (
        entry.header_offset + _LOCAL_HEADER_BYTES + sum(int.from_bytes(header[i : i + 2], "little") for i in (26, 28))
    )
    packed = data[start : start + entry.compress_size]
    if entry.compress_type == zipfile.ZIP_STORED:
        yield len(packed)
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        while packed and not inflater.eof:
            yield len(inflater.decompress(packed, _STEP))
            packed = inflater.unconsumed_tail
    except zlib.error as error:
        raise UnreadableFile(f"is torn: its part {entry.filename!r} cannot be unpacked") from error


def _too_large(allowed: int) -> TooLarge:
    return TooLarge(f"unpacks to more than {allowed // 1024**2} MiB")
