"""kill -9 at random moments: every acknowledged document is processed once, and everything is accounted for."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

from lightrag_server.bindings.local.fake import vectors_of
from tests.e2e.accounting import account
from tests.e2e.lives import Lives, names_of, parcels, settings_of
from tests.vendor import in_process

DOCUMENTS = 30
KILLS = 20
DIMENSION = 64


async def test_twenty_kills_lose_nothing_and_leave_nothing_twice(tmp_path: Path) -> None:
    chance = random.Random()
    waiting = parcels(DOCUMENTS, chance)
    names = names_of(waiting)
    with in_process(DIMENSION) as vendor:
        vendor.control(latency_s=0.08)
        lives = Lives(tmp_path, settings_of(vendor), waiting, chance)
        lives.spend(KILLS)
        calls = vendor.stats()["chat"]
    found = await account(lives.working_dir, names, partial(vectors_of, dimension=DIMENSION))
    print(f"{lives.seconds:.0f} s, kills {lives.kills}, {calls} LLM calls for {found.chunks} chunks: {found}")
    assert not found.faults, "\n".join(found.faults)
    assert found.chunks > DOCUMENTS
    assert found.relations > 0
