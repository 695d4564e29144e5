"""Choosing the sentences of passages that answer a question, by rule and similarity: the extractive answer."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lightrag_server.core import lexical
from lightrag_server.core.records import Passage
from lightrag_server.core.sentences import sentence_spans

MAX_SENTENCE_CHARS = 600
MIN_SENTENCE_CHARS = 8
MAX_JOINED_CHARS = 300
BRIDGE_SENTENCES = 5
NEIGHBOUR_SHARE = 0.35
KIND_BONUS = 0.25
QUESTION_SHARE = 0.4
"""A question resembles the one asked, and seldom answers it."""
_TIME_WORDS = (
    r"\b(?:1\d|20)\d\d\b|\b\d{1,2}(?:st|nd|rd|th)?\s+(?:january|february|march|april|may|june|july|august|september|"
    r"october|november|december)\b|\b(?:january|february|march|april|june|july|august|september|october|november|"
    r"december|monday|tuesday|wednesday|thursday|friday|saturday|sunday|years?|months?|weeks?|days?|ago|eves?|night|"
    r"morning|yesterday|today|century|o'clock)\b|[一二三四五六七八九十两\d]+\s*(?:年|月|日|天|周|小时|世纪)|昨|今|明天|去年|前夕"
)
_KINDS: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...] = (
    (
        re.compile(r"\b(?:when|what year|what date|how long ago)\b|什么时候|何时|哪一?年|几月|几号", re.I),
        re.compile(_TIME_WORDS, re.I),
    ),
    (re.compile(r"\b(?:who|whom|whose)\b|谁", re.I), re.compile(r"\b[A-Z][\w'’-]+|[\u4e00-\u9fff]{2,4}")),
    (
        re.compile(r"\bhow (?:many|much|old|long|far)\b|多少|几[个人岁次名]", re.I),
        re.compile(
            r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|hundred|thousand|million)\b|[一二三四五六七八九十百千万亿]",
            re.I,
        ),
    ),
    (
        re.compile(r"\bwhere\b|哪里|哪儿|在哪", re.I),
        re.compile(r"\b(?:in|at|near|from|to)\s+(?:the\s+)?[A-Z]|[省市县区镇村路街国]"),
    ),
)

_PRONOUN_FIRST = re.compile(r"[\"'“‘]?(?:He|She|It|They|His|Her)\b|[“「]?[他她它]")
_MARKED_LINE = re.compile(r"^(?:#{1,6} |\|)", re.MULTILINE)
_LINE = re.compile(r"\S[^\n]*")
_SAYS_NOTHING = re.compile(r"#{1,6} .*|[|:\s-]+")
_MID_SENTENCE_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]{2,}")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of passage number `passage` (0-based) at offsets of its document."""

    text: str
    passage: int
    document_id: str
    start: int
    end: int


def sentences_of(passages: Sequence[Passage]) -> list[Sentence]:
    """All distinct sentences of usable length, passage by passage. One that begins with a pronoun stays with the one
    before it, which says who is meant."""
    found: dict[str, Sentence] = {}
    for number, passage in enumerate(passages):
        for start, end in _self_contained(passage.text):
            text = re.sub(r"\s+", " ", passage.text[start:end])
            if MIN_SENTENCE_CHARS <= len(text) <= MAX_SENTENCE_CHARS:
                found.setdefault(
                    text, Sentence(text, number, passage.document_id, passage.start + start, passage.start + end)
                )
    return list(found.values())


def _self_contained(text: str) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for start, end in _told_spans(text):
        if spans and end - spans[-1][0] <= MAX_JOINED_CHARS and _is_continued(text, spans[-1][1], start):
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans


def _told_spans(text: str) -> Iterator[tuple[int, int]]:
    """Sentences, and rows of tables one by one; a heading or a ruler says nothing by itself."""
    for start, end in sentence_spans(text):
        if not _MARKED_LINE.search(text, start, end):
            yield start, end
            continue
        for line in _LINE.finditer(text, start, end):
            if not _SAYS_NOTHING.fullmatch(line.group()):
                yield line.span()


def _is_continued(text: str, end: int, start: int) -> bool:
    return "\n\n" not in text[end:start] and bool(_PRONOUN_FIRST.match(text, start))


def bridge(part: str, passages: Sequence[Passage]) -> str | None:
    """The name that seems to answer a first part, by the words of its best sentences: what "he" of the next may be."""
    sentences = sentences_of(passages)
    scores = lexical_scores(part, part, sentences)
    best = sorted(range(len(sentences)), key=lambda n: -scores[n])[:BRIDGE_SENTENCES]
    return next(iter(names_in([sentences[n] for n in best], part)), None)


def lexical_scores(part: str, hints: str, sentences: Sequence[Sentence]) -> list[float]:
    """How well each sentence fits one part by its words: rare shared terms, the kind of answer asked for, and, in
    part, what its neighbours share, since names are often in the sentence before. `hints` count for less."""
    of_sentence = [set(lexical.terms(s.text)) for s in sentences]
    rarity = _rarity(of_sentence)
    wanted, context = set(lexical.query_terms(part)), set(lexical.query_terms(hints))
    own = [_overlap(wanted, terms, rarity) + 0.3 * _overlap(context, terms, rarity) for terms in of_sentence]
    kinds = [answer for ask, answer in _KINDS if ask.search(part)]
    scores: list[float] = []
    for n, sentence in enumerate(sentences):
        near = [own[m] for m in (n - 1, n + 1) if 0 <= m < len(own) and sentences[m].passage == sentence.passage]
        score = own[n] + NEIGHBOUR_SHARE * max(near, default=0.0)
        signs = {m.group().lower() for kind in kinds for m in kind.finditer(sentence.text)}
        is_question = sentence.text.rstrip("'\"’”」』)").endswith(("?", "？"))
        scores.append(score * (1 + KIND_BONUS * min(len(signs), 2)) * (QUESTION_SHARE if is_question else 1.0))
    return scores


def _rarity(of_sentence: Sequence[set[str]]) -> dict[str, float]:
    counts: dict[str, int] = {}
    for terms in of_sentence:
        for term in terms:
            counts[term] = counts.get(term, 0) + 1
    return {t: math.log(1 + len(of_sentence) / n) for t, n in counts.items()}


def _overlap(wanted: set[str], terms: set[str], rarity: Mapping[str, float]) -> float:
    total = sum(rarity.get(t, 0.0) for t in wanted)
    return sum(rarity.get(t, 0.0) for t in wanted & terms) / total if total else 0.0


def names_in(sentences: Sequence[Sentence], known: str) -> list[str]:
    """Capitalised words that are not in `known`, most frequent first: what an answer to a first part may be about."""
    counts: dict[str, int] = {}
    for sentence in sentences:
        for name in set(_MID_SENTENCE_NAME.findall(sentence.text)):
            if name.lower() not in known.lower():
                counts[name] = counts.get(name, 0) + 1
    return sorted(counts, key=lambda name: (-counts[name], name))
