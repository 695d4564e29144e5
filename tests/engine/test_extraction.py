from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable

import psutil
import pytest

from lightrag_server.compute import Compute
from lightrag_server.core.records import Chunk, Extraction, Usage
from lightrag_server.engine.extraction import LightExtractor, LLMExtractor, NoExtractor
from lightrag_server.errors import ExtractionFailed, JobLost, LightRAGError, ProviderRejected, ProviderUnavailable
from lightrag_server.ports.llm import ChatReply, ChatRequest
from lightrag_server.settings.ingest import IngestSettings

ROW = "entity<|#|>{name}<|#|>Person<|#|>{name} is here.\n<|COMPLETE|>"


class ScriptedLLM:
    """Answers with what the script makes of a request, after letting all other calls begin."""

    identity = "scripted"

    def __init__(self, script: Callable[[ChatRequest], str]) -> None:
        self.script = script
        self.requests: list[ChatRequest] = []
        self.running = self.most_at_once = 0

    async def complete(self, request: ChatRequest) -> ChatReply:
        self.requests.append(request)
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            await asyncio.sleep(0.01)
            return ChatReply(self.script(request), Usage(1))
        finally:
            self.running -= 1

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str | ChatReply]:
        yield await self.complete(request)

    async def close(self) -> None: ...


def chunk(index: int, text: str, tokens: int = 200) -> Chunk:
    return Chunk(f"doc-1-chunk-{index:03d}", "doc-1", index, text, tokens, 0, len(text), ())


def turns(request: ChatRequest) -> int:
    return sum(message.role == "user" for message in request.messages)


def passage(request: ChatRequest) -> str:
    return request.messages[1].content


class Kept:
    """What `done` was told."""

    def __init__(self) -> None:
        self.by_index: dict[int, Extraction] = {}

    async def __call__(self, chunk: Chunk, extraction: Extraction) -> None:
        assert chunk.index not in self.by_index
        self.by_index[chunk.index] = extraction

    def names(self) -> dict[int, list[str]]:
        return {index: [entity.name for entity in e.entities] for index, e in sorted(self.by_index.items())}


async def test_every_chunk_is_asked_for_once_and_all_at_the_same_time() -> None:
    llm, kept = ScriptedLLM(lambda request: ROW.format(name="Anna")), Kept()
    await LLMExtractor(llm, IngestSettings()).extract([chunk(n, f"text {n}") for n in range(30)], kept)
    assert kept.names() == {n: ["Anna"] for n in range(30)}
    assert len(llm.requests) == llm.most_at_once == 30
    assert len({request.messages[0] for request in llm.requests}) == 1


async def test_chunks_that_fail_are_named_and_do_not_stop_the_others() -> None:
    def script(request: ChatRequest) -> str:
        if "text 1" in passage(request):
            raise ProviderRejected("refused")
        if "text 3" in passage(request):
            raise ProviderUnavailable("down", retry_after_s=7)
        return ROW.format(name="Anna")

    kept = Kept()
    with pytest.raises(ExtractionFailed) as caught:
        await LLMExtractor(ScriptedLLM(script), IngestSettings()).extract(
            [chunk(n, f"text {n}") for n in range(5)], kept
        )
    assert list(kept.names()) == [0, 2, 4]
    assert {index: type(error) for index, error in caught.value.failures.items()} == {
        1: ProviderRejected,
        3: ProviderUnavailable,
    }
    assert (caught.value.retryable, caught.value.retry_after_s) == (True, 7)


async def test_a_lost_job_stops_everything() -> None:
    llm = ScriptedLLM(lambda request: ROW.format(name="Anna"))

    async def done(chunk: Chunk, extraction: Extraction) -> None:
        raise JobLost("gone")

    with pytest.raises(JobLost):
        await LLMExtractor(llm, IngestSettings()).extract([chunk(n, f"text {n}") for n in range(5)], done)
    assert llm.running == 0


