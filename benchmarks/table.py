"""The table of docs/performance.md, in one run: `python benchmarks/table.py --peer VENV`.

Every phase runs on this server and then, with `--peer`, on LightRAG from that virtual environment, so that both meet
the same load of the machine. `--quick` is a look at small sizes (two minutes); the whole takes about an hour. What is
measured so far is written to `--out` after each phase.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson

import measures
import stand
from corpus import CHUNKS_PER_DOCUMENT, Corpus, corpus
from systems import DIMENSION, LightRAG, Ours, Running, System, with_one_ssl_context
from tests.server import MANY
from tests.vendor import Vendor, in_process

Figures = dict[str, float]
MODES = ("naive", "local", "global", "hybrid", "mix")
CONTEXT = {"only_need_context": True}
QUARTERS = 4
REST_S = 3.0
PEER_LIMIT_S = 900.0
GRAPH_NODES = 1000
TIMES = 5
CLIENTS = 8
LIGHT_CHUNKS = 20
CRASH = Path(__file__).with_name("crash.py")


@dataclass(frozen=True, slots=True)
class Sizes:
    """`growth` are the numbers of chunks at which the growing workspace is measured."""

    chunks: int = 1000
    small: int = 200
    questions: int = 30
    answers: int = 10
    beside: int = 100
    growth: tuple[int, ...] = (1000, 2000, 5000, 10_000, 20_000)
    kills: int = 13


QUICK = Sizes(chunks=60, small=40, questions=8, answers=3, beside=40, growth=(100, 200), kills=1)


@dataclass(frozen=True, slots=True)
class Row:
    """`is_met` takes our figures and LightRAG's."""

    what: str
    figure: str
    bar: str
    is_met: Callable[[Figures, Figures], bool]
    shown: str = "{:,.0f}"

    def cell(self, figures: Figures) -> str:
        return self.shown.format(figures[self.figure]) if self.figure in figures else ""

    def verdict(self, ours: Figures, peer: Figures) -> str:
        try:
            return "yes" if self.is_met(ours, peer) else "no"
        except KeyError:
            return ""


def at_most(figure: str, most: float) -> Callable[[Figures, Figures], bool]:
    return lambda ours, peer: ours[figure] <= most


def at_least(figure: str, least: float) -> Callable[[Figures, Figures], bool]:
    return lambda ours, peer: ours[figure] >= least


def _row(what: str, figure: str, bar: str, most: float, shown: str = "{:,.0f}") -> Row:
    return Row(what, figure, bar, at_most(figure, most), shown)


def _told(what: str, figure: str, shown: str = "{:,.0f}") -> Row:
    """Without a bar."""
    return Row(what, figure, "", at_least(figure, 0), shown)


