"""A question taken apart by rule: the questions within it, each made to stand alone."""

from __future__ import annotations

import re

_ASKING = r"who|whom|whose|what|which|when|where|why|how"
_CLAUSES = re.compile(
    rf"[,，;；]?\s*\b(?:and|or|but)\b\s+(?=(?:in|at|on|for|to|from|by|of)?\s*\b(?:{_ASKING})\b)"
    r"|[?？;；]"
    r"|[，,](?=[^，,]*(?:谁|什么|何|哪|几|多少|怎))",
    re.IGNORECASE,
)
_IS_ASKED = re.compile(rf"^(?:{_ASKING})\s+(?:\w+\s+)?(?:was|is|were|are)\s+(?P<subject>.+)$", re.IGNORECASE)
_IS_ASKED_CHINESE = re.compile(r"^(?P<subject>.{2,20}?)(?:是谁|是什么|叫什么|是哪)")
_DID_ASKED = re.compile(
    rf"^(?:{_ASKING})\s+(?:did|does|do|has|had|have|can|could|will|would)\s+(?P<subject>(?:the\s+)?[A-Z][\w'’.-]*"
    r"(?:\s+[A-Z][\w'’.-]*)*)",
    re.IGNORECASE,
)
_SUBJECT_PRONOUN = re.compile(r"\b(?:he|she|it|they|him|them)\b", re.IGNORECASE)
_POSSESSIVE_PRONOUN = re.compile(r"\b(?:his|her|hers|its|their|theirs)\b", re.IGNORECASE)
_CHINESE_PRONOUN = re.compile(r"[他她它](?:们)?")
MAX_PARTS = 4


def split(question: str) -> list[str]:
    """The questions within a question, in order, as they stand."""
    parts = [part for piece in _CLAUSES.split(question) if len(part := piece.strip(" ,.?!，。！？\n")) > 3]
    return parts[:MAX_PARTS] or [question]


def parts_of(question: str) -> list[str]:
    """The same, made to stand alone: a pronoun of a later one stands for what the one before asks about.
    "Who was Scrooge's partner, and when did he die?" asks also "when did Scrooge's partner die"."""
    resolved: list[str] = []
    subject = None
    for part in split(question):
        resolved.append(with_subject(part, subject) if subject else part)
        subject = _subject_of(part) or subject
    return resolved


def _subject_of(part: str) -> str | None:
    for pattern in (_IS_ASKED, _IS_ASKED_CHINESE, _DID_ASKED):
        if match := pattern.match(part):
            return match.group("subject").strip()
    return None


def has_pronoun(part: str) -> bool:
    return any(p.search(part) for p in (_SUBJECT_PRONOUN, _POSSESSIVE_PRONOUN, _CHINESE_PRONOUN))


def with_subject(part: str, subject: str) -> str:
    """The part with its pronouns standing for the subject."""
    owner = subject if subject.endswith(("'s", "’s")) else f"{subject}'s"
    part = _SUBJECT_PRONOUN.sub(lambda _: subject, part, count=1)
    part = _POSSESSIVE_PRONOUN.sub(lambda _: owner, part, count=1)
    return _CHINESE_PRONOUN.sub(lambda _: subject, part, count=1)
