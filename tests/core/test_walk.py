"""The walk over a small part of the graph, and the names within names."""

from __future__ import annotations

import pytest

from lightrag_server.core.ids import subject_of
from lightrag_server.core.spans import spans_of
from lightrag_server.core.walk import Neighbourhood
from lightrag_server.core.weights import Weights

FIRST_HOP, SECOND_HOP, OTHER = "doc-a-chunk-000", "doc-b-chunk-000", "doc-c-chunk-000"
TOLD = {
    FIRST_HOP: ["blue mill", "ana ruiz", subject_of(("ana ruiz", "blue mill"))],
    SECOND_HOP: ["ana ruiz", "lake moss", subject_of(("ana ruiz", "lake moss"))],
    OTHER: ["green mill", "tom park"],
}


def walked(told: dict[str, list[str]], weights: Weights | None = None, names: tuple[str, ...] = ()) -> Neighbourhood:
    near = Neighbourhood(weights or Weights())
    near.add(told)
    near.join_names(names, {})
    return near


def test_mass_reaches_the_chunk_behind_a_shared_entity():
    mass = walked(TOLD).spread({"blue mill": 1.0}, {})
    assert mass.chunks[FIRST_HOP] > mass.chunks[SECOND_HOP] > 0
    assert mass.chunks[OTHER] == 0
    assert sum([*mass.chunks.values(), *mass.entities.values()]) == pytest.approx(1.0)


def test_it_does_not_matter_in_how_many_steps_the_neighbourhood_grew():
    at_once, step_by_step = walked(TOLD), Neighbourhood(Weights())
    for chunk_id, subjects in TOLD.items():
        step_by_step.add({chunk_id: subjects})
    start = {"blue mill": 2.0, "tom park": 1.0}
    expected = at_once.spread(start, {OTHER: 0.5})
    assert step_by_step.spread(start, {OTHER: 0.5}).chunks == pytest.approx(expected.chunks)


def test_what_is_told_everywhere_passes_little_to_each():
    told = {f"doc-{n}-chunk-000": ["everybody"] for n in range(10)} | {"doc-x-chunk-000": ["everybody", "ana ruiz"]}
    mass = walked(told).spread({"everybody": 1.0, "ana ruiz": 1.0}, {})
    assert mass.chunks["doc-x-chunk-000"] > 3 * mass.chunks["doc-1-chunk-000"]


def test_a_name_leads_to_the_name_within_it():
    told = {FIRST_HOP: ["west chicago high school"], SECOND_HOP: ["west chicago"]}
    assert walked(told).spread({"west chicago high school": 1.0}, {}).chunks[SECOND_HOP] == 0
    joined = walked(told, names=("west chicago high school",))
    assert joined.spread({"west chicago high school": 1.0}, {}).chunks[SECOND_HOP] > 0


def test_a_name_leads_to_one_that_is_nearly_the_same():
    told = {FIRST_HOP: ["blue mills"], SECOND_HOP: ["blue mill"]}
    near = walked(told)
    assert near.spread({"blue mills": 1.0}, {}).chunks[SECOND_HOP] == 0
    near.join_names(["blue mills"], {"blue mills": ["blue mill", "unknown"]})
    assert near.spread({"blue mills": 1.0}, {}).chunks[SECOND_HOP] > 0


def test_nothing_spreads_from_nothing():
    assert set(walked(TOLD).spread({}, {}).chunks.values()) == {0.0}
    assert walked(TOLD).spread({"unknown": 1.0}, {"unknown": 1.0}).chunks[FIRST_HOP] == 0
    assert Neighbourhood(Weights()).spread({"blue mill": 1.0}, {}).chunks == {}


@pytest.mark.parametrize(
    ("key", "within", "not_within"),
    [
        ("west chicago high school", {"west chicago", "high school", "chicago"}, {"west chicago high school", "est"}),
        ("st louis, missouri", {"st louis", "missouri", "louis, missouri"}, {"st"}),
        ("青禾科技有限公司", {"青禾科技", "有限公司"}, {"青禾", "科技有限"}),
        ("marley", set(), {"marley"}),
        (" ".join("abcdefghij"), set(), {"a"}),
    ],
)
def test_spans_are_whole_words(key: str, within: set[str], not_within: set[str]):
    spans = dict(spans_of(key))
    assert within <= spans.keys()
    assert not not_within & spans.keys()
    assert all(0 < share < 1 for share in spans.values())
