"""What the last message of a chat asks for beside its question: a mode, instructions, or the evidence alone. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from lightrag_server.core.records import Mode

CONTEXT_MODE: Mode = "mix"
"""Of `/context`, which names none."""
_PREFIX = re.compile(
    r"""
    /(?: (?P<evidence> local | global | hybrid | naive | mix )? (?P<context> context ) (?! [A-Za-z0-9_] )
       | (?P<mode> local | global | hybrid | naive | mix | bypass )? (?= \[ .*? \] )
       | (?P<alone> local | global | hybrid | naive | mix | bypass ) (?= \s | \Z )
     )
     (?: \[ (?P<prompt> .*? ) \] )?
    """,
    re.VERBOSE | re.DOTALL,
)
"""A mode is followed by a space, as paths begin like it; texts without spaces may follow `/context` at once."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message without its prefix. `user_prompt` are instructions to the model that no search sees."""

    text: str
    mode: Mode
    user_prompt: str = ""
    wants_evidence: bool = False


def read(text: str, default: Mode) -> Message:
    """`/mode`, `/mode[instructions]`, `/[instructions]`, `/context` and `/<mode>context` before a question."""
    text = text.strip()
    match = _PREFIX.match(text)
    if match is None:
        return Message(text, default)
    rest, prompt = text[match.end() :].strip(), (match["prompt"] or "").strip()
    if match["context"]:
        return Message(rest, cast(Mode, match["evidence"] or CONTEXT_MODE), prompt, wants_evidence=True)
    return Message(rest, cast(Mode, match["mode"] or match["alone"] or default), prompt)
