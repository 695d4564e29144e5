"""The question sets of `benchmarks/questions`: what they quote is in the documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks" / "questions"
NOT_HERE = "a-christmas-carol.txt"


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


def folded(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("name", ["questions.jsonl", "questions-more.jsonl"])
def test_every_quote_stands_once_in_its_document(name: str) -> None:
    texts = {path.name: folded(path.read_text(encoding="utf-8")) for path in (FOLDER / "documents").iterdir()}
    counts = {
        (row["id"], gold["quote"]): texts[gold["source"]].count(folded(gold["quote"]))
        for row in rows(name)
        for gold in row["gold"]
        if gold["source"] != NOT_HERE
    }
    assert counts == dict.fromkeys(counts, 1)
    assert len(counts) > 10


def test_questions_have_ids_and_answers_and_only_the_unanswerable_no_source() -> None:
    asked = [*rows("questions.jsonl"), *rows("questions-more.jsonl")]
    assert all(row["question"] and row["answer"] and row["gold"] for row in asked)
    unanswerable = rows("unanswerable.jsonl")
    assert all(row["question"] and "gold" not in row for row in unanswerable)
    ids = [row["id"] for row in (*asked, *unanswerable)]
    assert len(ids) == len(set(ids)) == 75
