"""Chinese: jieba's segmentation and parts of speech.

jieba tags a name differently from sentence to sentence, so names are first collected over all texts, then found
again as plain text.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from itertools import pairwise, product
from typing import TYPE_CHECKING, NamedTuple

from lightrag_server.core.sentences import sentence_spans
from lightrag_server.nlp.draft import Draft, Rank, Strength
from lightrag_server.nlp.vocabulary import vocabulary

if TYPE_CHECKING:
    from jieba.posseg import POSTokenizer

TERM, OTHER = "concept", "other"
TOGETHER = "共同提及"
MIN_TERM = 2
MAX_TERM_CHARS = 10
MIN_SINGLE_WORD_TERM_CHARS = 4
MAX_ORGANIZATION_PARTS = 4
MAX_GROUP = 3

_TYPES = {
    "nr": "person",
    "nr?": "person",
    "nrt": "person",
    "nrfg": "person",
    "ns": "location",
    "nt": "organization",
    "nz": OTHER,
    "eng": OTHER,
}
_SURNAMES = frozenset(
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜"
    "范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文庞樊兰殷施陶洪翟安颜倪严牛温芦季俞章鲁葛伍韦"
    "申尤毕聂丛焦向柳邢路岳齐沿梅莫庄辛管祝左涂谷祁时舒耿牟卜詹关苗凌费纪靳盛童欧甄项曲成游阳裴席卫查屈鲍位覃霍翁隋植甘景薄单"
    "包司柏宁柯阮桂闵解强柴华车冉房边欧诸上"
)
_NOT_PEOPLE = vocabulary(
    "武功 文明 王朝 阳光 陆军 卫星 雷达 武林 胡同 顾问 王爷 王公 白雪 高峰 齐声 文武 石英 金殿 高潮 齐全 洪水 "
    "顾客 辛勤 胡子 桂林 柏林 王府 叶子 安静 谢谢 白领 康复 梅花 诸如 范畴 周转 诸侯 孙子 宁可 凌辱 高明 陈述 "
    "丛林 马匹 胡说 关怀 林立 王子 温泉 白宫 黎明 司马 陈列 宁静 金刚 左翼 安抚 高僧 许可 朱红 杜绝 白莲 石狮 "
    "童子 祝贺 兰花 岳父 史诗 谢恩 凌厉 胡闹 高三 王八 白白 桂花 高悬 马背 乔木 毛巾 白布 张开 马夫 陈设 高薪 "
    "华丽 白发 金黄 林子 林木 杨柳 莫斯科 金字塔 黄金周 季后赛 胡萝卜 杜鹃花"
)
"""Words of the dictionary that are tagged as people."""
_GIVEN_NAME_FLAGS = ("a", "n", "nr", "ng", "zg", "z", "j", "b", "an", "vn", "nz", "ns")
_UNSURE_PERSON = "nr?"
"""A family name and a word put together; believed when it returns."""
_ORGANIZATION = re.compile(
    "(?:公司|集团|大学|学院|研究院|研究所|银行|医院|委员会|基金会|协会|学会|博物馆|图书馆|出版社|报社|法院|实验室|工厂|事务所|合作社|联盟|"
    "局|厅|署)$"
)
_PLACE = re.compile(r"[省市县区镇乡村路街山河湖江岛港桥湾谷]$")
_SURE_PLACE = re.compile(r"..[省市县区镇乡村街河湖港]$")
_ORGANIZATION_PARTS = ("nr", "nr?", "nrt", "ns", "nt", "nz", "n", "eng", "j", "vn", "b", "x", "ng", "a", "nrfg")
_NOT_ORGANIZATION_PART = re.compile("(?:长|官|总裁|经理|主任|教授|博士|记者|先生|女士|工程师|伙伴|对手|家|员|人)$")
_TERM_PARTS = ("n", "vn", "nz", "eng", "b", "an", "l")
_TERM_HEADS = ("n", "vn", "eng", "nz")
_PERSON = re.compile(r"[\u4e00-\u9fff]{2,4}")
_CONJUNCTION = re.compile(r"[和与跟及、同以]{1,2}|以及")
_EMPTY_VERBS = vocabulary("是 有 在 会 要 能 可以 为 让 使 说 没有 成为 进行 可 应 需要 将 来 去 到 想 看 作为 如 表示")
_GENERIC = vocabulary("时候 地方 问题 情况 方面 东西 事情 工作人员 负责人 有关部门")
_CLAUSE_END = re.compile(r"[，；：,;:]")


def is_available() -> bool:
    return find_spec("jieba") is not None


def drafts(texts: Sequence[str], names: Mapping[str, str]) -> list[Draft]:
    """One draft per text. `names` is not used: Chinese names are rarely shortened to a part that can be looked up."""
    pages = [_sentences(text) for text in texts]
    survey = _surveyed(pages)
    spellings = _pattern(survey)
    return [_draft(page, survey, spellings) for page in pages]


class _Word(NamedTuple):
    text: str
    flag: str


@dataclass(frozen=True, slots=True)
class _Sentence:
    text: str
    words: list[_Word]


@dataclass(slots=True)
class _Survey:
    """Names with the votes for their type, and terms with how often they occur."""

    names: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])
    terms: Counter[str] = field(default_factory=Counter[str])

    def type_of(self, name: str) -> str:
        return self.names[name].most_common(1)[0][0]


@cache
def _tagger() -> POSTokenizer:
    """Built from the dictionary in the package: jieba's own loading would trust a cache file in the temporary folder,
    which anybody may have written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jieba
        import jieba.posseg

        words = jieba.Tokenizer()
        words.FREQ, words.total = words.gen_pfdict(words.get_dict_file())
        words.initialized = True
        return jieba.posseg.POSTokenizer(words)


