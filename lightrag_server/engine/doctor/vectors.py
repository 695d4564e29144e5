"""Whether a stored vector can be one."""

from __future__ import annotations

import numpy as np

from lightrag_server.ports.vectors import VectorItem

LENGTH_TOLERANCE = 0.02
"""Vectors of length one are kept in half precision."""


def is_damaged(item: VectorItem, dimension: int | None) -> bool:
    """Of another length than the model's, or no unit vector (NaN compares as none)."""
    if dimension is not None and len(item.vector) != dimension:
        return True
    return not abs(float(np.linalg.norm(item.vector)) - 1.0) <= LENGTH_TOLERANCE
