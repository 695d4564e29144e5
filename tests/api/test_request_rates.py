from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Api, opened

QUESTION: dict[str, Any] = {"query": "Who was Jacob Marley?", "only_need_context": True}
CHAT: dict[str, Any] = {"model": "lightrag", "messages": [{"role": "user", "content": "Who was Jacob Marley?"}]}
LIMITED = {"RATE_LIMIT_PER_MINUTE": "4", "RATE_LIMIT_BURST": "2"}


async def used_up(api: Api, **headers: str) -> None:
    for _ in range(2):
        assert (await api.client.post("/query", json=QUESTION, headers=headers)).status_code == 200


async def test_a_caller_who_asks_too_often_is_told_when_to_come_back(tmp_path: Path):
    async with opened(tmp_path, **LIMITED) as api:
        await used_up(api)
        refused = await api.client.post("/query", json=QUESTION)
        assert (refused.status_code, set(refused.json())) == (429, {"detail"})
        assert 0 < int(refused.headers["Retry-After"]) <= 15
        assert (await api.client.post("/documents/text", json={"text": "One more."})).status_code == 429


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        ("/v1/chat/completions", CHAT, {"message", "type", "param", "code"}),
        ("/api/chat", CHAT, "Too many requests. Please try again later."),
    ],
)
async def test_each_family_tells_it_in_its_own_words(tmp_path: Path, path: str, body: Any, error: Any):
    async with opened(tmp_path, **LIMITED) as api:
        await used_up(api)
        refused = await api.client.post(path, json=body)
        assert refused.status_code == 429
        told = refused.json()["error"]
        assert (set(told) if isinstance(told, dict) else told) == error


async def test_what_only_reads_and_what_probes_is_free(tmp_path: Path):
    async with opened(tmp_path, **LIMITED) as api:
        await used_up(api)
        for path in ("/health", "/documents", "/graph/label/list", "/auth-status", "/docs"):
            assert (await api.client.get(path)).status_code == 200, path
        assert (await api.client.post("/documents/paginated", json={})).status_code == 200


async def test_keys_are_counted_apart_and_by_all_processes_together(tmp_path: Path):
    variables = {**LIMITED, "LIGHTRAG_API_KEY": "administrators-key"}
    admin = {"X-API-Key": "administrators-key"}
    async with opened(tmp_path, **variables) as one, opened(tmp_path, **variables) as other:
        made = await one.client.post("/auth/keys", json={"name": "ann"}, headers=admin)
        ann = {"X-API-Key": made.json()["key"]}
        await used_up(other, **ann)
        for api in (one, other):
            assert (await api.client.post("/query", json=QUESTION, headers=ann)).status_code == 429
        assert (await one.client.post("/query", json=QUESTION, headers=admin)).status_code == 200


async def test_without_a_limit_nobody_is_counted(api: Api):
    for _ in range(40):
        assert (await api.client.post("/query", json=QUESTION)).status_code == 200
