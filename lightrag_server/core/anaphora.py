"""What a question leaves to the conversation before it: pronouns that nothing in it explains, and fragments. By rule.

English and Chinese. A question that is taken for complete stays as it is; one that is wrongly taken for incomplete is
searched with a few words more, which costs little. So the doubtful counts as incomplete, but no question that names
its subject does.
"""

from __future__ import annotations

import re
from typing import Literal

from lightrag_server.core.keywords import keywords_of
from lightrag_server.core.questions import CHINESE_PRONOUN

Kind = Literal["person", "several", "thing", "other"]

MAX_CHARS = 300
"""Who writes more tells what is meant."""
MAX_FRAGMENT_WORDS = 8

_WH = r"who|whom|whose|what|which|when|where|why|how"
_AUX = r"is|are|was|were|do|does|did|has|have|had|can|could|will|would|should|may|might|must"
_ASKS = re.compile(rf"\b(?:{_WH}|{_AUX})\b", re.I)
_ORDERS = re.compile(
    r"(?:please\s+)?(?:tell|give|list|name|describe|explain|compare|show|find|summari[sz]e|define|write|translate|"
    r"i|we|you|if|there)\b",
    re.I,
)

# ----------------------------------------------------------------------------- English pronouns

_PRONOUN = re.compile(
    r"\b(?:(?P<person>(?i:he|she|him|his|hers?))|(?P<several>(?i:they|them|theirs?))|(?P<thing>[Ii]ts?))\b(?!['’]ll)"
)
_POSSESSIVE = re.compile(
    r"(?:his|its|theirs?)\b|her\s+(?!(?:and|or|to|in|on|at|for|with|from|when|after|before)\b)\w", re.I
)
_EMPTY_IT = re.compile(
    r"\bit\s+(?:true|possible|necessary|important|safe|legal|likely|known|said|worth|better|best|hard|easy|difficult|"
    r"common|normal|allowed|required|recommended|correct)\s+(?:to|that|for|if|when|whether)\b"
    r"|\bit\s+(?:like|takes?|took|costs?|means?|meant|matters?)\s+to\b|\bit\s+(?:take|cost)\s+(?:\w+\s+){1,4}to\b"
    r"|\bwhat\s+time\s+is\s+it\b|\bis\s+it\s+that\b|\bit\s+(?:rains?|snows?|is\s+raining|is\s+snowing)\b",
    re.I,
)
_CLAUSE = re.compile(r"[,;:]|\b(?:and|or|but|when|after|before|while|because|if|that|which|who|since|until)\b", re.I)
_SAID_OUT = re.compile(
    r"(?<!\bin )(?<!\bon )(?<!\bat )(?<!\bof )(?<!\bafter )(?<!\bbefore )(?<!\bduring )(?<!\bsince )(?<!\bfrom )"
    r"\b(?:an?|the|every|each|any|some|our|my|your)\s+\w{2,}"
    rf"|\b(?:{_AUX})\s+(?!(?:\w+(?:ing|ed)|he|she|it|its|they|his|her|their|this|that|these|those|there|not|the)\b)\w{{3,}}",
    re.I,
)
_CHOSEN = re.compile(
    r"\b(?:which|what|whose)\s+(?!(?:is|are|was|were|do|does|did|has|have|had|year|month|day|date|time|age|way|kind|"
    r"sort|extent|reason)\b)\w{3,}",
    re.I,
)
_PLACE_BEFORE = re.compile(r"\b(?:in|at|near|from|since|during)\s+$", re.I)
_THERE = re.compile(rf"(?<!\bis )(?<!\bare )(?<!\bwas )(?<!\bwere )\bthere\b(?!\s+(?:{_AUX}|exists?)\b)", re.I)
_POINTED_AT = re.compile(
    r"\b(?:this|these|those)\s+(?!(?:who|that|which|documents?|files?|days)\b)(?P<these>[a-z]\w+)"
    rf"|\b(?:{_AUX}|in|at|on|of|for|from|by|with|after|before|during|since|about)\s+that\s+"
    r"(?!(?:the|an?|he|she|it|they|we|i|you|there|this|is|was|to|and|or|for|in|with|mean|happen|work|true|right|so)\b)"
    r"(?P<that>[a-z]\w+)"
    r"|\bthe\s+(?:former|latter)\b|\b(?:the\s+(?:first|second|third|last|other)|which)\s+ones?\b",
    re.I,
)

# ----------------------------------------------------------------------------- English fragments

