from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import STORY, Api

TEXT = f"{STORY}\n\nReferences\n\nDickens, 1843."


async def chunks_of(api: Api, chunking: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The document's row and the texts of its chunks."""
    reply = await api.client.post(
        "/documents/text", json={"text": TEXT, "file_source": "carol.txt", "chunking": chunking}
    )
    assert reply.status_code == 200, reply.text
    [document] = await api.settled(reply.json()["track_id"])
    assert document["status"] == "processed", document
    found = (await api.client.get(f"/documents/{document['id']}/chunks")).json()
    return document, [chunk["text"] for chunk in found["chunks"]]


@pytest.mark.parametrize(
    "chunking",
    [
        {},
        {"strategy": "fixed_token", "params": {"chunk_token_size": 20, "chunk_overlap_token_size": 4}},
        {"strategy": "fixed_token", "params": {"split_by_character": "\n", "split_by_character_only": True}},
        {"strategy": "recursive_character", "params": {"chunk_token_size": 40, "separators": ["\n", " ", ""]}},
        {"strategy": "semantic_vector", "params": {}},
        {"strategy": "semantic_vector", "params": {"breakpoint_threshold_type": "gradient", "buffer_size": 2}},
        {
            "strategy": "semantic_vector",
            "params": {"breakpoint_threshold_type": "percentile", "breakpoint_threshold_amount": 40, "buffer_size": 1},
        },
        {
            "strategy": "semantic_vector",
            "params": {"breakpoint_threshold_type": "standard_deviation", "breakpoint_threshold_amount": 0.5},
        },
        {"strategy": "semantic_vector", "params": {"breakpoint_threshold_type": "interquartile"}},
        {"strategy": "paragraph_semantic", "params": {"drop_references": True, "chunk_token_size": 200}},
    ],
)
async def test_a_text_is_cut_as_its_request_says(api: Api, chunking: dict[str, Any]) -> None:
    document, chunks = await chunks_of(api, chunking)
    assert document["chunks_count"] == len(chunks) >= 1
    assert ("1843" in " ".join(chunks)) != chunking.get("params", {}).get("drop_references", False)


async def test_a_text_is_cut_where_its_sentences_differ(api: Api) -> None:
    params = {"breakpoint_threshold_type": "percentile", "breakpoint_threshold_amount": 40}
    _, chunks = await chunks_of(api, {"strategy": "semantic_vector", "params": params})
    assert len(chunks) > 1
    assert all(chunk.rstrip()[-1] in ".s" for chunk in chunks)


@pytest.mark.parametrize(
    "chunking",
    [
        {"strategy": "custom"},
        {"strategy": "unknown"},
        {"strategy": "fixed_token", "params": {"separators": ["\n"]}},
        {"strategy": "fixed_token", "params": {"size": 100}},
        {"strategy": "fixed_token", "params": {"chunk_token_size": "100"}},
        {"strategy": "fixed_token", "params": {"chunk_token_size": 50, "chunk_overlap_token_size": 50}},
        {"strategy": "recursive_character", "params": {"split_by_character": "\n"}},
        {"strategy": "recursive_character", "params": {"separators": ["x" * 257]}},
        {"strategy": "recursive_character", "params": {"separators": ["x"] * 65}},
        {"strategy": "semantic_vector", "params": {"chunk_overlap_token_size": 10}},
        {"strategy": "semantic_vector", "params": {"breakpoint_threshold_amount": 101}},
        {"strategy": "semantic_vector", "params": {"breakpoint_threshold_amount": 0}},
        {"strategy": "semantic_vector", "params": {"breakpoint_threshold_type": "median"}},
        {"strategy": "semantic_vector", "params": {"buffer_size": 0}},
        {"strategy": "paragraph_semantic", "params": {"buffer_size": 1}},
        {"params": {}, "more": 1},
    ],
)
async def test_what_does_not_go_together_is_refused(api: Api, chunking: dict[str, Any]) -> None:
    body = {"text": TEXT, "file_source": "carol.txt", "chunking": chunking}
    reply = await api.client.post("/documents/text", json=body)
    assert reply.status_code == 422, reply.text
