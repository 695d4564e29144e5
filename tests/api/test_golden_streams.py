"""The lines of /query/stream, as LightRAG's clients read them, in files under golden/.

What differs from run to run is replaced by a word in angle brackets; neighbouring deltas count as one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import STORY, Api
from tests.vendor import Vendor

GOLDEN = Path(__file__).with_name("golden")
QUESTION = "Who was Jacob Marley?"
NO_CONTEXT = "[no-context]"


async def ask(api: Api, **body: Any) -> httpx.Response:
    return await api.client.post("/query/stream", json={"query": QUESTION, **body})


def golden(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (GOLDEN / f"lightrag_{name}.ndjson").read_text("utf-8").splitlines()]


def normalised(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in text.splitlines():
        row = {key: _normal(key, value) for key, value in json.loads(line).items()}
        if set(row) == {"response"}:
            row = {"response": "<deltas>"}
            if found and found[-1] == row:
                continue
        found.append(row)
    return found


def _normal(key: str, value: Any) -> Any:
    match key:
        case "response" | "error" | "detail":
            assert value
            return f"<text> {NO_CONTEXT}" if value.endswith(NO_CONTEXT) else "<text>"
        case "response_time":
            assert value >= 0
            return "<seconds>"
        case "usage":
            return dict.fromkeys(value, "<number>")
        case "request_id":
            return "<id>"
        case "references":
            return [_reference(row) for row in value]
        case _:
            return value


def _reference(row: dict[str, Any]) -> dict[str, Any]:
    """Without `spans`, which LightRAG does not have."""
    kept = {key: value for key, value in row.items() if key != "spans"}
    return kept | ({"content": ["<passage>"] * len(kept["content"])} if "content" in kept else {})


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("default", {}),
        ("default", {"stream": True, "include_progress": False}),
        ("passages", {"include_chunk_content": True}),
        ("without_references", {"include_references": False}),
        ("progress", {"include_progress": True}),
        ("progress_naive", {"include_progress": True, "mode": "naive"}),
        ("bypass", {"mode": "bypass"}),
        ("unstreamed", {"stream": False}),
        ("only_context", {"only_need_context": True}),
        ("only_context", {"only_need_prompt": True}),
    ],
)
async def test_lines_of_an_answer(served: Api, name: str, body: dict[str, Any]) -> None:
    await served.insert(STORY, "carol.txt")
    reply = await ask(served, **body)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("application/x-ndjson")
    assert normalised(reply.text) == golden(name)


@pytest.mark.parametrize("mode", ["local", "global", "hybrid", "naive", "mix"])
async def test_lines_without_evidence(served: Api, mode: str) -> None:
    assert normalised((await ask(served, mode=mode)).text) == golden("no_context")


async def test_lines_of_an_answer_that_breaks_off(served: Api, own_vendor: Vendor) -> None:
    await served.insert(STORY, "carol.txt")
    own_vendor.fault("hang_up", on="chat")
    reply = await ask(served)
    assert reply.status_code == 200
    assert normalised(reply.text) == golden("broken_off")


async def test_a_failure_before_the_first_line(served: Api, own_vendor: Vendor) -> None:
    await served.insert(STORY, "carol.txt")
    own_vendor.fault("status", on="embed", status=500)
    reply = await ask(served)
    assert reply.status_code == 503
    assert reply.headers["content-type"] == "application/json"
    assert normalised(reply.text) == golden("failed_at_once")


def test_every_golden_file_is_compared() -> None:
    names = {path.stem.removeprefix("lightrag_") for path in GOLDEN.glob("lightrag_*.ndjson")}
    text = Path(__file__).read_text("utf-8")
    assert [name for name in sorted(names) if f'"{name}"' not in text] == []
