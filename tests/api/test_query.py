from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.api.conftest import STORY, Api

QUESTION = "Who was Jacob Marley, and when did he die?"
MODES = ("local", "global", "hybrid", "naive", "mix")


async def lines(api: Api, **body: Any) -> list[dict[str, Any]]:
    reply = await api.client.post("/query/stream", json={"query": QUESTION, **body})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("application/x-ndjson")
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.headers["x-accel-buffering"] == "no"
    assert reply.text.endswith("\n")
    return [json.loads(line) for line in reply.text.splitlines()]


def named(references: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Number and file of each reference; each must say where in the file."""
    assert all(0 <= span["start"] < span["end"] for r in references for span in r["spans"])
    assert all(r["spans"] for r in references)
    return [(r["reference_id"], r["file_path"]) for r in references]


@pytest.mark.parametrize("mode", MODES)
async def test_every_mode_answers_with_its_source(api: Api, mode: str) -> None:
    await api.insert(STORY, "carol.txt")
    reply = (await api.client.post("/query", json={"query": QUESTION, "mode": mode})).json()
    assert set(reply) == {"response", "references", "response_time", "llm_generated", "usage"}
    assert named(reply["references"]) == [("1", "carol.txt")]
    assert reply["references"][0]["content"] is None
    assert "Marley" in reply["response"]
    assert reply["llm_generated"] is True
    assert reply["response_time"] >= 0


async def test_bypass_asks_the_model_alone(api: Api) -> None:
    reply = (await api.client.post("/query", json={"query": "Hi", "mode": "bypass"})).json()
    assert reply["response"]
    assert reply["references"] == []


async def test_references_can_be_left_out_or_carry_their_passages(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    body = {"query": QUESTION, "include_references": False}
    assert (await api.client.post("/query", json=body)).json()["references"] is None
    body = {"query": QUESTION, "include_chunk_content": True}
    [reference] = (await api.client.post("/query", json=body)).json()["references"]
    assert any("Christmas Eve" in text for text in reference["content"])


async def test_without_evidence_the_answer_says_so(api: Api) -> None:
    reply = (await api.client.post("/query", json={"query": QUESTION})).json()
    assert reply["response"].endswith("[no-context]")
    assert reply["llm_generated"] is False
    assert reply["references"] == []


async def test_the_context_or_the_prompt_can_be_had_in_place_of_an_answer(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    context = (await api.client.post("/query", json={"query": QUESTION, "only_need_context": True})).json()
    assert "Christmas Eve" in context["response"]
    assert QUESTION not in context["response"]
    assert context["llm_generated"] is False
    body = {"query": QUESTION, "only_need_prompt": True, "user_prompt": "Answer as a poem."}
    prompt = (await api.client.post("/query", json=body)).json()
    assert QUESTION in prompt["response"]
    assert "Answer as a poem." in prompt["response"]


async def test_the_stream_sends_references_first_then_pieces_of_the_same_answer(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    first, *rest = await lines(api)
    whole = (await api.client.post("/query", json={"query": QUESTION})).json()["response"]
    assert set(first) == {"references"}
    assert named(first["references"]) == [("1", "carol.txt")]
    assert all(set(row) == {"response"} for row in rest)
    assert "".join(row["response"] for row in rest) == whole
    assert len(rest) > 1


async def test_a_kept_answer_streams_in_one_piece(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    first, *pieces = await lines(api)
    again, *rest = await lines(api)
    assert again == first
    assert rest == [{"response": "".join(row["response"] for row in pieces)}]


async def test_the_stream_leaves_references_out_when_asked(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    assert all(set(row) == {"response"} for row in await lines(api, include_references=False))


async def test_the_stream_can_carry_the_passages(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    first, *_ = await lines(api, include_chunk_content=True)
    assert "Christmas Eve" in " ".join(first["references"][0]["content"])


async def test_progress_comes_first_and_the_time_last(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    rows = await lines(api, include_progress=True)
    steps = [row["progress"] for row in rows if "progress" in row]
    assert steps[-1] == "generating_response"
    assert set(steps) <= {
        "extracting_keywords", "retrieving_entities", "retrieving_relations", "retrieving_chunks", "reranking",
        "generating_response",
    }  # fmt: skip
    assert set(rows[0]) == {"progress"}
    assert set(rows[-1]) == {"response_time", "usage"}


@pytest.mark.parametrize("body", [{"stream": False}, {"only_need_context": True}, {"only_need_prompt": True}])
async def test_what_is_complete_is_one_line(api: Api, body: dict[str, Any]) -> None:
    await api.insert(STORY, "carol.txt")
    [row] = await lines(api, **body)
    assert set(row) == {"response", "llm_generated", "references"}
    assert named(row["references"]) == [("1", "carol.txt")]


async def test_a_stream_without_evidence_is_one_line(api: Api) -> None:
    [row] = await lines(api)
    assert row["response"].endswith("[no-context]")
    assert row["llm_generated"] is False
    assert row["references"] == []


async def test_data_shows_what_an_answer_rests_on(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    reply = (await api.client.post("/query/data", json={"query": QUESTION})).json()
    assert reply["status"] == "success"
    data, metadata = reply["data"], reply["metadata"]
    assert "Jacob Marley" in {e["entity_name"] for e in data["entities"]}
    chunk_id = data["chunks"][0]["chunk_id"]
    assert {e["source_id"] for e in data["entities"]} == {chunk_id}
    assert {r["file_path"] for r in data["relationships"]} == {"carol.txt"}
    assert all({"src_id", "tgt_id", "description", "keywords", "weight"} <= set(r) for r in data["relationships"])
    assert named(data["references"]) == [("1", "carol.txt")]
    assert {(s["start"], s["end"]) for s in data["references"][0]["spans"]} == {
        (c["start"], c["end"]) for c in data["chunks"]
    }
    assert metadata["query_mode"] == "mix"
    assert set(metadata["keywords"]) == {"high_level", "low_level"}
    assert set(metadata["processing_info"]) == {
        "total_entities_found", "total_relations_found", "entities_after_truncation", "relations_after_truncation",
        "merged_chunks_count", "final_chunks_count",
    }  # fmt: skip
    assert metadata["processing_info"]["final_chunks_count"] == len(data["chunks"])


async def test_data_of_mode_naive_has_passages_only(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    reply = (await api.client.post("/query/data", json={"query": QUESTION, "mode": "naive"})).json()
    assert reply["data"]["entities"] == []
    assert reply["data"]["relationships"] == []
    assert reply["data"]["chunks"]
    assert set(reply["metadata"]["processing_info"]) == {"total_chunks_found", "final_chunks_count"}


async def test_data_without_result_is_a_failure_in_words(api: Api) -> None:
    reply = await api.client.post("/query/data", json={"query": QUESTION})
    assert reply.status_code == 200
    assert reply.json()["status"] == "failure"
    assert reply.json()["data"] == {}
    assert reply.json()["metadata"] == {"failure_reason": "no_results", "mode": "mix"}


WRONG: list[dict[str, Any]] = [
    {"mode": "clever"},
    {"top_k": 0},
    {"top_k": 1001},
    {"chunk_top_k": 0},
    {"max_total_tokens": 1_000_001},
    {"query": ""},
    {"query": "  \n "},
    {"query": "ab"},
    {"query": "x" * 65_537},
    {"response_type": ""},
    {"hl_keywords": ["x"] * 65},
    {"ll_keywords": ["x" * 513]},
    {"conversation_history": [{"role": "user"}]},
    {"conversation_history": [{"role": "user", "content": "x"}] * 129},
    {"conversation_history": [{"role": "user", "content": "x" * 30_000}] * 5},
]


@pytest.mark.parametrize("body", WRONG, ids=lambda body: str(body)[:40])
async def test_a_request_out_of_bounds_is_invalid_on_all_three_routes(api: Api, body: dict[str, Any]) -> None:
    request = {"query": QUESTION, **body}
    for path in ("/query", "/query/stream"):
        reply = await api.client.post(path, json=request)
        assert reply.status_code == 422, path
        assert {"type", "loc", "msg"} <= set(reply.json()["detail"][0])
        assert len(reply.content) < 2_000
    reply = await api.client.post("/query/data", json=request)
    assert reply.status_code == 400
    assert reply.json()["status"] == "failure"
    assert reply.json()["message"].startswith("Validation error: body")


async def test_two_chinese_characters_are_long_enough_for_a_question(api: Api) -> None:
    assert (await api.client.post("/query", json={"query": "你好"})).status_code == 200
    assert (await api.client.post("/query", json={"query": "你"})).status_code == 422


async def test_callers_keywords_are_used_and_shown(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    body = {"query": QUESTION, "hl_keywords": ["death", " "], "ll_keywords": ["Tiny Tim"]}
    reply: httpx.Response = await api.client.post("/query/data", json=body)
    assert reply.json()["metadata"]["keywords"] == {"high_level": ["death"], "low_level": ["Tiny Tim"]}
