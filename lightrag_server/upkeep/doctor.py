"""`lightrag-server doctor`: what is wrong with the data of a folder, and mending it."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict

from lightrag_server import logs
from lightrag_server.bindings.registry import choose_bindings, open_embedder
from lightrag_server.bootstrap import App, open_app
from lightrag_server.compute import Compute
from lightrag_server.core.edits import Mend
from lightrag_server.engine.clock import utc_now
from lightrag_server.engine.doctor.checkup import Checkup, Progress, Report
from lightrag_server.engine.doctor.treatment import Treatment, mends_for
from lightrag_server.engine.stores import open_stores
from lightrag_server.engine.workspace import Workspace
from lightrag_server.errors import ConfigError, LightRAGError, NotFound
from lightrag_server.kept import open_kept
from lightrag_server.ports.embedding import Embedder
from lightrag_server.settings import Settings
from lightrag_server.settings.loader import from_process

ROUNDS = 4
"""What is damaged below hides what is damaged above."""
MEND_WAIT_S = 600.0
POLL_S = 0.1
PROGRESS_S = 5.0
EXIT_SOUND = 0
EXIT_FLAWED = 1

Reports = dict[str, Report]
"""By the public names of the workspaces."""


def run(program: str, arguments: Sequence[str]) -> int:
    """0 when nothing is wrong, 1 when something is left. The report goes to standard output, all else to standard
    error."""
    given = _parser(program).parse_args(arguments)
    settings = from_process({"WORKING_DIR": given.working_dir} if given.working_dir else {}).settings
    logs.configure("WARNING")
    folder = settings.server.working_dir
    if not folder.is_dir():
        raise ConfigError(f"WORKING_DIR is {str(folder)!r}, and there is no such folder; is this the right place?")
    reports = asyncio.run(_run(settings, given.workspace, mends=given.mend, is_quiet=given.json))
    print(as_json(reports) if given.json else as_text(reports))
    return EXIT_SOUND if all(report.is_sound for report in reports.values()) else EXIT_FLAWED


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Look for damage in everything that is kept, also while a server runs. "
        "Exit code 0: nothing is wrong; 1: something is; 2: a setting is.",
    )
    parser.add_argument("--working-dir", help="folder of all data [WORKING_DIR]")
    parser.add_argument("--workspace", metavar="NAME", help="only this one; else all")
    parser.add_argument("--mend", action="store_true", help="mend what can be mended; the models may be asked")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


async def _run(settings: Settings, name: str | None, *, mends: bool, is_quiet: bool) -> Reports:
    reports = await examined(settings, name)
    for _ in range(ROUNDS):
        if not mends or not any(report.can_mend for report in reports.values()):
            break
        if not is_quiet:
            print(as_text(reports, is_final=False), file=sys.stderr)
        await mended(settings, reports)
        before, reports = reports, await examined(settings, name)
        if _flaws(before) == _flaws(reports):
            break
    return reports


async def examined(settings: Settings, name: str | None = None) -> Reports:
    """The state of one workspace, or of all. Raises `ConfigError` for a name that none has."""
    async with open_kept(settings) as kept, _open_embedder(settings) as embedder:
        try:
            rows = [await kept.register.existing(name)] if name is not None else await kept.register.all()
        except NotFound as error:
            raise ConfigError(str(error)) from error
        reports: Reports = {}
        for row in rows:
            stores = open_stores(row.key, kept.backends, kept.blobs)
            reports[row.name] = await Checkup(stores, kept.queue, embedder).run(_teller(row.name))
        return reports


@asynccontextmanager
async def _open_embedder(settings: Settings) -> AsyncIterator[Embedder]:
    """Opened for its name; nothing is embedded."""
    _, embedding, _ = await choose_bindings(settings.llm, settings.embedding)
    async with AsyncExitStack() as stack:
        compute = Compute(settings.ingest.cpu_workers)
        stack.push_async_callback(compute.close)
        embedder = open_embedder(embedding, compute)
        stack.push_async_callback(embedder.close)
        yield embedder


async def mended(settings: Settings, reports: Reports) -> None:
    """Whoever works on the workspace carries the edits out: a server, or the worker that is opened here."""
    async with open_app(settings) as app:
        for name, report in reports.items():
            if report.can_mend:
                await _mended(app, await app.workspaces.named(name), report)


async def _mended(app: App, workspace: Workspace, report: Report) -> None:
    for mend in mends_for(report):
        await _carried_out(workspace, mend)
    again = await Treatment(workspace.stores, app.queue, utc_now).give(report.faults)
    app.bell.ring()
    if again:
        print(f"{workspace.name or 'default'}: {again} document(s) are prepared again, by any server", file=sys.stderr)


async def _carried_out(workspace: Workspace, mend: Mend) -> None:
    edit_id, _ = await workspace.edits.submit(mend)
    deadline = time.monotonic() + MEND_WAIT_S
    while time.monotonic() < deadline:
        try:
            if await workspace.edits.outcome(edit_id):
                return
        except LightRAGError as error:
            print(f"not mended: {error}", file=sys.stderr)
            return
        await asyncio.sleep(POLL_S)
    raise LightRAGError(f"the commit did not come to mending within {MEND_WAIT_S:.0f} s; it goes on when it does")


def as_text(reports: Reports, *, is_final: bool = True) -> str:
    lines: list[str] = []
    for name, report in reports.items():
        counts = ", ".join(f"{count:,} {what}" for what, count in report.counts.items() if count)
        lines.append(f"{name or 'default'}: {counts or 'empty'}: {'sound' if report.is_sound else 'damaged'}")
        for flaw in report.flaws:
            examples = f", as {', '.join(flaw.examples)}" if flaw.examples else ""
            remedy = f"{'--mend: ' if flaw.can_mend and is_final else ''}{flaw.remedy}"
            lines.append(f"  {flaw.kind}: {flaw.count:,} {flaw.what}{examples} ({remedy})")
    return "\n".join(lines)


def as_json(reports: Reports) -> str:
    listed = [
        {"workspace": name, "counts": report.counts, "findings": [asdict(flaw) for flaw in report.flaws]}
        for name, report in reports.items()
    ]
    is_sound = all(report.is_sound for report in reports.values())
    return json.dumps({"is_sound": is_sound, "workspaces": listed}, ensure_ascii=False, indent=2)


def _flaws(reports: Reports) -> dict[str, object]:
    return {name: report.flaws for name, report in reports.items()}


def _teller(name: str) -> Progress:
    """A line every few seconds."""
    told = time.monotonic()

    def tell(title: str, count: int) -> None:
        nonlocal told
        if time.monotonic() - told > PROGRESS_S:
            told = time.monotonic()
            print(f"{name or 'default'}: {title}: {count:,}", file=sys.stderr)

    return tell
