"""Several processes, many clients, and a kill every moment: each document is there once or gone."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

from lightrag_server.bindings.local.fake import vectors_of
from tests.e2e.accounting import account
from tests.e2e.lives import parcels, settings_of
from tests.e2e.swarm import Plan, Swarm
from tests.vendor import in_process

DIMENSION = 64


async def test_kills_among_many_clients(tmp_path: Path) -> None:
    chance = random.Random()
    plan = Plan(workers=2, senders=3, askers=2, deleters=1, kill_every_s=1.5, seconds=12.0)
    with in_process(DIMENSION) as vendor:
        vendor.control(latency_s=0.05)
        swarm = Swarm(tmp_path, settings_of(vendor), parcels(30, chance), chance, plan)
        swarm.run()
    assert not swarm.faults, "\n".join(swarm.faults)
    assert swarm.kills >= 5
    found = await account(swarm.working_dir, swarm.names, partial(vectors_of, dimension=DIMENSION))
    assert not found.faults, "\n".join(found.faults)
