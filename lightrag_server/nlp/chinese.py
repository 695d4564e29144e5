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

TERM, OTHER, CONTENT = "concept", "other", "content"
TOGETHER = "共同提及"
MIN_TERM = 2
MIN_NEW_WORD = 4
MIN_FOREIGN = 3
MIN_SHARE = 0.8
"""Of the occurrences of a part of a new word."""
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
    "nt?": "organization",
    "nz": OTHER,
    "nz+": OTHER,
    "eng": OTHER,
}
_SURNAMES = frozenset(
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜"
    "范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文庞樊兰殷施陶洪翟安颜倪严牛温芦季俞章鲁葛伍韦"
    "申尤毕聂丛焦向柳邢路岳齐沿梅莫庄辛管祝左涂谷祁时舒耿牟卜詹关苗凌费纪靳盛童欧甄项曲成游阳裴席卫查屈鲍位覃霍翁隋植甘景薄单"
    "包司柏宁柯阮桂闵解强柴华车冉房边欧诸上麦宫卓蓝丘褚"
)
_SOUNDS = frozenset(
    "阿埃艾安奥巴贝彼宾波伯博茨查达戴丹道德登迪蒂顿厄恩尔法凡菲费芬弗福夫盖戈格古果哈汉豪赫亨霍基吉加杰卡凯坎考科克肯库奎拉莱兰朗劳勒雷"
    "里莉琳隆卢鲁伦罗洛迈曼梅蒙米密莫默姆穆纳娜南内尼妮涅宁诺欧帕潘佩皮珀普奇齐恰乔切热荣瑞若撒萨塞森沙舍圣施史思斯丝松索塔泰坦汤特滕"
    "提廷图托瓦威韦维魏温翁沃西希谢辛休雪亚扬耶伊英尤约泽詹兹佐茜娅雅薇"
)
"""Characters that write foreign names; without those that are common words."""
_FUNCTION_FLAGS = ("p", "c", "u", "uj", "ul", "uz", "ud", "uv", "ug", "d", "r", "x", "f", "m", "q", "y", "t")
_COMMON_VERBS = vocabulary("说 是 有 任 来 去 到 想 要 出 用 让 请 为 向 带 把 被 给 在 会 能 和 又 也")
_NOT_PEOPLE = vocabulary(
    "武功 文明 王朝 阳光 陆军 卫星 雷达 武林 胡同 顾问 王爷 王公 白雪 高峰 齐声 文武 石英 金殿 高潮 齐全 洪水 "
    "顾客 辛勤 胡子 桂林 柏林 王府 叶子 安静 谢谢 白领 康复 梅花 诸如 范畴 周转 诸侯 孙子 宁可 凌辱 高明 陈述 "
    "丛林 马匹 胡说 关怀 林立 王子 温泉 白宫 黎明 司马 陈列 宁静 金刚 左翼 安抚 高僧 许可 朱红 杜绝 白莲 石狮 "
    "解密 孔径 孙女 童子 祝贺 兰花 岳父 史诗 谢恩 凌厉 胡闹 高三 王八 白白 桂花 高悬 马背 乔木 毛巾 白布 张开 "
    "马夫 陈设 高薪 华丽 白发 金黄 林子 林木 杨柳 莫斯科 金字塔 黄金周 季后赛 胡萝卜 杜鹃花"
)
"""Words of the dictionary that are tagged as people."""
_NOT_PLACES = vocabulary("中断 上市 南归 外国")
_GIVEN_NAME_FLAGS = ("a", "n", "nr", "ng", "zg", "z", "j", "b", "an", "vn", "nz", "ns")
_UNSURE_PERSON, _UNSURE_ORGANIZATION = "nr?", "nt?"
"""A family name and a word put together, an organization named by common words; believed when they return."""
_NEW_WORD = "nz+"
"""Characters that the dictionary does not know as a word and that keep standing together."""
_ORGANIZATION = re.compile(
    "(?:公司|集团|大学|学院|研究院|研究所|银行|医院|委员会|基金会|协会|学会|博物馆|图书馆|出版社|报社|法院|实验室|厂|坊|信托|事务所|合作社|联盟|"
    "株式会社|局|厅|署)$"
)
_LEGAL_FORM = re.compile("(?:股份有限公司|有限责任公司|有限公司|株式会社)$")
_QUOTED = re.compile(r"[“「『《]([^“”「」『』《》，。！？；：、\s]{2,10})[”」』》]")
"""What is given a name; speech is longer or has marks in it."""
_SIDES = vocabulary("东方 南方 西方 北方 中央 中华")
_WORK = vocabulary(
    "投资 保险 运输 建筑 设计 贸易 控股 管理 保护 研究 制造 出版 开发 服务 咨询 教育 证券 印刷 工程 造纸 航运 建设 发展"
)
"""Verbs that names of organizations are made of."""
_PLACE = re.compile(r"[省市县区镇乡村路街山河湖江岛港桥湾谷]$")
_PLACE_PARTS = ("n", "nr", "nz", "nz+", "ns")
_SURE_PLACE = re.compile(r"..[省市县区镇乡村街河湖港]$")
_PROPER = ("nr", "nr?", "nrt", "ns", "nt", "nt?", "nz", "nz+", "eng", "j", "nrfg")
_ORGANIZATION_PARTS = (*_PROPER, "n", "b", "x", "ng", "a")
_NOT_ORGANIZATION_PART = re.compile(
    "(?:外国|母校|长|官|总裁|经理|主任|教授|博士|记者|先生|女士|工程师|伙伴|对手|家|员|人)$"
)
_TERM_PARTS = ("n", "vn", "nz", "nz+", "eng", "b", "an", "l")
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
    pages = _pages(texts)
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
    called: dict[str, str] = field(default_factory=dict[str, str])
    """Other forms of names → the form to use."""

    def type_of(self, name: str) -> str:
        if name in self.names:
            return self.names[name].most_common(1)[0][0]
        return next(self.type_of(form) for form, used in self.called.items() if used == name and form in self.names)

    def is_name(self, name: str) -> bool:
        return name in self.names or name in self.called.values()


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


