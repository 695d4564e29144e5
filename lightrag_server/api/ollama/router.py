"""Ollama's routes. They translate; the workspace's query service answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray

from lightrag_server.api.deps import ChosenWorkspace, OpenedApp
from lightrag_server.api.ollama import render
from lightrag_server.api.ollama.messages import chat_question, prompt_question
from lightrag_server.api.ollama.route import OllamaRoute
from lightrag_server.api.ollama.schemas import (
    ChatBody,
    ChatReply,
    EmbedBody,
    EmbeddingsBody,
    EmbeddingsReply,
    EmbedReply,
    GenerateBody,
    GenerateReply,
    ModelList,
    RunningModels,
    ShowBody,
    ShownModel,
    Version,
)
from lightrag_server.api.questions import Events, evidence
from lightrag_server.api.streaming import (
    CLIENT_CLOSED_REQUEST,
    ClientGone,
    NDJSONResponse,
    begun,
    ending_in_error,
    line,
    unless_gone,
)
from lightrag_server.bootstrap import App
from lightrag_server.errors import NotFound

logger = logging.getLogger(__name__)

_LINES: dict[str, Any] = {"application/x-ndjson": {"schema": {"type": "string"}}}
_VENDOR: dict[int | str, dict[str, Any]] = {502: {}, 503: {}, 504: {}}

router = APIRouter(prefix="/api", tags=["ollama"], route_class=OllamaRoute)

# ----------------------------------------------------------------------------- models


@router.get("/version")
async def version() -> Version:
    """The version of Ollama whose API this is."""
    return Version(version=render.VERSION)


@router.get("/tags")
async def tags(app: OpenedApp) -> ModelList:
    """The models: one, which answers from the documents."""
    return ModelList.model_validate({"models": [render.listed(app.settings.ollama.model)]})


@router.get("/ps")
async def running_models(app: OpenedApp) -> RunningModels:
    """The models that are loaded: the same one, always."""
    return RunningModels.model_validate({"models": [render.running(app.settings.ollama.model)]})


@router.post("/show", responses={404: {}})
async def show(app: OpenedApp, asked: ShowBody) -> ShownModel:
    """What a model can do."""
    names = app.settings.ollama
    name = asked.model or asked.name or ""
    if name not in (names.model, names.model_name):
        raise NotFound(f"model {name!r} not found")
    shown = render.shown(
        context_tokens=app.settings.llm.max_context_tokens,
        dimension=app.embedder.dimension,
        sees=app.vision is not None,
    )
    return ShownModel.model_validate(shown)


# ----------------------------------------------------------------------------- texts


@router.post("/chat", response_model=ChatReply, responses={200: {"content": _LINES}})
async def chat(request: Request, app: OpenedApp, workspace: ChosenWorkspace, asked: ChatBody) -> Response:
    """Answer the last message from the documents. A prefix chooses the mode: `/mix Who was Marley?`."""
    shown_as = app.settings.ollama
    wanted, wants_evidence = await chat_question(asked, shown_as.default_mode, workspace.query_settings)
    events = evidence(workspace, wanted) if wants_evidence else workspace.query.ask(wanted)
    reply = render.Reply("chat", asked.model, wanted, with_sources=shown_as.sources and not wants_evidence)
    return await _response(request, events, reply, is_stream=bool(asked.stream))


@router.post("/generate", response_model=GenerateReply, responses={200: {"content": _LINES}})
async def generate(request: Request, app: OpenedApp, workspace: ChosenWorkspace, asked: GenerateBody) -> Response:
    """Let the language model alone continue a prompt: nothing is looked up in the documents.

    An empty prompt asks to load the model, which always is.
    """
    if not asked.prompt and not asked.images:
        return Response(line(render.loaded(asked.model)), media_type="application/json")
    wanted = await prompt_question(asked, workspace.query_settings)
    reply = render.Reply("generate", asked.model, wanted, with_sources=False)
    return await _response(request, workspace.query.ask(wanted), reply, is_stream=bool(asked.stream))


async def _response(request: Request, events: Events, reply: render.Reply, *, is_stream: bool) -> Response:
    try:
        if is_stream:
            lines = await begun(request, _lines(events, reply))
            return NDJSONResponse(ending_in_error(lines, request))
        text = await unless_gone(request, _whole(events, reply))
        return Response(line(reply.last(text)), media_type="application/json")
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED_REQUEST)


async def _whole(events: Events, reply: render.Reply) -> str:
    async with aclosing(events):
        return "".join([reply.add(event) async for event in events])


async def _lines(events: Events, reply: render.Reply) -> AsyncGenerator[str, None]:
    async with aclosing(events):
        async for event in events:
            if text := reply.add(event):
                yield line(reply.piece(text))
    yield line(reply.last())


# ----------------------------------------------------------------------------- vectors


@router.post("/embed", response_model=EmbedReply, responses=_VENDOR)
async def embed(request: Request, app: OpenedApp, asked: EmbedBody) -> Response:
    """Embed texts as questions are: vectors of unit length, by the configured embedding model."""
    began = time.perf_counter_ns()
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    try:
        vectors = await _vectors(request, app, texts)
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    body = await asyncio.to_thread(render.embeddings, asked.model, texts, vectors, began)
    return Response(body, media_type="application/json")


@router.post("/embeddings", response_model=EmbeddingsReply, responses=_VENDOR)
async def embeddings(request: Request, app: OpenedApp, asked: EmbeddingsBody) -> Response:
    """Embed one text, as Ollama did before `/api/embed`. An empty one has no vector."""
    try:
        vectors = await _vectors(request, app, [asked.prompt] if asked.prompt else [])
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    return Response(render.embedding(vectors), media_type="application/json")


async def _vectors(request: Request, app: App, texts: Sequence[str]) -> NDArray[np.float32]:
    return await unless_gone(request, app.embedder.embed(texts, "query"))
