"""Dot products of int8 vectors: SimSIMD where it loads, numpy elsewhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

try:
    import simsimd
except ImportError:
    simsimd = None

Codes = NDArray[np.int8]


def dot_products(query: Codes, rows: Codes) -> NDArray[np.float64] | NDArray[np.float32]:
    """Products of one query, shape (1, d), with `rows`, shape (n, d); exact up to 1,040 dimensions, else nearly."""
    if simsimd is None:
        return dot_products_numpy(query, rows)
    # never its argument `out`: release 6.5.16 then drops a reference to None at each call, and ends the interpreter
    return np.asarray(simsimd.cdist(query, rows, metric="dot"))[0]


def dot_products_numpy(query: Codes, rows: Codes) -> NDArray[np.float32]:
    """The same at a tenth of the speed; memory is that of `rows` four times over."""
    return rows.astype(np.float32) @ query[0].astype(np.float32)
