"""The model's word on pairs that names and surroundings do not decide."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import orjson
from pydantic import BaseModel, ValidationError

from lightrag_server.core.prompts import prompt
from lightrag_server.core.records import Turn
from lightrag_server.core.resolution import Candidate, Verdict
from lightrag_server.ports.llm import LLM, ChatRequest

PAIRS_AT_ONCE = 20
TOKENS_PER_PAIR = 60
MAX_WHY_CHARS = 300

_OBJECT = re.compile(r"\{.*\}", re.DOTALL)


class _Judged(BaseModel):
    number: int
    same: bool
    why: str = ""


class _Reply(BaseModel):
    pairs: list[_Judged]


_SCHEMA = _Reply.model_json_schema() | {"additionalProperties": False}


class Judge:
    """One call for up to `pairs_at_once` pairs."""

    pairs_at_once = PAIRS_AT_ONCE

    def __init__(self, llm: LLM) -> None:
        self._llm = llm

    async def judged(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those of which the reply says something readable, with its verdict. Raises `ProviderError`."""
        asked = prompt("duplicates", pairs="\n".join(_line(n, c) for n, c in enumerate(candidates, 1)))
        request = ChatRequest(
            (Turn("user", asked),),
            max_tokens=TOKENS_PER_PAIR * len(candidates) + 100,
            json_schema=_SCHEMA,
            in_background=True,
        )
        verdicts = read_verdicts((await self._llm.complete(request)).text)
        return [replace(c, verdict=verdicts[n]) for n, c in enumerate(candidates, 1) if n in verdicts]


def read_verdicts(text: str) -> dict[int, Verdict]:
    """By number. Rows that say no clear yes or no are passed over, and so is whatever stands around the object."""
    match = _OBJECT.search(text)
    try:
        rows: Any = orjson.loads(match.group())["pairs"] if match else []
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return {}
    verdicts: dict[int, Verdict] = {}
    for row in cast(list[Any], rows) if isinstance(rows, list) else []:
        try:
            judged = _Judged.model_validate(row)
        except ValidationError:
            continue
        verdicts[judged.number] = Verdict(judged.same, judged.why[:MAX_WHY_CHARS])
    return verdicts


def _line(number: int, candidate: Candidate) -> str:
    sides = zip(candidate.names, candidate.types, candidate.descriptions, strict=True)
    told = [f"{name} ({type_}): {' '.join(text.split())}" for name, type_, text in sides]
    return f"{number}. A: {told[0]}\n   B: {told[1]}"
