"""A question answered, in a straight line: plan → retrieve → fit → answer. Streaming is the only path."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from pydantic import BaseModel, ValidationError

from lightrag_server.core import lexical, refusals
from lightrag_server.core.context import estimated_tokens, fit
from lightrag_server.core.digest import Wording
from lightrag_server.core.keywords import Keywords, keywords_of
from lightrag_server.core.metrics import RETRIEVAL_SECONDS
from lightrag_server.core.prompts import prompt, template
from lightrag_server.core.records import WEAK_EVIDENCE, Context, Mode, Question, Turn, Usage
from lightrag_server.core.sufficiency import Scale, is_weak
from lightrag_server.core.support import supports
from lightrag_server.engine.answers import Answerer, answer_prompt
from lightrag_server.engine.events import Event, Finished, References, Step, StepName, Text
from lightrag_server.engine.follow_up import FollowUp
from lightrag_server.engine.retrieval import Retrieval
from lightrag_server.engine.scope import Choice, choose
from lightrag_server.engine.summaries import Summaries
from lightrag_server.errors import BadReply, InvalidInput
from lightrag_server.ports.doc_status import DocStatusStore
from lightrag_server.ports.llm import LLM, ChatReply, ChatRequest, FinishReason
from lightrag_server.ports.telemetry import Telemetry

_OBJECT = re.compile(r"\{.*\}", re.DOTALL)


class _KeywordReply(BaseModel):
    high_level_keywords: tuple[str, ...]
    low_level_keywords: tuple[str, ...]


_ALL_SEARCHES: tuple[StepName, ...] = ("retrieving_entities", "retrieving_relations", "retrieving_chunks")
_SEARCHES: dict[Mode, tuple[StepName, ...]] = {
    "naive": ("retrieving_chunks",),
    "local": ("retrieving_entities", "retrieving_chunks"),
    "global": ("retrieving_relations", "retrieving_chunks"),
}
"""What a mode looks for. The searches run side by side, so they begin together."""
_KEYWORD_SCHEMA = _KeywordReply.model_json_schema() | {"additionalProperties": False}


class Query:
    def __init__(
        self,
        documents: DocStatusStore,
        retrieval: Retrieval,
        answerer: Answerer,
        *,
        quoting: Answerer,
        keyword_llm: LLM | None,
        follow_up: FollowUp,
        max_context_tokens: int,
        scale: Scale,
        vision: Answerer | None = None,
        summaries: Summaries | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._documents = documents
        self._retrieval = retrieval
        self._answerer = answerer
        self._quoting = quoting
        self._vision = vision
        self._keyword_llm = keyword_llm
        self._follow_up = follow_up
        self._max_context_tokens = max_context_tokens
        self._scale = scale
        self._summaries = summaries
        self._telemetry = telemetry or Telemetry()

    async def ask(self, question: Question) -> AsyncGenerator[Event, None]:
        """Steps, the references, text deltas, then `Finished`. Closing the generator cancels the vendor call."""
        began = time.perf_counter()
        self._answerer_of(question)  # nothing is searched for a question that nobody can answer
        if question.mode == "bypass":
            async with aclosing(self._answered(question, Context(), began, bypass=True)) as events:
                async for event in events:
                    yield event
            return
        if question.mode != "naive":
            yield Step("extracting_keywords")
        question, choice, keywords, usage = await self._planned(question)
        for name in _SEARCHES.get(question.mode, _ALL_SEARCHES):
            yield Step(name)
        if self._retrieval.reranks(question):
            yield Step("reranking")
        context = await self._context(question, keywords, choice)
        yield References(context)
        if context.is_empty:
            yield Text(refusals.nothing_found(question.text))
            yield Finished(usage, time.perf_counter() - began, generated=False)
            return
        yield Step("generating_response")
        async with aclosing(self._answered(question, context, began, usage=usage)) as events:
            async for event in events:
                yield event
        if self._summaries:
            await self._summaries.want(context)

    async def retrieve(self, question: Question) -> Context:
        """The evidence alone: no answer, and no LLM call unless keywords are configured to come from one."""
        if question.mode == "bypass":
            return Context()
        question, choice, keywords, _ = await self._planned(question)
        return await self._context(question, keywords, choice)

    def prompt(self, question: Question, context: Context) -> str:
        """What would be sent to the model."""
        turns = (Turn("system", answer_prompt(question, context)), *question.history, Turn("user", question.text))
        return "\n\n".join(f"{turn.role}:\n{turn.content}" for turn in turns)

    async def _planned(self, question: Question) -> tuple[Question, Choice, Keywords, Usage]:
        """What to search for, where, by which keywords, and what finding that out took."""
        choice = await choose(self._documents, question.documents)
        if choice.scope.is_nothing:
            return question, choice, keywords_of(question.text), Usage()
        standalone, spent = await self._follow_up.completed(question)
        question = replace(question, standalone=standalone)
        keywords, usage = await self._keywords(question)
        return question, choice, keywords, spent + usage

    async def _answered(
        self, question: Question, context: Context, began: float, *, bypass: bool = False, usage: Usage | None = None
    ) -> AsyncGenerator[Event, None]:
        total = usage or Usage()
        finish: FinishReason = "stop"
        told: list[str] = []
        answerer = self._answerer_of(question)
        source = answerer.converse(question) if bypass else answerer.answer(question, context)
        async with aclosing(source):
            async for item in source:
                if isinstance(item, ChatReply):
                    total, finish = total + item.usage, item.finish_reason
                else:
                    told.append(item)
                    yield Text(item)
        cited = await asyncio.to_thread(supports, "".join(told), context) if context.references else ()
        seconds = time.perf_counter() - began
        yield Finished(total, seconds, generated=answerer.is_generative, finish=finish, supports=cited)

    def _answerer_of(self, question: Question) -> Answerer:
        """A question with pictures, in it or in its history, is for the model that sees."""
        if question.is_quoted:
            return self._quoting
        if not question.images and not any(turn.images for turn in question.history):
            return self._answerer
        if self._vision is None:
            raise InvalidInput("this question has images, and no model is configured that sees: set VLM_LLM_MODEL")
        return self._vision

    async def _context(self, question: Question, keywords: Keywords, choice: Choice) -> Context:
        if choice.scope.is_nothing:
            return Context()
        searched = replace(question, text=question.search_text)
        found = await self._retrieval.within(choice).find(searched, keywords)
        history = sum(estimated_tokens(turn.content) for turn in question.history)
        instructions = template("answer")
        spent = history + sum(estimated_tokens(t) for t in (instructions, question.text, question.user_prompt))
        budget = replace(question.budget, total=min(question.budget.total, self._max_context_tokens))
        summaries = await self._summaries.known(found.evidence) if self._summaries else {}
        with self._telemetry.stage(RETRIEVAL_SECONDS, "fit"):
            context = fit(found.evidence, budget, spent, Wording(lexical.query_terms(searched.text), summaries))
        weakness = (WEAK_EVIDENCE,) if is_weak(searched.text, found.evidence.passages, self._scale) else ()
        return replace(
            context,
            high_keywords=keywords.high,
            low_keywords=keywords.low,
            found=_counted(found.counts, context),
            warnings=(*found.warnings, *weakness),
        )

    async def _keywords(self, question: Question) -> tuple[Keywords, Usage]:
        """The caller's own where given, else by rule or by one LLM call (`KEYWORD_EXTRACTION`)."""
        if question.high_keywords or question.low_keywords:
            return Keywords(question.high_keywords, question.low_keywords), Usage()
        if self._keyword_llm is None or question.mode == "naive" or question.is_quoted:
            return keywords_of(question.search_text), Usage()
        turns = (Turn("user", prompt("keywords", question=question.search_text)),)
        request = ChatRequest(turns, max_tokens=300, json_schema=_KEYWORD_SCHEMA)
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
