"""What the API families share when they ask: settings fill what a request leaves open, a plain answer is the
collected stream."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import Any

from lightrag_server.core import refusals
from lightrag_server.core.context import render as context_text
from lightrag_server.core.records import Budget, Context, Mode, Question, Support, Usage
from lightrag_server.core.support import resting
from lightrag_server.engine.events import Event, Finished, References, Step, Text
from lightrag_server.engine.workspace import Workspace
from lightrag_server.ports.llm import FinishReason
from lightrag_server.settings.query import QuerySettings

Events = AsyncGenerator[Event, None]

_TASK = re.compile(r"\s*### Task\b.*<chat_history>", re.DOTALL)
_TOLD = re.compile(r"\n<chat_history>\n(?:USER|ASSISTANT|SYSTEM):")


@dataclass(frozen=True, slots=True)
class Answer:
    """A collected stream. References of `context` are narrowed to the sentences that the answer cites."""

    text: str
    context: Context
    usage: Usage
    seconds: float
    is_generated: bool
    finish: FinishReason = "stop"
    supports: tuple[Support, ...] = ()


def question(text: str, mode: Mode, defaults: QuerySettings, **given: Any) -> Question:
    """A question with the configured numbers; `given` are further fields of `Question`."""
    plain = Question(
        text=text,
        mode=mode,
        top_k=defaults.top_k,
        chunk_top_k=defaults.chunk_top_k,
        budget=Budget(defaults.max_entity_tokens, defaults.max_relation_tokens, defaults.max_total_tokens),
        response_type=defaults.response_type,
        rerank=defaults.rerank_by_default,
    )
    return replace(plain, **given)


def is_task(text: str) -> bool:
    """Whether a chat front end asks for a title, tags, follow-ups, searches or a completion of the chat it quotes:
    work for the model alone."""
    return bool(_TASK.match(text) or _TOLD.search(text))


async def collect(events: Events) -> Answer:
    """The whole stream as one value."""
    parts: list[str] = []
    context, last = Context(), Finished(Usage(), 0.0, generated=False)
    async for event in events:
        match event:
            case References():
                context = event.context
            case Text():
                parts.append(event.delta)
            case Finished():
                last = event
            case Step():
                pass
    context = resting(context, last.supports)
    return Answer("".join(parts), context, last.usage, last.seconds, last.generated, last.finish, last.supports)


async def evidence(workspace: Workspace, question: Question) -> AsyncGenerator[Event, None]:
    """The evidence as the answer's text, without an LLM call."""
    began = time.perf_counter()
    context = await workspace.query.retrieve(question)
    yield References(context)
    yield Text(refusals.nothing_found(question.text) if context.is_empty else context_text(context))
    yield Finished(Usage(), time.perf_counter() - began, generated=False)
