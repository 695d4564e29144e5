"""What each weight of retrieval is worth: `python benchmarks/ablation.py QUESTIONS`, in the folder of a server that has
the documents. Mode mix, every weight of `core/weights.py` off, halved and doubled, the others as they are.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import stand
from lightrag_server.api.questions import question
from lightrag_server.bootstrap import App, Duty, open_app
from lightrag_server.core.keywords import keywords_of
from lightrag_server.core.records import Mode
from lightrag_server.core.weights import Weights
from lightrag_server.engine.retrieval import Retrieval
from lightrag_server.engine.workspace import Workspace
from lightrag_server.evaluation.measures import found_scores
from lightrag_server.evaluation.questions import Case, read_questions
from lightrag_server.evaluation.ranking import Piece, ranking
from lightrag_server.ports.embedding import Embedder, Purpose
from lightrag_server.settings.loader import from_process

MEASURES = ("recall@2", "recall@5", "recall@10", "all-gold@5", "mrr")
KS = (2, 5, 10)
WITHOUT_RERANKER = ("sentences", "pairs_read")
BOUNDED = {"damping": (0.25, 0.75), "next_window": (0.35, 1.0)}
"""Shares, which cannot be doubled."""
NO_WALK = {"names": 0.0, "facts": 0.0}


@dataclass(frozen=True, slots=True)
class Variant:
    label: str
    weights: Weights
    mode: Mode = "mix"


class Remembering:
    """The embedder; what was embedded once is not embedded again for the next variant."""

    def __init__(self, inner: Embedder) -> None:
        self.identity, self.threshold, self.passage_tokens = inner.identity, inner.threshold, inner.passage_tokens
        self.dimension = inner.dimension
        self._inner = inner
        self._known: dict[str, NDArray[np.float32]] = {}

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> NDArray[np.float32]:
        fresh = [text for text in dict.fromkeys(texts) if text not in self._known]
        if fresh:
            self._known |= dict(zip(fresh, await self._inner.embed(fresh, purpose), strict=True))
        return np.stack([self._known[text] for text in texts])

    async def close(self) -> None:
        """The embedder is another's."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--chunk-top-k", type=int, default=20)
    wanted = parser.parse_args()
    cases = read_questions(wanted.questions.name, wanted.questions.read_bytes())
    asyncio.run(measure(cases, wanted.chunk_top_k))


async def measure(cases: Sequence[Case], chunk_top_k: int) -> None:
    async with open_app(from_process({}).settings, duty=Duty.READING) as app:
        workspace = await app.workspaces.named(app.settings.server.workspace, will_write=False)
        embedder = Remembering(app.embedder)
        rows = [(v.label, *await scores(app, workspace, embedder, cases, v, chunk_top_k)) for v in variants()]
    stand.table(("mix, in %", *MEASURES), rows)


def variants() -> list[Variant]:
    usual = Weights()
    found = [Variant("all as it is", usual), Variant("no walk", replace(usual, **NO_WALK))]
    found += [Variant("dense search alone", replace(usual, lexical=0.0, dense=0.0, crowding=0.0), "naive")]
    for field in fields(Weights):
        value: float = getattr(usual, field.name)
        if field.name in WITHOUT_RERANKER:
            continue
        less, more = BOUNDED.get(field.name, (value / 2, value * 2))
        changes = [("off", 0.0), (f"{less:g}", less), (f"{more:g}", more)]
        for word, changed in changes if field.name != "steepness" else changes[1:]:
            found.append(Variant(f"{field.name} {value:g} → {word}", replace(usual, **{field.name: changed})))
    return found


async def scores(
    app: App, workspace: Workspace, embedder: Embedder, cases: Sequence[Case], variant: Variant, chunk_top_k: int
) -> list[float]:
    retrieval = Retrieval(workspace.stores, embedder, app.embedder.threshold, weights=variant.weights)
    totals: dict[str, float] = {}
    for case in cases:
        asked = question(case.question, variant.mode, workspace.query_settings, chunk_top_k=chunk_top_k)
        found = await retrieval.find(asked, keywords_of(case.question))
        pieces = [Piece(passage.file_path, passage.text) for passage in found.evidence.passages]
        for name, score in found_scores(case, ranking(case.gold, pieces), "", KS).items():
            totals[name] = totals.get(name, 0.0) + score
    return [100 * totals.get(name, 0.0) / len(cases) for name in MEASURES]


if __name__ == "__main__":
    main()
