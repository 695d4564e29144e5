"""Kill the server again and again while documents go in, and account for everything afterwards.

    python -m benchmarks.crash [--kills 50] [--documents 60] [--seed N]

Four rounds: profile full with an LLM vendor on a port (the server alone killed; the whole process group killed), and
profile light with its worker processes, the same two ways. Prints a line for each and ends with 1 when anything lacks
or is there twice. A run of the default size takes about ten minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from functools import partial
from pathlib import Path

from lightrag_server.bindings.local.fake import vectors_of
from tests.e2e.accounting import Account, account
from tests.e2e.lives import Lives, names_of, parcels, settings_of
from tests.vendor import Vendor, in_process

DIMENSION = 64
LATENCY_S = 0.08
PROFILES = ("full", "light")
COLUMNS = (
    "profile",
    "killed",
    "kills",
    "documents",
    "chunks",
    "entities",
    "relations",
    "LLM calls",
    "seconds",
    "faults",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--documents", type=int, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    wanted = parser.parse_args()
    print(f"seed {wanted.seed}")
    print(_row(COLUMNS))
    faults: list[str] = []
    with in_process(DIMENSION) as vendor:
        for profile in PROFILES:
            for is_group in (False, True):
                faults += _round(vendor, profile, wanted, is_group=is_group)
    print("\n".join(faults) or "everything is accounted for")
    return 1 if faults else 0


def _round(vendor: Vendor, profile: str, wanted: argparse.Namespace, *, is_group: bool) -> list[str]:
    chance = random.Random(wanted.seed)
    waiting = parcels(wanted.documents, chance)
    names = names_of(waiting)
    vendor.reset()
    vendor.control(latency_s=LATENCY_S)
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        settings = settings_of(vendor, INDEX_PROFILE=profile)
        lives = Lives(Path(folder), settings, waiting, chance, is_group=is_group)
        lives.spend(wanted.kills)
        found = asyncio.run(account(lives.working_dir, names, partial(vectors_of, dimension=DIMENSION)))
    killed = "process group" if is_group else "server"
    calls = vendor.stats()["chat"]
    print(_row((profile, killed, wanted.kills, *_figures(found), calls, f"{lives.seconds:.0f}", len(found.faults))))
    return [f"{profile}, {killed}: {fault}" for fault in found.faults]


def _figures(found: Account) -> tuple[int, ...]:
    return found.documents, found.chunks, found.entities, found.relations


def _row(cells: tuple[object, ...]) -> str:
    return "  ".join(f"{cell!s:>13}" for cell in cells)


if __name__ == "__main__":
    sys.exit(main())
