"""Cosine below which text is unrelated, for models that are known by name only.

The scale belongs to the training of a model: contrastive training at a low temperature pushes all texts into a narrow
cone (e5, ada-002), so that no constant serves all.
"""

from __future__ import annotations

DEFAULT = 0.2
PASSAGE_TOKENS = 400
_BY_NAME = (
    ("multilingual-e5", 0.77),  # as measured for local/e5.py
    ("e5-", 0.72),
    ("ada-002", 0.72),
    ("bge-m3", 0.3),
    ("bge", 0.3),
    ("text-embedding-3", 0.2),
)


def threshold_of(model: str) -> float:
    name = model.lower()
    return next((value for part, value in _BY_NAME if part in name), DEFAULT)
