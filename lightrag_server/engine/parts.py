"""Prepared parts: what a document's chunks became before they are committed, kept as blobs.

A part is written once and read once. A document that was interrupted goes on behind the chunks its parts hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from lightrag_server.core.encoding import extraction_from_row, extraction_to_row, packed, unpacked
from lightrag_server.core.records import Extraction
from lightrag_server.ports.vectors import VectorItem

_LENGTH_BYTES = 8


@dataclass(frozen=True, slots=True)
class PreparedChunk:
    """One chunk's contribution and the new vectors it brings."""

    index: int
    extraction: Extraction
    windows: tuple[VectorItem, ...]
    entities: tuple[VectorItem, ...]
    facts: tuple[VectorItem, ...]


def encode(chunks: Sequence[PreparedChunk]) -> bytes:
    """Length of the packed JSON head, the head, then all vectors in order as half-precision rows."""
    rows: list[dict[str, Any]] = []
    vectors: list[np.ndarray[Any, Any]] = []
    for chunk in chunks:
        groups = {"windows": chunk.windows, "entities": chunk.entities, "facts": chunk.facts}
        rows.append(
            {
                "index": chunk.index,
                "extraction": extraction_to_row(chunk.extraction),
                **{name: [[item.id, item.ref] for item in items] for name, items in groups.items()},
            }
        )
        vectors.extend(item.vector for items in groups.values() for item in items)
    dimension = len(vectors[0]) if vectors else 0
    head = packed(orjson.dumps({"dimension": dimension, "chunks": rows}))
    matrix = np.asarray(vectors, dtype=np.float16).tobytes()
    return len(head).to_bytes(_LENGTH_BYTES, "big") + head + matrix


def decode(data: bytes) -> list[PreparedChunk]:
    length = int.from_bytes(data[:_LENGTH_BYTES], "big")
    head = orjson.loads(unpacked(data[_LENGTH_BYTES : _LENGTH_BYTES + length]))
    matrix = np.frombuffer(data, dtype=np.float16, offset=_LENGTH_BYTES + length).astype(np.float32)
    rows = iter(matrix.reshape(-1, head["dimension"]) if head["dimension"] else ())

    def items(pairs: list[list[str]]) -> tuple[VectorItem, ...]:
        return tuple(VectorItem(id_, ref, next(rows)) for id_, ref in pairs)

    return [
        PreparedChunk(
            index=row["index"],
            extraction=extraction_from_row(row["extraction"]),
            windows=items(row["windows"]),
            entities=items(row["entities"]),
            facts=items(row["facts"]),
        )
        for row in head["chunks"]
    ]