def _sentences(text: str) -> list[_Sentence]:
    """Without line breaks: Chinese text is wrapped anywhere."""
    lines = (re.sub(r"\s*\n\s*", "", text[start:end]) for start, end in sentence_spans(text))
    return [_Sentence(line, _joined([_Word(w.word, w.flag) for w in _tagger().cut(line)])) for line in lines]


# ----------------------------------------------------------------------------- names and terms


def _joined(words: list[_Word]) -> list[_Word]:
    """Put together what segmentation tears apart: foreign names with a dot, organizations, places."""
    joined: list[_Word] = []
    for word in words:
        if joined and word.text == "·":
            joined[-1] = _Word(joined[-1].text + "·", "nrt")
        elif joined and joined[-1].text.endswith("·"):
            joined[-1] = _Word(joined[-1].text + word.text, "nrt")
        elif _ORGANIZATION.search(word.text):
            _join_organization(joined, word)
        elif joined and _is_family_name(joined[-1]) and len(word.text) <= 2 and word.flag in _GIVEN_NAME_FLAGS:
            joined[-1] = _Word(joined[-1].text + word.text, _UNSURE_PERSON)
        elif len(word.text) == 1 and _PLACE.search(word.text) and joined and joined[-1].flag in ("n", "nr", "nz", "ns"):
            joined[-1] = _Word(joined[-1].text + word.text, "ns")
        else:
            joined.append(word)
    return joined


def _is_family_name(word: _Word) -> bool:
    return word.flag == "nr" and len(word.text) == 1 and word.text in _SURNAMES


def _join_organization(joined: list[_Word], suffix: _Word) -> None:
    start = len(joined)
    if start > 1 and joined[-1].flag == "v" and _is_organization_part(joined[-2]):
        start -= 1  # 白水 + 保护 + 协会
    while start and len(joined) - start < MAX_ORGANIZATION_PARTS and _is_organization_part(joined[start - 1]):
        start -= 1
    name = "".join(word.text for word in joined[start:]) + suffix.text
    is_name = start < len(joined) or suffix.flag == "nt"
    del joined[start:]
    joined.append(_Word(name, "nt" if is_name else suffix.flag))


def _is_organization_part(word: _Word) -> bool:
    return word.flag in _ORGANIZATION_PARTS and word.text.isalnum() and not _NOT_ORGANIZATION_PART.search(word.text)


def _surveyed(pages: Sequence[Sequence[_Sentence]]) -> _Survey:
    survey = _Survey()
    text = "\n".join(sentence.text for page in pages for sentence in page)
    for page in pages:
        for sentence in page:
            for word in sentence.words:
                if type := _name_type(word):
                    survey.names.setdefault(word.text, Counter())[type] += 1
            survey.terms.update(_terms(sentence.words))
    unsure = {word.text for page in pages for line in page for word in line.words if word.flag == _UNSURE_PERSON}
    for name in list(survey.names):
        if (name in unsure or survey.type_of(name) == OTHER) and text.count(name) < MIN_TERM:
            del survey.names[name]
    survey.terms = Counter({t: n for t, n in survey.terms.items() if n >= MIN_TERM and t not in survey.names})
    return survey


def _name_type(word: _Word) -> str | None:
    """The type of a proper noun; None for other words, and for what jieba only takes for a person's name."""
    if len(word.text) < 2:
        return None
    type = _TYPES.get(word.flag)
    if type == "person" and _SURE_PLACE.search(word.text):
        return "location"
    if type == "person" and "·" not in word.text:
        is_person = _PERSON.fullmatch(word.text) and word.text[0] in _SURNAMES and word.text not in _NOT_PEOPLE
        return type if is_person else None
    return type


