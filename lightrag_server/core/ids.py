"""Ids and keys. All are pure functions of content, so that every step can be repeated."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache

from lightrag_server.core.records import Pair, Subject

PAIR_SEPARATOR = "\x1f"
MAX_KEY_CHARS = 256

_QUOTES = "\"'“”‘’„‚«»‹›「」『』《》〈〉`´"
_SPACES = re.compile(r"\s+")
_PLAIN = re.compile(r"[A-Za-z0-9&.,()/-]+(?: [A-Za-z0-9&.,()/-]+)*")
"""Names that need no more than lower case."""


def md5_hex(text: str | bytes) -> str:
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def document_id(file_path: str | None, content: str | bytes) -> str:
    """Id of a document: of its name where it has one, else of its content (as LightRAG)."""
    return "doc-" + md5_hex(file_path if file_path else content)


def chunk_id(document: str, index: int) -> str:
    return f"{document}-chunk-{index:03d}"


def document_of(chunk: str) -> str | None:
    """The document of a chunk; None for an id that `chunk_id` does not make, such as that of what people add."""
    document, marker, index = chunk.rpartition("-chunk-")
    return document if marker and document and index.isdecimal() else None


def window_id(chunk: str, index: int) -> str:
    return f"{chunk}-w{index}"


def window_place(window: str) -> tuple[str, int]:
    """The chunk id and the number behind a window id."""
    chunk, _, number = window.rpartition("-w")
    return chunk, int(number)


@lru_cache(maxsize=32_768)
def display_name(name: str) -> str:
    """The spelling kept for people: trimmed, single spaces, wrapping quotes removed, at most `MAX_KEY_CHARS`."""
    clean = _SPACES.sub(" ", unicodedata.normalize("NFC", name)).strip()
    while len(clean) >= 2 and clean[0] in _QUOTES and clean[-1] in _QUOTES:
        clean = clean[1:-1].strip()
    return clean[:MAX_KEY_CHARS]


def name_flaw(name: str) -> str | None:
    """What keeps a text from being the name of something new; None when it may be one."""
    if not entity_key(name):
        return "holds no letter, digit or sign"
    if len(name.strip()) > MAX_KEY_CHARS:
        return f"has more than {MAX_KEY_CHARS} characters"
    if any(unicodedata.category(c) == "Cc" for c in display_name(name)):
        return "holds a control character"
    return None


@lru_cache(maxsize=32_768)
def entity_key(name: str) -> str:
    """The identity of an entity: equal for spellings that differ in case, width, quotes or white space only."""
    if _PLAIN.fullmatch(name):
        return name.lower()[:MAX_KEY_CHARS]
    folded = unicodedata.normalize("NFKC", display_name(name)).casefold()
    folded = "".join(c for c in folded if c not in _QUOTES and unicodedata.category(c)[0] != "C")
    return _SPACES.sub(" ", folded).strip()[:MAX_KEY_CHARS]


def pair_of(a: str, b: str) -> Pair:
    """The sorted pair of two entity keys: edges are undirected."""
    return (a, b) if a <= b else (b, a)


def subject_of(pair: Pair) -> Subject:
    return PAIR_SEPARATOR.join(pair)


def pair_from(subject: Subject) -> Pair | None:
    """The pair behind a subject, or None when the subject is an entity key."""
    first, separator, second = subject.partition(PAIR_SEPARATOR)
    return (first, second) if separator else None


def entity_vector_id(key: str, name: str) -> str:
    """One vector for each distinct spelling of an entity."""
    return f"ent-{md5_hex(key)}-{md5_hex(name)[:8]}"


def fact_vector_id(pair: Pair, fact: str) -> str:
    """One vector for each distinct fact told of a pair."""
    return f"rel-{md5_hex(subject_of(pair))}-{md5_hex(fact)[:8]}"
