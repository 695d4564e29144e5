"""Whether passages are likely to answer a question: how near they are to it, and which of its words they hold."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from lightrag_server.core import lexical
from lightrag_server.core.records import Passage

JUDGED_PASSAGES = 10
SCRIPT_CHARS = 200
"""Of each passage, to see its script."""
_HAN = re.compile(r"[\u3400-\u9fff]")
_LETTER = re.compile(r"[^\W\d_]")
_OF_THE_WHOLE = re.compile(
    r"\b(?:summar\w+|overviews?|outlines?|themes?|topics?|subjects?|gist|key|main|major|top|important|central|points?|ideas?|"
    r"messages?|plots?|story|stories|books?|novels?|texts?|documents?|files?|articles?|papers?|reports?|pages?|chapters?|"
    r"characters?|authors?|contents?|contained|list|give|show|talk\w*|say\w*|discuss\w*|deal\w*|happen\w*|know|mean\w*)\b"
    r"|总结|概括|概述|摘要|简介|介绍|主题|主旨|主要|重要|核心|关键|要点|重点|观点|故事|小说|文章|文档|文件|资料|报告|本书|这本书"
    r"|全文|本文|这篇|章节|内容|人物|一下|角色|作者|情节|有哪些|有什么|讲述|讲了|说了|谈到|提到|列出|列举",
    re.IGNORECASE,
)
"""Words of questions about documents as a whole, which no passage has to repeat."""


@dataclass(frozen=True, slots=True)
class Bound:
    """Evidence is weak where `similarity + words * covered` stays below `least`.

    `similarity` is the best cosine, `covered` the share of the question's words in the best passage, rare ones counting
    for more: `words` is what a passage with all of them is worth, in cosines.
    """

    least: float
    words: float

    def is_below(self, similarity: float, covered: float) -> bool:
        return similarity + self.words * covered < self.least


@dataclass(frozen=True, slots=True)
class Scale:
    """The bounds of an embedder, by the script of the question; None where nothing tells."""

    spaced: Bound | None
    """Scripts that put spaces between words."""
    han: Bound | None
    across: Bound | None = None
    """Question and passages in different scripts: there are no words to compare."""

    @property
    def highest(self) -> float:
        """A similarity that no bound calls weak."""
        return max((b.least for b in (self.spaced, self.han, self.across) if b), default=-1.0)


def is_chinese(text: str) -> bool:
    """Han characters are a third of the letters or more; Japanese with few kana counts, too."""
    if text.isascii():
        return False
    letters = len(_LETTER.findall(text))
    return letters > 0 and 3 * len(_HAN.findall(text)) >= letters


def is_weak(question: str, passages: Sequence[Passage], scale: Scale) -> bool:
    """Whether it is near certain that none of the passages (best first) answers the question. Never of a question about
    the documents as a whole, and never where nothing was compared. Costs nothing where a passage is near enough, else
    up to 5 ms."""
    similarity = max((p.similarity for p in passages if p.similarity is not None), default=None)
    if similarity is None or similarity >= scale.highest:
        return False
    wanted = [t for t in lexical.content_terms(_OF_THE_WHOLE.sub(" ", question)) if len(t) > 1]
    if not wanted:
        return False
    texts = [p.text for p in passages[:JUDGED_PASSAGES]]
    is_han = is_chinese(question)
    if is_han != is_chinese(" ".join(text[:SCRIPT_CHARS] for text in texts)):
        bound, covered = scale.across, 0.0
    else:
        bound, covered = scale.han if is_han else scale.spaced, coverage(wanted, texts)
    return bound is not None and bound.is_below(similarity, covered)


def coverage(wanted: Sequence[str], texts: Sequence[str]) -> float:
    """The largest share of the terms that one text holds; a term counts the more, the fewer texts have it."""
    held = [lexical.distinct_terms(text).intersection(wanted) for text in texts]
    weight = {t: math.log(1 + (len(held) + 0.5) / (sum(t in h for h in held) + 0.5)) for t in wanted}
    return max((sum(weight[t] for t in h) for h in held), default=0.0) / sum(weight.values())
