"""OpenAI's routes, under `/v1` and `/api/v1` alike. They translate; the workspace's query service answers."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Header, Request, Response

from lightrag_server.api.auth import GuardedRoute
from lightrag_server.api.deps import WORKSPACE_HEADER, CurrentCaller, OpenedApp
from lightrag_server.api.errors import body_for, path_of
from lightrag_server.api.openai import models, render
from lightrag_server.api.openai.messages import question_of
from lightrag_server.api.openai.schemas import (
    ChatCompletion,
    ChatCompletionRequest,
    EmbeddingList,
    EmbeddingsRequest,
    ModelItem,
    ModelList,
)
from lightrag_server.api.questions import Answer, Events, collect, evidence
from lightrag_server.api.streaming import (
    CLIENT_CLOSED_REQUEST,
    ClientGone,
    SSEResponse,
    begun,
    ending_in_error,
    event,
    unless_gone,
)
from lightrag_server.core.records import Context, Question
from lightrag_server.engine.events import Event, Finished, References, Text
from lightrag_server.errors import InvalidInput

logger = logging.getLogger(__name__)

FAILURES: dict[int | str, dict[str, Any]] = {status: {} for status in (404, 409, 502, 503, 504)}
BASES = ("/v1", "/api/v1")

router = APIRouter(tags=["openai"], route_class=GuardedRoute, responses=FAILURES)

Route = TypeVar("Route", bound=Callable[..., Any])

DONE = event("[DONE]")

WorkspaceHeader = Annotated[
    str | None,
    Header(alias=WORKSPACE_HEADER, description="Workspace, where the model's name leaves it open."),
]


def _route(method: str, path: str, **described: Any) -> Callable[[Route], Route]:
    """A route below each base."""

    def added(route: Route) -> Route:
        for base in BASES:
            router.add_api_route(base + path, route, methods=[method], **described)
        return route

    return added


@_route("GET", "/models")
async def list_models(app: OpenedApp, caller: CurrentCaller) -> ModelList:
    """Models: one for each mode of each workspace that the caller may enter."""
    return ModelList(data=[ModelItem(**render.model(name)) for name in await models.names(app, caller)])


@_route("GET", "/models/{model:path}")
async def get_model(app: OpenedApp, caller: CurrentCaller, model: str) -> ModelItem:
    """One model. Its name may hold slashes and colons."""
    await models.find(app, caller, model)
    return ModelItem(**render.model(model))


@_route(
    "POST",
    "/chat/completions",
    response_model=ChatCompletion,
    response_model_exclude_unset=True,
    responses={200: {"content": {"text/event-stream": {"schema": {"description": "Chunks, then [DONE]"}}}}},
)
async def chat_completions(
    request: Request,
    app: OpenedApp,
    caller: CurrentCaller,
    asked: ChatCompletionRequest,
    workspace: WorkspaceHeader = None,
) -> Any:
    """Answer the last user message from the documents, with sources as annotations and in `references`."""
    model = await models.find(app, caller, asked.model)
    entered = await models.workspace_of(app, caller, model, workspace)
    question = await question_of(asked, model, entered.query_settings)
    events = evidence(entered, question) if model.is_evidence else entered.query.ask(question)
    reply = render.Reply(f"chatcmpl-{secrets.token_hex(12)}", int(time.time()), asked.model, str(request.base_url))
    try:
        if asked.stream:
            with_usage = bool(asked.stream_options and asked.stream_options.include_usage)
            chunks = await begun(request, _chunks(events, question, reply, with_usage=with_usage))
            return SSEResponse(ending_in_error(chunks, request, partial(_error, request)))
        return reply.whole(question, await unless_gone(request, _whole(events)))
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED_REQUEST)


@_route("POST", "/embeddings", response_model=EmbeddingList)
async def embeddings(request: Request, app: OpenedApp, asked: EmbeddingsRequest) -> Response:
    """Embed texts with the server's embedding model."""
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    _check_length(asked.dimensions, app.embedder.dimension)
    try:
        vectors = await unless_gone(request, app.embedder.embed(texts, asked.input_type))
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    _check_length(asked.dimensions, vectors.shape[1])
    is_base64 = asked.encoding_format == "base64"
    body = await asyncio.to_thread(render.embeddings, vectors, texts, asked.model, as_base64=is_base64)
    return Response(body, media_type="application/json")


def _check_length(asked: int | None, actual: int | None) -> None:
    if asked is not None and actual is not None and asked != actual:
        raise InvalidInput(f"dimensions is {asked}; the configured model sends vectors of length {actual}")


# ----------------------------------------------------------------------------- events


async def _whole(events: Events) -> Answer:
    async with aclosing(events):
        return await collect(events)


async def _to_first_text(events: Events) -> list[Event]:
    head: list[Event] = []
    async for item in events:
        head.append(item)
        if isinstance(item, Text | Finished):
            break
    return head


async def _joined(head: list[Event], rest: Events) -> AsyncGenerator[Event, None]:
    for item in head:
        yield item
    async for item in rest:
        yield item


# ----------------------------------------------------------------------------- chunks


async def _chunks(
    events: Events, question: Question, reply: render.Reply, *, with_usage: bool
) -> AsyncGenerator[str, None]:
    """The sources, text by text, why it ended, the usage where asked for, and the closing mark.

    Nothing comes before the first text: until then a failure is a status, and clients know whether to try again.
    """
    more: dict[str, Any] = {"usage": None} if with_usage else {}
    parts: list[str] = []
    async with aclosing(events):
        head = await _to_first_text(events)
        context = next((item.context for item in head if isinstance(item, References)), Context())
        opening = {"role": "assistant", "content": ""}
        yield reply.chunk(opening, references=render.references(context), **more)
        async for item in _joined(head, events):
            if isinstance(item, Text):
                parts.append(item.delta)
                yield reply.chunk({"content": item.delta}, **more)
            elif isinstance(item, Finished):
                text = "".join(parts)
                notes = render.citations(text, context, reply.base_url, item.supports)
                yield reply.chunk({"annotations": notes}, render.finish_reason(item.finish), **more)
                if with_usage:
                    yield reply.usage_chunk(render.usage(item.usage, question, text))
                yield DONE


def _error(request: Request, status: int, sentence: str, code: str) -> str:
    """One last event, without the closing mark."""
    return event(body_for(path_of(request.scope), status, sentence, code))
