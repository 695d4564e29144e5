"""LightRAG's question routes. The engine's events are the only source; a plain answer is the collected stream."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response

from lightrag_server.api.auth import GuardedRoute
from lightrag_server.api.deps import ChosenWorkspace, OpenedApp
from lightrag_server.api.errors import failure
from lightrag_server.api.lightrag import render
from lightrag_server.api.lightrag.data_schemas import QueryDataResponse
from lightrag_server.api.lightrag.schemas import QueryRequest, QueryResponse, ReferenceItem
from lightrag_server.api.questions import Answer, Events, collect, question
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
from lightrag_server.core import refusals
from lightrag_server.core.context import render as context_text
from lightrag_server.core.records import Budget, Question, Turn, Usage
from lightrag_server.engine.events import Finished, References, Step, Text
from lightrag_server.engine.workspace import Workspace
from lightrag_server.errors import InvalidInput
from lightrag_server.settings.query import QuerySettings

logger = logging.getLogger(__name__)

router = APIRouter(tags=["query"], route_class=GuardedRoute)


@router.post("/query", response_model=QueryResponse)
async def query(request: Request, app: OpenedApp, workspace: ChosenWorkspace, asked: QueryRequest) -> Any:
    """Answer a question with its sources. `stream` has no meaning here."""
    try:
        answer = await unless_gone(request, _whole(workspace, asked, _wanted(app, workspace, asked)))
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    sources = render.references(answer.context, with_content=bool(asked.include_chunk_content))
    return QueryResponse(
        response=answer.text,
        references=[ReferenceItem(**row) for row in sources] if asked.include_references else None,
        response_time=answer.seconds,
        llm_generated=answer.is_generated,
        usage=render.usage(answer.usage),
    )


@router.post(
    "/query/stream",
    response_class=Response,
    responses={200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}},
)
async def query_stream(request: Request, app: OpenedApp, workspace: ChosenWorkspace, asked: QueryRequest) -> Response:
    """Answer line by line: references, then pieces of the response; an error ends the stream as a line of its own."""
    wanted = _wanted(app, workspace, asked)
    if asked.stream is False or asked.only_need_context or asked.only_need_prompt:
        lines = _single_line(workspace, asked, wanted)
    else:
        lines = _lines(workspace.query.ask(wanted), asked)
    try:
        lines = await begun(request, lines)
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    return NDJSONResponse(ending_in_error(lines, request))


@router.post("/query/data", response_model=QueryDataResponse, responses={400: {"model": QueryDataResponse}})
async def query_data(request: Request, app: OpenedApp, workspace: ChosenWorkspace, asked: QueryRequest) -> Any:
    """What an answer would rest on, without the answer: entities, relations, passages and sources."""
    work = workspace.query.retrieve(_wanted(app, workspace, asked))
    try:
        context = await unless_gone(request, work)
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    if context.is_empty:
        nothing = {"failure_reason": "no_results", "mode": asked.mode}
        return failure("Nothing in the documents matches this question.", nothing)
    return {
        "status": "success",
        "message": "Retrieval succeeded.",
        "data": render.data(context),
        "metadata": render.metadata(context, asked.mode),
    }


def _wanted(app: App, workspace: Workspace, asked: QueryRequest) -> Question:
    if asked.answer == "model" and app.llm is None:
        raise InvalidInput("no language model is configured that could answer: set LLM_BINDING")
    return question_of(asked, workspace.query_settings)


def question_of(asked: QueryRequest, defaults: QuerySettings) -> Question:
    """What the request leaves open comes from the settings."""
    return question(
        asked.query,
        asked.mode,
        defaults,
        top_k=asked.top_k or defaults.top_k,
        chunk_top_k=asked.chunk_top_k or defaults.chunk_top_k,
        budget=Budget(
            asked.max_entity_tokens or defaults.max_entity_tokens,
            asked.max_relation_tokens or defaults.max_relation_tokens,
            asked.max_total_tokens or defaults.max_total_tokens,
        ),
        response_type=asked.response_type or defaults.response_type,
        high_keywords=_words(asked.hl_keywords),
        low_keywords=_words(asked.ll_keywords),
        history=tuple(Turn(m.role, m.content) for m in asked.conversation_history or ()),
        user_prompt=asked.user_prompt or "",
        documents=asked.filters.as_filter() if asked.filters else None,
        is_quoted=asked.answer == "quotes",
        rerank=defaults.rerank_by_default if asked.enable_rerank is None else asked.enable_rerank,
    )


def _words(keywords: list[str]) -> tuple[str, ...]:
    return tuple(word for keyword in keywords if (word := keyword.strip()))


# ----------------------------------------------------------------------------- whole answers


async def _whole(workspace: Workspace, asked: QueryRequest, wanted: Question) -> Answer:
    if asked.only_need_context or asked.only_need_prompt:
        return await _without_answer(workspace, asked, wanted)
    async with aclosing(workspace.query.ask(wanted)) as events:
        return await collect(events)


async def _without_answer(workspace: Workspace, asked: QueryRequest, wanted: Question) -> Answer:
    began = time.perf_counter()
    context = await workspace.query.retrieve(wanted)
    text = context_text(context) if asked.only_need_context else workspace.query.prompt(wanted, context)
    if context.is_empty and wanted.mode != "bypass":
        text = refusals.nothing_found(wanted.text)
    return Answer(text, context, Usage(), time.perf_counter() - began, is_generated=False)


# ----------------------------------------------------------------------------- lines


async def _single_line(workspace: Workspace, asked: QueryRequest, wanted: Question) -> AsyncGenerator[str, None]:
    answer = await _whole(workspace, asked, wanted)
    yield _complete(answer, asked)
    if asked.include_progress:
        yield _last(answer.seconds, answer.usage)


def _complete(answer: Answer, asked: QueryRequest) -> str:
    row: dict[str, Any] = {"response": answer.text, "llm_generated": answer.is_generated}
    if asked.include_references:
        row["references"] = render.references(answer.context, with_content=bool(asked.include_chunk_content))
    return line(row)


async def _lines(events: Events, asked: QueryRequest) -> AsyncGenerator[str, None]:
    """References, then deltas. Where there is no evidence there is nothing to stream: one complete line."""
    async with aclosing(events):
        async for event in events:
            match event:
                case Step(name):
                    if asked.include_progress:
                        yield line({"progress": name})
                case References(context):
                    if context.is_empty:
                        answer = await collect(events)
                        yield _complete(answer, asked)
                        if asked.include_progress:
                            yield _last(answer.seconds, answer.usage)
                        return
                    if asked.include_references:
                        sources = render.references(context, with_content=bool(asked.include_chunk_content))
                        yield line({"references": sources})
                case Text(delta):
                    yield line({"response": delta})
                case Finished():
                    if asked.include_progress:
                        yield _last(event.seconds, event.usage)


def _last(seconds: float, usage: Usage) -> str:
    return line({"response_time": seconds, "usage": render.usage(usage)})
