"""What is counted as found, how well answers agree, and when a difference counts."""

from __future__ import annotations

import pytest

from lightrag_server.errors import ConfigError
from lightrag_server.evaluation.compare import differences
from lightrag_server.evaluation.floors import failures, read_floor
from lightrag_server.evaluation.measures import answer_scores, found_scores
from lightrag_server.evaluation.questions import Case, Gold
from lightrag_server.evaluation.ranking import Piece, Place, names_same, ranking, unknown_names
from lightrag_server.evaluation.results import Row, Run
from lightrag_server.evaluation.statistics import estimate, latency


@pytest.mark.parametrize(
    ("gold", "document", "same"),
    [
        ("p1197", "p1197.txt", True),
        ("p1197.txt", "p1197", True),
        ("a/p1197.txt", "p1197.txt", True),
        ("C:\\docs\\p1197", "docs/p1197.txt", True),
        ("re\u0301sume\u0301", "r\u00e9sum\u00e9.pdf", True),
        ("v1.2", "v1.2.txt", True),
        ("p119", "p1197.txt", False),
        ("p1197.pdf", "p1197.txt", False),
        ("2023/report.pdf", "2024/report.pdf", False),
        ("x/2024/report", "2024/report.pdf", True),
    ],
)
def test_a_name_means_a_document_with_or_without_folder_and_suffix(gold: str, document: str, same: bool) -> None:
    assert names_same(gold, document) is same
    assert unknown_names([gold], [document, "other"]) == ([] if same else [gold])


def test_documents_are_ranked_by_their_first_passage() -> None:
    case = Case("q", "q", (Gold("b"), Gold("c")), ("Jacob Marley",))
    places = ranking(case.gold, [Piece(name, "") for name in ("a.txt", "a.txt", "b.txt", "b.md", "a.txt", "c.txt")])
    assert places == [Place("a.txt"), Place("b.txt", (0,)), Place("b.md"), Place("c.txt", (1,))]
    assert found_scores(case, places, "of the JACOB\n Marley.", (1, 2, 4)) == {
        "recall@1": 0.0,
        "recall@2": 0.5,
        "recall@4": 1.0,
        "all-gold@1": 0.0,
        "all-gold@2": 0.0,
        "all-gold@4": 1.0,
        "mrr": 0.5,
        "answer-in-context": 1.0,
    }


def test_a_quote_is_found_only_where_a_passage_contains_it_and_passages_are_ranked_then() -> None:
    gold = (Gold("book", "Dead as a\ndoor-nail"), Gold("book", "清河大学 成立"), Gold("other"))
    pieces = [
        Piece("book.txt", "nothing"),
        Piece("book.txt", "nothing again"),
        Piece("diary.txt", "dead as a door-nail"),
        Piece("book.txt", "was DEAD as a door-\nnail. 清河大\n学成立于"),
        Piece("book.txt", "dead as a door-nail, once more"),
        Piece("other.txt", "x"),
        Piece("other.txt", "y"),
    ]
    assert ranking(gold, pieces) == [
        Place("book.txt"),
        Place("book.txt"),
        Place("diary.txt"),
        Place("book.txt", (0, 1)),
        Place("other.txt", (2,)),
    ]


def test_what_a_question_gives_no_ground_for_is_not_measured() -> None:
    assert found_scores(Case("q", "q"), [Place("a")], "text", (5,)) == {}
    assert answer_scores(Case("q", "q"), "text") == {}


@pytest.mark.parametrize(
    ("answer", "known", "f1", "contains"),
    [
        ("The Beatles! [1, 2]", ["beatles"], 1.0, 1.0),
        ("It was Jacob Marley [1].", ["Scrooge", "Jacob Marley"], 2 * 2 / (4 + 2), 1.0),
        ("Marley, Jacob", ["Jacob Marley"], 1.0, 0.0),
        ("校长是王建国。", ["王建国"], 2 * 3 / (6 + 3), 1.0),
        ("ＡＢＣ", ["abc"], 1.0, 1.0),
        ("unmarleyed", ["marley"], 0.0, 0.0),
        ("", ["x"], 0.0, 0.0),
        ("anything", ["the"], 0.0, 0.0),
    ],
)
def test_an_answer_is_measured_by_the_known_answer_nearest_to_it(
    answer: str, known: list[str], f1: float, contains: float
) -> None:
    scores = answer_scores(Case("q", "q", (), tuple(known)), answer)
    assert scores == {"answer-f1": pytest.approx(f1), "answer-contains": contains}


def test_an_interval_narrows_with_questions_and_is_the_same_every_time() -> None:
    few, many = estimate([0.0, 1.0] * 10), estimate([0.0, 1.0] * 500)
    assert few is not None
    assert many is not None
    assert few == estimate([0.0, 1.0] * 10)
    assert few.mean == many.mean == 0.5
    assert 0.2 < few.low < 0.4 < 0.46 < many.low < 0.5 < many.high < 0.54
    assert estimate([]) is None
    found = latency([0.1 * n for n in range(101)])
    assert found is not None
    assert (found.p50, found.p95) == (pytest.approx(5.0), pytest.approx(9.5))


def test_runs_are_compared_by_question_and_mode() -> None:
    before = {"mix": {str(n): {"recall@5": 0.0, "hops": 2.0} for n in range(20)}, "naive": {"1": {"recall@5": 1.0}}}
    after = {"mix": {str(n): {"recall@5": float(n % 4 != 0), "mrr": 1.0} for n in range(1, 30)}}
    [found] = differences(before, after)
    assert (found.mode, found.measure, found.change.count) == ("mix", "recall@5", 19)
    assert (found.wins, found.ties, found.losses) == (15, 4, 0)
    assert found.change.mean == found.second == pytest.approx(15 / 19)
    assert found.is_clear
    [same] = differences(before, {"naive": before["naive"]})
    assert (same.change.low, same.change.high, same.is_clear) == (0.0, 0.0, False)
    with pytest.raises(ConfigError, match="no question in common"):
        differences(before, {"mix": {"other": {"recall@5": 1.0}}})


def test_floors_hold_for_all_modes_or_for_one() -> None:
    def row(mean: float) -> Row:
        return Row(Case("q", "q", (Gold("a"),)), (), {"recall@5": mean}, 0.1)

    summaries = Run({}, (5,), False, {"naive": (row(0.5),), "mix": (row(0.75),)}).summaries()
    modes, names = ["naive", "mix"], ["recall@5", "mrr"]
    told = {
        "recall@5=0.5": [],
        "recall@5=0.7": ["naive recall@5 is 0.500, under 0.700"],
        "mix:recall@5=0.7": [],
        "mix:recall@5=0.8": ["mix recall@5 is 0.750, under 0.800"],
        "mix:mrr=0": ["mix mrr is not measured by any question"],
    }
    for text, wanted in told.items():
        assert list(failures([read_floor(text, modes, names)], summaries)) == wanted
    for wrong in ("recall@5", "recall@7=0.5", "local:recall@5=0.5", "recall@5=70", "recall@5=nan"):
        with pytest.raises(ConfigError, match="--fail-under"):
            read_floor(wrong, modes, names)
