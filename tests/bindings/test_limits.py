"""Calls at once: over all processes of a host, questions first, and as many as the vendor can take."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import signal
import time
from collections.abc import AsyncIterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from lightrag_server.bindings.limiter import Limiter
from lightrag_server.bindings.limits import VendorLimits
from lightrag_server.bindings.openai import OpenAIChat
from lightrag_server.bindings.pace import Pace, Rules
from lightrag_server.bindings.slots import HostSlots, OwnSlots
from lightrag_server.bindings.wrappers import Backoff, Limited, Retrying
from lightrag_server.compute import Compute
from lightrag_server.core.records import Turn
from lightrag_server.errors import ProviderThrottled
from lightrag_server.ports.llm import LLM, ChatRequest
from lightrag_server.settings.bindings import LLMSettings
from tests.vendor import Vendor

WORK = ChatRequest((Turn("user", "What does this passage tell?"),), in_background=True)
QUESTION = ChatRequest((Turn("user", "Who was Jacob Marley?"),))
MOST = 16
QUICK = Rules(least_s=0.01, hold_s=0.5)

spawning = multiprocessing.get_context("spawn")


def open_chat(url: str) -> OpenAIChat:
    return OpenAIChat.from_settings(LLMSettings(binding="openai", host=url, model="m"), Compute(1))


@pytest.fixture
async def chat(vendor: Vendor) -> AsyncIterator[OpenAIChat]:
    chat = open_chat(vendor.openai_url)
    yield chat
    await chat.close()


def adaptive(chat: LLM, rules: Rules = QUICK) -> tuple[LLM, Limiter]:
    slots = OwnSlots(MOST)
    limiter = Limiter(MOST, slots, Pace(slots, MOST, "test", rules))
    return Retrying(Limited(chat, limiter), Backoff(5, first_s=0.1)), limiter


async def many(llm: LLM, count: int) -> None:
    """Every one of the calls has to end well."""
    await asyncio.gather(*(llm.complete(WORK) for _ in range(count)))


async def seconds(llm: LLM, count: int) -> float:
    begun = time.monotonic()
    await many(llm, count)
    return time.monotonic() - begun


# ----------------------------------------------------------------------------- as many as the vendor can take


async def test_a_vendor_that_refuses_gets_as_many_calls_as_it_takes_and_none_is_lost(vendor: Vendor, chat: OpenAIChat):
    vendor.control(latency_s=0.03, capacity=5)
    llm, limiter = adaptive(chat, Rules(hold_s=60))
    await many(llm, 150)
    before = vendor.stats()
    await many(llm, 100)
    after = vendor.stats()
    assert 3 <= limiter.current_limit <= 5
    assert after["refused"] - before["refused"] <= 3
    assert after["max_in_flight"] == 5


async def test_a_vendor_that_recovers_gets_all_calls_again(vendor: Vendor, chat: OpenAIChat):
    vendor.control(latency_s=0.01, capacity=2)
    llm, limiter = adaptive(chat, Rules(hold_s=0.1))
    await many(llm, 60)
    assert limiter.current_limit <= 4
    vendor.control(capacity=0)
    await asyncio.sleep(0.1)
    await many(llm, 300)
    assert limiter.current_limit >= 12


async def test_a_vendor_that_gets_less_done_with_more_gets_fewer(vendor: Vendor, chat: OpenAIChat):
    vendor.control(latency_s=0.05, swift=4, drag=2.0)
    llm, limiter = adaptive(chat, Rules(least_s=0.01, hold_s=60))
    unbounded_s = await seconds(Limited(chat, Limiter(MOST)), 48)
    await many(llm, 250)
    assert 2 <= limiter.current_limit <= 8
    assert await seconds(llm, 48) < 0.8 * unbounded_s


async def test_long_replies_are_no_sign_of_a_slow_vendor(vendor: Vendor, chat: OpenAIChat):
    vendor.control(latency_s=0.05, reply="short")
    llm, limiter = adaptive(chat)
    await many(llm, 200)
    vendor.control(latency_s=0.3, reply="long " * 200)
    await many(llm, 100)
    assert limiter.current_limit >= 12


async def test_the_pause_a_vendor_asks_for_is_kept_by_all(vendor: Vendor, chat: OpenAIChat, tmp_path: Path):
    opened = [HostSlots(tmp_path / "slots", MOST) for _ in range(2)]
    one, other = (Limiter(MOST, slots, Pace(slots, MOST, "test"), longest_pause_s=5) for slots in opened)
    vendor.fault("status", status=429, retry_after="1")
    with pytest.raises(ProviderThrottled):
        await Limited(chat, one).complete(WORK)
    begun = time.monotonic()
    await Limited(chat, other).complete(QUESTION)
    assert time.monotonic() - begun > 0.9
    vendor.fault("status", status=429, retry_after="60")
    with pytest.raises(ProviderThrottled):
        await Limited(chat, one).complete(WORK)
    calls = vendor.stats()["chat"]
    with pytest.raises(ProviderThrottled) as refused:
        await Limited(chat, other).complete(QUESTION)
    assert 50 < (refused.value.retry_after_s or 0) <= 60
    assert vendor.stats()["chat"] == calls


async def test_calls_that_were_under_way_lower_the_limit_once(tmp_path: Path):
    now = [100.0]
    slots = HostSlots(tmp_path / "slots", MOST)
    pace = Pace(slots, MOST, "test", clock=lambda: now[0])
    for _ in range(9):
        now[0] += 0.01
        pace.throttled(started_at=99.0, running=MOST, wait_s=0.0)
    assert int(slots.read().limit) == 11
    pace.throttled(started_at=now[0], running=11, wait_s=0.0)
    assert int(slots.read().limit) == 7


# ----------------------------------------------------------------------------- questions first


async def test_a_question_goes_before_all_work_that_waits():
    limiter = Limiter(1)
    order: list[str] = []

    async def call(name: str, *, in_background: bool) -> None:
        async with limiter.slot(in_background=in_background):
            order.append(name)
            await asyncio.sleep(0.01)

    work = [asyncio.create_task(call("work", in_background=True)) for _ in range(20)]
    await asyncio.sleep(0.005)
    await call("question", in_background=False)
    assert order.index("question") == 1
    await asyncio.gather(*work)


async def test_while_questions_come_a_slot_is_kept_for_them():
    limiter = Limiter(4)
    release = asyncio.Event()

    async def call() -> None:
        async with limiter.slot(in_background=True):
            await release.wait()

    async with limiter.slot():
        pass
    work = [asyncio.create_task(call()) for _ in range(10)]
    await asyncio.sleep(0.01)
    assert limiter.running == 3
    async with asyncio.timeout(1), limiter.slot():
        pass
    release.set()
    await asyncio.gather(*work)


# ----------------------------------------------------------------------------- over all processes


def work_in_process(path: Path, limit: int, url: str, count: int) -> None:
    async def run() -> None:
        chat = open_chat(url)
        limited = Limited(chat, Limiter(limit, HostSlots(path, limit)))
        await many(limited, count)
        await chat.close()

    asyncio.run(run())


def started(path: Path, limit: int, vendor: Vendor, count: int) -> BaseProcess:
    process = spawning.Process(target=work_in_process, args=(path, limit, vendor.openai_url, count))
    process.start()
    return process


async def until_calls(vendor: Vendor, count: int) -> None:
    for _ in range(3000):
        if vendor.stats()["chat"] >= count:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the process does not get on")


async def ended(*processes: BaseProcess) -> None:
    for process in processes:
        await asyncio.to_thread(process.join, 60)
        assert process.exitcode == 0


async def test_the_limit_holds_over_all_processes_and_all_get_on(vendor: Vendor, tmp_path: Path):
    vendor.control(latency_s=0.05)
    greedy = started(tmp_path / "slots", 3, vendor, 600)
    await until_calls(vendor, 20)
    late = [started(tmp_path / "slots", 3, vendor, 10) for _ in range(2)]
    await ended(*late)
    assert greedy.is_alive()
    greedy.terminate()
    await asyncio.to_thread(greedy.join)
    assert vendor.stats()["max_in_flight"] == 3


async def test_a_killed_process_leaves_its_slots_to_others(vendor: Vendor, chat: OpenAIChat, tmp_path: Path):
    vendor.control(latency_s=60)
    process = started(tmp_path / "slots", 2, vendor, 10)
    await until_calls(vendor, 2)
    slots = HostSlots(tmp_path / "slots", 2)
    assert (slots.taken(), slots.take(0, 2)) == (2, None)
    limited = Limited(chat, Limiter(2, slots))
    vendor.control(latency_s=0)
    waiting = asyncio.create_task(limited.complete(WORK))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    process.kill()
    async with asyncio.timeout(5):
        await waiting
    await asyncio.to_thread(process.join)
    assert process.exitcode == -signal.SIGKILL


async def test_a_question_goes_before_the_work_of_other_processes(vendor: Vendor, chat: OpenAIChat, tmp_path: Path):
    vendor.control(latency_s=0.1)
    process = started(tmp_path / "slots", 2, vendor, 600)
    await until_calls(vendor, 6)
    limited = Limited(chat, Limiter(2, HostSlots(tmp_path / "slots", 2)))
    for _ in range(5):
        async with asyncio.timeout(2):
            await limited.complete(QUESTION)
    assert process.is_alive()
    process.terminate()
    await asyncio.to_thread(process.join)
    assert vendor.stats()["max_in_flight"] == 2


async def test_where_files_cannot_be_locked_each_process_keeps_to_its_share(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "vendors").write_text("no folder")
    limits = VendorLimits(tmp_path / "vendors", is_adaptive=True, processes=4)
    with caplog.at_level(logging.WARNING):
        limiter = limits.limiter("llm", "openai", None, MOST)
    assert (limiter.limit, limiter.current_limit) == (4, 4)
    assert "each of 4 processes makes at most 4 calls at once" in caplog.text
    async with asyncio.timeout(1), limiter.slot():
        pass
    limits.close()


async def test_the_first_process_begins_with_the_configured_limit(tmp_path: Path):
    first = HostSlots(tmp_path / "slots", MOST)
    Pace(first, MOST, "test").throttled(started_at=time.monotonic(), running=MOST, wait_s=0.0)
    assert int(first.read().limit) == 11
    first.close()
    assert HostSlots(tmp_path / "slots", MOST).read().limit == MOST
