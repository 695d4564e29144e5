"""How often "not in the documents" is said, rightly and wrongly: `python benchmarks/refusals.py --book book.txt`.

Questions of `refusals.json` and, with --multihop FOLDER (`corpus.jsonl`, `queries.jsonl`), those of that set, are asked
of their own documents, where the answer is, and of others', where it is not; those below `questions/` of the documents
there and the book together. Each corpus is a workspace; --keep FOLDER keeps them. --binding, --host and --model choose
the embedder; no model writes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

import stand
from tests.server import running

HERE = Path(__file__).parent
DATA = HERE.parent / "tests" / "data"
BATCH = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """A set of questions, asked of the documents of `workspace`."""

    workspace: str
    name: str
    is_answerable: bool
    questions: Sequence[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--book", type=Path, required=True, help="A Christmas Carol, whole, as text")
    parser.add_argument("--multihop", type=Path, help="folder of a question set with its passages")
    parser.add_argument("--questions", type=Path, default=HERE / "questions", help="folder of the further questions")
    parser.add_argument("--binding", default="local", help="of the embedder")
    parser.add_argument("--host", help="of the embedder")
    parser.add_argument("--model", help="of the embedder")
    parser.add_argument("--keep", type=Path, help="folder for the data, kept and used again")
    parser.add_argument("--show", action="store_true", help="print the questions that were judged wrongly")
    wanted = parser.parse_args()
    with (
        stand.data_folder(wanted.keep) as folder,
        running(folder, **variables(wanted)) as server,
        server.client() as client,
    ):
        client.timeout = 600
        for workspace, texts in corpora(wanted):
            fill(client, workspace, texts)
        rows = [measured(client, asked, show=wanted.show) for asked in sets(wanted)]
    stand.table(("documents", "questions", "asked", "refused", "%"), rows)


def variables(wanted: argparse.Namespace) -> dict[str, str]:
    given = {"BINDING": wanted.binding, "BINDING_HOST": wanted.host, "MODEL": wanted.model, "BINDING_API_KEY": "none"}
    embedder = {f"EMBEDDING_{name}": value for name, value in given.items() if value}
    return {"LLM_BINDING": "local", "INDEX_PROFILE": "vector", **embedder}


def corpora(wanted: argparse.Namespace) -> Iterator[tuple[str, dict[str, str]]]:
    """Name of the workspace, texts by file."""
    yield "book", {wanted.book.name: wanted.book.read_text(encoding="utf-8", errors="replace")}
    yield "chinese", {p.name: p.read_text(encoding="utf-8") for p in sorted(DATA.glob("*.zh.txt"))}
    if wanted.questions.exists():
        documents = sorted((wanted.questions / "documents").iterdir())
        yield "heldout", {p.name: p.read_text(encoding="utf-8", errors="replace") for p in (*documents, wanted.book)}
    if wanted.multihop:
        yield "multihop", {row["id"]: row["text"] for row in lines(wanted.multihop / "corpus.jsonl")}


def sets(wanted: argparse.Namespace) -> Iterator[Asked]:
    written = json.loads((HERE / "refusals.json").read_text(encoding="utf-8"))
    for workspace, groups in written.items():
        for name, questions in groups.items():
            yield Asked(workspace, name, name.startswith("answerable"), questions)
    of_book, of_chinese = written["book"]["answerable"], written["chinese"]["answerable"]
    for path in sorted(wanted.questions.glob("*.jsonl")):
        questions = [row["question"] for row in lines(path)]
        yield Asked("heldout", path.stem, is_answerable=path.stem != "unanswerable", questions=questions)
    yield Asked("book", "of the Chinese texts", is_answerable=False, questions=of_chinese)
    yield Asked("chinese", "of the book", is_answerable=False, questions=of_book)
    if wanted.multihop:
        multihop = [row["query"] for row in lines(wanted.multihop / "queries.jsonl")]
        yield Asked("multihop", "answerable", is_answerable=True, questions=multihop)
        yield Asked("multihop", "of the book", is_answerable=False, questions=of_book)
        yield Asked("book", "multi-hop", is_answerable=False, questions=multihop)
        yield Asked("chinese", "multi-hop", is_answerable=False, questions=multihop)


def lines(path: Path) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())


def fill(client: httpx.Client, workspace: str, texts: dict[str, str]) -> None:
    """Those that are not there yet."""
    client.headers["LIGHTRAG-WORKSPACE"] = workspace
    names = list(texts)
    start = time.perf_counter()
    stored = stand.counts(client)["all"] if has_workspace(client, workspace) else 0
    for first in range(stored, len(names), BATCH):
        batch = names[first : first + BATCH]
        body = {"texts": [texts[name] for name in batch], "file_sources": batch}
        client.post("/documents/texts", json=body).raise_for_status()
    stand.wait_until_ended(client, len(names))
    if stored < len(names):
        print(f"{workspace}: indexed in {time.perf_counter() - start:.0f} s")


def has_workspace(client: httpx.Client, workspace: str) -> bool:
    return client.get("/documents/status_counts").status_code == httpx.codes.OK


def measured(client: httpx.Client, asked: Asked, *, show: bool) -> tuple[object, ...]:
    client.headers["LIGHTRAG-WORKSPACE"] = asked.workspace
    refused = [question for question in asked.questions if is_refused(client, question)]
    wrong = refused if asked.is_answerable else [q for q in asked.questions if q not in refused]
    if show:
        print("\n".join(f"{asked.workspace} / {asked.name}: {question}" for question in wrong))
    return asked.workspace, asked.name, len(asked.questions), len(refused), 100 * len(refused) / len(asked.questions)


def is_refused(client: httpx.Client, question: str) -> bool:
    reply = client.post("/query/data", json={"query": question, "mode": "mix"}).raise_for_status().json()
    return reply["status"] == "failure" or "weak_evidence" in reply["metadata"].get("warnings", [])


if __name__ == "__main__":
    main()