async def test_gleaning_asks_again_until_nothing_is_new() -> None:
    replies = {1: ROW.format(name="Anna"), 2: ROW.format(name="Bo"), 3: "<|COMPLETE|>", 4: ROW.format(name="Cy")}
    llm, kept = ScriptedLLM(lambda request: replies[turns(request)]), Kept()
    await LLMExtractor(llm, IngestSettings(max_gleaning=5)).extract([chunk(0, "text")], kept)
    assert kept.names() == {0: ["Anna", "Bo"]}
    assert [turns(request) for request in llm.requests] == [1, 2, 3]
    assert llm.requests[2].messages[2].content == replies[1]


async def test_an_unreadable_reply_to_a_long_chunk_is_asked_for_once_more() -> None:
    llm, kept = ScriptedLLM(lambda request: "Sorry." if turns(request) == 1 else ROW.format(name="Anna")), Kept()
    await LLMExtractor(llm, IngestSettings()).extract([chunk(0, "long"), chunk(1, "short", tokens=20)], kept)
    assert kept.names() == {0: ["Anna"], 1: []}
    assert sorted(turns(request) for request in llm.requests) == [1, 1, 2]
    assert kept.by_index[0].repairs == 1


async def test_settings_reach_the_prompt() -> None:
    llm = ScriptedLLM(lambda request: "<|COMPLETE|>")
    settings = IngestSettings(
        entity_types="Robot, Planet", summary_language="German", max_entities_per_chunk=3, extract_as_json=True
    )
    await LLMExtractor(llm, settings).extract([chunk(0, "text")], Kept())
    system = llm.requests[0].messages[0].content
    assert "Robot, Planet" in system
    assert "German" in system
    assert "at most 3 entities" in system
    assert llm.requests[0].json_schema is not None


async def test_the_vector_profile_extracts_nothing() -> None:
    kept = Kept()
    await NoExtractor().extract([chunk(0, "Anna Lund runs the mill.")], kept)
    assert kept.by_index == {0: Extraction()}


# ----------------------------------------------------------------------------- light

STORY = [
    "Marit Solberg is the director of the Bergen Museum. Marit Solberg bought the steam engine in Oslo.",
    "The steam engine had been built by Kvaerner. In the spring Solberg moved it to the museum with her own hands.",
]


@pytest.fixture
async def compute() -> AsyncIterator[Compute]:
    compute = Compute(1)
    yield compute
    await compute.close()


async def test_the_light_profile_calls_no_llm_and_uses_one_name_for_a_person_in_all_chunks(compute: Compute) -> None:
    kept = Kept()
    chunks = [chunk(n, text) for n, text in enumerate([STORY[0], *["It was cold and it was wet."] * 9, STORY[1]])]
    await LightExtractor(compute, IngestSettings()).extract(chunks, kept)
    assert list(kept.names()) == list(range(11))
    assert "Marit Solberg" in kept.names()[0]
    assert "Marit Solberg" in kept.names()[10]
    assert "Solberg" not in kept.names()[10]


async def test_the_light_profile_keeps_to_the_limit_of_entities(compute: Compute) -> None:
    kept = Kept()
    await LightExtractor(compute, IngestSettings(max_entities_per_chunk=2)).extract([chunk(0, STORY[0])], kept)
    assert len(kept.by_index[0].entities) == 2


async def test_a_killed_worker_fails_its_chunks_retryably_and_the_next_try_succeeds(compute: Compute) -> None:
    extractor, chunks, kept = LightExtractor(compute, IngestSettings()), [chunk(0, STORY[0] * 200)], Kept()
    worker = psutil.Process(await compute.run(os.getpid))
    task = asyncio.create_task(extractor.extract(chunks, kept))
    await asyncio.sleep(0.2)
    worker.kill()
    with pytest.raises(LightRAGError) as caught:
        await task
    assert caught.value.retryable
    await extractor.extract([chunk(0, STORY[0])], kept)
    assert "Marit Solberg" in kept.names()[0]
