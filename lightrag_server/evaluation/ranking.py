"""From the passages that were returned to ranks: which place of the ranking holds which gold source. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from lightrag_server.evaluation.questions import Gold


@dataclass(frozen=True, slots=True)
class Piece:
    """A passage that was returned."""

    document: str
    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """One rank. `gold` are the indexes of the gold sources that are found there for the first time."""

    document: str
    gold: tuple[int, ...] = ()


def ranking(gold: Sequence[Gold], pieces: Sequence[Piece]) -> list[Place]:
    """Places, best first. Documents are ranked by their first passage. Where a quote is asked for, passages are ranked
    instead, and those left out that only repeat what was found before: a book would be one place otherwise."""
    return list(_passages(gold, pieces) if any(g.quote for g in gold) else _documents(gold, pieces))


def _documents(gold: Sequence[Gold], pieces: Sequence[Piece]) -> Iterator[Place]:
    found: set[int] = set()
    for document in dict.fromkeys(piece.document for piece in pieces):
        here = [i for i, g in enumerate(gold) if names_same(g.source, document)]
        yield Place(document, tuple(i for i in here if i not in found))
        found.update(here)


def _passages(gold: Sequence[Gold], pieces: Sequence[Piece]) -> Iterator[Place]:
    found: set[int] = set()
    for piece in pieces:
        here = {i for i, g in enumerate(gold) if _is_in(g, piece)}
        if not here or here - found:
            yield Place(piece.document, tuple(sorted(here - found)))
        found |= here


def _is_in(gold: Gold, piece: Piece) -> bool:
    return names_same(gold.source, piece.document) and (not gold.quote or folded(gold.quote) in folded(piece.text))


def names_same(one: str, other: str) -> bool:
    """Whether two names may mean one document: folder and suffix count only where both have them."""
    (*above, name), (*above_other, name_other) = _parts(one), _parts(other)
    shared = min(len(above), len(above_other))
    return _same_file(name, name_other) and above[len(above) - shared :] == above_other[len(above_other) - shared :]


def unknown_names(names: Iterable[str], documents: Iterable[str]) -> list[str]:
    """Those that none of the documents has, in their order."""
    by_name: dict[str, list[str]] = {}
    for document in documents:
        for name in _spellings(document):
            by_name.setdefault(name, []).append(document)
    return [n for n in names if not any(names_same(n, d) for s in _spellings(n) for d in by_name.get(s, ()))]


def _spellings(name: str) -> set[str]:
    file = _parts(name)[-1]
    return {file, PurePosixPath(file).stem}


def _same_file(one: str, other: str) -> bool:
    return one == other or PurePosixPath(one).stem == other or one == PurePosixPath(other).stem


@lru_cache(maxsize=8192)
def _parts(name: str) -> tuple[str, ...]:
    parts = [part for part in unicodedata.normalize("NFC", name).replace("\\", "/").split("/") if part not in ("", ".")]
    return tuple(parts) or ("",)


@lru_cache(maxsize=8192)
def folded(text: str) -> str:
    """Without case, width and white space: lines break anywhere, in Chinese also within words."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())
