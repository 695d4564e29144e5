"""What changes and looks at the graph cost over HTTP: `python benchmarks/changes.py --chunks 1000`.

Bindings `fake` (no vendor). The hub is the entity with most relations, the rare one has few. A replaced document gets
one new sentence in its middle, which costs one extraction; edits and deletions call no model.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

import stand
from corpus import CHUNKS_PER_DOCUMENT, corpus
from retrieval import fill
from tests.server import running

REPEATS = 5
GRAPH_NODES = 1000
NEW_SENTENCE = " Nobody had expected the Harbour Commission to answer so soon. "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=1000)
    parser.add_argument("--keep", type=Path, help="folder for the data, kept and used again")
    wanted = parser.parse_args()
    texts = corpus(wanted.chunks // CHUNKS_PER_DOCUMENT)
    with (
        stand.data_folder(wanted.keep) as folder,
        running(folder, EMBEDDING_DIM="256", ENABLE_LLM_CACHE_FOR_EXTRACT="false") as server,
        server.client() as client,
    ):
        client.timeout = 120
        fill(client, texts)
        popular: list[str] = got(client, "/graph/label/popular", limit=1000)
        steps = _steps(client, popular, texts.texts)
        rows = [_measured(server.process.pid, name, step) for name, step in steps.items()]
        chunks = stand.chunk_count(client)
    print(f"{chunks} chunks at the end, {len(popular)} or more entities\n")
    stand.table(("change", "median ms", "CPU ms", "written kB"), rows)


def _steps(client: httpx.Client, popular: list[str], texts: tuple[str, ...]) -> dict[str, Callable[[int], Any]]:
    """Each takes the number of the repetition, so that none does what was done before."""
    hub, rare, late = popular[0], popular[-REPEATS * 3 :], len(texts) * 3 // 4
    return {
        f"graph of {GRAPH_NODES} nodes": lambda n: got(client, "/graphs", label="*", max_nodes=GRAPH_NODES),
        "search of names": lambda n: got(client, "/graph/label/search", q=popular[n][:4]),
        "edit of a rare entity": lambda n: _edit(client, rare[n], description=f"rewritten {n}"),
        "edit of the hub": lambda n: _edit(client, hub, description=f"rewritten {n}"),
        "replaced document": lambda n: _replace(client, late + n, texts[late + n]),
        "deleted document": lambda n: _delete_document(client, late + REPEATS + n),
        "deleted document, one of the first": lambda n: _delete_document(client, n),
        "merge of a rare entity": lambda n: _merge(client, rare[REPEATS + n], rare[0]),
        "merge of a hub": lambda n: _merge(client, popular[1 + n], hub),
        "deletion of a rare entity": lambda n: _delete_entity(client, rare[2 * REPEATS + n]),
    }


def _measured(pid: int, name: str, step: Callable[[int], Any]) -> tuple[str, float, float, float]:
    before, seconds = stand.cost(pid), list[float]()
    for n in range(REPEATS):
        began = time.perf_counter()
        step(n)
        seconds.append(time.perf_counter() - began)
    spent = stand.cost(pid) - before
    cpu, written = spent.cpu_s * 1000 / REPEATS, spent.written_bytes / REPEATS / 1000
    return name, stand.percentile_ms(seconds, 50), cpu, written


def got(client: httpx.Client, path: str, **parameters: Any) -> Any:
    return client.get(path, params=parameters).raise_for_status().json()


def _edit(client: httpx.Client, name: str, **fields: str) -> None:
    client.post("/graph/entity/edit", json={"entity_name": name, "updated_data": fields}).raise_for_status()


def _merge(client: httpx.Client, name: str, into: str) -> None:
    body = {"entities_to_change": [name], "entity_to_change_into": into}
    client.post("/graph/entities/merge", json=body).raise_for_status()


def _delete_entity(client: httpx.Client, name: str) -> None:
    client.request("DELETE", "/graph/entity/delete", json={"entity_name": name}).raise_for_status()


def _document(client: httpx.Client, number: int) -> dict[str, Any]:
    search = {"search": f"report-{number}.txt", "page_size": 10}
    found = client.post("/documents/paginated", json=search).raise_for_status().json()["documents"]
    return next(d for d in found if d["file_path"] == f"report-{number}.txt")


def _replace(client: httpx.Client, number: int, text: str) -> None:
    document, middle = _document(client, number), text.index(". ", len(text) // 2) + 1
    body = {"text": text[:middle] + NEW_SENTENCE + text[middle:]}
    client.put(f"/documents/{document['id']}", json=body).raise_for_status()
    while got(client, f"/documents/{document['id']}")["status"] != "processed":
        time.sleep(0.01)


def _delete_document(client: httpx.Client, number: int) -> None:
    document = _document(client, number)
    body = {"doc_ids": [document["id"]]}
    client.request("DELETE", "/documents/delete_document", json=body).raise_for_status()
    while client.get(f"/documents/{document['id']}").status_code != 404:
        time.sleep(0.01)


if __name__ == "__main__":
    main()
