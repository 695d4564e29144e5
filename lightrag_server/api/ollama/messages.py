"""From Ollama's messages to a question."""

from __future__ import annotations

import asyncio

from lightrag_server.api.lightrag.schemas import MIN_QUERY_WEIGHT, weight
from lightrag_server.api.ollama import prefixes
from lightrag_server.api.ollama.schemas import ChatBody, ChatMessage, GenerateBody, Options
from lightrag_server.api.questions import is_task, question
from lightrag_server.core.images import image_of
from lightrag_server.core.records import Image, Mode, Question, Sampling, Turn
from lightrag_server.errors import InvalidInput
from lightrag_server.settings.query import QuerySettings

ROLES = frozenset({"system", "user", "assistant"})


async def chat_question(asked: ChatBody, default: Mode, defaults: QuerySettings) -> tuple[Question, bool]:
    """The question, and whether its evidence is wanted in place of an answer."""
    *earlier, last = asked.messages
    if last.role != "user":
        raise InvalidInput("the last message must have the role 'user'")
    message = prefixes.read(last.content, default)
    if is_task(last.content):
        message = prefixes.Message(last.content, "bypass")
    is_plain = message.mode == "bypass"
    if not is_plain and weight(message.text) < MIN_QUERY_WEIGHT:
        raise InvalidInput(f"a question has at least {MIN_QUERY_WEIGHT} characters; a Chinese one counts as two")
    instructions = (asked.system if is_plain else None, message.user_prompt)
    wanted = question(
        message.text,
        message.mode,
        defaults,
        history=tuple([await _turn(turn) for turn in earlier]),
        user_prompt="\n\n".join(filter(None, instructions)),
        images=await _images(last.images),
        sampling=_sampling(asked.options),
    )
    return wanted, message.wants_evidence


async def prompt_question(asked: GenerateBody, defaults: QuerySettings) -> Question:
    """For the model alone."""
    return question(
        asked.prompt,
        "bypass",
        defaults,
        user_prompt=asked.system or "",
        images=await _images(asked.images),
        sampling=_sampling(asked.options),
    )


async def _turn(message: ChatMessage) -> Turn:
    """Results of tools, which models know by an id of their own, are told by the user."""
    role = message.role if message.role in ROLES else "user"
    return Turn(role, message.content, await _images(message.images))


async def _images(texts: list[str] | None) -> tuple[Image, ...]:
    return tuple([await asyncio.to_thread(image_of, text) for text in texts or ()])


def _sampling(options: Options | None) -> Sampling:
    if options is None:
        return Sampling()
    stop = [options.stop] if isinstance(options.stop, str) else options.stop or []
    limit = options.num_predict if options.num_predict and options.num_predict > 0 else None
    return Sampling(options.temperature, limit, tuple(filter(None, stop)))
