"""Names of the blobs of a document. Original file names are data and never part of a key."""

from __future__ import annotations

ORIGINALS = "originals/"
PARSED = "parsed/"
PREPARED = "prepared/"


def original(document_id: str, digest: str) -> str:
    return f"{ORIGINALS}{document_id}/{digest}"


def originals(document_id: str) -> str:
    return f"{ORIGINALS}{document_id}/"


def parsed(document_id: str) -> str:
    """The parsed text with its structure and the chunks cut from it."""
    return f"{PARSED}{document_id}"


def parts(document_id: str) -> str:
    return f"{PREPARED}{document_id}/"


def part(document_id: str, name: str) -> str:
    return f"{PREPARED}{document_id}/{name}"
