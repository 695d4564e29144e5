"""Small values for contract tests."""

from __future__ import annotations

import numpy as np

from lightrag_server.core.ids import pair_of
from lightrag_server.core.records import DocStatus, Document, Entity, Fragment, Origin, Relation, Stage
from lightrag_server.ports.vectors import Vector

MANY = 5_000
ODD_IDS = (
    "it's",
    'say "x"',
    "a/b\\c",
    "100%",
    "a_b",
    "line\nbreak\ttab",
    " leading and trailing ",
    "'; DROP TABLE kv; --",
    "知识图谱",
    "🦜🏽‍💻",
    "e\u0301 is not é",
    "{[$?*.]}",
    "x" * 500,
    "\U0010ffff",
)


def entity(key: str, name: str | None = None, mentions: int = 1) -> Entity:
    told = (Fragment(Origin(0, "doc-1-chunk-000"), f"about {key}"),)
    spelling = name or key.upper()
    return Entity(key, spelling, "THING", told, {"THING": mentions}, (Fragment(Origin(0, "c"), spelling),), mentions)


def relation(a: str, b: str, weight: float = 1.0) -> Relation:
    pair = pair_of(a, b)
    told = (Fragment(Origin(1, "doc-1-chunk-001", 2), f"{pair[0]} knows {pair[1]}"),)
    return Relation(pair, pair, told, (Fragment(Origin(1, "c"), "knows"),), weight, 1, ("a.txt",), "2026-01-01")


def document(
    id: str,
    status: DocStatus = DocStatus.PENDING,
    stage: Stage = Stage.ACCEPTED,
    created_at: str = "2026-01-01T00:00:00+00:00",
    **more: str | None,
) -> Document:
    values = {"file_path": f"{id}.txt", "updated_at": created_at} | more
    return Document(id=id, status=status, stage=stage, created_at=created_at, **values)  # type: ignore[arg-type]


def unit(*components: float) -> Vector:
    vector = np.array(components, np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def random_units(count: int, dimension: int, seed: int = 7) -> list[Vector]:
    rows = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return list(rows / np.linalg.norm(rows, axis=1, keepdims=True))