ROWS = (
    _row("indexing, instant model: CPU ms per chunk, first 200 chunks", "cpu_ms_small", "≤ 20", 20, "{:.1f}"),
    _row("the same, 1,000 chunks", "cpu_ms", "≤ 20", 20, "{:.1f}"),
    _told("… as many of them as 15 minutes suffice for", "chunks"),
    _row("last quarter of these against the first", "growth", "≤ 1.1", 1.1, "{:.2f}"),
    _row("bytes written, kB per chunk, 1,000 chunks", "written_kb", "≤ 200", 200),
    _row("memory while indexing, peak MB", "peak_mb", "bounded", 1000),
    Row("2 s per LLM call, 16 at once: % of the wall time", "share_2s", "≥ 90", at_least("share_2s", 90)),
    Row(
        "200 chunks, 0.2 s per LLM call: s",
        "wall_02s",
        "≤ 1/8 of LightRAG with one SSL context",
        lambda ours, peer: ours["wall_02s"] <= peer["wall_02s_ssl"] / 8,
        "{:.1f}",
    ),
    _told("… LightRAG with one SSL context", "wall_02s_ssl", "{:.1f}"),
    _row("LLM calls per chunk, profile full", "calls", "≤ 1.0", 1.001, "{:.2f}"),
    _row("tokens into the LLM per chunk", "tokens", "≤ 3,000", 3000),
    _row("LLM calls per chunk, profile light", "light_calls", "0", 0),
    _row("mix, context only, 1,000 chunks, 1 client: p50 ms", "mix_p50_ms", "≤ 25", 25),
    _row("… CPU ms per question", "mix_cpu_ms", "≤ 15", 15),
    *(
        _row(f"{mode}, context only, 1,000 chunks: p50 ms", f"{mode}_p50_ms", "≤ 25", 25)
        for mode in MODES
        if mode != "mix"
    ),
    Row("mix, 8 clients, 1 worker: per second", "mix_per_s", "≥ 50", at_least("mix_per_s", 50), "{:.1f}"),
    _row("first streamed words, model at once: ms", "first_words_ms", "≤ 30", 30),
    _told("mix p95 while indexing: ms", "beside_p95_ms"),
    _row("… as many times the p95 at rest, 2 clients", "beside_times", "≤ 3", 3, "{:.1f}"),
    _told("… where processes of their own index (lightrag-gunicorn): ms", "fleet_beside_p95_ms"),
    _row("… as many times the p95 at rest", "fleet_beside_times", "≤ 3", 3, "{:.1f}"),
    _row("tokens into the LLM per answered question", "answer_tokens", "≤ 8,000", 8000),
    _row("LLM calls per answered question", "answer_calls", "1", 1, "{:.1f}"),
    _row("memory at rest, 1 worker: MB", "idle_mb", "≤ 150", 150),
    _row("start with 1,000 chunks to the first answer: s", "first_answer_s", "≤ 2.5", 2.5, "{:.1f}"),
    _told("… CPU s", "first_answer_cpu_s", "{:.1f}"),
    _row("delete a document of five chunks of 1,000: ms", "delete_ms", "≤ 100", 100),
    _row("… LLM calls", "delete_calls", "0", 0),
    _told("… CPU ms", "delete_cpu_ms"),
    _told("… MB written", "delete_mb", "{:.1f}"),
    _row("graph of 1,000 nodes: ms", "graph_ms", "≤ 60", 60),
    _told("… CPU ms", "graph_cpu_ms"),
    _row("kill -9, rounds with faults (profiles full and light; server, group)", "crash_faults", "0", 0),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="virtual environment with lightrag-hku[api]")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--phases", default=",".join(PHASES), help=f"of {', '.join(PHASES)}; comma separated")
    parser.add_argument("--out", type=Path, help="file for the figures as JSON; what it holds already is kept")
    wanted = parser.parse_args()
    sizes = QUICK if wanted.quick else Sizes()
    known = orjson.loads(wanted.out.read_bytes()) if wanted.out and wanted.out.exists() else {}
    results: dict[str, Figures] = {"ours": {}, "LightRAG": {}} | known
    systems: list[System] = [Ours(), *([LightRAG(wanted.peer.resolve())] if wanted.peer else [])]
    for phase in wanted.phases.split(","):
        for system in systems:
            started = time.monotonic()
            results[system.name] |= PHASES[phase](system, sizes)
            print(f"{phase}, {system.name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
            if wanted.out:
                wanted.out.write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2))
    print_table(results["ours"], results["LightRAG"])


def print_table(ours: Figures, peer: Figures) -> None:
    print("| what | LightRAG | ours | bar | met |\n|---|---:|---:|---|---|")
    for row in ROWS:
        cells = row.cell(peer), row.cell(ours)
        if any(cells):
            print(
                f"| {row.what} | {cells[0]} | {cells[1]} | {row.bar} | {row.verdict(ours, peer) if row.bar else ''} |"
            )
    sizes = sorted(
        int(name.split("_")[1]) for name in ours if name.endswith("first_answer_s") and name.startswith("at_")
    )
    if sizes:
        print("\n| chunks | CPU ms per chunk | written kB per chunk | mix p50 ms | CPU ms | start to first answer s |")
        print("|---:|---:|---:|---:|---:|---:|")
    for size in sizes:
        cells = [ours[f"at_{size}_{name}"] for name in GROWN]
        print(f"| {size:,} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |")


# ----------------------------------------------------------------------------- phases


