"""Metrics, costs and probes as they are seen over HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lightrag_server.access.keys import NewKey
from lightrag_server.core.access import Scope
from tests.api.conftest import STORY, Api, opened
from tests.vendor import Vendor

QUESTION = {"query": "Who was Marley?"}
KEY = "the-key-of-the-administrator"
Found = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scraped(api: Api, **headers: str) -> Found:
    """Samples as Prometheus' own client reads them."""
    reply = await api.client.get("/metrics", headers=headers)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(reply.text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def of(found: Found, name: str, **labels: str) -> float:
    """The sum of the series with these labels."""
    wanted = set(labels.items())
    return sum(value for (sample, given), value in found.items() if sample == name and wanted <= given)


async def test_what_was_done_is_counted_once(tmp_path: Path, own_vendor: Vendor) -> None:
    async with opened(
        tmp_path,
        LLM_BINDING="openai",
        LLM_BINDING_HOST=own_vendor.openai_url,
        LLM_BINDING_API_KEY="k",
        LLM_MODEL="fake",
        EMBEDDING_BINDING="fake",
        MODEL_PRICES="fake=2/10",
    ) as api:
        await api.insert(STORY, "carol.txt")
        await api.idle()
        answer = (await api.client.post("/query", json=QUESTION)).json()
        assert (await api.client.get("/documents/doc-00000000000000000000000000000000")).status_code == 404
        found = await scraped(api)
        stats = own_vendor.stats()
        assert of(found, "lightrag_model_calls_total", model="fake", kind="extract", outcome="ok") >= 1
        assert of(found, "lightrag_model_calls_total", model="fake", kind="query", outcome="ok") == 1
        asked = of(found, "lightrag_model_tokens_total", model="fake", direction="in")
        told = of(found, "lightrag_model_tokens_total", model="fake", direction="out")
        assert (asked, told) == (stats["prompt_tokens"], stats["completion_tokens"])
        assert of(found, "lightrag_model_cost_total", workspace="default") == pytest.approx(
            (2 * asked + 10 * told) / 1e6
        )
        assert of(found, "lightrag_model_call_seconds_count", kind="query") == 1
        assert of(found, "lightrag_documents", workspace="default", status="processed") == 1
        assert of(found, "lightrag_jobs_total", kind="prepare", outcome="done") == 1
        for stage in ("parse", "chunk", "extract", "embed", "commit"):
            counted = of(found, "lightrag_stage_seconds_count", stage=stage)
            assert counted == (0 if stage == "parse" else 1), f"{stage}; a text is not parsed"
        for stage in ("embed", "search", "walk", "rank", "fit"):
            assert of(found, "lightrag_retrieval_seconds_count", stage=stage) >= 1, stage
        assert of(found, "lightrag_http_requests_total", route="/query", method="POST", status="200") == 1
        assert of(found, "lightrag_http_requests_total", route="/documents/{document_id:document}", status="404") == 1
        assert of(found, "lightrag_errors_total", where="http", code="not_found") == 1
        assert of(found, "lightrag_processes") == 1
        assert of(found, "lightrag_resident_memory_bytes") > 1e6
        assert of(found, "lightrag_model_limit", role="llm", which="configured") == 4
        assert answer["usage"]["llm_calls"] == 1
        sent, written = answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]
        assert answer["usage"]["cost"] == pytest.approx((2 * sent + 10 * written) / 1e6)
        [document] = (await api.client.post("/documents/paginated", json={})).json()["documents"]
        usage = document["metadata"]["usage"]
        assert (usage["prompt_tokens"] + sent, usage["completion_tokens"] + written) == (asked, told)
        assert usage["cost"] + answer["usage"]["cost"] == pytest.approx(of(found, "lightrag_model_cost_total"))
        assert usage["embedding_tokens"] > 0
        assert set(usage["seconds"]) >= {"chunk", "extract", "embed", "commit"}
        assert (await api.client.get(f"/documents/{document['id']}")).json()["usage"] == usage


