"""The last look at the passages that were found, by a model that reads them with the question."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from lightrag_server.core.fusion import by_order, dense_margins, scaled
from lightrag_server.core.records import Passage
from lightrag_server.core.weights import Weights
from lightrag_server.errors import ProviderError
from lightrag_server.ports.rerank import Reranker

log = logging.getLogger(__name__)

RERANKED = 20
SENTENCE_BACKGROUND = 5
FAILED = "the reranker failed: passages are in the order in which they were found"


async def reranked(
    question: str, passages: Sequence[Passage], reranker: Reranker, weights: Weights
) -> tuple[list[Passage], tuple[str, ...]]:
    """The passages in a better order, without those below the reranker's least score, and warnings. One call.

    The order found counts on: a passage of the second hop has little in common with the question, whoever reads it.
    """
    read, rest = passages[:RERANKED], passages[RERANKED:]
    if not read:
        return list(passages), ()
    try:
        scores = await reranker.rank(question, [p.text for p in read])
    except ProviderError as error:
        log.warning("reranking failed, the order stays as found: %s", error)
        return list(passages), (FAILED,)
    by_place = {str(n): score for n, score in enumerate(scores)}
    if reranker.reads_pairs:
        given = {place: weights.pairs_read * share for place, share in scaled(by_place).items()}
    else:
        margins = dense_margins(by_place, clear=1.0, background_rank=SENTENCE_BACKGROUND)
        given = {place: weights.sentences * margin for place, margin in margins.items()}
    value = {place: v + given.get(place, 0.0) for place, v in by_order(list(by_place)).items()}
    least = reranker.least_score
    kept = [n for n, score in enumerate(scores) if least is None or score >= least]
    order = sorted(kept, key=lambda n: (-value[str(n)], n))
    step = 1.0 / (len(order) + len(rest) + 1)
    return [replace(p, score=1.0 - step * n) for n, p in enumerate([*(read[n] for n in order), *rest])], ()