_LEAD = re.compile(r"(?:(?:and|or|but|so|ok|okay|well|also|then|now)\b[\s,]*)+", re.I)
_ABOUT = re.compile(r"^(?:what|how)\s+about\s+|^what\s+of\s+", re.I)
_PREPOSED = re.compile(
    r"(?:in|at|on|during|before|after|from|since|until|for|by|with|without|under|to|of|about|near)\s+", re.I
)
_ORDINAL = re.compile(r"the\s+(?:first|second|third|fourth|fifth|last|next|previous|other)s?(?:\s+\w+)?", re.I)
_BARE = re.compile(rf"(?i:(?:in|at|by|for|from|to|with|since|until|of|on)\s+)?(?i:{_WH})(?:\s+[a-z]+)?")
_GO_ON = re.compile(
    r"what\s+(?:happen|c[ao]me|follow)\w*(?:\s+(?:next|then|afterwards?|later|before|after))?"
    r"|(?:who|what|where|when|anything|anyone|anybody|something|nothing|any)\s+(?:else|more)"
    r"|(?:please\s+)?(?:(?:can|could|would|will)\s+you\s+)?(?:please\s+)?(?:(?:tell|give|show)\s+)?(?:(?:me|us)\s+)?"
    r"(?:an?\s+(?:bit|little)\s+|some\s+)?more(?:\s+(?:details?|information|info|examples?))?(?:\s+please)?"
    r"|(?:please\s+)?(?:(?:can|could|would|will)\s+you\s+)?(?:please\s+)?"
    r"(?:elaborate|explain|continue|go\s+on|say\s+more|expand|clarify)"
    r"(?:\s+(?:further|please|more|on\s+(?:this|that|it)|(?:this|that|it)|in\s+(?:more\s+)?detail))*"
    r"|(?:for|any|an)\s+examples?|such\s+as|like\s+what|really|are\s+you\s+sure",
    re.I,
)
_TOLD_BEFORE = re.compile(
    rf"(?:^|\b(?:{_AUX}|about|of|like|after|before|from|with|for|by|than|on|explain|know|summari[sz]e|repeat|translate|"
    r"why|how|when)\s+)(?:this|that)(?=\s*(?:$|[,;]|(?:and|or|in|to|for|with|so|mean|happen|work|matter|affect|possible|"
    r"true|right|correct)\b))",
    re.I,
)

# ----------------------------------------------------------------------------- Chinese

_HAN = re.compile(r"[\u3400-\u9fff]")
_HAN_POINTER = re.compile(
    r"[这那](?:个|些(?!文档|文件|资料)|位|家|次|年|天|时|里|儿|边|件|种|样|本|条|座|场|部|篇|项|段|期间|之[前后])"
    r"|当时|前者|后者|对方|(?<!应)该(?:公司|人|书|地|项目|机构|组织|国|城市|系统|产品|模型|方法|算法|文件|报告|学校|企业|集团)"
    r"|^(?:还|有|那|是否|是不是)*其[他它余]|此(?:人|事|书|后|前|地|举)|(?<![尤极与何莫土])其(?![中他它实次余间])"
)
_HAN_SETTING = re.compile(
    r"后来|当时|[之以然随]后|接着|最[后终]|结果|现在|如果|[另此]外|而且|但是|所以|因为|请|告诉我?|知道|介绍一?下?|觉得|认为|"
    r"当|那么|除了|关于|对于|根据|\d+[年月日]?|[在从到][^，,]{2,10}"
)
_HAN_LEAD = re.compile(
    r"^(?:那么|那(?![个些位家次年天时里儿边件种样本条座场部篇项段])|然后|而且|还有|以及|另外|可是|但是?|所以|并且|而|和|或者?)[，,\s]*"
)
_HAN_BARE = re.compile(
    r"(?:为什么|为何|怎么[样办了]?|怎样|如何|谁|哪[里儿些个家位年一]*年?|什么时候|何时|多少|几个|多[久大高长远]|什么|"
    r"真的|是吗|比如|例如|举例|举个例子|具体|详细|后来|接下来|之后|以后|结果|继续|还有|其他|其它|还有(?:什么|谁|哪些)|"
    r"(?:请)?(?:再)?(?:详细|具体|多)?(?:说|讲|介绍|解释|展开)(?:说|讲|一?下|一些|一点|更多)*|更多(?:细节|信息|内容)?)"
    r"(?:呢|啊|呀|说|的|了|吗|吧|是)*"
)
_HAN_ASKS = re.compile(r"谁|什么|何|哪|几|多少|多[久大高长远]|怎|吗|是否|有没有|是不是")
_HAN_NO_SUBJECT = re.compile(
    r"什么时候|何时|为什么|为何|怎么|如何|哪一?年|多少|几[个岁年人]|是谁|是什么|是哪|有(?:多少|哪些|几|什么)|叫什么|住在|在哪|"
    r"死于|生于|出生|去世|成立于|毕业于"
)
_HAN_FUNCTION = re.compile(
    r"什么时候|为什么|何时|为何|怎么[样办]?|如何|哪里|哪儿|哪[一些个家位]?年?|多少|几个?|什么|谁|[的了是在有被吗呢吧啊于和与就也都叫会]|"
    r"[\s？?！!。，,]"
)
_HAN_DEFINED = re.compile(r"什么是|何为|何谓|谁是|[是叫](?:谁|什么)$|是[谁什么]的")
MOST_BARE_HAN = 2


def leans(question: str) -> bool:
    """Whether the question can only be searched for together with what was said before."""
    return is_fragment(question) or dangling(question) is not None


