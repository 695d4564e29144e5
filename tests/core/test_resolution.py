from __future__ import annotations

import pytest

from lightrag_server.core.fusion import closeness
from lightrag_server.core.resolution import Appearance, classes_of, is_sure, likeness, near_cosine


def seen(name: str, type_: str = "", *, around: str = "", files: str = "", names: tuple[str, ...] = ()) -> Appearance:
    return Appearance(
        name.casefold(),
        (name, *names),
        classes_of([type_]),
        type_,
        files=frozenset(files.split()),
        neighbours=frozenset(around.split()),
    )


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (seen("Saint-Denis", "location"), seen("Saint Denis", "person")),
        (seen("张小北", "人物"), seen("張小北", "地点")),
        (seen("Scrooge", "person", files="a"), seen("Ebenezer Scrooge", "person", files="b")),
        (seen("Windsor", "location", files="a"), seen("House Windsor", "organization", files="a")),
        (seen("ACM", files="a"), seen("Air Chief Marshal", files="b")),
        (seen("Apollo 11", "event", around="x y"), seen("Apollo 13", "event", around="x y")),
    ],
    ids=lambda side: side.names[0],
)
def test_homonyms_are_kept_apart_by_type_and_context(a: Appearance, b: Appearance) -> None:
    assert likeness(a, b, near=1.0 if "Apollo" in a.names[0] else 0.0) is None


@pytest.mark.parametrize("neutral", ["", "UNKNOWN", "other", "concept"])
def test_an_unknown_type_clashes_with_nothing(neutral: str) -> None:
    found = likeness(seen("U.S. Navy", "organization"), seen("US Navy", neutral), near=0.0)
    assert found is not None
    assert found.is_sure


def test_a_shared_context_makes_a_part_of_a_name_a_candidate_and_raises_every_score() -> None:
    short = seen("Scrooge", "person", around="marley", files="a")
    long = seen("Ebenezer Scrooge", "person", around="marley fred", files="a")
    found = likeness(short, long, near=0.0)
    assert found is not None
    assert not found.is_sure
    assert found.reasons == ("one word of the longer name", "1 shared neighbours", "told of in one document")
    alone = likeness(seen("Neural Networks"), seen("neural network"), near=0.0)
    together = likeness(seen("Neural Networks", around="ai"), seen("neural network", around="ai"), near=0.0)
    assert alone is not None
    assert together is not None
    assert together.score > alone.score


def test_near_vectors_need_a_shared_context_and_names_that_are_not_siblings() -> None:
    citizens = seen("Canadian Citizens", files="a"), seen("Citizens of Canada", files="a")
    channels = seen("MTV Asia", files="a"), seen("MTV Japan", files="a")
    assert likeness(*citizens, near=0.9) is not None
    assert likeness(*citizens, near=0.5) is None
    assert likeness(*channels, near=0.9) is None


def test_a_third_spelling_makes_a_sure_pair_unsure() -> None:
    us, u_s = seen("US"), seen("U.S.")
    merged = seen("U.S.", names=("America",))
    assert is_sure(us, u_s)
    assert not is_sure(us, merged)


def test_closeness_is_measured_on_the_scale_of_the_embedder() -> None:
    assert closeness(near_cosine(0.77), 0.77) == pytest.approx(closeness(near_cosine(0.2), 0.2))
    assert closeness(0.77, 0.77) == 0.0
    assert closeness(1.0, 0.2) == 1.0
    assert closeness(1.0, 1.0) == 0.0, "COSINE_THRESHOLD may be 1"
