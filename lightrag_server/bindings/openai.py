"""OpenAI's wire through its own SDK, for OpenAI and every compatible host.

Requests go through the SDK's generic `post`, and replies are read as plain JSON: its typed methods check requests and
build models field by field, which costs several times the rest of a call.
"""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import openai
import orjson
from numpy.typing import NDArray

from lightrag_server.bindings import failures
from lightrag_server.bindings.thresholds import PASSAGE_TOKENS, threshold_of
from lightrag_server.compute import Compute
from lightrag_server.core.records import Turn, Usage
from lightrag_server.errors import ConfigError
from lightrag_server.ports.embedding import Purpose
from lightrag_server.ports.llm import ChatReply, ChatRequest, FinishReason
from lightrag_server.settings.bindings import EmbeddingSettings, LLMSettings

DEFAULT_HOST = "https://api.openai.com/v1"
DEFAULT_MODEL = "gpt-4o-mini"
DEFAULT_EMBEDDING_MODEL = "text-embedding-3-small"
CONNECT_TIMEOUT_S = 10.0
MAX_STOPS = 4
"""What the interface takes; `Stopping` sees to the rest."""
_THREAD_FROM_CHARS = 256 * 1024
"""Bodies from this size take more than a millisecond to decode and leave the event loop."""


_Events = openai.AsyncStream[object]


def open_client(settings: LLMSettings | EmbeddingSettings) -> openai.AsyncOpenAI:
    """One pooled client; retries are ours, not the SDK's. Hosts other than OpenAI's own often want no key."""
    if settings.host is None and settings.api_key is None:
        name = "LLM" if isinstance(settings, LLMSettings) else "EMBEDDING"
        raise ConfigError(f"{name}_BINDING=openai needs {name}_BINDING_API_KEY, or {name}_BINDING_HOST of another host")
    return openai.AsyncOpenAI(
        api_key=settings.api_key.get_secret_value() if settings.api_key else "none",
        base_url=settings.host or DEFAULT_HOST,
        max_retries=0,
        timeout=openai.Timeout(settings.timeout_s, connect=min(CONNECT_TIMEOUT_S, settings.timeout_s)),
    )


@contextmanager
def translated(vendor: str) -> Iterator[None]:
    """Turn the SDK's errors into ours, keeping the cause."""
    try:
        yield
    except openai.APIStatusError as error:
        wait = failures.retry_after_s(error.response.headers)
        raise failures.refused(vendor, error.status_code, retry_after_s=wait, code=error.code) from error
    except (openai.APITimeoutError, TimeoutError) as error:
        raise failures.timed_out(vendor, error.__cause__) from error
    except openai.APIConnectionError as error:
        raise failures.unreachable(vendor, error.__cause__) from error
    except openai.APIError as error:
        raise _told_in_stream(vendor, error) from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise failures.unusable(vendor, "not the JSON of this interface") from error


