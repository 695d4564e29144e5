"""The wires of rerank vendors, spoken over plain HTTP. Hosts that offer one of them are reached by another address."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from lightrag_server.bindings import failures
from lightrag_server.errors import ConfigError
from lightrag_server.settings.rerank import RerankSettings

CONNECT_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Wire:
    """How a vendor is spoken to. `domain` is where its own servers are: its key is for them."""

    address: str
    domain: str
    model: str
    body: Callable[[str, str, list[str]], dict[str, Any]]
    """From model, question and texts."""
    rows: Callable[[Any], list[Any]]
    """The scored texts in a decoded reply."""


def _cohere_body(model: str, question: str, texts: list[str]) -> dict[str, Any]:
    return {"model": model, "query": question, "documents": texts, "top_n": len(texts)}


def _jina_body(model: str, question: str, texts: list[str]) -> dict[str, Any]:
    return _cohere_body(model, question, texts) | {"return_documents": False}


def _aliyun_body(model: str, question: str, texts: list[str]) -> dict[str, Any]:
    return {
        "model": model,
        "input": {"query": question, "documents": texts},
        "parameters": {"top_n": len(texts), "return_documents": False},
    }


WIRES = {
    "cohere": Wire(
        "https://api.cohere.com/v2/rerank", "cohere.com", "rerank-v3.5", _cohere_body, lambda data: data["results"]
    ),
    "jina": Wire(
        "https://api.jina.ai/v1/rerank",
        "jina.ai",
        "jina-reranker-v2-base-multilingual",
        _jina_body,
        lambda data: data["results"],
    ),
    "aliyun": Wire(
        "https://dashscope.aliyuncs.com/api/v1/services/rerank/text-rerank/text-rerank",
        "aliyuncs.com",
        "gte-rerank-v2",
        _aliyun_body,
        lambda data: data["output"]["results"],
    ),
}


class VendorReranker:
    """One call for all texts. `timeout_s` bounds it."""

    reads_pairs = True

    def __init__(
        self, wire: Wire, name: str, *, address: str, model: str, key: str | None, timeout_s: float, least: float | None
    ) -> None:
        self.identity = f"{name}/{model}"
        self.least_score = least
        self._wire = wire
        self._address = address
        self._model = model
        self._timeout_s = timeout_s
        self._vendor = f"{name} rerank model {model!r}"
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
            headers={"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})},
        )

    @classmethod
    def from_settings(cls, settings: RerankSettings) -> VendorReranker:
        name = str(settings.binding)
        wire = WIRES[name]
        address = address_of(settings.host, wire)
        return cls(
            wire,
            name,
            address=address,
            model=settings.model or wire.model,
            key=_key_for(address, name, settings),
            timeout_s=settings.timeout_s,
            least=settings.min_score or None,  # 0 keeps all: some hosts' scores are below it and good
        )

    async def rank(self, question: str, texts: Sequence[str]) -> list[float]:
        content = orjson.dumps(self._wire.body(self._model, question, list(texts)))
        with _translated(self._vendor):
            async with asyncio.timeout(self._timeout_s):
                reply = await self._client.post(self._address, content=content)
            if reply.status_code != 200:
                wait = failures.retry_after_s(reply.headers)
                raise failures.refused(self._vendor, reply.status_code, retry_after_s=wait)
            return _scores(self._wire.rows(orjson.loads(reply.content)), len(texts))

    async def close(self) -> None:
        await self._client.aclose()


def address_of(host: str | None, wire: Wire) -> str:
    """Where to post to: the address as it is given, completed where it stops before the end of the vendor's path."""
    if host is None:
        return wire.address
    try:
        url, full = httpx.URL(host), httpx.URL(wire.address)
    except httpx.InvalidURL:
        raise ConfigError("RERANK_BINDING_HOST is no address") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError("RERANK_BINDING_HOST must begin with http:// or https:// and name a host")
    is_begun = full.path.startswith(url.path.rstrip("/") + "/")
    return str(url.copy_with(path=full.path)) if is_begun else host


def _key_for(address: str, name: str, settings: RerankSettings) -> str | None:
    """RERANK_BINDING_API_KEY, else the vendor's own key, which goes to no host but the vendor's."""
    own = {"cohere": settings.cohere_key, "jina": settings.jina_key, "aliyun": settings.dashscope_key}[name]
    host, domain = httpx.URL(address).host, WIRES[name].domain
    is_vendors = host == domain or host.endswith(f".{domain}")
    key = settings.api_key or (own if is_vendors else None)
    if key is None and is_vendors:
        raise ConfigError(f"RERANK_BINDING={name} needs RERANK_BINDING_API_KEY, or RERANK_BINDING_HOST of another host")
    return key.get_secret_value() if key else None


def _scores(rows: list[Any], count: int) -> list[float]:
    scores = {int(row["index"]): float(row["relevance_score"]) for row in rows}
    if sorted(scores) != list(range(count)) or not all(map(math.isfinite, scores.values())):
        raise ValueError("not one score for each text")
    return [scores[n] for n in range(count)]


@contextmanager
def _translated(vendor: str) -> Iterator[None]:
    """Turn errors of the HTTP client and of reading the reply into ours, keeping the cause."""
    try:
        yield
    except (httpx.TimeoutException, TimeoutError) as error:
        raise failures.timed_out(vendor) from error
    except httpx.HTTPError as error:
        raise failures.unreachable(vendor) from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise failures.unusable(vendor, "not the JSON of this interface") from error
