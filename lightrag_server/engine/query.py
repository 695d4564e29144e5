"""A question answered, in a straight line: plan → retrieve → fit → answer. Streaming is the only path."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from pydantic import BaseModel, ValidationError

from lightrag_server.core.context import estimated_tokens, fit
from lightrag_server.core.keywords import Keywords, keywords_of
from lightrag_server.core.prompts import prompt, template
from lightrag_server.core.records import Context, Question, Turn, Usage
from lightrag_server.engine.answers import NO_CONTEXT, Answerer, answer_prompt
from lightrag_server.engine.events import Event, Finished, References, Step, Text
from lightrag_server.engine.retrieval import Retrieval
from lightrag_server.errors import BadReply
from lightrag_server.ports.llm import LLM, ChatRequest

_OBJECT = re.compile(r"\{.*\}", re.DOTALL)


class _KeywordReply(BaseModel):
    high_level_keywords: tuple[str, ...]
    low_level_keywords: tuple[str, ...]


class Query:
    def __init__(
        self,
        retrieval: Retrieval,
        answerer: Answerer,
        *,
        keyword_llm: LLM | None,
        max_context_tokens: int,
    ) -> None:
        self._retrieval = retrieval
        self._answerer = answerer
        self._keyword_llm = keyword_llm
        self._max_context_tokens = max_context_tokens

    async def ask(self, question: Question) -> AsyncGenerator[Event, None]:
        """Steps, the references, text deltas, then `Finished`. Closing the generator cancels the vendor call."""
        began = time.perf_counter()
        if question.mode == "bypass":
            async with aclosing(self._answered(question, Context(), began, bypass=True)) as events:
                async for event in events:
                    yield event
            return
        yield Step("extracting_keywords")
        keywords, usage = await self._keywords(question)
        yield Step("retrieving_chunks")
        context = await self._context(question, keywords)
        yield References(context)
        if context.is_empty:
            yield Text(NO_CONTEXT)
            yield Finished(usage, time.perf_counter() - began, generated=False)
            return
        yield Step("generating_response")
        async with aclosing(self._answered(question, context, began, usage=usage)) as events:
            async for event in events:
                yield event

    async def retrieve(self, question: Question) -> Context:
        """The evidence alone: no answer, and no LLM call unless keywords are configured to come from one."""
        if question.mode == "bypass":
            return Context()
        keywords, _ = await self._keywords(question)
        return await self._context(question, keywords)

    def prompt(self, question: Question, context: Context) -> str:
        """What would be sent to the model."""
        turns = (Turn("system", answer_prompt(question, context)), *question.history, Turn("user", question.text))
        return "\n\n".join(f"{turn.role}:\n{turn.content}" for turn in turns)

    async def _answered(
        self, question: Question, context: Context, began: float, *, bypass: bool = False, usage: Usage | None = None
    ) -> AsyncGenerator[Event, None]:
        total = usage or Usage()
        source = self._answerer.converse(question) if bypass else self._answerer.answer(question, context)
        async with aclosing(source):
            async for item in source:
                if isinstance(item, Usage):
                    total += item
                else:
                    yield Text(item)
        yield Finished(total, time.perf_counter() - began, generated=self._answerer.is_generative)

    async def _context(self, question: Question, keywords: Keywords) -> Context:
        found = await self._retrieval.find(question, keywords)
        history = sum(estimated_tokens(turn.content) for turn in question.history)
        instructions = template("answer")
        spent = history + sum(estimated_tokens(t) for t in (instructions, question.text, question.user_prompt))
        budget = replace(question.budget, total=min(question.budget.total, self._max_context_tokens))
        context = fit(found.evidence, budget, spent)
        return replace(
            context, high_keywords=keywords.high, low_keywords=keywords.low, found=_counted(found.counts, context)
        )

    async def _keywords(self, question: Question) -> tuple[Keywords, Usage]:
        """The caller's own where given, else by rule or by one LLM call (`KEYWORD_EXTRACTION`)."""
        if question.high_keywords or question.low_keywords:
            return Keywords(question.high_keywords, question.low_keywords), Usage()
        if self._keyword_llm is None or question.mode == "naive":
            return keywords_of(question.text), Usage()
        request = ChatRequest((Turn("user", prompt("keywords", question=question.text)),), max_tokens=300)
        reply = await self._keyword_llm.complete(request)
        return _read_keywords(reply.text), reply.usage


def _counted(found: dict[str, int], context: Context) -> dict[str, int]:
    return found | {
        "entities_after_truncation": len(context.entities),
        "relations_after_truncation": len(context.relations),
        "merged_chunks_count": found["total_chunks_found"],
        "final_chunks_count": len(context.passages),
    }


def _read_keywords(text: str) -> Keywords:
    match = _OBJECT.search(text)
    try:
        reply = _KeywordReply.model_validate_json(match.group() if match else "")
    except ValidationError as error:
        raise BadReply("the keyword reply is not the JSON object that was asked for") from error
    return Keywords(reply.high_level_keywords, reply.low_level_keywords)
