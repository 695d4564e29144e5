"""How far a text agrees with a known answer: words, and single characters in Chinese and Japanese. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from lightrag_server.core import citations

_CJK = "\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")
_ARTICLES = frozenset(("a", "an", "the"))


def words(text: str) -> list[str]:
    """Folded, without punctuation and English articles (as SQuAD's measure has it), CJK by character."""
    clean = unicodedata.normalize("NFKC", text).casefold()
    return [word for word in _WORD.findall(clean) if word not in _ARTICLES]


def contains(text: str, answers: Sequence[str]) -> bool:
    """Whether the words of one of the answers stand in the text, side by side."""
    line = f" {' '.join(words(text))} "
    return any(known and f" {' '.join(known)} " in line for known in map(words, answers))


def f1(text: str, answers: Sequence[str]) -> float:
    """Harmonic mean of the shares of words that text and answer have in common; of the best answer. Citation marks
    do not count."""
    told = Counter(words(citations.checked(text, ())))
    return max((_f1(told, Counter(words(answer))) for answer in answers), default=0.0)


def _f1(told: Counter[str], known: Counter[str]) -> float:
    common = (told & known).total()
    return 2 * common / (told.total() + known.total()) if common else 0.0