def dangling(question: str) -> Kind | None:
    """What the first pronoun stands for that the question itself does not explain; None without one."""
    if len(question) > MAX_CHARS:
        return None
    text = _EMPTY_IT.sub(lambda empty: "-" * len(empty.group()), question)
    for match in _PRONOUN.finditer(text):
        if not _is_explained(text, match):
            kinds: dict[str | None, Kind] = {"person": "person", "several": "several", "thing": "thing"}
            return kinds[match.lastgroup]
    if (match := CHINESE_PRONOUN.search(text)) and not _is_set_by(text[: match.start()]):
        return "several" if match.group().endswith("们") else "thing" if match.group() == "它" else "person"
    if (match := _HAN_POINTER.search(text)) and not _is_set_by(text[: match.start()]):
        return "other"
    if any(not _is_told_before(text, match) for match in _POINTED_AT.finditer(text)):
        return "other"
    if (match := _THERE.search(text)) and not _names_before(text, match):
        return "other"
    return None


def is_fragment(question: str) -> bool:
    """Whether it is no whole question: "why?", "and in 1843?", "what about his partner?", "后来呢？"."""
    if len(question) > MAX_CHARS:
        return False
    return _is_han_fragment(question) if _HAN.search(question) else _is_english_fragment(question)


def core_of(fragment: str) -> str:
    """What a fragment adds, without "and", "what about", "那" and "呢"."""
    text = fragment.strip(" ?？!！.。\n")
    if _HAN.search(text):
        return re.sub(r"呢$", "", _HAN_LEAD.sub("", text)).strip()
    return _ABOUT.sub("", without_lead(text), count=1).strip()


def without_lead(text: str) -> str:
    """A question without "and", "but" or "so" before it."""
    lead = _LEAD.match(text)
    return text[lead.end() :] if lead else text


def asks_or_goes_on(core: str) -> bool:
    """Whether a fragment is a question word or a request to go on, and nothing that could take another's place."""
    if _HAN.search(core):
        return bool(_HAN_BARE.fullmatch(core) or _HAN_ASKS.search(core) or _HAN_NO_SUBJECT.match(core))
    return bool(not core or _BARE.fullmatch(core) or _GO_ON.fullmatch(core) or _TOLD_BEFORE.search(core))


def _is_english_fragment(question: str) -> bool:
    text = question.strip(" ?!.\n")
    rest = without_lead(text)
    if not rest or _ABOUT.match(rest) or _GO_ON.fullmatch(rest) or _BARE.fullmatch(rest) or _ORDINAL.fullmatch(rest):
        return bool(text)
    if _TOLD_BEFORE.search(rest) and not _named(rest):
        return True
    is_short = len(rest.split()) <= MAX_FRAGMENT_WORDS
    is_whole = _ASKS.search(rest) or _ORDERS.match(rest)
    return bool(is_short and not is_whole and (rest != text or _PREPOSED.match(rest)))


def _is_han_fragment(question: str) -> bool:
    text = question.strip(" ?？!！。.\n")
    rest = _HAN_LEAD.sub("", text)
    if not rest or _HAN_BARE.fullmatch(rest):
        return True
    if text.endswith("呢") and not _HAN_ASKS.search(rest):
        return True
    if not _HAN_NO_SUBJECT.match(rest) or _HAN_DEFINED.search(rest) or _named(_HAN.sub("", rest)):
        return False
    return len(_HAN_FUNCTION.sub("", rest)) <= MOST_BARE_HAN


def _is_explained(text: str, pronoun: re.Match[str]) -> bool:
    """Whether the question says before a pronoun what it may stand for; beside an owner, in an earlier clause."""
    before = text[: pronoun.start()]
    if _POSSESSIVE.match(text, pronoun.start()):
        return bool(_named(before) or _SAID_OUT.search(before) or _CHOSEN.search(before))
    borders = [border.start() for border in _CLAUSE.finditer(before)]
    earlier = before[: borders[-1]] if borders else ""
    return bool(_named(earlier) or _SAID_OUT.search(earlier))


def _is_told_before(text: str, pointing: re.Match[str]) -> bool:
    """Whether "this country" comes after a country."""
    noun = pointing["these"] or pointing["that"]
    return bool(noun) and noun.lower() in text[: pointing.start()].lower()


def _names_before(text: str, place: re.Match[str]) -> bool:
    return any(_named(part) for part in _CLAUSE.split(text[: place.start()])[:-1])


def _named(text: str) -> bool:
    """Whether the text has a name that is not only where something happens."""
    for name in names_of(text):
        at = text.find(name)
        if at < 0 or not _PLACE_BEFORE.search(text[:at]):
            return True
    return False


def _is_set_by(before: str) -> bool:
    """Whether the words before a Chinese pronoun tell of somebody and not only when and where."""
    return bool(names_of(_HAN_SETTING.sub(" ", before)))


def names_of(text: str) -> list[str]:
    """Names, quoted terms and Chinese phrases, without mere numbers."""
    return [name for name in keywords_of(text).low if any(c.isalpha() for c in name)]
