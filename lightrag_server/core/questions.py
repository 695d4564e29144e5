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
    rf"^(?i:(?:{_ASKING})\s+(?:did|does|do|has|had|have|can|could|will|would))\s+"
    r"(?P<subject>(?:the\s+)?[A-Z][\w'’.-]*(?:\s+[A-Z][\w'’.-]*)*)",
)
_SUBJECT_PRONOUN = re.compile(r"\b(?:he|she|it|they|him|them)\b", re.IGNORECASE)
_POSSESSIVE_PRONOUN = re.compile(r"\b(?:his|her|hers|its|their|theirs)\b", re.IGNORECASE)
CHINESE_PRONOUN = re.compile(r"(?<![其吉利耳维])[他她它](?!人|国|乡|杀|律)(?:们)?")
"""Not those of 其他, 吉他, 他人."""
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
        subject = subject_of(part) or subject
    return resolved


def subject_of(part: str) -> str | None:
    """What one question is about, as it names it; None where the pattern of the question does not tell."""
    for pattern in (_IS_ASKED, _IS_ASKED_CHINESE, _DID_ASKED):
        if match := pattern.match(part):
            return match.group("subject").strip()
    return None


def has_pronoun(part: str) -> bool:
    return any(p.search(part) for p in (_SUBJECT_PRONOUN, _POSSESSIVE_PRONOUN, CHINESE_PRONOUN))


def with_subject(part: str, subject: str) -> str:
    """The part with its pronouns standing for the subject."""
    owner = subject if subject.endswith(("'s", "’s")) else f"{subject}'s"
    part = _SUBJECT_PRONOUN.sub(lambda _: subject, part, count=1)
    part = _POSSESSIVE_PRONOUN.sub(lambda _: owner, part, count=1)
    return CHINESE_PRONOUN.sub(lambda _: subject, part, count=1)
