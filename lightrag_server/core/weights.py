"""What each kind of evidence counts when passages are ranked; docs/retrieval.md tells what each is worth."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Weights:
    """Only ratios within a group matter: the first group starts the walk, the second carries it on, the third ranks
    places (a rank among the first twenty of the walk is worth 0.05)."""

    names: float = 2.0
    """Mass of each name in the question, beside that of the best fact."""
    facts: float = 1.0
    similarity: float = 0.05
    """Mass of the chunk that resembles the question most; of the least similar in the running, 0."""
    steepness: float = 10.0
    """Power of a fact's share of the range of scores: only facts near the best one start a walk."""

    mentions: float = 1.0
    relations: float = 1.0
    names_within: float = 0.7
    names_alike: float = 1.0
    damping: float = 0.5
    """Share of its mass that a node passes on; the rest starts anew."""

    lexical: float = 1.0
    dense: float = 0.25
    leader: float = 0.8
    """The least rank value of what is best by its words or by its similarity: the fifth place."""
    next_window: float = 0.7
    """What the next best window of a chunk gets of the chunk's rank."""
    sentences: float = 0.5
    """What a passage gains whose best sentence stands out, where a reranker compares sentences."""
    pairs_read: float = 1.0
    """What the best passage gains on the worst, where a reranker reads question and passage together."""
    crowding: float = 0.01
    """Taken from a place for each better one of its document."""
