"""Asking without a server: the settings and the data of the current folder."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from lightrag_server import __version__
from lightrag_server.api.questions import question
from lightrag_server.bootstrap import App, Duty, open_app
from lightrag_server.core.records import Context, Question, Usage
from lightrag_server.engine.events import Finished, References, Step, Text
from lightrag_server.engine.workspace import Workspace
from lightrag_server.errors import ConfigError
from lightrag_server.evaluation.ranking import Piece
from lightrag_server.evaluation.results import Answer
from lightrag_server.evaluation.target import Asked, Evidence, State
from lightrag_server.ports.doc_status import Filter
from lightrag_server.settings import Settings


@asynccontextmanager
async def opened(settings: Settings, workspace: str | None, *, works: bool) -> AsyncIterator[InProcess]:
    """Without `works` nothing is written and no job is run. Kept answers of the model are not used: they cost nothing
    and take no time. Raises `ConfigError` where there is no data, and `NotFound` for an unknown workspace."""
    folder = settings.server.working_dir
    if not works and not folder.is_dir():
        raise ConfigError(f"WORKING_DIR is {str(folder)!r}, and there is no such folder; is this the right place?")
    settings = replace(settings, query=settings.query.model_copy(update={"enable_llm_cache": False}))
    name = settings.server.workspace if workspace is None else workspace
    async with open_app(settings, duty=Duty.EVERYTHING if works else Duty.READING) as app:
        if not works:
            await app.workspaces.register.existing(name)
        yield InProcess(app, await app.workspaces.named(name, will_write=works))


class InProcess:
    def __init__(self, app: App, workspace: Workspace) -> None:
        self._app = app
        self._workspace = workspace

    async def about(self) -> dict[str, str]:
        return {
            "server": f"in process, {__version__}",
            "data": str(self._app.settings.server.working_dir),
            "workspace": self._workspace.name,
            "llm": self._app.llm.identity if self._app.llm else "none, answers are quoted",
            "embedding": self._app.embedder.identity,
            "profile": (self._workspace.ingest_settings.profile or self._app.profile).value,
        }

    async def documents(self) -> dict[str, State]:
        rows = await self._workspace.stores.documents.find(Filter())
        return {row.file_path: State(row.status.value, row.error or "") for row in rows}

    async def upload(self, name: str, data: bytes) -> None:
        await self._workspace.intake.accept_file(name, data)

    async def find(self, asked: Asked) -> Evidence:
        began = time.perf_counter()
        context = await self._workspace.query.retrieve(self._question(asked))
        return evidence_of(context, time.perf_counter() - began)

    async def answer(self, asked: Asked) -> tuple[Evidence, Answer]:
        began = time.perf_counter()
        evidence, usage, parts = evidence_of(Context(), 0.0), Usage(), list[str]()
        async with aclosing(self._workspace.query.ask(self._question(asked))) as events:
            async for event in events:
                match event:
                    case References(context):
                        evidence = evidence_of(context, time.perf_counter() - began)
                    case Text(delta):
                        parts.append(delta)
                    case Finished():
                        usage = event.usage
                    case Step():
                        pass
        return evidence, Answer("".join(parts), time.perf_counter() - began, usage)

    def _question(self, asked: Asked) -> Question:
        given = {"top_k": asked.top_k, "chunk_top_k": asked.chunk_top_k, "rerank": asked.rerank}
        chosen = {name: value for name, value in given.items() if value is not None}
        return question(asked.text, asked.mode, self._workspace.query_settings, **chosen)


def evidence_of(context: Context, seconds: float) -> Evidence:
    pieces = tuple(Piece(passage.file_path, passage.text) for passage in context.passages)
    lines = [f"{e.name} {e.description}" for e in context.entities]
    lines += [f"{' '.join(r.names)} {r.keyword_text} {r.description}" for r in context.relations]
    return Evidence(pieces, "\n".join([*lines, *(piece.text for piece in pieces)]), seconds)