def _pages(texts: Sequence[str]) -> list[list[_Sentence]]:
    pages = [[(line, [_Word(w.word, w.flag) for w in _tagger().cut(line)]) for line in _lines(text)] for text in texts]
    together = _standing_together([words for page in pages for _, words in page])
    return [[_Sentence(line, _joined(_with_new_words(words, together))) for line, words in page] for page in pages]


def _lines(text: str) -> Iterator[str]:
    """Sentences without line breaks: Chinese text is wrapped anywhere."""
    return (re.sub(r"\s*\n\s*", "", text[start:end]) for start, end in sentence_spans(text))


# ----------------------------------------------------------------------------- names and terms


def _standing_together(sentences: Sequence[Sequence[_Word]]) -> dict[tuple[str, str], str]:
    """Pairs of neighbours that are one word, and its flag: 砚 + 湖, 罗 + 知行, 姚静 + 如.

    One part seldom stands elsewhere.
    """
    single = Counter(word.text for words in sentences for word in words)
    pairs = Counter(pair for words in sentences for pair in pairwise(words))
    found: dict[tuple[str, str], str] = {}
    for (first, second), count in pairs.items():
        if first.flag in _FUNCTION_FLAGS or second.flag in _FUNCTION_FLAGS or second.text in _COMMON_VERBS:
            continue
        first_share, second_share = count / single[first.text], count / single[second.text]
        is_family = len(first.text) == 1 and first.text in _SURNAMES and len(second.text) == 2
        is_cut_person = len(first.text) == 2 and first.flag == "nr" and first.text[0] in _SURNAMES
        is_person = (is_family and second_share >= MIN_SHARE) or (
            is_cut_person and len(second.text) == 1 and first_share >= MIN_SHARE
        )
        if is_person and count >= MIN_TERM:
            found[first.text, second.text] = "nr"
        elif count >= MIN_NEW_WORD and len(first.text) == len(second.text) == 1 and first_share >= MIN_SHARE:
            found[first.text, second.text] = _NEW_WORD
    return found


def _with_new_words(words: Sequence[_Word], together: Mapping[tuple[str, str], str]) -> list[_Word]:
    joined: list[_Word] = []
    for word in words:
        flag = together.get((joined[-1].text, word.text)) if joined else None
        if flag:
            joined[-1] = _Word(joined[-1].text + word.text, flag)
        else:
            joined.append(word)
    return joined


def _joined(words: list[_Word]) -> list[_Word]:
    """Put together what segmentation tears apart: foreign names with a dot, organizations, places."""
    joined: list[_Word] = []
    for word in words:
        if joined and word.text == "·":
            joined[-1] = _Word(joined[-1].text + "·", "nrt")
        elif joined and (joined[-1].text.endswith("·") or _continues_foreign_name(joined[-1], word)):
            joined[-1] = _Word(joined[-1].text + word.text, "nrt")
        elif _ORGANIZATION.search(word.text):
            _join_organization(joined, word)
        elif joined and _is_family_name(joined[-1]) and len(word.text) <= 2 and word.flag in _GIVEN_NAME_FLAGS:
            joined[-1] = _Word(joined[-1].text + word.text, _UNSURE_PERSON)
        elif (
            len(word.text) == 1
            and _PLACE.search(word.text)
            and joined
            and joined[-1].flag in ("n", "nr", "nz", "nz+", "ns")
        ):
            joined[-1] = _Word(joined[-1].text + word.text, "ns")
        else:
            joined.append(word)
    return joined


