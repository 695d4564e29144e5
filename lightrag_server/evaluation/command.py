"""`lightrag-server eval`: options in, a run or a comparison out."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lightrag_server import logs
from lightrag_server.core.records import Mode
from lightrag_server.errors import ConfigError
from lightrag_server.evaluation import over_http
from lightrag_server.evaluation.asking import Plan, ask_all, unknown_sources
from lightrag_server.evaluation.compare import Difference, differences
from lightrag_server.evaluation.corpus import Brought, bring, files_of
from lightrag_server.evaluation.floors import Floor, failures, read_floor
from lightrag_server.evaluation.measures import measure_names
from lightrag_server.evaluation.page import page
from lightrag_server.evaluation.progress import Progress
from lightrag_server.evaluation.questions import Case, read_questions
from lightrag_server.evaluation.results import Compared, Run, as_json, read_compared
from lightrag_server.evaluation.table import difference_cells, markdown, summary_cells
from lightrag_server.evaluation.target import Target
from lightrag_server.settings.loader import from_process

MODES: tuple[Mode, ...] = ("naive", "local", "global", "hybrid", "mix")
LARGEST = 1000
"""Of the numbers that LightRAG's requests take."""
SHOWN = 10
EXIT_INTERRUPTED = 130
DESCRIPTION = (
    "Ask the questions of a file in several modes and measure what is found and answered. Asks in this process, with "
    "the settings and data of the current folder (a server may run beside it), or a server of this kind or a LightRAG "
    "with --url. Exit code 1: a floor of --fail-under was not reached, or a question failed."
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options ask for, checked before anything is opened."""

    cases: list[Case]
    plan: Plan
    files: list[Path]
    floors: list[Floor]
    before: Compared | None


def run(program: str, arguments: Sequence[str]) -> int:
    """The exit code. Raises `ConfigError` for options and files that cannot work."""
    given = _parser(program).parse_args(arguments)
    if given.questions is None:
        return _compare_files(given)
    try:
        return asyncio.run(_evaluated(_wanted(given), given))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _compare_files(given: argparse.Namespace) -> int:
    if len(given.compare) != 2:
        raise ConfigError("name a file of questions, or two results with --compare")
    first, second = (read_compared(str(path), _read(path)) for path in given.compare)
    print(markdown(difference_cells(differences(first, second))))
    return 0


# ----------------------------------------------------------------------------- options


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("questions", nargs="?", type=Path, metavar="QUESTIONS", help="JSON lines, a JSON list, or CSV")
    where = parser.add_argument_group("where")
    where.add_argument("--url", help="ask over HTTP instead of in this process")
    where.add_argument("--api-key", metavar="KEY", help="key for --url")
    where.add_argument("--workspace", metavar="NAME", help="default: the one of the settings, or of the server")
    where.add_argument("--documents", type=Path, metavar="FOLDER", help="first index its files that are not there yet")
    how = parser.add_argument_group("how")
    how.add_argument("--modes", type=_modes, default=MODES, metavar="LIST", help=f"default {','.join(MODES)}")
    how.add_argument("--k", type=_ks, default=(2, 5, 10), metavar="LIST", help="places looked at, default 2,5,10")
    how.add_argument("--top-k", type=_count, metavar="N", help="entities and relations; default: the server's")
    how.add_argument("--chunk-top-k", type=_count, metavar="N", help="passages; default: the server's")
    how.add_argument("--rerank", action=argparse.BooleanOptionalAction, help="whether passages are reranked")
    how.add_argument("--limit", type=_count, metavar="N", help="only the first questions")
    how.add_argument("--answers", action="store_true", help="have the questions answered; measure that, too")
    out = parser.add_argument_group("results")
    out.add_argument("--json", type=Path, metavar="FILE", help="all figures, question by question")
    out.add_argument("--html", type=Path, metavar="FILE", help="a page with plots and the questions that missed gold")
    out.add_argument(
        "--compare", type=Path, nargs="+", default=[], metavar="JSON", help="an earlier result; without QUESTIONS two"
    )
    out.add_argument(
        "--fail-under", action="append", default=[], metavar="[MODE:]MEASURE=N", help="as recall@5=0.7; repeatable"
    )
    return parser


def _modes(text: str) -> tuple[Mode, ...]:
    names = [name.strip() for name in text.split(",")]
    known: dict[str, Mode] = {mode: mode for mode in MODES}
    if odd := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(f"{odd[0]!r} is none of {', '.join(MODES)}")
    return tuple(dict.fromkeys(known[name] for name in names))


def _ks(text: str) -> tuple[int, ...]:
    return tuple(sorted({_count(part) for part in text.split(",")}))


def _count(text: str) -> int:
    if not text.strip().isdecimal() or not 1 <= int(text) <= LARGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to {LARGEST}")
    return int(text)


def _wanted(given: argparse.Namespace) -> Wanted:
    if given.url is None and given.api_key is not None:
        raise ConfigError("--api-key is for --url")
    if len(given.compare) > 1:
        raise ConfigError("with QUESTIONS, --compare takes one earlier result")
    names = measure_names(given.k, with_answers=given.answers)
    return Wanted(
        cases=read_questions(str(given.questions), _read(given.questions))[: given.limit],
        plan=Plan(given.modes, given.k, given.top_k, given.chunk_top_k, given.answers, given.rerank),
        files=files_of(given.documents, [given.questions]) if given.documents else [],
        floors=[read_floor(text, given.modes, names) for text in given.fail_under],
        before=read_compared(str(given.compare[0]), _read(given.compare[0])) if given.compare else None,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


# ----------------------------------------------------------------------------- run


async def _evaluated(wanted: Wanted, given: argparse.Namespace) -> int:
    progress = Progress()
    async with _target(given, works=bool(wanted.files)) as target:
        about = {**await target.about(), **_asked_how(wanted, given)}
        if wanted.files:
            about |= _told_of(await bring(target, wanted.files, progress), progress)
        if unknown := await unknown_sources(target, wanted.cases):
            progress.tell(f"gold sources that no document here is named like ({len(unknown)}): {_some(unknown)}")
        rows = await ask_all(target, wanted.cases, wanted.plan, progress)
    done = Run(about, wanted.plan.ks, wanted.plan.with_answers, {**rows})
    return _reported(done, wanted, given)


def _target(given: argparse.Namespace, *, works: bool) -> AbstractAsyncContextManager[Target]:
    if given.url is not None:
        address = over_http.Address(given.url, given.api_key, given.workspace)
        return over_http.opened(address)
    from lightrag_server.evaluation import in_process

    loaded = from_process({})
    logs.configure(loaded.settings.server.log_level if "LOG_LEVEL" in loaded.origins else "WARNING")
    return in_process.opened(loaded.settings, given.workspace, works=works)


def _asked_how(wanted: Wanted, given: argparse.Namespace) -> dict[str, Any]:
    chosen = {"top_k": given.top_k, "chunk_top_k": given.chunk_top_k, "rerank": given.rerank}
    return {
        "questions": f"{len(wanted.cases)} of {given.questions.name}",
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        **{name: value for name, value in chosen.items() if value is not None},
    }


def _told_of(brought: Brought, progress: Progress) -> dict[str, Any]:
    for word, reasons in (("refused", brought.refused), ("failed", brought.failed)):
        for name, reason in reasons.items():
            progress.tell(f"{word}: {name}: {reason}")
    counts = {"new": brought.uploaded, "known": brought.known}
    counts |= {"refused": len(brought.refused), "failed": len(brought.failed)}
    return {"documents": ", ".join(f"{n} {word}" for word, n in counts.items() if n)}


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


# ----------------------------------------------------------------------------- results


def _reported(done: Run, wanted: Wanted, given: argparse.Namespace) -> int:
    print(markdown(summary_cells(done)))
    compared: list[Difference] = []
    if wanted.before is not None:
        compared = differences(wanted.before, done.compared())
        print(f"\n{markdown(difference_cells(compared))}")
    if given.json:
        _write(given.json, as_json(done))
    if given.html:
        _write(given.html, page(done, compared))
    wrong = [*_failed_questions(done), *failures(wanted.floors, done.summaries())]
    if wrong:
        print(f"eval: {'; '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


def _failed_questions(done: Run) -> list[str]:
    errors = [row.error for rows in done.rows.values() for row in rows if row.error]
    return [f"questions that failed: {len(errors)}, the first with: {errors[0]}"] if errors else []


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
