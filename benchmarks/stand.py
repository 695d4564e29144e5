"""What the scripts share: the costs of a running server and its children, waiting for documents, and small tables."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
import psutil

from tests.vendor import Vendor

ENDED = ("processed", "failed")
POLL_S = 0.1
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a process and all its children, also those that have ended. Bytes are what went to the block layer."""

    cpu_s: float
    written_bytes: int
    seconds: float

    def __sub__(self, earlier: Cost) -> Cost:
        return Cost(
            self.cpu_s - earlier.cpu_s, self.written_bytes - earlier.written_bytes, self.seconds - earlier.seconds
        )


def cost(pid: int) -> Cost:
    """So far. /proc adds a child's writes to its parent's when it has been waited for, as it does its CPU time."""
    family = _family(pid)
    return Cost(
        sum(_cpu_s(member) for member in family), sum(_written(member) for member in family), time.perf_counter()
    )


def memory_mb(pid: int) -> int:
    """Resident memory of the tree. What forked processes share of their own pages counts once; what they mapped of
    files counts in each, whoever else has it."""
    own = sum(_number(Path(f"/proc/{member}/smaps_rollup"), "Pss_Anon:") for member in _family(pid)) // 1024
    return own + summed_mb(pid, "RssFile") + summed_mb(pid, "RssShmem")


def summed_mb(pid: int, field: str) -> int:
    """RssAnon, RssFile or VmHWM, the peak, of the tree: pages that processes share count in each, and peaks as if they
    came together."""
    return sum(_number(Path(f"/proc/{member}/status"), f"{field}:") for member in _family(pid)) // 1024


def _family(pid: int) -> list[int]:
    process = psutil.Process(pid)
    return [pid, *(child.pid for child in process.children(recursive=True))]


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    user, system, ended_user, ended_system = fields[11:15]
    return (int(user) + int(system) + int(ended_user) + int(ended_system)) / TICKS_PER_S


def _written(pid: int) -> int:
    return _number(Path(f"/proc/{pid}/io"), "write_bytes:")


def _number(path: Path, label: str) -> int:
    try:
        return next((int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(label)), 0)
    except (FileNotFoundError, ProcessLookupError):
        return 0


# ----------------------------------------------------------------------------- the server under test


def openai_settings(vendor: Vendor) -> dict[str, str]:
    """Variables that send all model calls to a fake vendor over OpenAI's wire."""
    groups = ("LLM", "EMBEDDING")
    return {
        key: value
        for group in groups
        for key, value in {
            f"{group}_BINDING": "openai",
            f"{group}_BINDING_HOST": vendor.openai_url,
            f"{group}_BINDING_API_KEY": "none",
        }.items()
    } | {"MAX_ASYNC_LLM": "16"}


def counts(client: httpx.Client) -> dict[str, int]:
    """Documents by status. LightRAG leaves out those that there are none of."""
    told = client.get("/documents/status_counts").raise_for_status().json()["status_counts"]
    return {"processed": 0, "failed": 0} | {name.lower(): number for name, number in told.items()}


def wait_until_ended(client: httpx.Client, documents: int, limit_s: float = 3600) -> None:
    """Until so many documents are processed. Raises when one failed or the time is over."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        found = counts(client)
        if found["failed"]:
            raise RuntimeError(f"{found['failed']} documents failed: {client.get('/documents/pipeline_status').text}")
        if found["processed"] >= documents:
            return
        time.sleep(POLL_S)
    raise TimeoutError(f"{documents} documents were not processed within {limit_s:.0f} s: {counts(client)}")


def insert(client: httpx.Client, texts: Sequence[str], first: int = 0) -> None:
    sources = [f"report-{first + number}.txt" for number in range(len(texts))]
    client.post("/documents/texts", json={"texts": texts, "file_sources": sources}).raise_for_status()


def chunk_count(client: httpx.Client) -> int:
    """Of all documents, from the list that clients page through."""
    total, page, has_next = 0, 1, True
    while has_next:
        reply = client.post("/documents/paginated", json={"page": page, "page_size": 200}).raise_for_status().json()
        total += sum(document["chunks_count"] or 0 for document in reply["documents"])
        page, has_next = page + 1, reply["pagination"]["has_next"]
    return total


@contextmanager
def data_folder(kept: Path | None) -> Iterator[Path]:
    """A folder of its own that is removed at the end, or the given one, which is kept."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()
        return
    with TemporaryDirectory() as folder:
        yield Path(folder)


# ----------------------------------------------------------------------------- figures


def percentile_ms(seconds: Sequence[float], percent: float) -> float:
    return float(np.percentile(seconds, percent)) * 1000


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """First column to the left, numbers to the right; a float with one decimal below 1,000."""
    shown = [list(columns), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[number]) for row in shown) for number in range(len(columns))]
    for number, row in enumerate(shown):
        first, *others = row
        print("  ".join([first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(others, widths[1:], strict=True))]))
        if number == 0:
            print("  ".join("-" * width for width in widths))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