def _continues_foreign_name(name: _Word, word: _Word) -> bool:
    """科斯 + 基宁: characters that are used for their sound."""
    is_foreign = name.flag == "nrt" and word.flag not in _FUNCTION_FLAGS
    return is_foreign and all(char in _SOUNDS for char in name.text.replace("·", "") + word.text)


def _is_family_name(word: _Word) -> bool:
    return word.flag == "nr" and len(word.text) == 1 and word.text in _SURNAMES


def _join_organization(joined: list[_Word], suffix: _Word) -> None:
    start = len(joined)
    while start and len(joined) - start < MAX_ORGANIZATION_PARTS and _is_organization_part(joined[start - 1]):
        start -= 1
    name = "".join(word.text for word in joined[start:]) + suffix.text
    first = joined[start] if start < len(joined) else suffix
    is_sure = suffix.flag == "nt" or (first is not suffix and (first.flag in _PROPER or first.text in _SIDES))
    flag = "nt" if is_sure else _UNSURE_ORGANIZATION if start < len(joined) else suffix.flag
    del joined[start:]
    joined.append(_Word(name, flag))


def _is_organization_part(word: _Word) -> bool:
    if word.flag in ("v", "vn"):
        return word.text in _WORK  # 白水 + 保护 + 协会
    if word.text in _SIDES:
        return True
    return word.flag in _ORGANIZATION_PARTS and word.text.isalnum() and not _NOT_ORGANIZATION_PART.search(word.text)


def _surveyed(pages: Sequence[Sequence[_Sentence]]) -> _Survey:
    survey = _Survey()
    text = "\n".join(sentence.text for page in pages for sentence in page)
    for title in _QUOTED.findall(text):
        survey.names.setdefault(title, Counter())[CONTENT] += 1
    for page in pages:
        for sentence in page:
            for word in sentence.words:
                if type := _name_type(word):
                    survey.names.setdefault(word.text, Counter())[type] += 1
            survey.terms.update(_terms(sentence.words))
    doubtful = (_UNSURE_PERSON, _UNSURE_ORGANIZATION)
    unsure = {word.text for page in pages for line in page for word in line.words if word.flag in doubtful}
    for name in list(survey.names):
        if (name in unsure or survey.type_of(name) == OTHER) and text.count(name) < MIN_TERM:
            del survey.names[name]
    survey.called = _called(survey.names)
    survey.terms = Counter({t: n for t, n in survey.terms.items() if n >= MIN_TERM and t not in survey.names})
    return survey


def _called(names: Mapping[str, Counter[str]]) -> dict[str, str]:
    """卡尔 → 卡尔·贝克尔, where he is the only one; 砚湖纸业股份有限公司 → 砚湖纸业."""
    owners: dict[str, set[str]] = {}
    called: dict[str, str] = {}
    for name in names:
        for part in name.split("·") if "·" in name else ():
            owners.setdefault(part, set()).add(name)
        short = _LEGAL_FORM.sub("", name)
        if short != name and len(short) >= MIN_SINGLE_WORD_TERM_CHARS:
            called[name] = short
    return called | {part: next(iter(full)) for part, full in owners.items() if len(full) == 1 and len(part) > 1}


def _name_type(word: _Word) -> str | None:
    """The type of a proper noun; None for other words, and for what jieba only takes for a person's name."""
    if len(word.text) < 2:
        return None
    type = _TYPES.get(word.flag)
    if type == "location" and word.text in _NOT_PLACES:
        return None
    if type == "person" and _SURE_PLACE.search(word.text):
        return "location"
    if word.flag == "nrt" and len(word.text) >= MIN_FOREIGN and all(char in _SOUNDS for char in word.text):
        return OTHER
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
    forms = sorted(
        {*survey.names, *survey.terms, *survey.called, *survey.called.values()}, key=lambda form: (-len(form), form)
    )
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
        mentions = [_mention(match, survey) for match in found]
        for mention in mentions:
            type = survey.type_of(mention.name) if mention.is_name else TERM
            draft.mention(mention.name, type, sentence.text, Rank.NAMED if mention.is_name else Rank.REPEATED)
        _relate([mention for mention in mentions if mention.is_name], sentence, draft, together=True)
        _relate(mentions, sentence, draft, together=False)
    return draft


def _mention(match: re.Match[str], survey: _Survey) -> _Mention:
    name = survey.called.get(match.group(), match.group())
    return _Mention(name, match.start(), match.end(), survey.is_name(name))


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