def _terms(words: Sequence[_Word]) -> Iterator[str]:
    """Compounds of nouns, and long nouns that are terms by themselves."""
    run: list[_Word] = []
    for word in [*words, _Word("", "")]:
        if word.flag in _TERM_PARTS and word.text not in _GENERIC:
            run.append(word)
            continue
        while run and run[-1].flag not in _TERM_HEADS:
            run.pop()
        term = "".join(part.text for part in run)
        if (len(run) > 1 and len(term) <= MAX_TERM_CHARS) or (run and len(term) >= MIN_SINGLE_WORD_TERM_CHARS):
            yield term
        run = []


def _pattern(survey: _Survey) -> re.Pattern[str] | None:
    forms = sorted({*survey.names, *survey.terms}, key=lambda form: (-len(form), form))
    return re.compile("|".join(map(re.escape, forms))) if forms else None


# ----------------------------------------------------------------------------- one text


class _Mention(NamedTuple):
    name: str
    start: int
    end: int
    is_name: bool


def _draft(page: Sequence[_Sentence], survey: _Survey, spellings: re.Pattern[str] | None) -> Draft:
    draft = Draft()
    if spellings is None:
        return draft
    for sentence in page:
        found = spellings.finditer(sentence.text)
        mentions = [_Mention(m.group(), m.start(), m.end(), m.group() in survey.names) for m in found]
        for mention in mentions:
            type = survey.type_of(mention.name) if mention.is_name else TERM
            draft.mention(mention.name, type, sentence.text, Rank.NAMED if mention.is_name else Rank.REPEATED)
        _relate([mention for mention in mentions if mention.is_name], sentence, draft, together=True)
        _relate(mentions, sentence, draft, together=False)
    return draft


def _relate(mentions: Sequence[_Mention], sentence: _Sentence, draft: Draft, *, together: bool) -> None:
    """Relate neighbours by what stands between them; what `和` ties shares what is said of it.

    A clause that names nobody before its verb goes on about whom the sentence began with.
    """
    groups = _groups(mentions, sentence.text)
    pairs = [(a, b, None) for group in groups for a, b in pairwise(group)]
    for first, second in pairwise(groups):
        clause = _clause_start(sentence.text, first[-1].end, second[0].start)
        keyword = _keyword(sentence, clause or first[-1].end, second[0].start, second[-1].end)
        subjects = groups[0] if clause and keyword else first
        pairs += [(a, b, keyword) for a, b in product(subjects[-MAX_GROUP:], second[:MAX_GROUP])]
    for a, b, keyword in pairs:
        if keyword:
            draft.relate(a.name, b.name, keyword, sentence.text, Strength.STATED)
        elif together:
            draft.relate(a.name, b.name, TOGETHER, sentence.text, Strength.TOGETHER)


def _groups(mentions: Sequence[_Mention], text: str) -> list[list[_Mention]]:
    groups: list[list[_Mention]] = []
    for mention in mentions:
        if groups and _CONJUNCTION.fullmatch(text[groups[-1][-1].end : mention.start]):
            groups[-1].append(mention)
        else:
            groups.append([mention])
    return groups


def _clause_start(text: str, start: int, end: int) -> int | None:
    """Where the last clause between two positions begins, when one does."""
    ends = [match.end() for match in _CLAUSE_END.finditer(text, start, end)]
    return ends[-1] if ends else None


def _keyword(sentence: _Sentence, start: int, end: int, after: int) -> str | None:
    """The last verb between two names, which are at `start` and from `end` to `after`; after a preposition the verb
    behind the second one (`向银行申请`); else the noun that ties them (`公司的董事长张三`)."""
    words = list(_words_between(sentence.words, start, end))
    for before, word in pairwise(words):
        if word.text == "于" and before.flag in ("v", "vn", "n"):
            return before.text + word.text
    if verbs := _verbs(words):
        return verbs[-1]
    if any(word.flag == "p" for word in words):
        following = _clause_end(sentence.text, after)
        return next(iter(_verbs(_words_between(sentence.words, after, following))), None)
    if words and all(word.flag in ("n", "uj", "b", "a", "ng") for word in words):
        return "".join(word.text for word in words if word.flag != "uj") or None
    return None


def _verbs(words: Iterable[_Word]) -> list[str]:
    return [word.text for word in words if word.flag in ("v", "vn", "vd") and word.text not in _EMPTY_VERBS]


def _clause_end(text: str, start: int) -> int:
    found = _CLAUSE_END.search(text, start)
    return found.start() if found else len(text)


def _words_between(words: Sequence[_Word], start: int, end: int) -> Iterator[_Word]:
    position = 0
    for word in words:
        if start <= position and position + len(word.text) <= end:
            yield word
        position += len(word.text)
