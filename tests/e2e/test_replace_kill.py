"""kill -9 at random moments while documents are replaced: each ends as the last version acknowledged, whole."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from lightrag_server.bindings.local.fake import vectors_of
from lightrag_server.core.ids import document_id
from lightrag_server.engine.clock import utc_now
from lightrag_server.engine.documents import Documents
from lightrag_server.jobs.reconcile import remove_parts
from tests.e2e.accounting import account, opened
from tests.e2e.lives import Lives, Parcel, names_of, parcels, settings_of, text_of
from tests.vendor import in_process

DOCUMENTS = 10
ROUNDS = 3
KILLS = 8
DIMENSION = 64


@dataclass(frozen=True, slots=True)
class Replacement(Parcel):
    """The next version of a document that is there."""

    document: str = ""
    text: str = ""

    def send(self, client: httpx.Client) -> None:
        reply = client.put(f"/documents/{self.document}", json={"text": self.text})
        assert reply.status_code == 200, reply.text


def versions(sent: list[Parcel], chance: random.Random) -> list[Replacement]:
    """Each document `ROUNDS` times: paragraphs come in, others go."""
    current = {name: text for parcel in sent for name, text in parcel.documents}
    made: list[Replacement] = []
    for number in range(ROUNDS):
        for name in chance.sample(sorted(current), len(current)):
            paragraphs = current[name].strip().split("\n\n")
            new = text_of(1000 * (number + 1) + len(made), chance).strip().split("\n\n")[:4]
            at = chance.randrange(len(paragraphs))
            current[name] = "\n\n".join([*paragraphs[:at], *new, *paragraphs[at + chance.randrange(4) :]])
            made.append(Replacement((), document=document_id(name, b""), text=current[name]))
    return made


async def test_kills_while_replacing_leave_the_last_version_and_nothing_of_others(tmp_path: Path) -> None:
    chance = random.Random()
    sent = parcels(DOCUMENTS, chance)
    names = names_of(sent)
    replacements = versions(sent, chance)
    last = {r.document: r.text for r in replacements}
    with in_process(DIMENSION) as vendor:
        vendor.control(latency_s=0.05)
        settings = settings_of(vendor)
        Lives(tmp_path, settings, list(sent), chance).spend(0)
        lives = Lives(tmp_path, settings, list[Parcel](replacements), chance, names=list(names))
        lives.spend(KILLS)
    async with opened(lives.working_dir) as stores:
        await remove_parts(stores)  # what a superseded try wrote last; the server does it every minute
    found = await account(lives.working_dir, names, partial(vectors_of, dimension=DIMENSION))
    assert not found.faults, "\n".join(found.faults)
    async with opened(lives.working_dir) as stores:
        documents = Documents(stores, utc_now)
        assert {i: await documents.text(i) for i in last} == last
