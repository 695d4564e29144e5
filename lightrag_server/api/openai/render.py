"""Engine values in OpenAI's words. Pure."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson
from numpy.typing import NDArray

from lightrag_server.api.lightrag.render import places, references
from lightrag_server.api.openai.models import FAMILY
from lightrag_server.api.questions import Answer
from lightrag_server.api.streaming import event
from lightrag_server.core.citations import marks
from lightrag_server.core.context import estimated_tokens
from lightrag_server.core.records import Context, Question, Reference, Span, Support, Usage
from lightrag_server.ports.llm import FinishReason

MODELS_SINCE = 1_760_000_000
"""Clients want a time at which a model was made; ours are names of modes."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What all parts of one answer carry. `base_url` is this server as the client addresses it, ending in a slash."""

    id: str
    created: int
    model: str
    base_url: str

    def whole(self, question: Question, answer: Answer) -> dict[str, Any]:
        message = {
            "role": "assistant",
            "content": answer.text,
            "refusal": None,
            "annotations": citations(answer.text, answer.context, self.base_url, answer.supports),
        }
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason(answer.finish)}
        return {
            **self._head("chat.completion"),
            "choices": [choice],
            "usage": usage(answer.usage, question, answer.text),
            "references": references(answer.context),
        }

    def chunk(self, delta: dict[str, Any], finish: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event({**self._head("chat.completion.chunk"), "choices": [choice], **more})

    def usage_chunk(self, counted: dict[str, int | float]) -> str:
        return event({**self._head("chat.completion.chunk"), "choices": [], "usage": counted})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def finish_reason(finish: FinishReason) -> str:
    return "length" if finish == "length" else "stop"


def usage(counted: Usage, question: Question, text: str) -> dict[str, int | float]:
    """As the model's host told, else estimated from what was asked and answered; `cost` where the model has a price."""
    turns = (*(turn.content for turn in question.history), question.user_prompt, question.text)
    asked = counted.prompt_tokens or sum(estimated_tokens(turn) for turn in turns if turn)
    answered = counted.completion_tokens or estimated_tokens(text)
    told: dict[str, int | float] = {
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": asked + answered,
    }
    return told if counted.cost is None else told | {"cost": counted.cost}


def citations(text: str, context: Context, base_url: str, supports: Sequence[Support]) -> list[dict[str, Any]]:
    """One for each mark in the text; a source without a mark has one at the end, so that none is missing."""
    spans = {(s.start, s.reference_id): s.span for s in supports}
    known = {reference.id: reference for reference in context.references}
    cited = [(start, end, number) for start, end, number in marks(text) if number in known]
    missing = [number for number in known if number not in {mark[2] for mark in cited}]
    noted = [*cited, *((len(text), len(text), number) for number in missing)]
    return [_annotation(start, end, known[n], base_url, spans.get((start, n))) for start, end, n in noted]


def _annotation(start: int, end: int, reference: Reference, base_url: str, span: Span | None) -> dict[str, Any]:
    url = f"{base_url}documents/{quote(reference.document_id, safe='')}"
    place: dict[str, Any] = {"start_index": start, "end_index": end, "title": reference.file_path, "url": url}
    if span:
        place["spans"] = places([span])
    return {"type": "url_citation", "url_citation": place}


def model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": MODELS_SINCE, "owned_by": FAMILY}


def embeddings(vectors: NDArray[np.float32], texts: Sequence[str], name: str, *, as_base64: bool) -> bytes:
    """The whole body; for thousands of vectors this takes tens of milliseconds."""
    tokens = sum(map(estimated_tokens, texts))
    rows = [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in vectors] if as_base64 else vectors
    data = [{"object": "embedding", "index": n, "embedding": row} for n, row in enumerate(rows)]
    counted = {"prompt_tokens": tokens, "total_tokens": tokens}
    body = {"object": "list", "data": data, "model": name, "usage": counted}
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
