"""What cosines mean, by the name of the model: below which one text is unrelated, and when evidence is weak.

The scale belongs to the training of a model: contrastive training at a low temperature pushes all texts into a narrow
cone (e5, ada-002), so that no constant serves all.
"""

from __future__ import annotations

from lightrag_server.core.sufficiency import Bound, Scale

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


_MEASURED = (
    ("multilingual-e5-small", Scale(spaced=Bound(0.814, 0.03), han=Bound(0.852, 0.02))),
    (
        "universal-sentence-encoder-multilingual",
        Scale(spaced=Bound(0.28, 0.2), han=Bound(0.17, 0.2), across=Bound(0.22, 0.0)),
    ),
    ("all-minilm-l6", Scale(spaced=Bound(0.35, 0.3), han=None)),
    ("fake/hash", Scale(spaced=Bound(0.4, 1.0), han=Bound(0.06, 0.3))),
)
"""By `benchmarks/refusals.py`: below what all but one in a hundred questions reach whose answer is there. The scale of
e5 is another in Chinese, and across languages its cosines tell nothing; MiniLM reads English only."""


def scale_of(identity: str, threshold: float) -> Scale:
    """When evidence is weak for this embedder. For one that nobody measured only where nothing speaks for it: the best
    passage is below its threshold and lacks nearly all words of the question."""
    name = identity.lower()
    unmeasured = Bound(threshold, 1.0)
    return next((scale for part, scale in _MEASURED if part in name), Scale(unmeasured, unmeasured))
