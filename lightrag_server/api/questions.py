"""What the API families share when they ask: settings fill what a request leaves open, a plain answer is the
collected stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import Any

from lightrag_server.core.records import Budget, Context, Mode, Question, Usage
from lightrag_server.engine.events import Event, Finished, References, Step, Text
from lightrag_server.settings.query import QuerySettings

Events = AsyncGenerator[Event, None]


@dataclass(frozen=True, slots=True)
class Answer:
    """A collected stream."""

    text: str
    context: Context
    usage: Usage
    seconds: float
    is_generated: bool


def question(text: str, mode: Mode, defaults: QuerySettings, **given: Any) -> Question:
    """A question with the configured numbers; `given` are further fields of `Question`."""
    plain = Question(
        text=text,
        mode=mode,
        top_k=defaults.top_k,
        chunk_top_k=defaults.chunk_top_k,
        budget=Budget(defaults.max_entity_tokens, defaults.max_relation_tokens, defaults.max_total_tokens),
        response_type=defaults.response_type,
    )
    return replace(plain, **given)


async def collect(events: Events) -> Answer:
    """The whole stream as one value."""
    parts: list[str] = []
    context, usage, seconds, is_generated = Context(), Usage(), 0.0, False
    async for event in events:
        match event:
            case References():
                context = event.context
            case Text():
                parts.append(event.delta)
            case Finished():
                usage, seconds, is_generated = event.usage, event.seconds, event.generated
            case Step():
                pass
    return Answer("".join(parts), context, usage, seconds, is_generated)
