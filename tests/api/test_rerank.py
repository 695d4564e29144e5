"""What the server says of its reranker, and which questions are to be reranked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lightrag_server.api.lightrag.query import question_of
from lightrag_server.api.lightrag.schemas import QueryRequest
from lightrag_server.api.questions import question
from lightrag_server.banner import banner
from lightrag_server.errors import ConfigError
from lightrag_server.settings.loader import load
from lightrag_server.settings.query import QuerySettings
from tests.api.conftest import Api, opened
from tests.vendor import Vendor


async def health(folder: Path, **variables: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The part of the configuration that speaks of reranking, and the queue's state."""
    async with opened(folder, **variables) as api:
        told = (await api.client.get("/health")).json()
    configuration = {name: value for name, value in told["configuration"].items() if "rerank" in name}
    return configuration, told["rerank_queue_status"]


async def test_health_names_the_rerank_vendor(tmp_path: Path, vendor: Vendor):
    configuration, queue = await health(
        tmp_path, RERANK_BINDING="cohere", RERANK_BINDING_HOST=vendor.url, MIN_RERANK_SCORE="0.2", MAX_ASYNC_RERANK="3"
    )
    assert configuration == {
        "enable_rerank": True,
        "rerank_binding": "cohere",
        "rerank_model": "rerank-v3.5",
        "rerank_binding_host": vendor.url,
        "rerank_max_async": 3,
        "rerank_timeout": 30.0,
        "min_rerank_score": 0.2,
    }
    assert (queue["queue_name"], queue["max_async"], queue["submitted_total"]) == ("rerank", 3, 0)


@pytest.mark.parametrize("word", ["", "null", "none", "None"])
async def test_health_says_where_nothing_reranks(tmp_path: Path, word: str):
    configuration, queue = await health(tmp_path, RERANK_BINDING=word, MAX_ASYNC_LLM="9")
    assert (configuration["enable_rerank"], configuration["rerank_binding"]) == (False, "null")
    assert (configuration["rerank_model"], configuration["rerank_max_async"]) == (None, 9)
    assert queue == {"available": False}


async def test_the_banner_names_the_reranker_and_how_to_change_it(tmp_path: Path):
    async with opened(tmp_path, RERANK_BINDING="local") as api:
        text = await banner(api.app.state.opened, {"RERANK_BINDING": ".env"}, ["http://localhost:1"])
    assert "reranking    local/fake/hash-256   (RERANK_BINDING from .env)" in text


async def test_a_vendor_without_a_key_stops_the_start_with_a_sentence(tmp_path: Path):
    with pytest.raises(ConfigError, match="RERANK_BINDING=jina needs RERANK_BINDING_API_KEY"):
        async with opened(tmp_path, RERANK_BINDING="jina"):
            pass


def test_keys_are_read_by_the_vendors_own_names(tmp_path: Path):
    environ = {"RERANK_BINDING": "Aliyun", "DASHSCOPE_API_KEY": "d", "COHERE_API_KEY": "c", "JINA_API_KEY": "j"}
    group = load([], environ=environ, start_dir=tmp_path).rerank
    keys = (group.cohere_key, group.jina_key, group.dashscope_key)
    assert [key.get_secret_value() for key in keys if key] == ["c", "j", "d"]
    assert (group.binding, group.api_key) == ("aliyun", None)


@pytest.mark.parametrize(
    ("by_default", "asked", "wanted"),
    [(True, None, True), (False, None, False), (True, False, False), (False, True, True)],
)
def test_a_request_says_whether_to_rerank_and_the_setting_where_it_does_not(
    by_default: bool, asked: bool | None, wanted: bool
):
    defaults = QuerySettings(rerank_by_default=by_default)
    assert (
        question_of(QueryRequest.model_validate({"query": "Who was Marley?", "enable_rerank": asked}), defaults).rerank
        is wanted
    )
    assert question("Who was Marley?", "mix", defaults).rerank is by_default


ABOUT = {
    "harbour.txt": "The harbour master keeps the tide tables of the old port.",
    "mill.txt": "The miller grinds barley at the stone mill every autumn.",
    "school.txt": "The teacher of the village school rings a brass bell.",
}


async def found(api: Api, **request: Any) -> tuple[list[str], dict[str, Any]]:
    reply = await api.client.post("/query/data", json={"query": "Who keeps the tide tables?", "mode": "mix"} | request)
    told = reply.json()
    return [chunk["file_path"] for chunk in told["data"]["chunks"]], told["metadata"]


async def test_questions_are_answered_from_reranked_passages(tmp_path: Path, vendor: Vendor):
    async with opened(tmp_path, RERANK_BINDING="cohere", RERANK_BINDING_HOST=vendor.url) as api:
        for name, text in ABOUT.items():
            await api.insert(text, name)
        paths, _ = await found(api)
        assert paths[0] == "harbour.txt"
        assert vendor.stats()["rerank"] == 1
        steps = await api.client.post(
            "/query/stream", json={"query": "Who keeps the tide tables?", "include_progress": True}
        )
        assert '"reranking"' in steps.text
        await found(api, enable_rerank=False)
        assert vendor.stats()["rerank"] == 2


async def test_passages_below_the_least_score_are_left_out(tmp_path: Path, vendor: Vendor):
    settings = {"RERANK_BINDING": "jina", "RERANK_BINDING_HOST": vendor.url, "MIN_RERANK_SCORE": "0.1"}
    async with opened(tmp_path, **settings) as api:
        for name, text in ABOUT.items():
            await api.insert(text, name)
        kept, _ = await found(api)
        everything, _ = await found(api, enable_rerank=False)
    assert kept == ["harbour.txt"]
    assert sorted(everything) == sorted(ABOUT)


async def test_a_reranker_that_fails_costs_no_answer(tmp_path: Path, vendor: Vendor):
    settings = {"RERANK_BINDING": "jina", "RERANK_BINDING_HOST": vendor.url, "RERANK_MAX_RETRIES": "0"}
    async with opened(tmp_path, **settings) as api:
        for name, text in ABOUT.items():
            await api.insert(text, name)
        vendor.fault("status", on="rerank", status=500)
        paths, metadata = await found(api)
    assert sorted(paths) == sorted(ABOUT)
    assert "reranker failed" in str(metadata)
