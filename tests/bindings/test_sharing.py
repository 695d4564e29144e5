"""Documents that are indexed at the same time share embedding calls, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from lightrag_server.bindings.batching import BatchedEmbedder
from lightrag_server.bindings.local.fake import vectors_of
from lightrag_server.bindings.registry import open_embedder
from lightrag_server.compute import Compute
from lightrag_server.errors import ProviderRejected, ProviderUnavailable
from lightrag_server.settings.bindings import EmbeddingSettings
from tests.vendor import Vendor

DOCUMENTS = [[f"text {n} of document {document}" for n in range(3)] for document in range(4)]
POISON = "what the vendor refuses"


@pytest.fixture
async def embedder(vendor: Vendor, compute: Compute) -> AsyncIterator[BatchedEmbedder]:
    settings = EmbeddingSettings(binding="openai", host=vendor.openai_url, model="m", batch_size=8, max_retries=0)
    embedder = open_embedder(settings, compute)
    yield embedder
    await embedder.close()


async def test_documents_share_calls_and_each_gets_its_own_vectors(vendor: Vendor, embedder: BatchedEmbedder):
    found = await asyncio.gather(*(embedder.embed(texts, "document") for texts in DOCUMENTS))
    for texts, vectors in zip(DOCUMENTS, found, strict=True):
        np.testing.assert_allclose(vectors, vectors_of(texts, 256), atol=1e-6)
    assert (vendor.stats()["embed"], vendor.stats()["texts"]) == (2, 12)
    assert embedder.snapshot().completed == 2


async def test_a_question_is_embedded_at_once_and_alone(vendor: Vendor, embedder: BatchedEmbedder):
    vendor.control(embed_latency_s=0.1)
    document = asyncio.create_task(embedder.embed(["a text"], "document"))
    await asyncio.sleep(0)
    await embedder.embed(["a question"], "query")
    assert vendor.stats()["last_body"]["input"] in (["a question"], ["a text"])
    await document
    assert vendor.stats()["embed"] == 2


async def test_a_text_that_is_refused_fails_its_own_document_only(vendor: Vendor, embedder: BatchedEmbedder):
    vendor.fault("status", on="embed", status=422, match=POISON, next=2)
    found = await asyncio.gather(
        *(embedder.embed(texts, "document") for texts in (["one"], [POISON, "two"], ["three"])), return_exceptions=True
    )
    assert [type(each) for each in found] == [np.ndarray, ProviderRejected, np.ndarray]
    assert vendor.stats()["embed"] == 4


async def test_a_vendor_that_is_down_is_not_asked_for_each_document(vendor: Vendor, embedder: BatchedEmbedder):
    vendor.fault("status", on="embed", status=500)
    found = await asyncio.gather(
        *(embedder.embed([text], "document") for text in ("one", "two")), return_exceptions=True
    )
    assert [type(each) for each in found] == [ProviderUnavailable] * 2
    assert vendor.stats()["embed"] == 1


async def test_a_document_that_is_given_up_takes_nothing_from_the_others(vendor: Vendor, embedder: BatchedEmbedder):
    vendor.control(embed_latency_s=0.05)
    tasks = [asyncio.create_task(embedder.embed([f"text {n}"], "document")) for n in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()  # before the call
    await asyncio.sleep(0.03)
    tasks[1].cancel()  # during the call
    np.testing.assert_allclose(await tasks[2], vectors_of(["text 2"], 256), atol=1e-6)
    await asyncio.wait(tasks)
    assert [task.cancelled() for task in tasks] == [True, True, False]
    assert (vendor.stats()["embed"], vendor.stats()["texts"]) == (1, 2)


async def test_closing_ends_what_waits(vendor: Vendor, embedder: BatchedEmbedder):
    vendor.control(embed_latency_s=60)
    waiting = asyncio.create_task(embedder.embed(["a text"], "document"))
    await asyncio.sleep(0.05)
    await embedder.close()
    async with asyncio.timeout(5):
        await asyncio.wait([waiting])
    assert waiting.cancelled()
