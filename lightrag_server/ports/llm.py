from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from lightrag_server.core.records import Turn, Usage

FinishReason = Literal["stop", "length", "other"]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """`json_schema` asks for structured output where the vendor has it; others ignore it.
    `in_background` says that nobody waits: questions are asked first."""

    messages: tuple[Turn, ...]
    max_tokens: int | None = None
    temperature: float | None = None
    json_schema: dict[str, Any] | None = None
    stop: tuple[str, ...] = ()
    in_background: bool = False


@dataclass(frozen=True, slots=True)
class ChatReply:
    text: str
    usage: Usage
    finish_reason: FinishReason = "stop"
    is_cached: bool = False


class LLM(Protocol):
    """A chat model. Every failure is a `ProviderError`."""

    identity: str
    """Binding, host and model: part of cache keys."""

    async def complete(self, request: ChatRequest) -> ChatReply: ...

    def stream(self, request: ChatRequest) -> AsyncGenerator[str | ChatReply]:
        """Text deltas in order, then exactly one `ChatReply` with the whole text and the usage.
        Closing the iterator cancels the vendor call."""
        ...

    async def close(self) -> None: ...
