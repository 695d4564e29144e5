"""Rerank vendors' wires against a real port, and what surrounds every reranker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
from pydantic import SecretStr

from lightrag_server.bindings.local.fake import FakeEmbedder
from lightrag_server.bindings.registry import choose_reranker, open_reranker
from lightrag_server.bindings.rerank.steady import MAX_TEXTS, SteadyReranker
from lightrag_server.bindings.rerank.vendors import WIRES, address_of
from lightrag_server.errors import (
    BadReply,
    ConfigError,
    ProviderError,
    ProviderRejected,
    ProviderThrottled,
    ProviderTimeout,
    ProviderUnavailable,
)
from lightrag_server.settings.bindings import EmbeddingSettings, LLMSettings
from lightrag_server.settings.rerank import RerankSettings
from tests.vendor import Vendor

Wire = Literal["cohere", "jina", "aliyun"]
KEY = "rk-this-must-stay-secret"
QUESTION = "Who built the lighthouse of Kallnes?"
BEST = "The lighthouse of Kallnes was built by Greta Holm."
TEXTS = ["Rain fell all day on the hills.", BEST, "三条蓝色的船", "Boats came and went."]
FILLER = "The weather was mild and shops stayed open until the evening. "

wires = pytest.mark.parametrize("wire", ["cohere", "jina", "aliyun"])


def opened(settings: RerankSettings) -> SteadyReranker:
    chosen = choose_reranker(settings, EmbeddingSettings(binding="fake"), LLMSettings(max_async=3))
    reranker = open_reranker(chosen, FakeEmbedder())
    assert reranker is not None
    return reranker


def at(vendor: Vendor, wire: Wire, **settings: Any) -> SteadyReranker:
    given: dict[str, Any] = {"timeout_s": 1.0, "max_retries": 0, **settings}
    return opened(RerankSettings(binding=wire, host=vendor.url, model="m", api_key=SecretStr(KEY), **given))


@pytest.fixture
async def reranker(vendor: Vendor, wire: Wire) -> AsyncIterator[SteadyReranker]:
    reranker = at(vendor, wire)
    yield reranker
    await reranker.close()


# ----------------------------------------------------------------------------- what is said


@wires
async def test_scores_come_in_the_order_of_the_texts(vendor: Vendor, wire: Wire, reranker: SteadyReranker):
    scores = await reranker.rank(QUESTION, TEXTS)
    assert len(scores) == len(TEXTS)
    assert scores.index(max(scores)) == TEXTS.index(BEST)
    assert vendor.stats()["last_authorization"] == f"Bearer {KEY}"
    assert reranker.identity == f"{wire}/m"


async def test_each_wire_has_its_own_form(vendor: Vendor):
    said: dict[str, Any] = {}
    for wire in WIRES:
        reranker = at(vendor, wire)  # type: ignore[arg-type]
        await reranker.rank("q?", ["a", "b"])
        said[wire] = vendor.stats()["last_body"]
        await reranker.close()
    whole = {"model": "m", "query": "q?", "documents": ["a", "b"], "top_n": 2}
    assert said["cohere"] == whole
    assert said["jina"] == {**whole, "return_documents": False}
    assert said["aliyun"] == {
        "model": "m",
        "input": {"query": "q?", "documents": ["a", "b"]},
        "parameters": {"top_n": 2, "return_documents": False},
    }


@wires
async def test_nothing_to_rank_is_no_call_and_odd_texts_are_sent_all_the_same(
    vendor: Vendor, wire: Wire, reranker: SteadyReranker
):
    assert await reranker.rank(QUESTION, []) == []
    assert vendor.stats()["rerank"] == 0
    assert len(await reranker.rank(QUESTION, ["", "half a pair \ud83d", "nul\0"])) == 3


async def test_very_many_texts_are_sent_in_several_calls_within_the_limit(vendor: Vendor):
    vendor.control(embed_latency_s=0.05)
    reranker = at(vendor, "cohere", max_async=2, timeout_s=30)
    texts = [f"{FILLER} {n}" for n in range(4 * MAX_TEXTS)]
    texts[1700] = BEST
    scores = await reranker.rank(QUESTION, texts)
    assert scores.index(max(scores)) == 1700
    stats = vendor.stats()
    assert (stats["rerank"], stats["max_in_flight"]) == (4, 2)
    counts = reranker.snapshot()
    assert (counts.limit, counts.completed, counts.failed) == (2, 4, 0)
    await reranker.close()


async def test_a_long_text_counts_by_its_best_piece_where_that_is_asked_for(vendor: Vendor):
    hidden = FILLER * 20 + BEST + " " + FILLER * 20
    near = BEST.replace("Greta Holm", "somebody") + " " + FILLER
    whole = at(vendor, "jina")
    scores = await whole.rank(QUESTION, [hidden, near])
    assert scores[0] < scores[1]
    cut = at(vendor, "jina", enable_chunking=True, max_tokens_per_doc=16)
    scores = await cut.rank(QUESTION, [hidden, near])
    assert scores[0] > scores[1]
    documents = vendor.stats()["last_body"]["documents"]
    assert len(documents) > 20
    assert max(map(len, documents)) < 200
    assert any("Greta Holm" in text for text in documents)
    await whole.close()
    await cut.close()


async def test_the_least_score_is_the_configured_one_and_zero_keeps_all(vendor: Vendor):
    assert at(vendor, "cohere", min_score=0.4).least_score == 0.4
    vendor.control(rerank_shift=-5.0)
    reranker = at(vendor, "cohere")
    assert reranker.least_score is None
    assert max(await reranker.rank(QUESTION, TEXTS)) < 0
    await reranker.close()


# ----------------------------------------------------------------------------- faults

FAULTS = [
    ({"kind": "status", "status": 400}, ProviderRejected, None),
    ({"kind": "status", "status": 401}, ProviderRejected, None),
    ({"kind": "status", "status": 302}, ProviderRejected, None),
    ({"kind": "status", "status": 429, "retry_after": "7"}, ProviderThrottled, 7.0),
    ({"kind": "status", "status": 500}, ProviderUnavailable, None),
    ({"kind": "status", "status": 503, "retry_after": "2.5"}, ProviderThrottled, 2.5),
    ({"kind": "timeout"}, ProviderTimeout, None),
    ({"kind": "hang_up"}, ProviderUnavailable, None),
    ({"kind": "rubbish"}, BadReply, None),
    ({"kind": "empty"}, BadReply, None),
]


@wires
@pytest.mark.parametrize(
    ("fault", "expected", "wait"), FAULTS, ids=["-".join(str(v) for v in f.values()) for f, _, _ in FAULTS]
)
async def test_a_failure_is_one_of_our_errors_and_gives_nothing_away(
    vendor: Vendor,
    wire: Wire,
    reranker: SteadyReranker,
    fault: dict[str, Any],
    expected: type[ProviderError],
    wait: float | None,
):
    vendor.control(faults=[fault])
    with pytest.raises(ProviderError) as caught:
        await reranker.rank(QUESTION, TEXTS)
    assert type(caught.value) is expected
    assert caught.value.retry_after_s == wait
    message = str(caught.value)
    assert f"{wire} rerank model 'm'" in message
    assert not any(secret in message for secret in (KEY, "lighthouse", "\n"))
    assert reranker.snapshot().failed == 1


async def test_a_closed_port_is_a_vendor_that_cannot_be_reached():
    reranker = opened(RerankSettings(binding="jina", host="http://127.0.0.1:9", max_retries=0))
    with pytest.raises(ProviderUnavailable, match="cannot be reached"):
        await reranker.rank(QUESTION, TEXTS)
    await reranker.close()


async def test_a_failure_that_may_pass_is_tried_again_and_a_long_wait_is_not(vendor: Vendor):
    reranker = at(vendor, "cohere", max_retries=1)
    vendor.fault("status", status=503, retry_after="0")
    assert len(await reranker.rank(QUESTION, TEXTS)) == len(TEXTS)
    assert vendor.stats()["rerank"] == 2
    vendor.fault("status", status=429, retry_after="40")
    async with asyncio.timeout(3):
        with pytest.raises(ProviderUnavailable):
            await reranker.rank(QUESTION, TEXTS)
    await reranker.close()


# ----------------------------------------------------------------------------- which, where and with what key


@pytest.mark.parametrize(
    ("host", "wire", "address"),
    [
        (None, "cohere", "https://api.cohere.com/v2/rerank"),
        ("http://h:8000", "cohere", "http://h:8000/v2/rerank"),
        ("http://h:8000/v1/", "jina", "http://h:8000/v1/rerank"),
        ("http://h:8000/rerank", "cohere", "http://h:8000/rerank"),
        ("http://h/gate/rank?tenant=1", "jina", "http://h/gate/rank?tenant=1"),
        (
            "https://dashscope-intl.aliyuncs.com/api/v1",
            "aliyun",
            "https://dashscope-intl.aliyuncs.com/api/v1/services/rerank/text-rerank/text-rerank",
        ),
    ],
)
def test_a_host_is_the_address_itself_or_its_beginning(host: str | None, wire: str, address: str):
    assert address_of(host, WIRES[wire]) == address


@pytest.mark.parametrize("host", ["h:8000", "ftp://h", "http://"])
def test_what_is_no_address_is_refused_at_start(host: str):
    with pytest.raises(ConfigError, match="RERANK_BINDING_HOST"):
        opened(RerankSettings(binding="cohere", host=host))


@wires
def test_a_vendor_of_its_own_needs_a_key(wire: Wire):
    with pytest.raises(ConfigError, match="RERANK_BINDING_API_KEY"):
        opened(RerankSettings(binding=wire))
    own = {"cohere": "cohere_key", "jina": "jina_key", "aliyun": "dashscope_key"}[wire]
    assert opened(RerankSettings.model_validate({"binding": wire, own: SecretStr(KEY)})).identity.startswith(wire)


async def test_a_vendors_own_key_goes_to_no_other_host(vendor: Vendor):
    reranker = opened(RerankSettings(binding="jina", host=vendor.url, jina_key=SecretStr(KEY)))
    await reranker.rank(QUESTION, TEXTS)
    assert vendor.stats()["last_authorization"] == ""
    await reranker.close()


@pytest.mark.parametrize(
    ("given", "embedding", "chosen"),
    [
        (None, EmbeddingSettings(binding="local", model="universal-sentence-encoder-multilingual"), "local"),
        (None, EmbeddingSettings(binding="local", model="multilingual-e5-small"), "null"),
        (None, EmbeddingSettings(binding="openai"), "null"),
        (None, EmbeddingSettings(binding="fake"), "null"),
        ("null", EmbeddingSettings(binding="local", model="universal-sentence-encoder-multilingual"), "null"),
        ("local", EmbeddingSettings(binding="openai"), "local"),
        ("jina", EmbeddingSettings(binding="local"), "jina"),
    ],
)
def test_a_quick_local_embedder_reranks_unless_something_else_is_said(
    given: Any, embedding: EmbeddingSettings, chosen: str
):
    rerank = choose_reranker(RerankSettings(binding=given), embedding, LLMSettings(max_async=7))
    assert (rerank.binding, rerank.max_async) == (chosen, 7)


async def test_the_local_reranker_has_no_scale_and_needs_no_server():
    reranker = opened(RerankSettings(binding="local", min_score=0.5, enable_chunking=True))
    scores = await reranker.rank(QUESTION, TEXTS)
    assert scores.index(max(scores)) == TEXTS.index(BEST)
    assert reranker.least_score is None
    assert reranker.identity == "local/fake/hash-256"
    await reranker.close()
