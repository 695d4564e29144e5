"""Any language, with no dependency: what is capitalised, quoted or said again and again, and what stands together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from lightrag_server.core import ids
from lightrag_server.core.sentences import sentence_spans
from lightrag_server.nlp.draft import Draft, Rank, Strength
from lightrag_server.nlp.names import person_name

OTHER, TERM, CONTENT = "other", "concept", "content"
TOGETHER = "together with"
MAX_WORDS_BETWEEN = 4
MIN_SINGLE_NAME = 2
MIN_REPEATED = 3
MAX_REPEATED = 12
MAX_QUOTED_WORDS = 6

_CAPITAL = r"[^\W\d_a-zß-öø-ÿа-яё一-鿿぀-ヿ가-힣][^\W\d_]*(?:[-'’][^\W\d_]+)*"
_LINK = r"(?:de|del|della|di|da|do|dos|du|von|van|der|den|la|le|of|y|i|al|el|ibn|bin)"
_NAME = re.compile(rf"(?<!\w){_CAPITAL}(?:\s(?:{_LINK}\s){{0,2}}{_CAPITAL}){{0,4}}(?!\w)")
_QUOTED = re.compile(r"[“„«「『《]\s?([^“”„«»「」『』《》\n]{2,60}?)\s?[”“»」』》]")
_WORD = re.compile(r"[^\W\d_]{3,}")
_CJK_RUN = re.compile(r"[ァ-ヿー]{3,}|[一-鿿]{2,}")
_CJK_FUNCTION = re.compile(r"[的了和与在是由对把将从向一这那及或为被其有也不他她它我你们个着过都就到上下中以而之於于]")
_KANA = re.compile(r"[぀-ヿ]")


def drafts(texts: Sequence[str], names: Mapping[str, str]) -> list[Draft]:
    """One draft per text. `names` maps short forms of names to the ones to use."""
    lower = Counter(word for text in texts for word in _WORD.findall(text) if word.islower())
    return [_draft(text, lower, names) for text in texts]


def _draft(text: str, lower: Counter[str], names: Mapping[str, str]) -> Draft:
    draft = Draft()
    sentences = [text[start:end] for start, end in sentence_spans(text)]
    nodes = _nodes(text, sentences, lower, names)
    if not nodes:
        return draft
    spellings = re.compile("|".join(re.escape(form) for form in sorted(nodes, key=lambda form: (-len(form), form))))
    for sentence in sentences:
        _read_sentence(" ".join(sentence.split()), spellings, nodes, draft)
    return draft


Nodes = dict[str, tuple[str, str, Rank]]
"""Written form → name, type and rank."""


def _nodes(text: str, sentences: Sequence[str], lower: Counter[str], names: Mapping[str, str]) -> Nodes:
    nodes: Nodes = {}
    for term in _repeated(text):
        nodes[term] = (term, TERM, Rank.REPEATED)
    for match in _QUOTED.finditer(text):
        if len(match[1].split()) <= MAX_QUOTED_WORDS:
            nodes[match[1]] = (match[1], CONTENT, Rank.NAMED)
    for written in _capitalised(sentences, lower):
        name = person_name(written)
        nodes[written] = (names.get(name, name), OTHER, Rank.NAMED)
    return {written: node for written, node in nodes.items() if written.strip() and ids.entity_key(node[0])}


def _capitalised(sentences: Sequence[str], lower: Counter[str]) -> Iterator[str]:
    """Phrases of several capitalised words; single ones when they return and are not only a sentence's first word."""
    seen: Counter[str] = Counter()
    inside: set[str] = set()
    for sentence in sentences:
        for match in _NAME.finditer(" ".join(sentence.split())):
            name = match.group()
            if match.start() == 0 and lower[name.split()[0].lower()]:
                name = name.partition(" ")[2]
            if _NAME.fullmatch(name):
                seen[name] += 1
                if match.start():
                    inside.add(name)
    for name, count in seen.items():
        if len(name) > 1 and ((" " in name) or (count >= MIN_SINGLE_NAME and name in inside)):
            yield name


def _repeated(text: str) -> list[str]:
    """Phrases of two words, or runs of characters in scripts without spaces, that come back; the most frequent."""
    found: Counter[str] = Counter()
    words = _WORD.findall(text.lower())
    found.update(f"{a} {b}" for a, b in pairwise(words) if len(a) > 3 and len(b) > 3)
    for run in _CJK_RUN.findall(text):
        for part in [run] if _KANA.search(text) else _CJK_FUNCTION.split(run):
            found.update(_grams(part))
    often = {term: count for term, count in found.items() if count >= MIN_REPEATED}
    whole = [term for term, count in often.items() if not _is_part_of_another(term, count, often)]
    return sorted(whole, key=lambda term: (-often[term], term))[:MAX_REPEATED]


def _grams(run: str) -> Iterator[str]:
    for size in range(2, 7):
        for start in range(len(run) - size + 1):
            yield run[start : start + size]


def _is_part_of_another(term: str, count: int, often: Mapping[str, int]) -> bool:
    return any(term in other and term != other and often[other] * 2 > count for other in often)


def _read_sentence(sentence: str, spellings: re.Pattern[str], nodes: Nodes, draft: Draft) -> None:
    previous: tuple[int, str, Rank] | None = None
    for match in spellings.finditer(sentence):
        if not _stands_alone(sentence, match):
            continue
        name, type, rank = nodes[match.group()]
        draft.mention(name, type, sentence, rank)
        if previous and previous[1] != name:
            keyword = _between(sentence[previous[0] : match.start()])
            strength = Strength.STATED if keyword != TOGETHER else Strength.TOGETHER
            draft.relate(previous[1], name, keyword, sentence, strength)
        previous = (match.end(), name, rank)


def _stands_alone(sentence: str, match: re.Match[str]) -> bool:
    """Latin and Cyrillic words are not cut in two; scripts without spaces have no such border."""
    if ord(match.group()[0]) > 0x2E80:
        return True
    before, after = sentence[match.start() - 1 : match.start()], sentence[match.end() : match.end() + 1]
    return not before.isalnum() and not after.isalnum()


def _between(text: str) -> str:
    """The words that link two names, when they are few and no clause ends there."""
    words = text.split()
    is_link = 0 < len(words) <= MAX_WORDS_BETWEEN and all(word.isalpha() and ord(word[0]) < 0x2E80 for word in words)
    return " ".join(words).lower() if is_link and any(len(word) > 3 for word in words) else TOGETHER
