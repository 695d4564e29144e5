"""Engine values in Ollama's words. Pure, but for the clocks of `Reply`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from lightrag_server.core.citations import marks
from lightrag_server.core.context import estimated_tokens
from lightrag_server.core.records import Context, Question, Reference
from lightrag_server.core.support import resting
from lightrag_server.engine.events import Event, Finished, References, Step, Text

VERSION = "0.9.3"
"""Of Ollama: clients look at it to learn what the server can do."""
SIZE_BYTES = 7_365_960_935
DIGEST = "sha256:lightrag"
NEVER = "2050-12-31T14:38:31.83753-07:00"
STARTED = datetime.now(UTC)

_COUNTS = (
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
)

Form = Literal["chat", "generate"]


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# ----------------------------------------------------------------------------- models


def listed(model: str) -> dict[str, Any]:
    details = _details("lightrag", "13B")
    return {"modified_at": timestamp(STARTED), **_named(model), "details": details}


def running(model: str) -> dict[str, Any]:
    return {**_named(model), "details": _details("llama", "7.2B"), "expires_at": NEVER, "size_vram": SIZE_BYTES}


def shown(*, context_tokens: int, dimension: int | None, sees: bool) -> dict[str, Any]:
    info = {
        "general.architecture": "lightrag",
        "lightrag.context_length": context_tokens,
        **({"lightrag.embedding_length": dimension} if dimension else {}),
    }
    return {
        "modelfile": "",
        "parameters": "",
        "template": "{{ .Prompt }}",
        "details": _details("lightrag", "13B"),
        "model_info": info,
        "capabilities": ["completion", "vision"] if sees else ["completion"],
        "modified_at": timestamp(STARTED),
    }


def _named(model: str) -> dict[str, Any]:
    return {"name": model, "model": model, "size": SIZE_BYTES, "digest": DIGEST}


def _details(family: str, size: str) -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family],
        "parameter_size": size,
        "quantization_level": "Q4_0",
    }


def loaded(model: str) -> dict[str, Any]:
    """The answer to a prompt without text."""
    counts = dict.fromkeys(_COUNTS, 0)
    row = {"model": model, "created_at": timestamp(datetime.now(UTC)), "response": "", "done_reason": "load"}
    return {**row, "done": True, "context": [], **counts}


# ----------------------------------------------------------------------------- answers


class Reply:
    """One answer as its events come in: pieces of text, then a last row that counts and times them."""

    def __init__(self, form: Form, model: str, question: Question, *, with_sources: bool) -> None:
        self._form: Form = form
        self._model = model
        self._question = question
        self._with_sources = with_sources
        self._began = self._first = time.perf_counter_ns()
        self._parts: list[str] = []
        self._context = Context()
        self._last: Finished | None = None

    def add(self, event: Event) -> str:
        """The text that the client is to see now, maybe none."""
        match event:
            case References():
                self._context = event.context
            case Text():
                if not self._parts:
                    self._first = time.perf_counter_ns()
                self._parts.append(event.delta)
                return event.delta
            case Finished():
                self._last = event
                rested = resting(self._context, event.supports)
                return sources("".join(self._parts), rested) if self._with_sources else ""
            case Step():
                pass
        return ""

    def piece(self, text: str) -> dict[str, Any]:
        return {**self._head(), **self._said(text), "done": False}

    def last(self, text: str = "") -> dict[str, Any]:
        """The end of a stream, or with its `text` the whole answer."""
        reason = "length" if self._last and self._last.finish == "length" else "stop"
        row = {**self._head(), **self._said(text), "done_reason": reason, "done": True}
        if self._form == "generate":
            row["context"] = []
        return row | self._counts()

    def _head(self) -> dict[str, Any]:
        return {"model": self._model, "created_at": timestamp(datetime.now(UTC))}

    def _said(self, text: str) -> dict[str, Any]:
        if self._form == "generate":
            return {"response": text}
        return {"message": {"role": "assistant", "content": text, "images": None}}

    def _counts(self) -> dict[str, int]:
        """Durations in nanoseconds. What the vendor did not count is estimated."""
        usage = self._last.usage if self._last else None
        first = self._first if self._parts else time.perf_counter_ns()
        now = time.perf_counter_ns()
        asked = (usage and usage.prompt_tokens) or _asked_tokens(self._question)
        written = (usage and usage.completion_tokens) or estimated_tokens("".join(self._parts))
        counts = (now - self._began, 0, asked, first - self._began, written, now - first)
        return dict(zip(_COUNTS, counts, strict=True))


def sources(text: str, context: Context) -> str:
    """A list of the sources that the text cites, or of all where it cites none; empty where there is none."""
    cited = {number for _, _, number in marks(text)}
    chosen = [r for r in context.references if r.id in cited] or context.references
    return "".join(("\n\n", *(f"- [{r.id}] {_with_pages(r)}\n" for r in chosen))).rstrip() if chosen else ""


def _with_pages(reference: Reference) -> str:
    pages = sorted({page for _, _, page in reference.spans if page is not None})
    return f"{reference.file_path}, p. {', '.join(map(str, pages))}" if pages else reference.file_path


def _asked_tokens(question: Question) -> int:
    turns = (*(turn.content for turn in question.history), question.user_prompt, question.text)
    return sum(estimated_tokens(turn) for turn in turns if turn)


# ----------------------------------------------------------------------------- vectors


def embeddings(model: str, texts: Sequence[str], vectors: NDArray[np.float32], began_ns: int) -> bytes:
    """The whole body; for thousands of vectors this takes tens of milliseconds."""
    body = {
        "model": model,
        "embeddings": vectors,
        "total_duration": time.perf_counter_ns() - began_ns,
        "load_duration": 0,
        "prompt_eval_count": sum(map(estimated_tokens, texts)),
    }
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


def embedding(vectors: NDArray[np.float32]) -> bytes:
    return orjson.dumps({"embedding": vectors[0] if len(vectors) else []}, option=orjson.OPT_SERIALIZE_NUMPY)
