"""Four processes, 18 clients, and a random process killed every two seconds: what is lost, what is there twice?

    python -m benchmarks.swarm [--documents 200] [--seconds 60] [--workers 4] [--seed N]

Eight clients send documents, eight ask, two delete. Afterwards every document, chunk, node, edge and vector is
accounted for. Ends with 1 when anything lacks or is there twice, or when a request was answered with an error.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
from functools import partial
from pathlib import Path

from lightrag_server.bindings.local.fake import vectors_of
from tests.e2e.accounting import account
from tests.e2e.lives import parcels, settings_of
from tests.e2e.swarm import Plan, Swarm
from tests.vendor import in_process

DIMENSION = 64
LATENCY_S = 0.08


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    wanted = parser.parse_args()
    print(f"seed {wanted.seed}")
    chance = random.Random(wanted.seed)
    with in_process(DIMENSION) as vendor, tempfile.TemporaryDirectory() as folder:
        vendor.control(latency_s=LATENCY_S)
        plan = Plan(workers=wanted.workers, seconds=wanted.seconds)
        swarm = Swarm(Path(folder), settings_of(vendor), parcels(wanted.documents, chance), chance, plan)
        swarm.run()
        calls = vendor.stats()["chat"]
        found = asyncio.run(account(swarm.working_dir, swarm.names, partial(vectors_of, dimension=DIMENSION)))
    print(
        f"{swarm.seconds:.0f} s, {swarm.kills} kills, {len(swarm.names)} documents kept, {len(swarm.deleted)} deleted"
    )
    print(", ".join(f"{what}: {count}" for what, count in sorted(swarm.replies.items())))
    print(f"{calls} LLM calls; {found.chunks} chunks, {found.entities} entities, {found.relations} relations")
    faults = [*swarm.faults, *found.faults]
    print("\n".join(faults) or "everything is accounted for")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