async def test_kept_replies_are_hits_and_cost_nothing_and_totals_survive_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as api:
        await api.insert(STORY, "carol.txt")
        first = (await api.client.post("/query", json=QUESTION)).json()
        again = (await api.client.post("/query", json=QUESTION)).json()
        assert "cost" not in first["usage"], "without a price there is no cost"
        assert again["usage"] == {"llm_calls": 0, "prompt_tokens": 0, "completion_tokens": 0}
    async with opened(tmp_path) as api:
        found = await scraped(api)
        assert of(found, "lightrag_reply_cache_total", kind="query", result="hit") == 1
        assert of(found, "lightrag_reply_cache_total", kind="query", result="miss") == 1
        assert of(found, "lightrag_model_calls_total", kind="query", outcome="cached") == 1
        assert of(found, "lightrag_model_cost_total") == 0
        assert of(found, "lightrag_documents", status="processed") == 1


async def test_a_failed_try_is_billed_and_counted(tmp_path: Path, own_vendor: Vendor) -> None:
    own_vendor.fault("status", on="embed", status=401, next=50)
    async with opened(
        tmp_path,
        EMBEDDING_BINDING="openai",
        EMBEDDING_BINDING_HOST=own_vendor.openai_url,
        EMBEDDING_BINDING_API_KEY="k",
        EMBEDDING_MODEL="vectors",
    ) as api:
        await api.insert(STORY, "carol.txt")
        found = await scraped(api)
        assert of(found, "lightrag_model_calls_total", kind="embedding", model="vectors", outcome="failed") >= 1
        assert of(found, "lightrag_model_failures_total", kind="embedding") >= 1
        assert of(found, "lightrag_errors_total", where="job") >= 1
        [document] = (await api.client.post("/documents/paginated", json={})).json()["documents"]
        assert document["status"] == "failed"
        assert document["metadata"]["usage"]["llm_calls"] >= 1


async def test_who_may_see_metrics_and_of_which_workspaces(tmp_path: Path) -> None:
    async with opened(tmp_path, LIGHTRAG_API_KEY=KEY, WORKSPACE="main") as api:
        keys = api.app.state.opened.access.keys
        secret = (await keys.create(NewKey("books", Scope.READ, ["books"])))[1]
        admin = {"X-API-Key": KEY}
        for workspace in ("main", "books"):
            body = {"text": STORY, "file_source": "carol.txt"}
            headers = {**admin, "LIGHTRAG-WORKSPACE": workspace}
            assert (await api.client.post("/documents/text", json=body, headers=headers)).status_code == 200
        assert (await api.client.get("/metrics")).status_code == 403
        whole = await scraped(api, Authorization=f"Bearer {KEY}")
        assert {dict(labels)["workspace"] for name, labels in whole if name == "lightrag_documents"} == {
            "main",
            "books",
        }
        part = await scraped(api, Authorization=f"Bearer {secret}")
        assert {dict(labels).get("workspace", "books") for _, labels in part} == {"books"}
        assert of(part, "lightrag_http_requests_total") > 0, "what belongs to the host is there"


async def test_probes_answer_without_a_credential_and_tell_details_with_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path, LIGHTRAG_API_KEY=KEY, WHITELIST_PATHS="/nothing") as api:
        assert (await api.client.get("/health/live")).json() == {"status": "alive"}
        assert (await probe(api)) == (200, {"status": "ready"})
        assert (await probe(api, **{"X-API-Key": KEY})) == (200, {"status": "ready", "missing": []})
        queue = api.app.state.opened.queue
        with monkeypatch.context() as patched:
            patched.setattr(type(queue), "live_owners", never)
            assert (await probe(api)) == (503, {"status": "not_ready"})
            missing = (await probe(api, **{"X-API-Key": KEY}))[1]["missing"]
            assert missing == ["job queue: no answer within 1 s"]
        api.app.state.streams.is_stopping = True
        assert (await probe(api, **{"X-API-Key": KEY}))[1]["missing"] == ["the server is stopping"]
        assert (await api.client.get("/health/live")).status_code == 200


async def probe(api: Api, **headers: str) -> tuple[int, dict[str, Any]]:
    reply = await api.client.get("/health/ready", headers=headers)
    return reply.status_code, reply.json()


async def never(*_: object) -> list[str]:
    await asyncio.Event().wait()
    return []
