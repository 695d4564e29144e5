"""Follow-up questions through the API: the search knows what they are about, the model is asked what was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Api, opened
from tests.vendor import Vendor

SHIPS = "The lighthouse of Kallnes was built by Greta Holm. She was born in Varna in 1871."
MILLS = "The mill of Ostrow was built by Anton Reuss. He was born in Lviv in 1850."
CHINESE = "青河公司由张三创办，总部位于青河市。"
FILLER = [
    f"Weather report {n}: it rained in the hills and people stayed at home, where they were born." for n in range(9)
]
HISTORY = [
    {"role": "user", "content": "Who built the lighthouse of Kallnes?"},
    {"role": "assistant", "content": "Greta Holm built it [1]."},
]


async def filled(api: Api) -> Api:
    texts = [SHIPS, MILLS, CHINESE, *FILLER]
    body = {"texts": texts, "file_sources": [f"{n}.txt" for n in range(len(texts))]}
    await api.settled((await api.client.post("/documents/texts", json=body)).json()["track_id"])
    return api


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with opened(tmp_path) as opened_api:
        yield await filled(opened_api)


async def found(api: Api, query: str, history: list[dict[str, str]], **more: Any) -> tuple[str, list[str]]:
    """The best passage, and the keywords."""
    body = {"query": query, "conversation_history": history, "mode": "naive", "chunk_top_k": 3, **more}
    told = (await api.client.post("/query/data", json=body)).json()
    keywords = told["metadata"]["keywords"]
    return told["data"]["chunks"][0]["content"], keywords["high_level"] + keywords["low_level"]


async def test_a_pronoun_is_searched_for_by_the_name_it_stands_for(api: Api):
    text, keywords = await found(api, "Where was she born?", HISTORY)
    assert text == SHIPS
    assert "Greta Holm" in keywords


async def test_a_fragment_is_searched_for_as_the_question_it_continues(api: Api):
    text, _ = await found(api, "And the mill of Ostrow?", HISTORY)
    assert text == MILLS
    history = [{"role": "user", "content": "青河公司是谁创办的？"}, {"role": "assistant", "content": "张三。"}]
    text, keywords = await found(api, "它的总部在哪里？", history)
    assert text == CHINESE
    assert any("青河公司" in keyword for keyword in keywords)


async def test_a_question_that_stands_alone_is_not_touched_by_the_history(api: Api):
    query = "Who was born in Lviv?"
    assert await found(api, query, HISTORY) == await found(api, query, [])


async def test_a_caller_may_still_name_the_keywords(api: Api):
    _, keywords = await found(api, "Where was she born?", HISTORY, ll_keywords=["Varna"])
    assert keywords == ["Varna"]


async def test_quotes_answer_the_completed_question(api: Api):
    body = {"query": "Where was she born?", "conversation_history": HISTORY, "answer": "quotes"}
    assert "Varna" in (await api.client.post("/query", json=body)).json()["response"]


def settings_of(vendor: Vendor, **more: str) -> dict[str, str]:
    return {"LLM_BINDING": "openai", "LLM_BINDING_HOST": vendor.openai_url, "INDEX_PROFILE": "vector", **more}


async def test_the_model_of_a_chat_is_asked_what_the_user_wrote(tmp_path: Path, vendor: Vendor):
    vendor.reset()
    async with opened(tmp_path, **settings_of(vendor)) as api:
        await filled(api)
        messages = [*HISTORY, {"role": "user", "content": "Where was she born?"}]
        body = {"model": "lightrag:latest", "messages": messages, "stream": False}
        reply = (await api.client.post("/api/chat", json=body)).json()
    assert "Varna" in reply["message"]["content"]
    stats = vendor.stats()
    assert stats["chat"] == 1
    system, *turns = stats["last_body"]["messages"]
    assert SHIPS in system["content"]
    assert turns == messages


async def test_without_completion_only_the_model_sees_the_history(tmp_path: Path):
    async with opened(tmp_path, FOLLOW_UP="off") as api:
        await filled(api)
        _, keywords = await found(api, "Where was she born?", HISTORY)
    assert keywords == ["born"]


async def test_a_model_completes_the_question_where_that_is_configured_and_needed(tmp_path: Path, vendor: Vendor):
    vendor.reset()
    async with opened(tmp_path, **settings_of(vendor, FOLLOW_UP="llm", ENABLE_LLM_CACHE="false")) as api:
        await filled(api)
        vendor.control(reply="Where was Anton Reuss born?")
        assert (await found(api, "Where was she born?", HISTORY))[0] == MILLS
        [asked] = vendor.stats()["last_body"]["messages"]
        assert "Greta Holm built it" in asked["content"]
        assert asked["content"].endswith("Where was she born?")
        await found(api, "Who was born in Lviv?", HISTORY)
        await found(api, "Where was she born?", [])
        assert vendor.stats()["chat"] == 1
        vendor.control(reply="x " * 2000)
        assert (await found(api, "Where was she born?", HISTORY))[0] == SHIPS
