"""Names of the blobs of a document. Original file names are data and never part of a key."""

from __future__ import annotations

from lightrag_server.core import ids

ORIGINALS = "originals/"
PARSED = "parsed/"
PREPARED = "prepared/"


def original(document_id: str, digest: str, stamp: int, token: str) -> str:
    """A key of its own for every acceptance, at epoch second `stamp`: who removes an unused one hits no other."""
    return f"{originals(document_id)}{digest}-{stamp}-{token}"


def originals(document_id: str) -> str:
    return f"{ORIGINALS}{document_id}/"


def digest_of(original_key: str) -> str:
    """The digest of the bytes under an original's key."""
    return original_key.rpartition("/")[2].partition("-")[0]


def stamp_of(original_key: str) -> int:
    """When the bytes under an original's key were kept, in epoch seconds."""
    return int(original_key.split("-")[-2])


def parsed(document_id: str, original_key: str, embedding: str) -> str:
    """The parsed text of these bytes with its structure and the chunks cut from it. Parts belong to it, and their
    vectors to the model that `embedding` identifies."""
    return f"{all_parsed(document_id)}{digest_of(original_key)}-{ids.md5_hex(embedding)[:8]}"


def all_parsed(document_id: str) -> str:
    return f"{PARSED}{document_id}/"


def parts(document_id: str) -> str:
    return f"{PREPARED}{document_id}/"


def part(document_id: str, name: str) -> str:
    return f"{PREPARED}{document_id}/{name}"


def document_of(key: str) -> str:
    """The id of the document that a blob belongs to."""
    return key.split("/")[1]
