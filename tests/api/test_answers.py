"""What an answer rests on, told honestly: weak evidence, sentences behind citations, long descriptions."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from lightrag_server.jobs import runner
from tests.api.conftest import STORY, WAIT_S, Api, opened, settings_of
from tests.parsers.samples import pdf
from tests.vendor import Vendor

UNRELATED = "Which vitamins does fresh broccoli contain?"
CHINESE = "林若溪从海州大学毕业，回到家乡青禾镇。老电站由云岭县水利局管理。"
CHINESE_UNRELATED = "秦始皇统一六国是在哪一年？"
WEAK = "By all signs the material below does not answer"


async def asked(api: Api, question: str, path: str = "/query", **body: Any) -> Any:
    reply = await api.client.post(path, json={"query": question, **body})
    assert reply.status_code == 200, reply.text
    return reply.json()


# ----------------------------------------------------------------------------- weak evidence


@pytest.mark.parametrize(
    ("text", "question", "said"),
    [
        (STORY, UNRELATED, "The documents hold nothing"),
        (CHINESE, CHINESE_UNRELATED, "文档中没有"),
    ],
)
async def test_quotes_do_not_pretend_to_answer_what_the_documents_do_not(
    api: Api, text: str, question: str, said: str
) -> None:
    await api.insert(text, "book.txt")
    answer = await asked(api, question, answer="quotes")
    assert answer["response"].startswith(said)
    assert answer["response"].endswith("[no-context]")
    assert "book.txt [1]" in answer["response"]
    assert not any(word in answer["response"] for word in ("Marley", "Scrooge", "林若溪", "电站"))
    data = await asked(api, question, "/query/data")
    assert data["metadata"]["warnings"] == ["weak_evidence"]


async def test_the_model_is_told_that_evidence_is_weak_and_still_asked(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    assert WEAK in (await asked(api, UNRELATED, only_need_prompt=True))["response"]
    assert (await asked(api, UNRELATED))["llm_generated"] is True


@pytest.mark.parametrize(
    "question",
    [
        "Who was Jacob Marley, and when did he die?",
        "Who walked with a crutch?",
        "What are the top themes in this story?",
        "Summarize the document.",
        "这个故事讲了什么？",
    ],
)
async def test_what_the_documents_answer_is_not_refused(api: Api, question: str) -> None:
    await api.insert(STORY, "carol.txt")
    assert "warnings" not in (await asked(api, question, "/query/data"))["metadata"]
    assert WEAK not in (await asked(api, question, only_need_prompt=True))["response"]
    assert "[no-context]" not in (await asked(api, question, answer="quotes"))["response"]


async def test_an_embedder_that_nobody_measured_calls_weak_only_what_shares_nothing(served: Api) -> None:
    await served.insert(STORY, "carol.txt")
    nothing = await asked(served, UNRELATED, "/query/data")
    assert nothing["metadata"]["warnings"] == ["weak_evidence"]
    something = await asked(served, "Which vitamins did Bob Cratchit buy?", "/query/data")
    assert "warnings" not in something["metadata"]


# ----------------------------------------------------------------------------- sentences behind citations

PAGES = [
    "The counting house of Scrooge stood in a narrow court in London. Its door was kept open all day.",
    "Jacob Marley died on Christmas Eve, seven years before. Nobody came to the funeral but Scrooge.",
    "Tiny Tim walked with a crutch. His father carried him home from church.",
]
TOLD = "Marley died seven years before, on Christmas Eve [1]. Tim, who had a crutch, was lame. [1] It rained [1]."


def spans(references: list[dict[str, Any]], text: str) -> list[str]:
    return [text[span["start"] : span["end"]] for reference in references for span in reference["spans"]]


async def test_references_name_the_sentences_that_a_written_answer_cites(served: Api, own_vendor: Vendor) -> None:
    await served.insert(STORY, "carol.txt")
    own_vendor.control(reply="Marley died on Christmas Eve [1]. Bob lived in Camden Town, a clerk of Scrooge's [1].")
    answer = await asked(served, "Who was Jacob Marley, and where did Bob live?")
    assert spans(answer["references"], STORY) == [STORY.splitlines()[1], STORY.splitlines()[2]]


async def test_references_name_the_sentences_that_are_quoted(api: Api) -> None:
    await api.insert(STORY, "carol.txt")
    answer = await asked(api, "Who walked with a crutch?", answer="quotes")
    quoted = spans(answer["references"], STORY)
    assert STORY.splitlines()[3] in quoted
    assert all(sentence in answer["response"] for sentence in quoted)


async def test_a_citation_without_a_sentence_behind_it_keeps_the_passage(served: Api, own_vendor: Vendor) -> None:
    await served.insert(STORY, "carol.txt")
    own_vendor.control(reply="马利已经死了 [1]。")
    answer = await asked(served, "Who was Jacob Marley?")
    assert spans(answer["references"], STORY) == [STORY]


async def test_citations_say_the_page_in_every_family(tmp_path: Path, own_vendor: Vendor) -> None:
    settings = settings_of(own_vendor) | {"WINDOW_SIZE": "30", "WINDOW_OVERLAP_SIZE": "0"}
    async with opened(tmp_path, **settings) as api:
        reply = await api.client.post("/documents/upload", files={"file": ("carol.pdf", pdf(PAGES))})
        await api.settled(reply.json()["track_id"])
        own_vendor.control(reply=TOLD)
        question = "When did Jacob Marley die, and who walked with a crutch?"
        [reference] = (await asked(api, question))["references"]
        assert [span["page"] for span in reference["spans"]] == [2, 3]

        messages = [{"role": "user", "content": question}]
        chat: dict[str, Any] = {"model": "lightrag:mix", "messages": messages}
        message = (await api.client.post("/v1/chat/completions", json=chat)).json()["choices"][0]["message"]
        notes = [note["url_citation"].get("spans") for note in message["annotations"]]
        assert [found and found[0]["page"] for found in notes] == [2, 3, None]
        streamed = await api.client.post("/v1/chat/completions", json=chat | {"stream": True})
        events = [line.removeprefix("data: ") for line in streamed.text.splitlines() if line.startswith("data: {")]
        assert json.loads(events[-1])["choices"][0]["delta"]["annotations"] == message["annotations"]

        ollama = {"model": "lightrag:latest", "messages": messages, "stream": False}
        content = (await api.client.post("/api/chat", json=ollama)).json()["message"]["content"]
        assert content.endswith("- [1] carol.pdf, p. 2, 3")


# ----------------------------------------------------------------------------- long descriptions

FACTS = [
    "Jacob Marley kept the heavy ledgers of the firm in a green cupboard behind the stairs, and nobody else had a key.",
    "Jacob Marley travelled once a year to Bristol, where he inspected the sugar warehouses that the firm held.",
    "Jacob Marley wore a pigtail, tight waistcoats and boots with tassels, long after the fashion of them had passed.",
    "Jacob Marley owned the gloomy rooms in which his partner lived, and let the cellars below to a wine merchant.",
    "Jacob Marley refused to pay for the lamp in the yard, which is why the court was the darkest in the whole city.",
    "Jacob Marley was buried in the churchyard beside the old wall, and one single mourner stood there in the fog.",
]
ABOUT = "What did Jacob Marley do?"


async def tell(api: Api, *facts: str) -> None:
    """Each in a document of its own."""
    for fact in facts:
        await api.insert(fact, f"{fact.split()[2]}.txt")


async def description_shown(api: Api, question: str) -> str:
    """What the context says of Marley."""
    context = (await asked(api, question, mode="local", only_need_context=True))["response"]
    rows = [json.loads(line) for line in context.splitlines() if line.startswith('{"entity"')]
    return next(row["description"] for row in rows if row["entity"] == "Jacob Marley")


async def test_a_long_description_shows_what_the_question_asks_for(api: Api) -> None:
    await tell(api, *FACTS)
    for question, fact in (
        ("Did Jacob Marley inspect sugar warehouses?", FACTS[1]),
        ("Who rented cellars from Jacob Marley, a wine merchant?", FACTS[3]),
        ("Why was the court of Jacob Marley so dark, without a lamp?", FACTS[4]),
    ):
        shown = await description_shown(api, question)
        assert fact in shown
        assert len(shown) <= 400


def summarising(own_vendor: Vendor) -> dict[str, str]:
    return settings_of(own_vendor) | {
        "INDEX_PROFILE": "full",
        "SUMMARIES": "true",
        "FORCE_LLM_SUMMARY_ON_MERGE": str(len(FACTS)),
    }


def reply_with_summaries(text: str) -> str:
    return json.dumps({"summaries": [{"number": n, "summary": text} for n in range(1, 9)]})


async def described_as(api: Api, text: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while await description_shown(api, ABOUT) != text:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_summaries_are_made_after_an_answer_and_used_while_the_description_is_the_same(
    tmp_path: Path, own_vendor: Vendor
) -> None:
    async with opened(tmp_path, **summarising(own_vendor)) as api:
        await tell(api, *FACTS)
        own_vendor.control(reply=reply_with_summaries("Marley in short."))
        before = own_vendor.stats()["chat"]
        await asked(api, ABOUT, mode="local")
        await described_as(api, "Marley in short.")
        assert own_vendor.stats()["chat"] == before + 2
        await asked(api, ABOUT, mode="local")
        assert "descriptions" not in own_vendor.stats()["last_body"]["messages"][0]["content"]
        assert own_vendor.stats()["chat"] == before + 3
        assert any("summarised" in line for line in (await api.idle())["history_messages"])
        data = await asked(api, ABOUT, "/query/data", mode="local")
        told = next(e["description"] for e in data["data"]["entities"] if e["entity_name"] == "Jacob Marley")
        assert all(fact in told for fact in FACTS)

        [document] = [d for d in await documents(api) if d["file_path"].startswith("kept")]
        await api.client.request("DELETE", "/documents/delete_document", json={"doc_ids": [document["id"]]})
        await api.idle()
        assert await description_shown(api, ABOUT) != "Marley in short."


async def documents(api: Api) -> list[dict[str, Any]]:
    return (await api.client.post("/documents/paginated", json={})).json()["documents"]


async def test_a_summary_that_fails_leaves_the_answer_alone_and_is_asked_for_again(
    tmp_path: Path, own_vendor: Vendor
) -> None:
    async with opened(tmp_path, **summarising(own_vendor)) as api:
        await tell(api, *FACTS)
        own_vendor.control(reply=reply_with_summaries("Marley in short."))
        own_vendor.fault("status", on="chat", status=500, match="descriptions")
        await asked(api, ABOUT, mode="local")
        deadline = time.monotonic() + WAIT_S
        while await open_summaries(api):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        assert await description_shown(api, ABOUT) != "Marley in short."
        await asked(api, ABOUT, mode="local")
        await described_as(api, "Marley in short.")


async def open_summaries(api: Api) -> int:
    return sum(job.kind == "summarize" for job in await api.app.state.opened.queue.open_jobs())


async def test_summaries_under_way_at_a_stop_are_made_after_the_next_start(
    tmp_path: Path, own_vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "STOP_GRACE_S", 0.1)
    async with opened(tmp_path, **summarising(own_vendor) | {"LLM_TIMEOUT": "60"}) as api:
        await tell(api, *FACTS)
        own_vendor.fault("timeout", on="chat", match="descriptions")
        own_vendor.control(reply=reply_with_summaries("Marley in short."))
        await asked(api, ABOUT, mode="local")
        deadline = time.monotonic() + WAIT_S
        while not own_vendor.stats()["in_flight"]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
    async with opened(tmp_path, **summarising(own_vendor)) as api:
        await described_as(api, "Marley in short.")


async def test_without_the_setting_no_summary_is_made(tmp_path: Path, own_vendor: Vendor) -> None:
    async with opened(tmp_path, **summarising(own_vendor) | {"SUMMARIES": "false"}) as api:
        await tell(api, *FACTS)
        before = own_vendor.stats()["chat"]
        await asked(api, ABOUT, mode="local")
        assert await open_summaries(api) == 0
        assert own_vendor.stats()["chat"] == before + 1
