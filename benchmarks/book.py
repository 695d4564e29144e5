"""One book through both profiles: `python benchmarks/book.py book.txt`.

Profile full against a fake vendor over OpenAI's wire (LLM calls per chunk); profile light with the local models, no
network and no key (seconds, CPU and pages of 1,000 words per second), then one question to each.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

import stand
from tests.server import Server, running
from tests.vendor import in_process

WORDS_PER_PAGE = 1000
PROFILES = ("full", "light", "vector")
LOCAL = {"LLM_BINDING": "local", "EMBEDDING_BINDING": "local"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "book", type=Path, nargs="?", default=Path(__file__).parents[1] / "tests/data/carol-excerpts.txt"
    )
    parser.add_argument("--profiles", default="full,light", help="of full, light, vector; comma separated")
    parser.add_argument("--question", default="Who was Scrooge's partner, and when did he die?")
    wanted = parser.parse_args()
    pages = len(wanted.book.read_text(encoding="utf-8", errors="replace").split()) / WORDS_PER_PAGE
    rows: list[tuple[object, ...]] = []
    answers: list[str] = []
    for profile in wanted.profiles.split(","):
        with TemporaryDirectory() as folder:
            if profile == "full":
                with in_process() as vendor:
                    row, answer = measured(Path(folder), profile, wanted, pages, stand.openai_settings(vendor))
                    calls = vendor.stats()
                    row = (*row[:3], f"{(calls['chat'] - 1) / row[1]:.2f}", *row[4:])
            else:
                row, answer = measured(Path(folder), profile, wanted, pages, LOCAL)
            rows.append(row)
            answers.append(f"{profile}: {answer}")
    print(f"{wanted.book.name}: {pages:.1f} pages of {WORDS_PER_PAGE} words\n")
    stand.table(
        ("profile", "chunks", "entities found", "LLM calls/chunk", "wall s", "CPU s", "pages/s", "question ms"), rows
    )
    print("\n" + "\n".join(answers))


def measured(
    folder: Path, profile: str, wanted: argparse.Namespace, pages: float, variables: Mapping[str, str]
) -> tuple[tuple[object, int, int, str, float, float, float, float], str]:
    """A row of the table and the answer; the question is the vendor's last call."""
    with running(folder, INDEX_PROFILE=profile, **variables) as server, server.client() as client:
        client.timeout = 600
        before = stand.cost(server.process.pid)
        upload(client, wanted.book)
        stand.wait_until_ended(client, 1)
        spent = stand.cost(server.process.pid) - before
        chunks = stand.chunk_count(client)
        entities, seconds, answer = ask(server, client, wanted.question)
        row = (profile, chunks, entities, "0", spent.seconds, spent.cpu_s, pages / spent.seconds, seconds * 1000)
        return row, answer


def upload(client: httpx.Client, book: Path) -> None:
    with book.open("rb") as file:
        client.post("/documents/upload", files={"file": (book.name, file)}).raise_for_status()


def ask(server: Server, client: httpx.Client, question: str) -> tuple[int, float, str]:
    """Entities retrieved, seconds to the answer, the answer."""
    data = client.post("/query/data", json={"query": question, "mode": "mix"}).raise_for_status().json()
    start = time.perf_counter()
    reply = client.post("/query", json={"query": question, "mode": "mix"}).raise_for_status().json()
    return len(data["data"].get("entities", [])), time.perf_counter() - start, " ".join(reply["response"].split())


if __name__ == "__main__":
    main()
