"""Any language, with no dependency: what is capitalised, quoted or said again and again, and what stands together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from lightrag_server.core import ids
from lightrag_server.core.sentences import sentence_spans
from lightrag_server.nlp.draft import Draft, Rank, Strength
from lightrag_server.nlp.layout import paragraphs
from lightrag_server.nlp.names import CODE, person_name
from lightrag_server.nlp.vocabulary import vocabulary

OTHER, TERM, CONTENT = "other", "concept", "content"
TOGETHER = "together with"
MAX_WORDS_BETWEEN = 4
MIN_SINGLE_NAME = 2
MIN_REPEATED = 3
MAX_REPEATED = 12
MAX_QUOTED_WORDS = 6
MAX_SHARE_OF_CAPITALS = 0.4
"""Of the words inside sentences; with more of them, as in German, a capital letter does not make a name."""
MIN_RUN, MAX_RUN = 3, 12
MIN_REPEATED_RUN = 2

_STARTERS = vocabulary(
    "der die das ein eine einen einem einer dem den des im am zum zur sein seine seinen seiner ihr ihre ihren nach "
    "auch el la los las un una unos unas su sus al en le les une des du son sa ses leur il lo gli i uno o a os as um "
    "uma seu sua het een de zijn haar det den en et hans hennes в на по из за он она его её это этот при после"
)
"""Words that are capitals because a sentence begins with them."""

_CAPITAL = r"[^\W\d_a-zß-öø-ÿа-яё一-鿿぀-ヿ가-힣][^\W\d_]*(?:[-'’][^\W\d_]+)*"
_LINK = r"(?:de|del|della|di|da|do|dos|du|von|van|der|den|la|le|of|y|i|al|el|ibn|bin)"
_NAME = re.compile(rf"(?<!\w){_CAPITAL}(?:\s(?:{_LINK}\s){{0,2}}{_CAPITAL}){{0,4}}(?!\w)")
_QUOTED = re.compile(r"[“„«「『《]\s?([^“”„«»「」『』《》\n]{2,60}?)\s?[”“»」』》]")
_WORD = re.compile(r"[^\W\d_]{3,}")
_CJK_RUN = re.compile(r"[ァ-ヿー]{3,}|[一-鿿]{2,}")
_CJK_FUNCTION = re.compile(r"[的了和与在是由对把将从向一这那及或为被其有也不他她它我你们个着过都就到上下中以而之於于]")
_KANA = re.compile(r"[぀-ヿ]")
_JAPANESE_RUN = re.compile(rf"[一-鿿ァ-ヺー々]{{{MIN_RUN},{MAX_RUN}}}")
_JAPANESE_NAME = re.compile(
    "(?:大学|会社|製作所|研究所|銀行|工業|電機|病院|新聞|協会|学校|神社|鉄道|市|県|府|町|村|区|駅|川|山|島|寺|城)$"
)


def drafts(texts: Sequence[str], names: Mapping[str, str]) -> list[Draft]:
    """One draft per text. `names` maps short forms of names to the ones to use."""
    lower = Counter(word for text in texts for word in _WORD.findall(text) if word.islower())
    return [_draft(text, lower, names) for text in texts]


def _draft(text: str, lower: Counter[str], names: Mapping[str, str]) -> Draft:
    draft = Draft()
    title = next(paragraphs(text), None)
    topic = title.topic if title else ""
    if title and topic:
        draft.mention(topic, OTHER, title.text, Rank.NAMED)
        text = text.lstrip().removeprefix(title.text)
    sentences = [" ".join(text[start:end].split()) for start, end in sentence_spans(text)]
    if title and topic:
        sentences.insert(0, title.text)
    nodes = _nodes(text, sentences, lower, names)
    if not nodes:
        return draft
    spellings = re.compile("|".join(re.escape(form) for form in sorted(nodes, key=lambda form: (-len(form), form))))
    for sentence in sentences:
        _read_sentence(sentence, spellings, nodes, draft, topic)
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
    for run in _japanese_names(text):
        nodes[run] = (run, OTHER, Rank.NAMED)
    for written in _capitalised(sentences, lower):
        name = person_name(written)
        nodes[written] = (names.get(name, name), OTHER, Rank.NAMED)
    for code in CODE.findall(text):
        nodes[code] = (code, OTHER, Rank.NAMED)
    return {written: node for written, node in nodes.items() if written.strip() and ids.entity_key(node[0])}


def _capitalised(sentences: Sequence[str], lower: Counter[str]) -> Iterator[str]:
    """Phrases of several capitalised words. Single ones when a capital letter inside a sentence makes a name in this
    language, else when they return."""
    seen: Counter[str] = Counter()
    inside: set[str] = set()
    for sentence in sentences:
        for match in _NAME.finditer(sentence):
            name = match.group() if match.start() else _without_starters(match.group(), lower)
            if _NAME.fullmatch(name):
                seen[name] += 1
                if match.start():
                    inside.add(name)
    min_single = MIN_SINGLE_NAME if _has_capital_nouns(sentences) else 1
    endings = Counter(end for name in seen for end in _endings(name))
    for name, count in seen.items():
        if len(name) > 1 and (" " in name or (count >= min_single and name in inside)):
            yield _tail(name, endings)


def _without_starters(name: str, lower: Counter[str]) -> str:
    first, _, rest = name.partition(" ")
    return rest if lower[first.lower()] or first.lower() in _STARTERS else name


def _tail(name: str, endings: Mapping[str, int]) -> str:
    """`Tochter Charlotte Amsler` names Charlotte Amsler where another phrase ends with her name, too."""
    return next((end for end in _endings(name)[1:] if end[0].isupper() and endings[end] > 1), name)


def _endings(name: str) -> list[str]:
    """Of at least two words, longest first."""
    words = name.split()
    return [" ".join(words[start:]) for start in range(len(words) - 1)]


def _has_capital_nouns(sentences: Sequence[str]) -> bool:
    words = [word for sentence in sentences for word in sentence.split()[1:] if word[0].isalpha()]
    return sum(word[0].isupper() for word in words) > MAX_SHARE_OF_CAPITALS * len(words)


def _japanese_names(text: str) -> list[str]:
    """Runs of Chinese characters and katakana that return, or that end as names of places and organizations do."""
    runs = Counter(_JAPANESE_RUN.findall(text)) if _KANA.search(text) else Counter[str]()
    return [run for run, count in runs.items() if count >= MIN_REPEATED_RUN or _JAPANESE_NAME.search(run)]


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


def _read_sentence(sentence: str, spellings: re.Pattern[str], nodes: Nodes, draft: Draft, topic: str) -> None:
    previous: tuple[int, str] | None = None
    for match in spellings.finditer(sentence):
        if not _stands_alone(sentence, match):
            continue
        name, type, rank = nodes[match.group()]
        draft.mention(name, type, sentence, rank)
        if previous and previous[1] != name:
            keyword = _between(sentence[previous[0] : match.start()])
            strength = Strength.STATED if keyword != TOGETHER else Strength.TOGETHER
            draft.relate(previous[1], name, keyword, sentence, strength)
        elif topic and not previous and topic != name:
            draft.relate(topic, name, TOGETHER, sentence, Strength.TOGETHER)
        previous = (match.end(), name)


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
