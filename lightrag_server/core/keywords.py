"""Keywords of a question by rule: names and quoted terms are specific, remaining content words are themes."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_KEYWORDS = 8

_QUOTED = re.compile(r"[\"“«「『《]([^\"”»」』》]{2,60})[\"”»」』》]")
_NAME = re.compile(r"\b(?:[A-Z][\w'’&.-]*|\d[\w.-]*)(?:\s+(?:of|the|de|van|von|and|&)?\s*[A-Z][\w'’&.-]*)*")
_WORD = re.compile(r"[^\W\d_\u3040-\u9fff\uac00-\ud7af]{3,}")
_FIRST_WORDS_LIST = """
who whom whose what which when where why how is are was were do does did can could would should will
has have had tell give list name describe explain compare summarize in on at the a an please and if
from for to of by
"""
_FIRST_WORDS = frozenset(_FIRST_WORDS_LIST.split())
_COMMON_LIST = """
been being did does doing his her hers its their our your they them she him you not but this that
these those than then there here with into about after before between during over under again more
most some such only also very just any each other all both may might must shall
"""
_COMMON = _FIRST_WORDS | frozenset(_COMMON_LIST.split())
_CJK_STOP = re.compile(
    r"[的了是在和与及吗呢吧啊谁什么哪里哪个怎么如何为何为什么几多少有没有请问我你他她它们这那一？?！!，,。.、：:；;\s]+"
)


@dataclass(frozen=True, slots=True)
class Keywords:
    """LightRAG's two kinds: `high` for themes, `low` for particular things."""

    high: tuple[str, ...]
    low: tuple[str, ...]


def keywords_of(question: str) -> Keywords:
    low = _distinct([*_QUOTED.findall(question), *_names(question), *_cjk_phrases(question)])
    covered = {word for phrase in low for word in phrase.lower().split()}
    themes = [w for w in _WORD.findall(question.lower()) if w not in covered and w not in _COMMON]
    return Keywords(high=tuple(_distinct(themes)), low=tuple(low))


def _names(question: str) -> list[str]:
    names: list[str] = []
    for match in _NAME.finditer(question):
        words = match.group().split()
        while words and words[0].lower() in _FIRST_WORDS:
            words = words[1:]
        if words and words != ["I"]:
            names.append(re.sub(r"['’]s$", "", " ".join(words)).strip(".-"))
    return [n for n in names if n]


def _cjk_phrases(question: str) -> list[str]:
    return [p for p in _CJK_STOP.split(question) if len(p) >= 2 and _is_cjk(p)]


def _is_cjk(text: str) -> bool:
    return any("\u3040" <= c <= "\u9fff" or "\uac00" <= c <= "\ud7af" for c in text)


def _distinct(items: list[str]) -> list[str]:
    return list(dict.fromkeys(item.strip() for item in items if item.strip()))[:MAX_KEYWORDS]
