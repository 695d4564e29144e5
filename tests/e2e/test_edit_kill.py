"""kill -9 at random moments while people edit the graph and documents come in: what was answered holds."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.e2e.lives import NAMES, Lives, Parcel, parcels, settings_of
from tests.server import running
from tests.vendor import in_process

DOCUMENTS = 12
EDITS = 40
KILLS = 10


@dataclass(frozen=True, slots=True)
class Edit(Parcel):
    """An entity is described by hand; made first, where no document has told of it yet."""

    name: str = ""
    description: str = ""

    def send(self, client: httpx.Client) -> None:
        edit = {"entity_name": self.name, "updated_data": {"description": self.description}}
        if client.post("/graph/entity/edit", json=edit).status_code == 404:
            made = {"entity_name": self.name, "entity_data": {"description": self.description}}
            created = client.post("/graph/entity/create", json=made)
            # a document, or a try that was not answered, may have been faster
            if created.status_code == 400:
                self.send(client)
                return
            assert created.status_code == 200, created.text


@dataclass(frozen=True, slots=True)
class Merge(Parcel):
    name: str = ""
    into: str = ""

    def send(self, client: httpx.Client) -> None:
        body = {"entities_to_change": [self.name], "entity_to_change_into": self.into}
        reply = client.post("/graph/entities/merge", json=body)
        # 400: sent again after it was carried out, there is nothing left to merge
        assert reply.status_code in (200, 400), reply.text


def test_kills_while_editing_leave_every_answered_edit_in_force(tmp_path: Path) -> None:
    chance = random.Random()
    merged, target, *described = chance.sample(NAMES, len(NAMES))
    edits = [Edit((), name=chance.choice(described), description=f"edit number {n}") for n in range(EDITS)]
    last = {edit.name: edit.description for edit in edits}
    beginning = [Edit((), name=name, description="made by hand") for name in (merged, target)]
    waiting: list[Parcel] = [*beginning, *parcels(DOCUMENTS, chance), *edits, Merge((), name=merged, into=target)]
    shuffled = [*waiting[:2], *_riffled(waiting[2:], chance)]
    with in_process(64) as vendor:
        vendor.control(latency_s=0.02)
        settings = settings_of(vendor)
        lives = Lives(tmp_path, settings, shuffled, chance)
        lives.spend(KILLS)
        with running(tmp_path, **settings) as server, server.client() as client:
            labels = set(client.get("/graph/label/list").json())
            found = {name: client.get("/graph/entity", params={"name": name}).json() for name in {*last, merged}}
    assert {name: found[name]["description"] for name in last} == last
    assert found[merged]["name"] == target
    assert merged not in labels
    assert {*last, target} <= labels


def _riffled(parcels: list[Parcel], chance: random.Random) -> list[Parcel]:
    """Documents and edits mixed; edits keep their order, for the last one of an entity is the one that holds."""
    edits = [p for p in parcels if not p.documents]
    others = [p for p in parcels if p.documents]
    places = sorted(chance.sample(range(len(parcels)), len(edits)))
    rows = iter(edits)
    rest = iter(others)
    return [next(rows) if n in set(places) else next(rest) for n in range(len(parcels))]
