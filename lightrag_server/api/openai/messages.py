"""From OpenAI's messages to a question."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

from lightrag_server.api.lightrag.schemas import MAX_QUERY_CHARS
from lightrag_server.api.openai.models import Model
from lightrag_server.api.openai.schemas import ChatCompletionRequest, ChatMessage, ImagePart, Steering, TextPart
from lightrag_server.api.questions import is_task, question
from lightrag_server.core.images import image_of
from lightrag_server.core.records import Image, Mode, Question, Sampling, Turn
from lightrag_server.errors import InvalidInput
from lightrag_server.settings.query import QuerySettings

INSTRUCTING = ("system", "developer")
SPEAKING = ("user", "assistant")
"""Roles that are history; results of tools are not, since none is ever called."""
_DATA_URL = re.compile(r"\s*data:image/[\w.+-]+;base64,", re.IGNORECASE)


async def question_of(asked: ChatCompletionRequest, model: Model, defaults: QuerySettings) -> Question:
    """Raise `InvalidInput` where there is no question, or an image that is not in the message itself."""
    last = max((n for n, message in enumerate(asked.messages) if message.role == "user"), default=None)
    if last is None:
        raise InvalidInput("messages holds no message of the role 'user'")
    turn = await _turn(asked.messages[last])
    text = turn.content.strip()
    mode: Mode = "bypass" if is_task(text) else model.mode
    if not text:
        raise InvalidInput("the last message of the user holds no text")
    if mode != "bypass" and len(text) > MAX_QUERY_CHARS:
        raise InvalidInput(f"a question has at most {MAX_QUERY_CHARS:,} characters; in mode bypass there is no limit")
    plain = question(
        text,
        mode,
        defaults,
        history=tuple([await _turn(m) for m in asked.messages[:last] if m.role in SPEAKING]),
        user_prompt="\n\n".join(text for m in asked.messages if m.role in INSTRUCTING if (text := _text(m).strip())),
        images=turn.images,
        sampling=_sampling(asked),
    )
    return _steered(plain, asked.lightrag) if asked.lightrag else plain


def _steered(plain: Question, wanted: Steering) -> Question:
    return replace(
        plain,
        top_k=wanted.top_k or plain.top_k,
        chunk_top_k=wanted.chunk_top_k or plain.chunk_top_k,
        budget=replace(plain.budget, total=wanted.max_total_tokens or plain.budget.total),
        response_type=wanted.response_type or plain.response_type,
        high_keywords=_words(wanted.hl_keywords),
        low_keywords=_words(wanted.ll_keywords),
        documents=wanted.filters.as_filter() if wanted.filters else None,
    )


def _words(keywords: list[str]) -> tuple[str, ...]:
    return tuple(word for keyword in keywords if (word := keyword.strip()))


def _sampling(asked: ChatCompletionRequest) -> Sampling:
    stop = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
    return Sampling(asked.temperature, asked.max_completion_tokens or asked.max_tokens, tuple(stop))


async def _turn(message: ChatMessage) -> Turn:
    parts = message.content if isinstance(message.content, list) else []
    urls = [part.image_url.url for part in parts if isinstance(part, ImagePart)]
    return Turn(message.role, _text(message), tuple([await _image(url) for url in urls]))


def _text(message: ChatMessage) -> str:
    if not isinstance(message.content, list):
        return message.content or ""
    return "\n".join(part.text for part in message.content if isinstance(part, TextPart))


async def _image(url: str) -> Image:
    match = _DATA_URL.match(url)
    if match is None:
        raise InvalidInput("image_url must be a data URL of an image with base64; nothing is fetched from elsewhere")
    return await asyncio.to_thread(image_of, url[match.end() :])