def _told_in_stream(vendor: str, error: openai.APIError) -> Exception:
    """Hosts report failures inside a stream with a status as `code`, or with words only."""
    status = str(error.code or "")
    if status.isdigit() and len(status) == 3:
        return failures.refused(vendor, int(status))
    return failures.unreachable(vendor)


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a host has been seen to understand."""

    structured: Literal["json_schema", "json_object", "none"] = "json_schema"
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: bool = True
    stop: bool = True
    stream_usage: bool = True

    def body(self, request: ChatRequest, *, model: str, temperature: float | None, stream: bool) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": turn.role, "content": _content(turn)} for turn in request.messages],
        }
        if request.max_tokens is not None:
            body[self.limit] = request.max_tokens
        if temperature is not None and self.temperature:
            body["temperature"] = temperature
        if request.stop and self.stop:
            body["stop"] = list(request.stop[:MAX_STOPS])
        if request.json_schema is not None and self.structured != "none":
            body["response_format"] = self._response_format(request.json_schema)
        if stream:
            body["stream"] = True
            if self.stream_usage:
                body["stream_options"] = {"include_usage": True}
        return body

    def _response_format(self, schema: dict[str, Any]) -> dict[str, Any]:
        if self.structured == "json_object":
            return {"type": "json_object"}
        return {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema, "strict": True}}

    def simpler(self, body: dict[str, Any], error: openai.APIStatusError) -> Dialect | None:
        """What to say instead after a 400, or None when nothing of ours can be the reason."""
        if error.code in ("context_length_exceeded", "model_not_found"):
            return None
        if error.param == "max_tokens" and "max_tokens" in body:
            return replace(self, limit="max_completion_tokens")
        if error.param == "temperature" and "temperature" in body:
            return replace(self, temperature=False)
        if error.param == "stop" and "stop" in body:
            return replace(self, stop=False)
        if "response_format" in body:
            return replace(self, structured="json_object" if self.structured == "json_schema" else "none")
        if "stream_options" in body:
            return replace(self, stream_usage=False)
        return None


def _content(turn: Turn) -> str | list[dict[str, Any]]:
    if not turn.images:
        return turn.content
    urls = [{"type": "image_url", "image_url": {"url": image.url}} for image in turn.images]
    return [{"type": "text", "text": turn.content}, *urls] if turn.content else urls


class OpenAIChat:
    """`timeout_s` bounds a whole reply, and in a stream each wait for the next piece."""

    def __init__(
        self, client: openai.AsyncOpenAI, model: str, *, timeout_s: float, temperature: float | None = None
    ) -> None:
        self.identity = f"openai/{client.base_url.host}/{model}"
        self._client = client
        self._model = model
        self._timeout_s = timeout_s
        self._temperature = temperature
        self._vendor = f"openai model {model!r}"
        self._dialect = Dialect()

    @classmethod
    def from_settings(cls, settings: LLMSettings, compute: Compute) -> OpenAIChat:
        client = open_client(settings)
        model = settings.model or DEFAULT_MODEL
        return cls(client, model, timeout_s=settings.timeout_s, temperature=settings.temperature)

    async def complete(self, request: ChatRequest) -> ChatReply:
        with translated(self._vendor):
            async with asyncio.timeout(self._timeout_s):
                data = orjson.loads(await self._say(request, stream=False))
            choice = data["choices"][0]
            text = choice["message"]["content"]
            usage = _usage(data.get("usage"))
        if not isinstance(text, str):
            raise failures.unusable(self._vendor, "no text")
        return ChatReply(text, usage, _finish(choice.get("finish_reason")))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | ChatReply]:
        parts: list[str] = []
        finish: str | None = None
        usage = Usage(calls=1)
        with translated(self._vendor):
            async with await self._say(request, stream=True) as chunks:
                async for chunk in chunks:
                    if chunk.get("usage"):
                        usage = _usage(chunk["usage"])
                    if not chunk.get("choices"):
                        continue
                    choice = chunk["choices"][0]
                    finish = choice.get("finish_reason") or finish
                    if delta := choice["delta"].get("content"):
                        parts.append(delta)
                        yield delta
        if finish is None:
            raise failures.cut_short(self._vendor)
        yield ChatReply("".join(parts), usage, _finish(finish))

    async def close(self) -> None:
        await self._client.close()

    async def _say(self, request: ChatRequest, *, stream: bool) -> Any:
        """Ask in the best dialect known; after a 400 in simpler ones, and remember what was understood.

        Returns the body, or the stream of its decoded events.
        """
        temperature = self._temperature if request.temperature is None else request.temperature
        cast_to: Any = object if stream else str
        dialect = self._dialect
        while True:
            body = dialect.body(request, model=self._model, temperature=temperature, stream=stream)
            try:
                reply = await self._client.post(
                    "/chat/completions", cast_to=cast_to, body=body, stream=stream, stream_cls=_Events
                )
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                simpler = dialect.simpler(body, error)
                if simpler is None:
                    raise
                dialect = simpler
            else:
                self._dialect = dialect
                return reply


class OpenAIEmbedder:
    """Asks for base64, a third of the bytes and a tenth of the time of numbers in JSON; reads both."""

    def __init__(
        self, client: openai.AsyncOpenAI, model: str, *, timeout_s: float, ask_dimension: int | None = None
    ) -> None:
        self.identity = f"openai/{model}"
        self.dimension = ask_dimension
        self._ask_dimension = ask_dimension
        self.threshold = threshold_of(model)
        self.passage_tokens = PASSAGE_TOKENS
        self._client = client
        self._model = model
        self._timeout_s = timeout_s
        self._vendor = f"openai embedding model {model!r}"
        self._encoding: Literal["base64", "float"] = "base64"

    @classmethod
    def from_settings(cls, settings: EmbeddingSettings, compute: Compute) -> OpenAIEmbedder:
        asked = settings.dimension if settings.send_dimension else None
        model = settings.model or DEFAULT_EMBEDDING_MODEL
        return cls(open_client(settings), model, timeout_s=settings.timeout_s, ask_dimension=asked)

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> NDArray[np.float32]:
        if not texts:
            return np.empty((0, self.dimension or 0), np.float32)
        with translated(self._vendor):
            async with asyncio.timeout(self._timeout_s):
                content = await self._ask(texts)
            if len(content) < _THREAD_FROM_CHARS:
                return _vectors(content, len(texts))
            return await asyncio.to_thread(_vectors, content, len(texts))

    async def close(self) -> None:
        await self._client.close()

    async def _ask(self, texts: Sequence[str]) -> str:
        try:
            return await self._post(texts)
        except openai.BadRequestError as error:
            if self._encoding == "float" or error.param not in (None, "encoding_format"):
                raise
            self._encoding = "float"
            try:
                return await self._post(texts)
            except openai.BadRequestError:
                self._encoding = "base64"
                raise

    async def _post(self, texts: Sequence[str]) -> str:
        body: dict[str, Any] = {"model": self._model, "input": list(texts), "encoding_format": self._encoding}
        if self._ask_dimension is not None:
            body["dimensions"] = self._ask_dimension
        return await self._client.post("/embeddings", cast_to=str, body=body)


def _vectors(content: str, count: int) -> NDArray[np.float32]:
    rows = orjson.loads(content)["data"]
    rows.sort(key=lambda row: row["index"])
    if [row["index"] for row in rows] != list(range(count)):
        raise ValueError("the indexes are not those of the texts")
    return np.stack([_vector(row["embedding"]) for row in rows])


def _vector(value: Any) -> NDArray[np.float32]:
    if isinstance(value, str):
        return np.frombuffer(binascii.a2b_base64(value), "<f4").astype(np.float32, copy=False)
    return np.asarray(value, np.float32)


def _usage(value: Any) -> Usage:
    given: dict[str, Any] = value or {}
    return Usage(1, given.get("prompt_tokens") or 0, given.get("completion_tokens") or 0)


def _finish(reason: str | None) -> FinishReason:
    return reason if reason == "stop" or reason == "length" else "other"
