"""Ollama's wire through its own SDK."""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, cast

import httpx
import numpy as np
import ollama
from numpy.typing import NDArray

from lightrag_server.bindings import failures
from lightrag_server.bindings.thresholds import PASSAGE_TOKENS, threshold_of
from lightrag_server.compute import Compute
from lightrag_server.core.records import Turn, Usage
from lightrag_server.ports.embedding import Purpose
from lightrag_server.ports.llm import ChatReply, ChatRequest, FinishReason
from lightrag_server.settings.bindings import EmbeddingSettings, LLMSettings

DEFAULT_HOST = "http://localhost:11434"
DEFAULT_MODEL = "mistral-nemo:latest"
DEFAULT_EMBEDDING_MODEL = "bge-m3:latest"
CONNECT_TIMEOUT_S = 10.0


def open_client(settings: LLMSettings | EmbeddingSettings) -> ollama.AsyncClient:
    """One pooled client. Ollama itself asks for no key, proxies before it do."""
    key = settings.api_key.get_secret_value() if settings.api_key else None
    return ollama.AsyncClient(
        settings.host or DEFAULT_HOST,
        timeout=httpx.Timeout(settings.timeout_s, connect=min(CONNECT_TIMEOUT_S, settings.timeout_s)),
        headers={"Authorization": f"Bearer {key}"} if key else None,
    )


@contextmanager
def translated(vendor: str) -> Iterator[None]:
    """Turn the SDK's errors into ours, keeping the cause."""
    try:
        yield
    except ollama.ResponseError as error:
        raise _refused(vendor, error) from error
    except (httpx.TimeoutException, TimeoutError) as error:
        raise failures.timed_out(vendor, error) from error
    except ConnectionError as error:  # the SDK's own, for a host that nobody reaches
        raise failures.unreachable(vendor, error.__context__) from error
    except httpx.HTTPError as error:
        raise failures.unreachable(vendor, error) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise failures.unusable(vendor, "not the JSON of this interface") from error


def _refused(vendor: str, error: ollama.ResponseError) -> Exception:
    if error.status_code < 400:  # told inside a stream
        return failures.unreachable(vendor)
    # the SDK drops the headers, but the error of its HTTP client that it handled has them
    response = getattr(error.__context__, "response", None)
    wait = failures.retry_after_s(response.headers) if response is not None else None
    return failures.refused(vendor, error.status_code, retry_after_s=wait)


def _message(turn: Turn) -> dict[str, Any]:
    """Images as bytes: a text the SDK would first try as the path of a file."""
    message: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.images:
        message["images"] = [binascii.a2b_base64(image.data) for image in turn.images]
    return message


class OllamaChat:
    """`context_tokens` is sent as `num_ctx`: Ollama's own default cuts longer prompts without a word."""

    def __init__(
        self,
        client: ollama.AsyncClient,
        model: str,
        *,
        timeout_s: float,
        context_tokens: int,
        temperature: float | None = None,
    ) -> None:
        self.identity = f"ollama/{model}"
        self._client = client
        self._model = model
        self._timeout_s = timeout_s
        self._context_tokens = context_tokens
        self._temperature = temperature
        self._vendor = f"ollama model {model!r}"

    @classmethod
    def from_settings(cls, settings: LLMSettings, compute: Compute) -> OllamaChat:
        return cls(
            open_client(settings),
            settings.model or DEFAULT_MODEL,
            timeout_s=settings.timeout_s,
            context_tokens=settings.max_context_tokens,
            temperature=settings.temperature,
        )

    async def complete(self, request: ChatRequest) -> ChatReply:
        with translated(self._vendor):
            async with asyncio.timeout(self._timeout_s):
                reply = await self._client.chat(**self._body(request))
            text = reply.message.content
        if text is None or not reply.done:
            raise failures.unusable(self._vendor, "no text")
        return ChatReply(text, _usage(reply), _finish(reply.done_reason))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | ChatReply]:
        parts: list[str] = []
        last: ollama.ChatResponse | None = None
        with translated(self._vendor):
            opened = await self._client.chat(**self._body(request), stream=True)
            async with aclosing(cast("AsyncGenerator[ollama.ChatResponse]", opened)) as chunks:
                async for chunk in chunks:
                    if delta := chunk.message.content:
                        parts.append(delta)
                        yield delta
                    if chunk.done:
                        last = chunk
        if last is None:
            raise failures.cut_short(self._vendor)
        yield ChatReply("".join(parts), _usage(last), _finish(last.done_reason))

    async def close(self) -> None:
        await self._client.close()

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        temperature = self._temperature if request.temperature is None else request.temperature
        options = {
            "num_ctx": self._context_tokens,
            "num_predict": request.max_tokens,
            "temperature": temperature,
            "stop": list(request.stop) or None,
        }
        return {
            "model": self._model,
            "messages": [_message(turn) for turn in request.messages],
            "format": request.json_schema,
            "options": {name: value for name, value in options.items() if value is not None},
        }


class OllamaEmbedder:
    def __init__(
        self, client: ollama.AsyncClient, model: str, *, timeout_s: float, ask_dimension: int | None = None
    ) -> None:
        self.identity = f"ollama/{model}"
        self.dimension = ask_dimension
        self.threshold = threshold_of(model)
        self.passage_tokens = PASSAGE_TOKENS
        self._client = client
        self._model = model
        self._timeout_s = timeout_s
        self._vendor = f"ollama embedding model {model!r}"

    @classmethod
    def from_settings(cls, settings: EmbeddingSettings, compute: Compute) -> OllamaEmbedder:
        asked = settings.dimension if settings.send_dimension else None
        model = settings.model or DEFAULT_EMBEDDING_MODEL
        return cls(open_client(settings), model, timeout_s=settings.timeout_s, ask_dimension=asked)

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> NDArray[np.float32]:
        if not texts:
            return np.empty((0, self.dimension or 0), np.float32)
        with translated(self._vendor):
            async with asyncio.timeout(self._timeout_s):
                reply = await self._client.embed(self._model, list(texts), dimensions=self.dimension)
            vectors = np.asarray(reply.embeddings, np.float32)
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise failures.unusable(self._vendor, "not one vector per text")
        return vectors

    async def close(self) -> None:
        await self._client.close()


def _usage(reply: ollama.ChatResponse) -> Usage:
    return Usage(1, reply.prompt_eval_count or 0, reply.eval_count or 0)


def _finish(reason: str | None) -> FinishReason:
    return reason if reason == "stop" or reason == "length" else "other"
