"""Long descriptions made short for a question: the sentences that say most of what it asks, or a kept summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lightrag_server.core import ids
from lightrag_server.core.records import Entity, Relation, Subject
from lightrag_server.core.sentences import sentences_of

MAX_DESCRIPTION_CHARS = 400
MAX_SUMMARY_CHARS = 800
FIRST_SENTENCE_BONUS = 0.5
"""The first sentence tends to say what the thing is."""


@dataclass(frozen=True, slots=True)
class Wording:
    """How descriptions are told to one question: `wanted` are its terms, `summaries` those that are kept."""

    wanted: Sequence[str] = ()
    summaries: Mapping[Subject, str] = field(default_factory=dict[Subject, str])

    def of(self, item: Entity | Relation) -> str:
        """The description as it is where it is short enough; never longer than `MAX_SUMMARY_CHARS`."""
        if not is_long(item):
            return item.description
        if summary := self.summaries.get(subject_of(item)):
            return digest([summary], self.wanted, MAX_SUMMARY_CHARS)
        return digest([f.text for f in item.fragments], self.wanted, MAX_DESCRIPTION_CHARS)


def subject_of(item: Entity | Relation) -> Subject:
    return item.key if isinstance(item, Entity) else ids.subject_of(item.pair)


def is_long(item: Entity | Relation) -> bool:
    return sum(len(f.text) + 1 for f in item.fragments) > MAX_DESCRIPTION_CHARS + 1


def digest(texts: Sequence[str], wanted: Sequence[str], limit: int) -> str:
    """The sentences that hold most of the wanted terms, in their order, within `limit` characters. About 0.05 ms."""
    sentences = list(dict.fromkeys(sentence for text in texts for sentence in sentences_of(text)))
    scores = [sum(term in sentence.lower() for term in wanted) for sentence in sentences]
    order = sorted(range(len(sentences)), key=lambda n: (-scores[n] - FIRST_SENTENCE_BONUS * (n == 0), n))
    kept: list[int] = []
    room = limit
    for n in order:
        if len(sentences[n]) < room:
            kept.append(n)
            room -= len(sentences[n]) + 1
    return " ".join(sentences[n] for n in sorted(kept)) or sentences[order[0]][:limit]
