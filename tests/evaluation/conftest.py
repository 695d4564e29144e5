"""Four small documents, five questions, and the command as a process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server import FAKE, environment

ROOT = Path(__file__).parents[2]
DOCUMENTS = {
    "lovelace.txt": "Ada Lovelace wrote the first program for the Analytical Engine of Charles Babbage.",
    "hopper.txt": "Grace Hopper built the first compiler. She was a rear admiral of the United States Navy.",
    "turing.txt": "Alan Turing worked at Bletchley Park and designed the Bombe against the Enigma cipher.",
    "清河.txt": "清河大学成立于1952年，位于河北省。清河大学的第一任校长是王建国。",
}
QUESTIONS = [
    {"id": "engine", "question": "Who wrote the first program?", "gold": ["lovelace"], "answer": "Ada Lovelace"},
    {
        "id": "bombe",
        "question": "Where did Alan Turing work against the Enigma?",
        "gold": [{"source": "turing.txt", "quote": "WORKED at  Bletchley"}],
        "answers": ["Bletchley Park"],
    },
    {"id": "both", "question": "Who built the first compiler and the first program?", "gold": ["hopper", "lovelace"]},
    {"id": "校长", "question": "清河大学的第一任校长是谁？", "gold": ["清河"], "answer": "王建国"},
    {
        "id": "<b>nobody</b>",
        "question": "Who painted <script>alert(1)</script> & the Mona Lisa?",
        "gold": ["<leonardo>"],
    },
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds `docs/` and `questions.jsonl`."""
    return _filled(tmp_path)


@pytest.fixture
def indexed(indexed_once: Path, tmp_path: Path) -> Path:
    """The same, and the data of a workspace with these documents."""
    return shutil.copytree(indexed_once, tmp_path, dirs_exist_ok=True)


@pytest.fixture(scope="session")
def indexed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = _filled(tmp_path_factory.mktemp("indexed"))
    result = evaluate(folder, "questions.jsonl", "--documents", "docs", "--limit", "1", "--modes", "naive")
    assert result.returncode == 0, result.stderr
    return folder


def _filled(folder: Path) -> Path:
    (folder / "docs").mkdir()
    for name, text in DOCUMENTS.items():
        (folder / "docs" / name).write_text(text, encoding="utf-8")
    lines = [json.dumps(question, ensure_ascii=False) for question in QUESTIONS]
    (folder / "questions.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def evaluate(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`lightrag-server eval` with the fake models, in `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "lightrag_server", "eval", *arguments],
        cwd=folder,
        env=environment(**{**FAKE, "PYTHONPATH": str(ROOT), **variables}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
