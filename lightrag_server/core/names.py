"""Names as people vary them: which spellings are one name, which are near, and which must never be taken for one. Pure.

Works on names alone and knows nothing of the things behind them: `resolution` weighs those.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from functools import lru_cache

from lightrag_server.core import ids

SIMILAR_WORDS = 0.7
"""Share of letters in order from which two words may be spellings of one."""


class Kinship(StrEnum):
    """How two names are related, nearest first."""

    SAME = "same name in another spelling"
    FORM = "same name but for article, title, legal form or spacing"
    PLURAL = "singular and plural"
    INITIALS = "given names as initials"
    ACRONYM = "acronym"
    PART = "same name with more said of it"
    WORD = "one word of the longer name"


def _in_order(text: str) -> list[str]:
    return text.split()


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_LEGAL = {
    "inc": "inc",
    "incorporated": "inc",
    "ltd": "ltd",
    "limited": "ltd",
    "corp": "corp",
    "corporation": "corp",
    "co": "co",
    "llc": "llc",
    "llp": "llp",
    "plc": "plc",
    "gmbh": "gmbh",
}
_CJK_LEGAL = ("股份有限公司", "有限责任公司", "有限公司")
_CJK_COMPANY = ("集团公司", "公司", "集团")
"""Left out only by `compact_form`: 苹果公司 is a company, 苹果 may be a fruit."""
_CJK_TITLES = ("先生", "女士", "教授", "博士")
_CJK_SURNAMES = _words("欧阳 司马 诸葛 上官 东方 皇甫 尉迟 公孙 令狐 慕容 夏侯 司徒")
_TITLES = _words("mr mister dr prof professor sir")
"""Of those a name may go without. A Mrs. or a Lady may bear the name of her husband, so these stay."""
_ARTICLES = frozenset(("the", "a", "an"))
_LINKING = _words("of the and for in on at to de la du des von van der")
_MALE = _words("mr mister sir lord king prince duke father son brother husband man men male boy boys 先生")
_FEMALE = _words(
    "mrs ms miss madam dame lady queen princess duchess mother daughter sister wife woman women female girl girls 女士"
)
_NUMBERS = _in_order("zero one two three four five six seven eight nine ten eleven twelve")
_ORDINALS = _in_order(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
)
_ORDINAL_ENDINGS = ("st", "nd", "rd", *["th"] * 17)
_SPELLED = {word: str(n) for n, word in enumerate(_NUMBERS)} | {
    word: f"{n}{ending}" for n, (word, ending) in enumerate(zip(_ORDINALS, _ORDINAL_ENDINGS, strict=True), 1)
}
_TELLING = _words(
    "north south east west northern southern eastern western northeast northwest southeast southwest "
    "northeastern northwestern southeastern southwestern upper lower inner outer left right "
    "jr sr junior senior elder younger pre post anti non pro old new early late "
    "january february march april may june july august september october november december "
    "monday tuesday wednesday thursday friday saturday sunday"
)
"""Words that tell two things apart however much else they share."""
_CJK_TELLING = frozenset("东南西北上下前后左右新旧老大小内外男女父母子一二三四五六七八九十百千甲乙丙丁")

_ROMAN = re.compile(r"(?!li$)(xl|l?x{0,3})(ix|iv|v?i{0,3})")
_ROMAN_VALUES = {"": 0, "i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5, "vi": 6, "vii": 7, "viii": 8, "ix": 9}
_ROMAN_TENS = {"": 0, "x": 10, "xx": 20, "xxx": 30, "xl": 40, "l": 50, "lx": 60, "lxx": 70, "lxxx": 80}
_DOTTED = re.compile(r"(?<![^\W_])(?:[^\W\d_]\.){2,}(?:[^\W\d_](?![^\W_]))?")
"""Letters with a dot each: U.S., J.K., N.A.T.O"""
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_INNER_DOT = re.compile(r"(?<!\d)\.|\.(?!\d)")
_MINUS = re.compile(r"^-(?=\d+$)")
_IN_BRACKETS = re.compile(r"(.+?) ?\(([A-Za-z.]+)\)")
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_CJK_GAP = re.compile(rf"(?<=[{_CJK}])\s+(?=[{_CJK}])")
_IS_CJK = re.compile(rf"[{_CJK}]+")
_HAS_DIGIT = re.compile(r"\d")
_TURNED = re.compile(r"([^,]+), ([^,]+)")
_MARKS = "™®©"
_APOSTROPHES = "'’‘ʼ`´"
_KEPT_SIGNS = frozenset("&+#*%@.")
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "ı": "i", "ð": "d"})

_TRADITIONAL = (
    "國學會東車馬門開關見長時間話語書畫電視報紙業務員廣場圖館醫藥經濟歷軍隊區縣鄉鎮橋樓廳飛機鐵錢銀風雲龍鳳鳥魚黃綠紅藍"
    "亞歐羅蘭爾華漢韓灣臺萬億個們這來過進運動體實際對於為與產發現頭腦記錄說論證據權利義無從眾傳統計劃級組織統網絡線"
    "聯盟黨營養農場聖靈劉張陳楊趙吳孫鄭許鄧蔣蘇葉閻顧賴賈錢鍾譚陸馮龔"
)
_SIMPLIFIED = (
    "国学会东车马门开关见长时间话语书画电视报纸业务员广场图馆医药经济历军队区县乡镇桥楼厅飞机铁钱银风云龙凤鸟鱼黄绿红蓝"
    "亚欧罗兰尔华汉韩湾台万亿个们这来过进运动体实际对于为与产发现头脑记录说论证据权利义无从众传统计划级组织统网络线"
    "联盟党营养农场圣灵刘张陈杨赵吴孙郑许邓蒋苏叶阎顾赖贾钱钟谭陆冯龚"
)
_TO_SIMPLIFIED = str.maketrans(_TRADITIONAL, _SIMPLIFIED)
"""The commonest characters of names that have one simplified form; a whole table would be a dependency."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """`tokens` is the whole name, canonical; `core` is what is left without article, title and legal form."""

    tokens: tuple[str, ...]
    core: tuple[str, ...]


def normal_form(name: str) -> str:
    """The name without what spellings differ in: case, accents, punctuation, articles, titles, legal forms, roman or
    spelled numbers, "Surname, Given". Costs some 10 µs, remembered."""
    return " ".join(_read(name).core)


def sure_form(name: str) -> str:
    """Equal for names that are one name for certain. As `normal_form`, but what makes up for a single word stays: The
    Who is a band, Who is not; Apple Inc. is a company."""
    reading = _read(name)
    return " ".join(reading.core if _says_enough(reading.core) else reading.tokens)


@lru_cache(maxsize=16_384)
def compact_form(name: str) -> str:
    """Equal for all names that may differ in spacing, number or form only: the key to look near names up by."""
    compact = "".join(_singular(token) for token in _read(name).core)
    return _without_ending(compact, _CJK_COMPANY, 2)


def is_told_apart(a: str, b: str) -> bool:
    """Whether numbers, years, versions, ordinals, directions, generations or sexes differ, as in Apollo 11 and
    Apollo 13: then nothing else makes the two names one."""
    first, second = _read(a), _read(b)
    if _telling(first) != _telling(second):
        return True
    sexes = _sex(first), _sex(second)
    return all(sexes) and sexes[0] != sexes[1]


def kinship(a: str, b: str) -> Kinship | None:
    """The nearest way in which two names are related; None where nothing in them says so."""
    is_apart = is_told_apart(a, b)
    if sure_form(a) == sure_form(b) and not is_apart:
        return Kinship.SAME
    if acronym_of(a) in initials_of(b) or acronym_of(b) in initials_of(a):
        return Kinship.ACRONYM
    if is_apart:
        return None
    first, second = _read(a).core, _read(b).core
    if first == second or "".join(first) == "".join(second):
        return Kinship.FORM
    if compact_form(a) == compact_form(b):
        return Kinship.FORM if compact_form(a) in ("".join(first), "".join(second)) and _is_cjk(a) else Kinship.PLURAL
    if _same_given_names(first, second):
        return Kinship.INITIALS
    if _is_told_with_more(a, b) or _is_told_with_more(b, a):
        return Kinship.PART
    return Kinship.WORD if _is_word_of(first, second) or _is_word_of(second, first) else None


def names_another(a: str, b: str) -> bool:
    """Whether one name adds words to the other, or has another word in one place, as in MTV Asia and MTV Japan: of
    names with near vectors most are such, and few are one thing."""
    first, second = _read(a).core, _read(b).core
    ours, theirs = set(first) - set(second), set(second) - set(first)
    if not ours or not theirs:
        return True
    if len(ours) != 1 or len(theirs) != 1:
        return False
    return SequenceMatcher(None, ours.pop(), theirs.pop(), autojunk=False).ratio() < SIMILAR_WORDS


@lru_cache(maxsize=16_384)
def blocks_of(name: str, *, is_person: bool = False) -> frozenset[str]:
    """Keys such that two names that are related share one; names that are not may share one too. People also meet
    those of whom one word is the name."""
    core = _read(name).core
    blocks = {form_block(name)}
    blocks |= {f"a:{letters}" for letters in (*initials_of(name), *filter(None, (acronym_of(name),)))}
    if 2 <= len(core) <= 4 and not any(map(_HAS_DIGIT.search, core)):
        blocks.add(f"i:{core[0][0]} {core[-1]}")
    if is_person:
        blocks |= {f"w:{core[0]}", f"w:{core[-1]}"}
    return frozenset(blocks)


def form_block(name: str) -> str:
    """The block of names with one `compact_form`."""
    return f"n:{compact_form(name)}"


@lru_cache(maxsize=16_384)
def acronym_of(name: str) -> str | None:
    """The letters of a name that may be an acronym: one word of two to six capitals."""
    letters = ids.display_name(name).replace(".", "").replace(" ", "")
    words = [word for word in re.split(r"[.\s]+", ids.display_name(name)) if word]
    is_one = len(words) == 1 or all(len(word) == 1 for word in words)
    is_short = 2 <= len(letters) <= 6 and letters.isascii() and letters.isalpha() and letters.isupper()
    return letters.lower() if is_one and is_short else None


@lru_cache(maxsize=16_384)
def initials_of(name: str) -> frozenset[str]:
    """Acronyms a name of several words could have: with and without its small words."""
    words = [w for w in re.split(r"[^\w]+", ids.display_name(name)) if w]
    if not 2 <= len(words) <= 8 or not all(word.isascii() for word in words):
        return frozenset()
    told = ["".join(word[0] for word in words), "".join(w[0] for w in words if w.lower() not in _LINKING)]
    return frozenset(letters.lower() for letters in told if 2 <= len(letters) <= 6 and letters.isalpha())


# ----------------------------------------------------------------------------- reading a name


@lru_cache(maxsize=32_768)
def _read(name: str) -> _Reading:
    tokens = _tokens(_turned(_plain(_without_own_acronym(ids.display_name(name)))))
    core = tokens
    while len(core) > 1 and core[-1] in _LEGAL.values():
        core = core[:-1] if core[-2] != "and" or len(core) == 2 else core[:-2]
    if len(core) > 1 and core[0] in _ARTICLES:
        core = core[1:]
    while len(core) > 1 and core[0] in _TITLES:
        core = core[1:]
    if len(core) == 1:
        core = (_without_cjk_form(core[0]),)
    return _Reading(tokens, core) if core else _Reading((key := ids.entity_key(name),), (key,))


def _without_own_acronym(name: str) -> str:
    """World Health Organization (WHO) → World Health Organization."""
    found = _IN_BRACKETS.fullmatch(name)
    return found[1] if found and found[2].replace(".", "").lower() in initials_of(found[1]) else name


def _plain(name: str) -> str:
    """Without accents, dots between letters, apostrophes and marks; commas and capitals are gone but for "A, B"."""
    text = name.translate({ord(c): None for c in _MARKS})
    text = unicodedata.normalize("NFKC", text).casefold().translate(_TO_SIMPLIFIED)
    text = _without_accents(text).translate(_LETTERS).translate({ord(c): None for c in _APOSTROPHES})
    return _DOTTED.sub(lambda found: found[0].replace(".", ""), _THOUSANDS.sub("", text))


def _without_accents(text: str) -> str:
    """Of Latin and Greek letters only: elsewhere a mark makes another letter (か, が)."""
    if text.isascii():
        return text
    kept: list[str] = []
    base = ""
    for char in unicodedata.normalize("NFD", text):
        if not unicodedata.combining(char):
            base = char
        elif unicodedata.name(base, "").startswith(("LATIN", "GREEK")):
            continue
        kept.append(char)
    return unicodedata.normalize("NFC", "".join(kept))


def _turned(text: str) -> str:
    """Scrooge, Ebenezer → Ebenezer Scrooge; Apple, Inc. stays."""
    found = _TURNED.fullmatch(text)
    if not found or _HAS_DIGIT.search(text) or len(found[1].split()) > 2 or len(found[2].split()) > 2:
        return text
    return text if found[2].strip(". ") in {*_LEGAL, "jr", "sr"} else f"{found[2]} {found[1]}"


def _tokens(text: str) -> tuple[str, ...]:
    text = _INNER_DOT.sub(" ", text.replace(" & ", " and "))
    text = _MINUS.sub("\N{MINUS SIGN}", text)
    spaced = "".join(c if c in _KEPT_SIGNS or unicodedata.category(c)[0] in "LNMS" else " " for c in text)
    words = _joined_letters(_CJK_GAP.sub("", spaced).split())
    if len(words) == 1:
        return tuple(words)  # a number alone is no name of anything: Three is not 3, Xi is not 11
    return tuple(_canonical(word, is_last=n == len(words) - 1) for n, word in enumerate(words))


def _joined_letters(words: list[str]) -> list[str]:
    """j k rowling → jk rowling."""
    joined: list[str] = []
    was_letter = False
    for word in words:
        is_letter = len(word) == 1 and word.isascii() and word.isalpha()
        if is_letter and was_letter:
            joined[-1] += word
        else:
            joined.append(word)
        was_letter = is_letter
    return joined


def _canonical(word: str, *, is_last: bool) -> str:
    if word in _SPELLED:
        return _SPELLED[word]
    if (len(word) > 1 or is_last) and (found := _ROMAN.fullmatch(word)):
        return str(_ROMAN_TENS[found[1]] + _ROMAN_VALUES[found[2]])
    return _LEGAL.get(word, word) if is_last else word


def _without_cjk_form(word: str) -> str:
    if not _is_cjk(word):
        return word
    bare = _without_ending(word, _CJK_LEGAL, 2)
    person = _without_ending(bare, _CJK_TITLES, 2)
    return bare if person in _CJK_SURNAMES else person


def _without_ending(word: str, endings: tuple[str, ...], at_least: int) -> str:
    ending = next((e for e in endings if word.endswith(e) and len(word) - len(e) >= at_least), "")
    return word.removesuffix(ending)


def _is_cjk(word: str) -> bool:
    return bool(_IS_CJK.fullmatch(word))


def _says_enough(core: tuple[str, ...]) -> bool:
    return len(core) > 1 or _is_cjk("".join(core))


def _singular(word: str) -> str:
    """Crude on purpose: for looking up, never for being sure."""
    if len(word) < 4 or not word.isascii() or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("xes", "ches", "shes", "sses")):
        return word[:-2]
    return word.removesuffix("s")


# ----------------------------------------------------------------------------- comparing


def _telling(reading: _Reading) -> tuple[str, ...]:
    words = [token for token in reading.core if token in _TELLING or _HAS_DIGIT.search(token)]
    signs = [c for token in reading.core if not token.isascii() for c in token if c in _CJK_TELLING]
    return tuple(sorted([*words, *signs]))


def _sex(reading: _Reading) -> frozenset[str]:
    words = {*reading.tokens, *(token[-2:] for token in reading.tokens if _is_cjk(token))}
    return frozenset(sex for sex, told_by in (("m", _MALE), ("f", _FEMALE)) if not told_by.isdisjoint(words))


def _same_given_names(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    """Equal last word, and of the words before it each equal or the initial of its counterpart."""
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-1] or len(a[-1]) < 2:
        return False
    one, other = (_spread(a[:-1], b[:-1]), _spread(b[:-1], a[:-1]))
    return len(one) == len(other) and all(x == y or _is_initial(x, y) for x, y in zip(one, other, strict=True))


def _spread(given: tuple[str, ...], against: tuple[str, ...]) -> tuple[str, ...]:
    """jk → j, k where the other name has as many words."""
    if len(given) == 1 and len(against) == len(given[0]) <= 3:
        return tuple(given[0])
    return given


def _is_initial(a: str, b: str) -> bool:
    return min(len(a), len(b)) == 1 and a[0] == b[0]


def _is_word_of(short: tuple[str, ...], long: tuple[str, ...]) -> bool:
    """The first or last: Scrooge, Ebenezer Scrooge."""
    return len(short) == 1 < len(long) and len(short[0]) > 2 and short[0] in (long[0], long[-1])


def _is_told_with_more(short: str, long: str) -> bool:
    """With the place it is in, or with names between first and last: Moscow, Russia; John H. Taylor."""
    head, comma, _ = ids.display_name(long).partition(", ")
    if comma and sure_form(head) == sure_form(short):
        return True
    a, b = _read(short).core, _read(long).core
    return len(a) == 2 < len(b) == 3 and (a[0], a[1]) == (b[0], b[2])
