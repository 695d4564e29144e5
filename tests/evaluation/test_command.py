"""`lightrag-server eval` as people run it: alone, beside a server, and over HTTP."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lightrag_server.bootstrap import Duty, open_app
from lightrag_server.cli import main
from lightrag_server.ports.doc_status import Filter
from lightrag_server.settings.loader import load
from tests.evaluation.conftest import QUESTIONS, ROOT, evaluate
from tests.server import FAKE, Server, environment, running

MODES = ["naive", "local", "global", "hybrid", "mix"]
KEY = "a-key-for-tests-0123456789"


def table(text: str) -> list[dict[str, str]]:
    """The rows of the first Markdown table."""
    lines = [line.strip("| \n") for line in text.partition("\n\n")[0].splitlines()]
    head, rule, *rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    assert all(re.fullmatch("-+", cell) for cell in rule)
    return [dict(zip(head, row, strict=True)) for row in rows]


def test_one_command_indexes_a_folder_and_measures_every_mode(folder: Path) -> None:
    result = evaluate(folder, "questions.jsonl", "--documents", "docs", "--answers", "--k", "1,3", "--json", "run.json")
    assert result.returncode == 0, result.stderr
    rows = table(result.stdout)
    assert [row["mode"] for row in rows] == MODES
    for row in rows:
        assert row["questions"] == "5"
        assert row["recall@3"].startswith("0.800 (")
        assert row["answer-in-context"] == "1.000"
        assert row["LLM calls"] == "1.0"
        assert float(row["tokens in"]) > 100
    assert "indexing 4 processed" in result.stderr
    assert "named like (1): <leonardo>" in result.stderr
    written = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    mix = {row["id"]: row for row in written["modes"]["mix"]["rows"]}
    assert list(mix) == [question["id"] for question in QUESTIONS]
    assert mix["校长"]["returned"][0] == {"document": "清河.txt", "gold": [0]}
    assert mix["校长"]["recall@1"] == mix["bombe"]["mrr"] == 1.0
    assert mix["both"]["all-gold@3"] == 1.0
    assert mix["engine"]["answer"]["usage"]["calls"] == 1
    assert mix["<b>nobody</b>"]["recall@3"] == 0.0
    assert written["about"]["documents"] == "4 new"


def test_what_is_there_is_not_uploaded_again_and_what_cannot_be_read_is_told(indexed: Path) -> None:
    (indexed / "docs" / "picture.xyz").write_bytes(b"\x00\x01")
    result = evaluate(indexed, "questions.jsonl", "--documents", "docs", "--modes", "mix", "--json", "run.json")
    assert result.returncode == 0, result.stderr
    assert "refused: picture.xyz: Unsupported file type '.xyz'" in result.stderr
    assert json.loads((indexed / "run.json").read_text())["about"]["documents"] == "4 known, 1 refused"


def test_beside_a_server_it_measures_and_the_server_goes_on(indexed: Path) -> None:
    with running(indexed, PYTHONPATH=str(ROOT)) as server, server.client() as client:
        assert client.get("/health").status_code == 200
        result = evaluate(indexed, "questions.jsonl", "--answers", "--limit", "4", "--fail-under", "recall@5=1")
        assert result.returncode == 0, result.stderr
        assert client.post("/query", json={"query": "Who built the first compiler?"}).status_code == 200


async def test_it_writes_nothing_and_leaves_jobs_alone(indexed: Path) -> None:
    settings = load([], environ=FAKE, start_dir=indexed)
    async with open_app(settings, duty=Duty.READING) as app:
        workspace = await app.workspaces.named("")
        await workspace.intake.accept_file("late.txt", b"Edsger Dijkstra wrote of structured programming.")
    before = dump(indexed)
    result = await asyncio.to_thread(evaluate, indexed, "questions.jsonl", "--answers", "--modes", "mix")
    assert result.returncode == 0, result.stderr
    assert dump(indexed) == before
    async with open_app(settings, duty=Duty.READING) as app:
        [late] = await (await app.workspaces.named("")).stores.documents.find(Filter(file_path="late.txt"))
        assert late.status == "pending"


def dump(folder: Path) -> dict[str, list[str]]:
    """All rows of all databases."""
    found: dict[str, list[str]] = {}
    for path in sorted((folder / "rag_storage").glob("*.sqlite")):
        with closing(sqlite3.connect(path)) as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
            rows = [(name, database.execute(f'SELECT * FROM "{name}"').fetchall()) for (name,) in tables]
            found[path.name] = [f"{name}: {row!r}" for name, of in rows for row in of]
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("server"), LIGHTRAG_API_KEY=KEY, HOST="127.0.0.1") as started:
        yield started


def test_over_http_the_same_is_found_as_in_process(server: Server, folder: Path) -> None:
    where = ("--url", server.address, "--api-key", KEY, "--workspace", "measured")
    asked = ("questions.jsonl", "--documents", "docs", "--modes", "naive,mix")
    over = evaluate(folder, *asked, *where, "--answers", "--json", "http.json")
    assert over.returncode == 0, over.stderr
    assert [(row["mode"], row["LLM calls"], row["tokens in"]) for row in table(over.stdout)] == [
        (mode, "-", "-") for mode in ("naive", "mix")
    ]
    own = evaluate(folder, *asked, "--json", "own.json")
    assert own.returncode == 0, own.stderr
    ranked = [returned(folder / name) for name in ("http.json", "own.json")]
    assert ranked[0] == ranked[1]
    elsewhere = evaluate(folder, "questions.jsonl", *where[:-1], "empty", "--modes", "mix")
    assert table(elsewhere.stdout)[0]["recall@5"].startswith("0.000")


def returned(path: Path) -> dict[str, Any]:
    modes = json.loads(path.read_text(encoding="utf-8"))["modes"]
    return {mode: [row["returned"] for row in of["rows"]] for mode, of in modes.items()}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--api-key", "wrong"), "HTTP 403"),
        ((), "HTTP 403"),
        (("--url", "http://127.0.0.1:9"), "--url http://127.0.0.1:9: GET /documents/status_counts: "),
    ],
)
def test_a_server_that_does_not_let_us_in_is_one_sentence(
    server: Server, folder: Path, arguments: tuple[str, ...], told: str
) -> None:
    result = evaluate(folder, "questions.jsonl", "--url", server.address, *arguments)
    assert result.returncode == 2
    [line] = result.stderr.splitlines()
    assert told in line


def test_a_question_that_fails_is_counted_told_and_ends_with_code_1(server: Server, folder: Path) -> None:
    (folder / "short.jsonl").write_text('{"question": "ab", "gold": ["x"]}\n{"question": "Who was Marley?"}')
    result = evaluate(
        folder, "short.jsonl", "--url", server.address, "--api-key", KEY, "--modes", "mix", "--html", "run.html"
    )
    assert result.returncode == 1
    assert "questions that failed: 1, the first with: POST /query/data: HTTP 4" in result.stderr
    assert table(result.stdout)[0]["questions"] == "2 (1 failed)"
    assert "failed: POST /query/data" in (folder / "run.html").read_text()


def test_floors_and_an_earlier_run(indexed: Path) -> None:
    first = evaluate(indexed, "questions.jsonl", "--modes", "naive,mix", "--json", "first.json")
    assert first.returncode == 0
    floors = ("--fail-under", "recall@5=0.7", "--fail-under", "mix:all-gold@10=0.9")
    second = evaluate(
        indexed, "questions.jsonl", "--modes", "mix", "--json", "second.json", "--compare", "first.json", *floors
    )
    assert second.returncode == 1
    assert second.stderr.splitlines()[-1] == "eval: mix all-gold@10 is 0.800, under 0.900"
    assert "+0.000 (+0.000 to +0.000) | 0 / 5 / 0" in second.stdout
    compared = evaluate(indexed, "--compare", "first.json", "second.json")
    assert compared.returncode == 0
    assert compared.stdout.strip() == second.stdout.partition("\n\n")[2].strip()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "name a file of questions, or two results with --compare"),
        (("--compare", "questions.jsonl", "questions.jsonl"), "questions.jsonl is no result"),
        (("nothing.jsonl",), "nothing.jsonl cannot be read: No such file"),
        (("questions.jsonl", "--modes", "bypass"), "'bypass' is none of naive, local"),
        (("questions.jsonl", "--k", "0"), "'0' is no whole number from 1"),
        (("questions.jsonl", "--api-key", "k"), "--api-key is for --url"),
        (("questions.jsonl", "--documents", "nowhere"), "--documents nowhere: there is no such folder"),
        (("questions.jsonl", "--fail-under", "recall@7=1"), "'recall@7' is not measured"),
        (("questions.jsonl", "--url", "nonsense"), "--url nonsense: "),
    ],
)
def test_what_cannot_work_is_one_sentence_and_code_2(
    folder: Path,
    arguments: tuple[str, ...],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    try:
        code = main(["eval", *arguments])
    except SystemExit as left:  # argparse
        code = left.code
    assert code == 2
    assert told in capsys.readouterr().err.splitlines()[-1]


def test_where_there_is_no_data_none_is_made(folder: Path) -> None:
    result = evaluate(folder, "questions.jsonl")
    assert result.returncode == 2
    assert "WORKING_DIR is " in result.stderr
    assert sorted(p.name for p in folder.iterdir()) == ["docs", "questions.jsonl"]


def test_a_workspace_that_does_not_exist_is_not_measured(indexed: Path) -> None:
    result = evaluate(indexed, "questions.jsonl", "--workspace", "nowhere")
    assert result.returncode == 1
    assert "no such workspace: 'nowhere'" in result.stderr


# ----------------------------------------------------------------------------- the page


class Page(HTMLParser):
    """Tags must close in order."""

    VOID = ("meta", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_shows_plots_and_misses_loads_nothing_and_escapes_everything(indexed: Path) -> None:
    result = evaluate(indexed, "questions.jsonl", "--answers", "--html", "run.html")
    assert result.returncode == 0, result.stderr
    page = Page((indexed / "run.html").read_text(encoding="utf-8"))
    assert page.open == []
    names = [tag for tag, _ in page.tags]
    assert names.count("svg") == 3
    assert names.count("polyline") == len(MODES)
    assert not {"script", "link", "img", "iframe", "a"} & set(names)
    assert all(not {"src", "href", "onload"} & attributes.keys() for _, attributes in page.tags)
    assert "Who painted <script>alert(1)</script> & the Mona Lisa?" in page.text
    assert "<leonardo>" in page.text
    assert [text for text in page.text if "of 5 questions" in text] == [f"{mode}: 1 of 5 questions" for mode in MODES]


# ----------------------------------------------------------------------------- the documentation


def test_the_example_of_the_documentation_runs_as_it_stands(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    command = f'lightrag-server() {{ "{sys.executable}" -m lightrag_server "$@"; }}\n'
    result = subprocess.run(
        ["bash", "-e", "-c", command + "\n".join(blocks)],
        cwd=tmp_path,
        env=environment(**FAKE, PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert table(result.stdout)[0]["mode"] == "naive"
    assert "wins / ties / losses" in result.stdout
    assert (tmp_path / "after.html").is_file()