def small(system: System, sizes: Sizes) -> Figures:
    """Memory at rest, then the first chunks of an empty workspace."""
    texts = corpus(sizes.small // CHUNKS_PER_DOCUMENT)
    with (
        TemporaryDirectory() as folder,
        in_process(DIMENSION) as vendor,
        system.running(Path(folder), vendor) as running,
    ):
        time.sleep(REST_S)
        idle = stand.memory_mb(running.pid)
        return {"idle_mb": idle, "cpu_ms_small": measures.index(running, vendor, texts.texts).cpu_ms}


def whole(system: System, sizes: Sizes) -> Figures:
    """Everything that needs a filled workspace."""
    texts = corpus((sizes.chunks + 2 * sizes.beside) // CHUNKS_PER_DOCUMENT)
    filling = texts.texts[: sizes.chunks // CHUNKS_PER_DOCUMENT]
    with TemporaryDirectory() as folder, in_process(DIMENSION) as vendor:
        with system.running(Path(folder), vendor) as running:
            indexed = measures.index(running, vendor, filling, QUARTERS, PEER_LIMIT_S)
            figures: Figures = {
                "chunks": indexed.chunks,
                "cpu_ms": indexed.cpu_ms,
                "growth": indexed.growth,
                "written_kb": indexed.written_kb,
                "peak_mb": indexed.peak_mb,
                "calls": indexed.calls / indexed.chunks,
                "tokens": indexed.tokens / indexed.chunks,
            }
            with running.client() as client, measures.quiet(client):
                time.sleep(REST_S)
            stored = indexed.chunks // CHUNKS_PER_DOCUMENT
            figures |= _asked(running, vendor, texts, sizes)
            figures |= _beside(running, vendor, texts, sizes, stored)
            figures |= _changed(running, vendor, stored // 2)
        with system.running(Path(folder), vendor) as running:
            question = texts.questions(1, seed=99)
            with running.client() as client:
                answered = measures.median_ms(1, lambda: client.post("/query", json={"query": question[0], **CONTEXT}))
            spent = stand.cost(running.pid)
            figures |= {"first_answer_s": running.start_s + answered / 1000, "first_answer_cpu_s": spent.cpu_s}
        return figures


def _asked(running: Running, vendor: Vendor, texts: Corpus, sizes: Sizes) -> Figures:
    figures: Figures = {}
    for number, mode in enumerate(MODES):
        questions = texts.questions(sizes.questions, seed=number)
        asked = measures.ask(running, vendor, questions, mode=mode, **CONTEXT)
        figures |= {f"{mode}_p50_ms": asked.p50_ms, f"{mode}_cpu_ms": asked.cpu_ms}
    asked = measures.ask(running, vendor, texts.questions(2 * sizes.questions, seed=20), CLIENTS, mode="mix", **CONTEXT)
    figures["mix_per_s"] = asked.per_second
    answered = measures.ask(running, vendor, texts.questions(sizes.answers, seed=21), mode="mix")
    figures["answer_tokens"] = answered.tokens / len(answered.seconds)
    figures["answer_calls"] = answered.calls / len(answered.seconds)
    figures["first_words_ms"] = measures.first_words_ms(running, texts.questions(sizes.answers, seed=22), "mix")
    return figures


def _beside(running: Running, vendor: Vendor, texts: Corpus, sizes: Sizes, first: int) -> Figures:
    """Questions of two clients at rest, and while documents are indexed."""
    questions = texts.questions(200, seed=30)
    at_rest = measures.ask(
        running, vendor, questions[: sizes.questions], measures.CLIENTS_BESIDE, mode="mix", **CONTEXT
    )
    more = texts.texts[first : first + sizes.beside // CHUNKS_PER_DOCUMENT]
    work = partial(measures.index, running, vendor, more, first=first)
    beside = measures.ask_beside(running, vendor, questions[sizes.questions :], work, mode="mix", **CONTEXT)
    return {
        "rest_p95_ms": at_rest.p95_ms,
        "beside_p95_ms": beside.p95_ms,
        "beside_times": beside.p95_ms / at_rest.p95_ms,
    }


def fleet(system: System, sizes: Sizes) -> Figures:
    """The same questions when one process answers and others work on documents."""
    if not isinstance(system, Ours):
        return {}
    texts = corpus((sizes.chunks + sizes.beside) // CHUNKS_PER_DOCUMENT)
    stored = sizes.chunks // CHUNKS_PER_DOCUMENT
    apart = Ours(program=MANY)
    with (
        TemporaryDirectory() as folder,
        in_process(DIMENSION) as vendor,
        apart.running(Path(folder), vendor, WORKERS="1") as running,
    ):
        measures.index(running, vendor, texts.texts[:stored])
        with running.client() as client, measures.quiet(client):
            time.sleep(REST_S)
        return {f"fleet_{name}": value for name, value in _beside(running, vendor, texts, sizes, stored).items()}


def _changed(running: Running, vendor: Vendor, number: int) -> Figures:
    with running.client() as client:
        view = {"label": "*", "max_nodes": GRAPH_NODES}
        before = stand.cost(running.pid)
        graph = measures.median_ms(TIMES, lambda: client.get("/graphs", params=view).raise_for_status())
        drawn = stand.cost(running.pid) - before
    deleted = measures.delete(running, vendor, number)
    return {
        "graph_ms": graph,
        "graph_cpu_ms": 1000 * drawn.cpu_s / TIMES,
        "delete_ms": 1000 * deleted.seconds,
        "delete_cpu_ms": 1000 * deleted.cost.cpu_s,
        "delete_calls": deleted.calls,
        "delete_mb": deleted.cost.written_bytes / 1e6,
    }


def slow_model(system: System, sizes: Sizes) -> Figures:
    """Wall time beside a model that takes its time; LightRAG also with its certificates read once."""
    figures = {"share_2s": 100 * _indexed(system, sizes, 2.0).share_of_ideal(2.0)}
    figures["wall_02s"] = _indexed(system, sizes, 0.2).seconds
    if isinstance(system, LightRAG):
        figures["wall_02s_ssl"] = _indexed(with_one_ssl_context(system), sizes, 0.2).seconds
    return figures


def _indexed(system: System, sizes: Sizes, latency_s: float) -> measures.Indexed:
    texts = corpus(sizes.small // CHUNKS_PER_DOCUMENT)
    with (
        TemporaryDirectory() as folder,
        in_process(DIMENSION) as vendor,
        system.running(Path(folder), vendor) as running,
    ):
        vendor.control(latency_s=latency_s)
        return measures.index(running, vendor, texts.texts)


def light(system: System, sizes: Sizes) -> Figures:
    if not isinstance(system, Ours):
        return {}
    texts = corpus(LIGHT_CHUNKS // CHUNKS_PER_DOCUMENT)
    with (
        TemporaryDirectory() as folder,
        in_process(DIMENSION) as vendor,
        system.running(Path(folder), vendor, INDEX_PROFILE="light") as running,
    ):
        return {"light_calls": measures.index(running, vendor, texts.texts).calls / LIGHT_CHUNKS}


def crash(system: System, sizes: Sizes) -> Figures:
    """`crash.py` for itself: it accounts for every document, chunk, node, edge and vector."""
    if not isinstance(system, Ours):
        return {}
    command = [sys.executable, "-m", "benchmarks.crash", "--kills", str(sizes.kills)]
    ended = subprocess.run(command, stdout=sys.stderr, cwd=CRASH.parents[1], check=False)
    return {"crash_faults": float(ended.returncode), "crash_kills": 4 * sizes.kills}


GROWN = ("cpu_ms", "written_kb", "mix_p50_ms", "mix_cpu_ms", "first_answer_s")


def growth(system: System, sizes: Sizes) -> Figures:
    """One workspace that grows: what its latest chunks cost, and what questions and a start cost then."""
    if not isinstance(system, Ours):
        return {}
    texts = corpus(sizes.growth[-1] // CHUNKS_PER_DOCUMENT)
    with TemporaryDirectory() as folder, in_process(DIMENSION) as vendor:
        return {
            f"at_{size}_{name}": value
            for start, size in zip((0, *sizes.growth), sizes.growth, strict=False)
            for name, value in _grown(system, Path(folder), vendor, texts, start, size)
        }


def _grown(
    system: System, folder: Path, vendor: Vendor, texts: Corpus, start: int, size: int
) -> Iterator[tuple[str, float]]:
    first, end = start // CHUNKS_PER_DOCUMENT, size // CHUNKS_PER_DOCUMENT
    questions = texts.questions(31, seed=size)
    with system.running(folder, vendor) as running:
        indexed = measures.index(running, vendor, texts.texts[first:end], first=first)
        yield "cpu_ms", indexed.cpu_ms
        yield "written_kb", indexed.written_kb
        with running.client() as client, measures.quiet(client):
            asked = measures.ask(running, vendor, questions, mode="mix", **CONTEXT)
        yield "mix_p50_ms", asked.p50_ms
        yield "mix_cpu_ms", asked.cpu_ms
        print(f"growth to {size}: {indexed.seconds:.0f} s", file=sys.stderr, flush=True)
    with system.running(folder, vendor) as running, running.client() as client:
        began = time.perf_counter()
        client.post("/query", json={"query": questions[1], **CONTEXT})
        yield "first_answer_s", running.start_s + time.perf_counter() - began


PHASES: dict[str, Callable[[System, Sizes], Figures]] = {
    "small": small,
    "slow": slow_model,
    "whole": whole,
    "fleet": fleet,
    "light": light,
    "growth": growth,
    "crash": crash,
}

if __name__ == "__main__":
    main()
