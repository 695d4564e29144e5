"""Names of people and organizations: titles, legal forms, and short forms of a full name."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from lightrag_server.nlp.layout import paragraphs
from lightrag_server.nlp.vocabulary import vocabulary

_TITLES = vocabulary(
    "mr mr. messrs messrs. dr dr. prof prof. professor sir lord master captain capt. colonel col. general gen. "
    "president chancellor senator judge rev rev. reverend uncle mister st "
    "don doña señor señora herr frau monsieur madame signor signora"
)
MARRIED_TITLES = vocabulary("mrs mrs. miss ms ms. lady aunt madam")
"""They tell one bearer of a family name from another, so they stay before a single name."""
_LEGAL_FORMS = vocabulary("inc inc. ltd ltd. llc corp corp. co co. plc ag gmbh sa s.a. nv n.v. bv b.v. llp lp")
_STARTERS = vocabulary(
    "a an the and or but if of in on at to for from by with as is was it its this that these those he she they we you "
    "i his her their our my then when while where after before once although however yet now here there so because "
    "since though until unless still also no not what who why how all some many most both each every one two three"
)
_EDGES = " \t\r\n\u200b\u200c\ufeff.,;:!?\"'“”‘’`_*()[]{}<>-–—/\\|"
_POSSESSIVE = re.compile(r"['’]s?$")

_PART = r"(?:[^\W\d_a-z][^\W\d_]*(?:[-'’](?!s\b)[^\W\d_]+)*|[A-Z]\.)"
_RUN = re.compile(rf"(?<!\w){_PART}(?:\s{_PART}){{0,3}}(?!\w)")
_WORD = re.compile(r"[^\W\d_]+")
USUAL_SHORT_FORM = 25
"""A short form used so many times as often as the full one is the name by which the thing is known."""
MAX_SHORT_PER_LONE_FULL = 12
"""A full name that stands once beside more short forms is likely somebody else's."""
DOMINANT = 3
"""A full name this many times as frequent as all others with the same part is the one meant."""


CODE = re.compile(
    r"(?<![\w.-])(?:(?=[A-Z0-9-]*[A-Z])(?=[A-Z0-9-]*\d)[A-Z][A-Z0-9]*(?:-[A-Z0-9]+)*|(?!\d{4}-\d{4})\d{2,}-\d{3,})(?![\w-]|\.\d)"
)
"""`E14`, `TW-600`, `600-3310`; no years from to."""


def is_title(word: str) -> bool:
    return word.lower() in _TITLES | MARRIED_TITLES


def person_name(text: str) -> str:
    """A plain name without title, except one that alone tells who of a family is meant."""
    words = plain_name(text).split()
    while len(words) > 1 and words[0].lower() in _TITLES:
        words.pop(0)
    if len(words) > 2 and words[0].lower() in MARRIED_TITLES:
        words.pop(0)
    return " ".join(words)


def plain_name(text: str) -> str:
    """Without article, possessive ending, legal form of a company, and surrounding punctuation."""
    words = _words(text)
    while len(words) > 1 and words[0].lower() in ("the", "a", "an"):
        words.pop(0)
    while len(words) > 1 and (words[-1].lower() in _LEGAL_FORMS or words[-1] in ("of", "and", "the", "for")):
        words.pop()
    name = " ".join(words).rstrip(",")
    return f"{name})" if name.count("(") > name.count(")") else name


def _words(text: str) -> list[str]:
    words = [word for word in text.split() if word.strip(_EDGES)]
    if words:
        words[0] = words[0].lstrip(_EDGES)
        last = _POSSESSIVE.sub("", words[-1])
        words[-1] = last if last.lower() in _TITLES | _LEGAL_FORMS else last.strip(_EDGES)
    return [word for word in words if word]


