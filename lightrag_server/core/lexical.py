"""The one text analysis of lexical search, used when text is indexed and when a question is asked.

Words of scripts with spaces are case-folded and lightly stemmed. Scripts without spaces, and Hangul, become
overlapping pairs of characters. Numbers, versions and part numbers stay whole beside their parts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

_UNSPACED = (
    "\u0e00-\u0e4e\u0e80-\u0eff\u1000-\u109f\u1780-\u17d3"  # Thai, Lao, Burmese, Khmer
    "\u3005-\u3007\u3040-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # Kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"  # Han
    "\u1100-\u11ff\uac00-\ud7ff"  # Hangul
)
_MARKS = "\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0971-\u0df3"
"""Vowel signs and accents that `\\w` leaves out although they belong to words."""

_LETTERS = rf"[^\W_{_UNSPACED}]+(?:[{_MARKS}]+[^\W_{_UNSPACED}]*)*"
_TOKEN = re.compile(
    rf"['’](?:s|t|d|m|re|ve|ll)\b"  # endings of contractions carry no meaning
    rf"|(?P<unspaced>[{_UNSPACED}]+)"
    rf"|(?P<thousands>(?<![\w.])\d{{1,3}}(?:,\d{{3}})+(?!\w))"
    rf"|(?P<word>{_LETTERS}(?:[-_./]{_LETTERS})*[+#]*)"
)
_ASCII_TOKEN = re.compile(
    r"'(?:s|t|d|m|re|ve|ll)\b"
    r"|(?P<thousands>(?<![\w.])\d{1,3}(?:,\d{3})+(?!\w))"
    r"|(?P<word>[a-z0-9]+(?:[-_./][a-z0-9]+)*[+#]*)"
)
_JOINERS = re.compile(r"[-_./]")
_DIGIT = re.compile(r"\d")
_VOWEL = re.compile(r"[aeiouy]")
MAX_TERM_CHARS = 64
"""Longer runs (base64, long URLs) are cut: nobody searches for their tails."""
MAX_KNOWN_CHARS = 32
"""Words with what sticks to them are met again and again; runs of unspaced text are not."""

_ENGLISH_STOP_WORDS = (
    "a about above after again against all also am an and any are as at be because been before being below between "
    "both but by can cannot could did do does doing down during each few for from further had has have having he her "
    "here hers herself him himself his how i if in into is it its itself just may me might more most must my myself "
    "no nor not of off on once only or other our ours out over own per please same shall she should so some such than "
    "that the their theirs them themselves then there these they this those through to too under until up upon "
    "very was we were what when where which while who whom whose why will with would you your yours "
    "tell describe explain according based regarding"
)
_STOP_WORDS = frozenset(_ENGLISH_STOP_WORDS.split())
_FUNCTION_WORDS = (
    "为什么|是什么|什么样|什么时候|怎么样|怎么|怎样|如何|什么|哪些|哪个|哪里|哪一|多少|是否|能否|可以|请问|以及|关于|"
    "根据|按照|通过|对于|由于|因为|所以|但是|而且|并且|或者|还是|这个|那个|这些|那些|我们|你们|他们|它们|一个|一些|"
    "有没有|是不是|的|了|吗|呢|吧|啊|和|与|及|或|是|在|被|把|将|让|从|向|对|也|都|就|还|又|而|但|且|则|之|其|此|该|"
    "何|請問|為什麼|什麼|怎麼|這個|那個|這些|們|與|嗎|"
    "です|ます|でした|ました|について|とは|から|まで|する|した|して|いる|ある|これ|それ|どの|どんな|なに|何|"
    "は|が|を|に|で|と|も|の|へ|か|"
    "은|는|이|가|을|를|에|의|와|과|도"
)
_FUNCTION = re.compile(_FUNCTION_WORDS)


def terms(text: str) -> list[str]:
    """Terms in text order, repeated as often as the text repeats them. About 0.2 ms for 1,200 tokens of English."""
    found: list[str] = []
    for piece in _normalise(text).split():
        found += _terms_of_piece(piece)
    return found


def distinct_terms(text: str) -> set[str]:
    """The terms of a text, at a fraction of the cost: a word that is repeated is looked at once."""
    return set[str]().union(*map(_terms_of_piece, set(_normalise(text).split())))


def _terms_of_piece(piece: str) -> Sequence[str]:
    return _known_terms(piece) if len(piece) <= MAX_KNOWN_CHARS else _terms_of(piece)


def _terms_of(clean: str) -> list[str]:
    """No term spans white space, so that pieces of text may be analysed each for itself."""
    found: list[str] = []
    for match in _pattern_for(clean).finditer(clean):
        kind = match.lastgroup
        if kind == "word":
            found += _terms_of_word(match.group())
        elif kind == "unspaced":
            found += _pairs(match.group())
        elif kind == "thousands":
            found.append(match.group().replace(",", ""))
    return found


@lru_cache(maxsize=65_536)
def _known_terms(piece: str) -> tuple[str, ...]:
    return tuple(_terms_of(piece))


def query_terms(text: str) -> list[str]:
    """Distinct terms of a question in its order, without function words; all of them if nothing else is there."""
    return content_terms(text) or list(dict.fromkeys(terms(text)))


def content_terms(text: str) -> list[str]:
    """Distinct terms in text order, without function words; none where there is nothing else."""
    clean = _normalise(text)
    kept: list[str] = []
    for match in _pattern_for(clean).finditer(clean):
        if match.lastgroup == "unspaced":
            kept.extend(_content_pairs(match.group()))
        elif match.lastgroup and match.group() not in _STOP_WORDS:
            kept.extend(term for term in terms(match.group()) if term not in _STOP_WORDS)
    return list(dict.fromkeys(kept))


def _normalise(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def _pattern_for(clean: str) -> re.Pattern[str]:
    return _ASCII_TOKEN if clean.isascii() else _TOKEN


def _terms_of_word(word: str) -> tuple[str, ...]:
    if word.isalpha():
        return (_stem(word[:MAX_TERM_CHARS]),)
    parts = _JOINERS.split(word)
    if len(parts) == 1 or _is_number(parts):
        return (word[:MAX_TERM_CHARS],)
    if all(len(part) == 1 for part in parts):  # U.S.A. is USA
        return ("".join(parts),)
    whole = (word[:MAX_TERM_CHARS],) if _DIGIT.search(word) or "_" in word else ()
    return (*whole, *(_stem(part[:MAX_TERM_CHARS]) for part in parts))


def _is_number(parts: list[str]) -> bool:
    """A date or a decimal is one term: its digits alone say nothing."""
    return all(part.isdigit() for part in parts)


def _pairs(run: str) -> list[str]:
    return [run] if len(run) == 1 else [run[i : i + 2] for i in range(len(run) - 1)]


def _content_pairs(run: str) -> Iterator[str]:
    """Pairs that touch no function word, or, where only function characters divide the run, all that are not
    made of them alone."""
    function = [False] * len(run)
    for match in _FUNCTION.finditer(run):
        function[match.start() : match.end()] = [True] * (match.end() - match.start())
    pairs = _pairs(run)
    clean = [p for i, p in enumerate(pairs) if not any(function[i : i + 2])]
    mixed = [p for i, p in enumerate(pairs) if not all(function[i : i + 2])]
    yield from clean or mixed


def _stem(word: str) -> str:
    """Fold English plurals and the endings -ing, -ed and -e; both sides of a search fold alike, so a stem need
    not be a word."""
    if len(word) < 4 or not word.isascii() or not word.isalpha():
        return word
    return _without_e(_without_participle(_singular(word)))


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _without_participle(word: str) -> str:
    if word.endswith("ied") and len(word) > 4:
        return word[:-3] + "y"
    for ending in ("ing", "ed"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) >= 3 and _VOWEL.search(stem):
            return _undoubled(stem)
    return word


def _undoubled(stem: str) -> str:
    return stem[:-1] if stem[-1] == stem[-2] and stem[-1] not in "lsz" else stem


def _without_e(word: str) -> str:
    return word[:-1] if word.endswith("e") and len(word) > 3 else word
