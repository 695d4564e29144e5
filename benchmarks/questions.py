"""Recall of questions with known sources, profile light and local models: `python benchmarks/questions.py CAROL.txt`.

CAROL.txt is A Christmas Carol as Project Gutenberg gives it away; the other documents are in `questions/documents`.
`--questions FILE` asks others than `questions/questions.jsonl`, `--keep FOLDER` keeps what was indexed.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx

import stand
from tests.server import running

MODES = ("mix", "naive", "local", "global", "hybrid")
FOLDER = Path(__file__).parent / "questions"
FOUND_AT = 5
LOCAL = {"LLM_BINDING": "local", "EMBEDDING_BINDING": "local", "INDEX_PROFILE": "light"}

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("carol", type=Path)
    parser.add_argument("--questions", type=Path, default=FOLDER / "questions.jsonl")
    parser.add_argument("--keep", type=Path, help="folder for the data, kept and used again")
    wanted = parser.parse_args()
    rows = [json.loads(line) for line in wanted.questions.read_text(encoding="utf-8").splitlines()]
    documents = {path.name: path for path in (*(FOLDER / "documents").iterdir(), wanted.carol)}
    with stand.data_folder(wanted.keep) as folder, running(folder, **LOCAL) as server, server.client() as client:
        client.timeout = 120
        upload(client, documents)
        shares = {mode: {row["id"]: found(client, row, mode) for row in rows} for mode in MODES}
    by_source: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_source[row["gold"][0]["source"]].append(row["id"])
    by_source["all"] = [row["id"] for row in rows]
    table = [
        (source, len(names), *(100 * sum(shares[mode][name] for name in names) / len(names) for mode in MODES))
        for source, names in by_source.items()
    ]
    stand.table((f"recall@{FOUND_AT}, %", "questions", *MODES), table)
    for mode in MODES:
        print(f"not all found in {mode}: {', '.join(name for name, share in shares[mode].items() if share < 1) or '-'}")


def upload(client: httpx.Client, documents: dict[str, Path]) -> None:
    """Those that are not there yet; waits until all are processed."""
    if stand.counts(client)["all"] < len(documents):
        for name, path in documents.items():
            client.post("/documents/upload", files={"file": (name, path.read_bytes())}).raise_for_status()
    stand.wait_until_ended(client, len(documents))


def found(client: httpx.Client, row: Row, mode: str) -> float:
    """The share of the quotes that stand in the first passages."""
    reply = client.post("/query/data", json={"query": row["question"], "mode": mode}).raise_for_status().json()
    passages = reply["data"]["chunks"][:FOUND_AT]
    return sum(any(holds(p, quote) for p in passages) for quote in row["gold"]) / len(row["gold"])


def holds(passage: Row, gold: Row) -> bool:
    return Path(passage["file_path"]).name == gold["source"] and folded(gold["quote"]) in folded(passage["content"])


def folded(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    main()
