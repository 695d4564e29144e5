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


def acceptance_of(key: str) -> str:
    """What all blobs of one acceptance have in common: the last part of its original's key."""
    return key.split("/")[2]


def digest_of(original_key: str) -> str:
    """The digest of the bytes under an original's key."""
    return acceptance_of(original_key).partition("-")[0]


def stamp_of(key: str) -> int:
    """When the bytes of this acceptance were kept, in epoch seconds."""
    return int(acceptance_of(key).split("-")[-2])


def parsed(document_id: str, original_key: str, embedding: str) -> str:
    """The parsed text of these bytes with its structure and the chunks cut from it. Parts belong to it, and their
    vectors to the model that `embedding` identifies."""
    return f"{parsed_of(document_id, original_key)}{ids.md5_hex(embedding)[:8]}"


def parsed_of(document_id: str, original_key: str) -> str:
    return f"{all_parsed(document_id)}{acceptance_of(original_key)}/"


def all_parsed(document_id: str) -> str:
    return f"{PARSED}{document_id}/"


def all_parts(document_id: str) -> str:
    return f"{PREPARED}{document_id}/"


def parts(document_id: str, original_key: str) -> str:
    return f"{all_parts(document_id)}{acceptance_of(original_key)}/"


def document_of(key: str) -> str:
    """The id of the document that a blob belongs to."""
    return key.split("/")[1]
