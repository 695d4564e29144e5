"""What a question of a conversation searches for, where it does not say that by itself."""

from __future__ import annotations

from lightrag_server.core.anaphora import leans
from lightrag_server.core.prompts import prompt
from lightrag_server.core.records import Question, Turn, Usage
from lightrag_server.core.standalone import standalone
from lightrag_server.ports.llm import LLM, ChatRequest

MAX_TURNS = 6
MAX_TURN_CHARS = 1000
MAX_TOKENS = 200


class FollowUp:
    """By rule; with `llm` by one call to it, for those questions that a rule says need it. Off, no question does."""

    def __init__(self, *, is_on: bool = True, llm: LLM | None = None) -> None:
        self._is_on = is_on
        self._llm = llm

    async def completed(self, question: Question) -> tuple[str, Usage]:
        """The text to search for, and what it took to write it. The question itself where it stands alone."""
        if not self._is_on or not question.history or not leans(question.text):
            return question.text, Usage()
        by_rule = standalone(question.text, question.history)
        if self._llm is None or question.is_quoted:
            return by_rule, Usage()
        reply = await self._llm.complete(_request(question))
        text = " ".join(reply.text.split())
        is_whole = text and reply.finish_reason != "length"
        return (text if is_whole else by_rule), reply.usage


def _request(question: Question) -> ChatRequest:
    lines = [f"{turn.role}: {turn.content[:MAX_TURN_CHARS]}" for turn in question.history[-MAX_TURNS:]]
    asked = prompt("follow_up", conversation="\n".join(lines), question=question.text)
    return ChatRequest((Turn("user", asked),), max_tokens=MAX_TOKENS)
