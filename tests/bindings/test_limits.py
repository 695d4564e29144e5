"""Calls at once: over all processes of a host, questions first, and as many as the vendor can take."""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
import multiprocessing
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from lightrag_server.bindings.limiter import Limiter
from lightrag_server.bindings.limits import VendorLimits
from lightrag_server.bindings.openai import OpenAIChat
from lightrag_server.bindings.pace import Pace, Rules, Seen
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

spawning = multiprocessing.get_context("spawn")


def open_chat(url: str) -> OpenAIChat:
    return OpenAIChat.from_settings(LLMSettings(binding="openai", host=url, model="m"), Compute(1))


@pytest.fixture
async def chat(vendor: Vendor) -> AsyncIterator[OpenAIChat]:
    chat = open_chat(vendor.openai_url)
    yield chat
    await chat.close()


def adaptive(chat: LLM, rules: Rules) -> tuple[LLM, Limiter]:
    slots = OwnSlots(MOST)
    limiter = Limiter(MOST, slots, Pace(slots, MOST, "test", rules))
    return Retrying(Limited(chat, limiter), Backoff(5, first_s=0.1)), limiter


async def many(llm: LLM, count: int, request: ChatRequest = WORK) -> None:
    """Every one of the calls has to end well."""
    await asyncio.gather(*(llm.complete(request) for _ in range(count)))


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
    vendor.control(latency_s=0.02, capacity=2)
    llm, limiter = adaptive(chat, Rules(hold_s=1, least_s=60))
    await many(llm, 40)
    assert limiter.current_limit <= 5
    vendor.control(capacity=0)
    await asyncio.sleep(1)
    await many(llm, 250)
    assert limiter.current_limit >= 12


async def test_a_vendor_that_gets_less_done_with_more_gets_fewer(vendor: Vendor, chat: OpenAIChat):
    vendor.control(latency_s=0.1, swift=4, drag=2.0)
    llm, limiter = adaptive(chat, Rules(samples=16, hold_s=60, first_look_calls=16, look_every_s=2))
    for _ in range(5):  # a look on a busy machine may tell the wrong thing; the next one comes
        await many(llm, 100)
        if limiter.current_limit <= 9:
            break
    assert 2 <= limiter.current_limit <= 9
    begun = time.monotonic()
    await many(llm, 32)
    assert time.monotonic() - begun < 0.8 * 2 * 1.6  # what two rounds of sixteen take


# ----------------------------------------------------------------------------- in a made-up time


class Simulation:
    """Calls without pause for a vendor whose calls take `seconds`, by how many there are and by their size; no two
    of them take the same."""

    def __init__(self, rules: Rules | None = None) -> None:
        self.now = 1000.0
        self.slots = OwnSlots(MOST)
        self._pace = Pace(self.slots, MOST, "test", rules, clock=lambda: self.now)
        self._random = random.Random(5)
        self._running: list[tuple[float, float, int, int, bool]] = []

    def run(self, count: int, seconds: Callable[[int, int], float], sizes: Sequence[int] = (400,)) -> float:
        """Calls per second."""
        begun = self.now
        for _ in range(count):
            while (slot := self.slots.take(0, int(self.slots.read().limit))) is not None:
                size = self._random.choice(sizes)
                took = seconds(len(self.slots.held), size) * self._random.lognormvariate(0, 0.3)
                is_settled = len(self.slots.held) <= int(self.slots.read().limit)
                heapq.heappush(self._running, (self.now + took, self.now, slot, size, is_settled))
            self.now, started_at, slot, size, is_settled = heapq.heappop(self._running)
            self._pace.ended(Seen(started_at, self.now - started_at, size, True, is_settled))
            self.slots.give(slot)
        return count / (self.now - begun)

    @property
    def limit(self) -> int:
        return int(self.slots.read().limit)


def test_a_vendor_that_keeps_up_gets_all_calls_nearly_all_the_time():
    simulation = Simulation()
    rate = simulation.run(10_000, lambda running, size: 2.0)
    assert rate > 0.9 * MOST / 2.0 / math.exp(0.3**2 / 2)


def test_a_small_batch_gets_all_calls_all_the_time():
    simulation = Simulation()
    for _ in range(20):
        simulation.run(10, lambda running, size: 2.0)
        assert simulation.limit == MOST


def test_long_replies_are_no_sign_of_a_slow_vendor():
    simulation = Simulation()
    simulation.run(200, lambda running, size: size / 100, sizes=(200, 300))
    before = simulation.limit
    simulation.run(600, lambda running, size: size / 100, sizes=(2000, 4000))
    assert (before, simulation.limit) == (MOST, MOST)


@pytest.mark.parametrize(("swift", "drag"), [(5, 1.0), (5, 2.0), (2, 1.5), (12, 3.0)])
def test_the_most_gets_done_that_the_vendor_can_do(swift: int, drag: float):
    simulation = Simulation()

    def seconds(running: int, size: int) -> float:
        return 2.0 * max(1.0, running / swift) ** drag

    simulation.run(2000, seconds)
    assert simulation.run(2000, seconds) > 0.75 * swift / 2.0
    assert simulation.limit <= 2 * swift


def test_a_vendor_that_was_slow_for_a_while_gets_all_calls_again():
    simulation = Simulation()
    simulation.run(300, lambda running, size: 2.0)
    simulation.run(1000, lambda running, size: 2.0 * max(1.0, running / 2) ** 2)
    assert simulation.limit <= 6
    simulation.run(2000, lambda running, size: 2.0)
    assert simulation.limit >= 12


# ----------------------------------------------------------------------------- refusals and pauses


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


def work_in_process(path: Path, limit: int, url: str, count: int, request: ChatRequest) -> None:
    async def run() -> None:
        chat = open_chat(url)
        limited = Limited(chat, Limiter(limit, HostSlots(path, limit)))
        await many(limited, count, request)
        await chat.close()

    asyncio.run(run())


def started(path: Path, limit: int, vendor: Vendor, count: int, request: ChatRequest = WORK) -> BaseProcess:
    process = spawning.Process(target=work_in_process, args=(path, limit, vendor.openai_url, count, request))
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


async def test_a_process_that_froze_while_it_asked_holds_nobody_up(vendor: Vendor, chat: OpenAIChat, tmp_path: Path):
    slots = HostSlots(tmp_path / "slots", 1)
    limiter = Limiter(1, slots)
    async with limiter.slot():
        process = started(tmp_path / "slots", 1, vendor, 1, QUESTION)
        for _ in range(3000):
            if slots.has_question_elsewhere():
                break
            await asyncio.sleep(0.02)
        assert process.pid
        os.kill(process.pid, signal.SIGSTOP)
    async with asyncio.timeout(5):
        await Limited(chat, limiter).complete(WORK)
    os.kill(process.pid, signal.SIGCONT)
    await ended(process)
    assert vendor.stats()["chat"] == 2


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
