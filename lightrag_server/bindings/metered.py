"""What surrounds every model last: its calls are counted, timed, priced, billed and traced, each for what it is made.

Spans have the names of OpenTelemetry's conventions for generative AI.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lightrag_server.core import metrics
from lightrag_server.core.context import estimated_tokens
from lightrag_server.core.metrics import ModelKind
from lightrag_server.core.prices import Price
from lightrag_server.core.records import Usage
from lightrag_server.errors import LightRAGError
from lightrag_server.ports.bills import current_bill
from lightrag_server.ports.embedding import Embedder, Purpose
from lightrag_server.ports.llm import LLM, ChatReply, ChatRequest
from lightrag_server.ports.rerank import Reranker
from lightrag_server.ports.telemetry import Attributes, Call, Telemetry

Outcome = Literal["ok", "cached", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Account:
    """Who asks which model for what. Without a price nothing is said of costs."""

    telemetry: Telemetry
    workspace: str
    kind: ModelKind
    provider: str
    model: str
    price: Price | None = None

    def cost(self, sent: int, received: int) -> float | None:
        return self.price.of(sent, received) if self.price else None

    def spent(self, sent: int, received: int, cost: float | None) -> None:
        meter, names = self.telemetry.meter, (self.workspace, self.kind, self.model)
        meter.count(metrics.MODEL_TOKENS, float(sent), *names, "in")
        if received:
            meter.count(metrics.MODEL_TOKENS, float(received), *names, "out")
        if cost is not None:
            meter.count(metrics.MODEL_COST, cost, *names)

    def ended(self, outcome: Outcome, seconds: float) -> None:
        meter = self.telemetry.meter
        meter.count(metrics.MODEL_CALLS, 1.0, self.workspace, self.kind, self.model, outcome)
        if outcome in ("ok", "failed"):
            meter.observe(metrics.MODEL_SECONDS, seconds, self.kind, self.model)

    def failed(self, error: Exception) -> None:
        code = error.code if isinstance(error, LightRAGError) else "internal_error"
        self.telemetry.meter.count(metrics.MODEL_FAILURES, 1.0, self.kind, self.model, code)


@dataclass(slots=True)
class _Calling:
    span: Call
    outcome: Outcome = "ok"


@contextmanager
def _calling(account: Account, operation: str, attributes: Attributes) -> Iterator[_Calling]:
    """Around one call. It is "ok" unless it is said otherwise or left with an exception."""
    named = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": account.provider,
        "gen_ai.system": account.provider,  # the name before 1.37, which receivers still read
        "gen_ai.request.model": account.model,
        "lightrag.workspace": account.workspace,
        "lightrag.kind": account.kind,
    }
    call = _Calling(account.telemetry.tracer.call(f"{operation} {account.model}", {**named, **attributes}))
    began = time.perf_counter()
    error: BaseException | None = None
    try:
        yield call
    except (asyncio.CancelledError, GeneratorExit) as left:
        call.outcome, error = "cancelled", left
        raise
    except Exception as failure:
        call.outcome, error = "failed", failure
        account.failed(failure)
        raise
    finally:
        account.ended(call.outcome, time.perf_counter() - began)
        call.span.end(error)


class MeteredLLM:
    """`is_kept`: replies are looked for in a cache before."""

    def __init__(self, inner: LLM, account: Account, *, is_kept: bool) -> None:
        self.identity = inner.identity
        self._inner = inner
        self._account = account
        self._is_kept = is_kept

    async def complete(self, request: ChatRequest) -> ChatReply:
        with _calling(self._account, "chat", self._asked(request)) as call:
            return self._answered(call, await self._inner.complete(request))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | ChatReply]:
        reply: ChatReply | None = None
        with _calling(self._account, "chat", self._asked(request)) as call:
            async with aclosing(self._inner.stream(request)) as items:
                async for item in items:
                    if isinstance(item, ChatReply):
                        reply = self._answered(call, item)
                    else:
                        yield item
        if reply is not None:  # whole even if the consumer stops here
            yield reply

    async def close(self) -> None:
        await self._inner.close()

    def _asked(self, request: ChatRequest) -> Attributes:
        found: dict[str, str | int | float | bool | tuple[str, ...]] = {}
        if request.max_tokens is not None:
            found["gen_ai.request.max_tokens"] = request.max_tokens
        if request.temperature is not None:
            found["gen_ai.request.temperature"] = request.temperature
        if self._account.telemetry.tracer.has_content:
            found["gen_ai.input.messages"] = _messages([(turn.role, turn.content) for turn in request.messages])
        return found

    def _answered(self, call: _Calling, reply: ChatReply) -> ChatReply:
        """The reply with its cost."""
        account = self._account
        usage = self._paid(call, reply)
        call.span.note(
            {
                "gen_ai.response.model": account.model,
                "gen_ai.response.finish_reasons": (reply.finish_reason,),
                "gen_ai.usage.input_tokens": usage.prompt_tokens,
                "gen_ai.usage.output_tokens": usage.completion_tokens,
                "lightrag.cached": reply.is_cached,
            }
        )
        if usage.cost is not None:
            call.span.note({"gen_ai.usage.cost": usage.cost})
        if account.telemetry.tracer.has_content:
            call.span.note({"gen_ai.output.messages": _messages([("assistant", reply.text)])})
        return replace(reply, usage=usage)

    def _paid(self, call: _Calling, reply: ChatReply) -> Usage:
        account, bill = self._account, current_bill()
        if self._is_kept:
            account.telemetry.meter.count(metrics.CACHE, 1.0, account.kind, "hit" if reply.is_cached else "miss")
        if reply.is_cached:
            call.outcome = "cached"
            if bill:
                bill.cached_calls += 1
            return reply.usage
        sent, received = reply.usage.prompt_tokens, reply.usage.completion_tokens
        usage = replace(reply.usage, cost=account.cost(sent, received))
        account.spent(sent, received, usage.cost)
        if bill:
            bill.spend(usage)
        return usage


class MeteredEmbedder:
    """Tokens are estimates: what a vendor counts is of batches that several may share."""

    def __init__(self, inner: Embedder, account: Account) -> None:
        self.identity = inner.identity
        self.passage_tokens = inner.passage_tokens
        self.threshold = inner.threshold
        self.dimension = inner.dimension
        self._inner = inner
        self._account = account

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> NDArray[np.float32]:
        if not texts:
            return await self._inner.embed(texts, purpose)
        account, bill = self._account, current_bill()
        with _calling(account, "embeddings", {"lightrag.texts": len(texts)}) as call:
            vectors = await self._inner.embed(texts, purpose)
            self.dimension = self._inner.dimension
            tokens = sum(map(estimated_tokens, texts))
            cost = account.cost(tokens, 0)
            account.spent(tokens, 0, cost)
            call.span.note({"gen_ai.usage.input_tokens": tokens})
        if bill:
            bill.embed(tokens, cost)
        return vectors

    async def close(self) -> None:
        await self._inner.close()


class MeteredReranker:
    def __init__(self, inner: Reranker, account: Account) -> None:
        self.identity = inner.identity
        self.least_score = inner.least_score
        self.reads_pairs = inner.reads_pairs
        self._inner = inner
        self._account = account

    async def rank(self, question: str, texts: Sequence[str]) -> list[float]:
        with _calling(self._account, "rerank", {"lightrag.texts": len(texts)}):
            return await self._inner.rank(question, texts)

    async def close(self) -> None:
        await self._inner.close()


def _messages(turns: Sequence[tuple[str, str]]) -> str:
    """In the form of the conventions: roles with parts."""
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": content}]} for role, content in turns])
