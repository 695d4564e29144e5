"""What happens while a question is answered, in order; the one form every API family renders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lightrag_server.core.records import Context, Support, Usage
from lightrag_server.ports.llm import FinishReason

StepName = Literal[
    "extracting_keywords",
    "retrieving_entities",
    "retrieving_relations",
    "retrieving_chunks",
    "reranking",
    "generating_response",
]


@dataclass(frozen=True, slots=True)
class Step:
    """A step begins; names are LightRAG's."""

    name: StepName


@dataclass(frozen=True, slots=True)
class References:
    """Comes before any text: the evidence is complete."""

    context: Context


@dataclass(frozen=True, slots=True)
class Text:
    delta: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Last. `generated` is False when no model wrote the answer: it quotes, or there was no evidence.

    `finish` is why the writing ended: "length" where the limit of tokens cut it. `supports` are the citations of the
    answer with the sentences that they rest on.
    """

    usage: Usage
    seconds: float
    generated: bool
    finish: FinishReason = "stop"
    supports: tuple[Support, ...] = ()


Event = Step | References | Text | Finished