def full_names(texts: Iterable[str]) -> dict[str, str]:
    """For each way to name a person that another one covers, the name to use: `Solberg` → `Marit Solberg`.

    Read off the capital letters alone: a cheap first pass over a whole document, so that its chunks agree. Only names
    that were found to be people's may be looked up here.
    """
    runs, singles = _counted(texts)
    by_part: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for run, count in runs.items():
        for part in {run[0], run[-1]}:
            by_part[part][run] += count
    table = _without_middle_names(runs)
    for part, owners in by_part.items():
        owner = _owner(owners)
        if owner is None or not singles[part] or (owners[owner] == 1 and singles[part] > MAX_SHORT_PER_LONE_FULL):
            continue
        if singles[part] > USUAL_SHORT_FORM * owners[owner]:
            table[" ".join(owner)] = part
        else:
            table.setdefault(part, " ".join(owner))
    return {short: _end(table, full) for short, full in table.items() if _end(table, full) != short}


def _end(table: Mapping[str, str], name: str) -> str:
    """Where the table leads to in at most three steps: part → name with middle names → full name → what is used."""
    for _ in range(3):
        name = table.get(name, name)
    return name


def _without_middle_names(runs: Mapping[tuple[str, ...], int]) -> dict[str, str]:
    """`Robert Lawrence Chisholm` and `Robert Chisholm` are one, where only one of the long forms occurs."""
    by_ends: dict[tuple[str, str], set[tuple[str, ...]]] = defaultdict(set)
    for run in runs:
        by_ends[run[0], run[-1]].add(run)
    table: dict[str, str] = {}
    for forms in by_ends.values():
        if len(forms) == 2:
            short, full = sorted(forms, key=len)
            if len(short) == 2 < len(full):
                kept, other = (short, full) if runs[short] >= runs[full] else (full, short)
                table[" ".join(other)] = " ".join(kept)
    return table


def _counted(texts: Iterable[str]) -> tuple[Counter[tuple[str, ...]], Counter[str]]:
    """How often each name of several words and each of one occurs."""
    raw: Counter[tuple[str, ...]] = Counter()
    lower: Counter[str] = Counter()
    for text in texts:
        for paragraph in paragraphs(text):
            raw.update(tuple(match.group().split()) for match in _RUN.finditer(paragraph.text))
        lower.update(word for word in _WORD.findall(text) if word.islower())
    capital: Counter[str] = Counter()
    for run, count in raw.items():
        for word in run:
            capital[word] += count
    runs: Counter[tuple[str, ...]] = Counter()
    singles: Counter[str] = Counter()
    for run, count in raw.items():
        name = _trimmed(run, capital, lower)
        if len(set(name)) > 1:
            runs[name] += count
        elif name:
            singles[name[0]] += count
    return runs, singles


def _trimmed(run: tuple[str, ...], capital: Mapping[str, int], lower: Mapping[str, int]) -> tuple[str, ...]:
    """Without titles and without words that are capitals only because a sentence begins, such as `Cried`."""
    words = list(run)
    while words and (
        words[0].lower() in _TITLES | _STARTERS or lower.get(words[0].lower(), 0) * 2 >= capital[words[0]]
    ):
        words.pop(0)
    if words and words[0].lower() in MARRIED_TITLES:
        words = words[1:] if len(words) > 2 else []
    while words and words[-1].lower() in _LEGAL_FORMS:
        words.pop()
    return tuple(words)


def _owner(owners: Mapping[tuple[str, ...], int]) -> tuple[str, ...] | None:
    """The one full name that is meant, if it is clear."""
    best = max(owners, key=lambda run: (owners[run], -len(run)))
    others = sum(count for run, count in owners.items() if run != best and not _covers(run, best))
    return best if owners[best] >= DOMINANT * others else None


def _covers(longer: tuple[str, ...], shorter: tuple[str, ...]) -> bool:
    """`Robert J. Cratchit` names whom `Robert Cratchit` names."""
    rest = iter(longer)
    return all(word in rest for word in shorter)
