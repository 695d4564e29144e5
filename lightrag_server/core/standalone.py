"""A question of a conversation made to stand alone, for the search: by rule, in English and Chinese."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lightrag_server.core.anaphora import asks_or_goes_on, core_of, dangling, is_fragment, leans, names_of, without_lead
from lightrag_server.core.questions import parts_of, subject_of, with_subject
from lightrag_server.core.records import Turn

MAX_TURNS = 8
MAX_ANSWER_CHARS = 600
MAX_ASKED_CHARS = 300
MAX_NAMES = 5
MAX_NAME_CHARS = 40

_COMMAND = re.compile(r"^/\w*(?:\[.*?\])?\s+", re.DOTALL)
"""Chats keep "/mix " or "/naive[as a poem] " before earlier questions."""
_SMALL_TALK = re.compile(
    r"(?:thanks?(?: you)?(?: very much| a lot)?|ok(?:ay)?|great|good|nice|hi|hello|hey|yes|no|i see|got it|"
    r"谢谢你?|多谢|好的?|你好|您好|明白了?|知道了|嗯+)[\s!.,！。，]*",
    re.IGNORECASE,
)
_NOTHING_FOUND = re.compile(r"\[no-context\]\s*$")
_MARKS = re.compile(r"\[\d+(?:,\s*\d+)*\]|[*_`#>]+")
_OPENERS = re.compile(
    r"(?:^|(?<=[.!?] ))(?:According|Based|However|Therefore|There|He|She|It|They|His|Her|Their|This|That|These|Those|"
    r"Yes|No|As|After|Before|When|While|Although|Because|Since|Then|Here|Both|Unfortunately|The)\b"
)
_ASKS_WHO = re.compile(r"\b(?:who|whom|whose)\b|谁", re.IGNORECASE)
_ASKS_WHAT = re.compile(r"\b(?:who|whom|whose|what|which)\b|谁|什么|哪", re.IGNORECASE)
_ASKS_WHERE = re.compile(r"\bwhere\b|哪里|哪儿|在哪", re.IGNORECASE)
_SEVERAL = re.compile(r"\band\b|[和与、]")
_DOES = re.compile(r"\b(?:do|does|did)\b", re.IGNORECASE)
_IS_NAME = re.compile(r"(?:the\s+)?[A-Z][\w'’.-]*(?:\s+(?:of|the|de|van|von|and|&)?\s*[A-Z][\w'’.-]*)*")
_YEAR = re.compile(r"(?<!\d)(?:1\d|20)\d\d(?!\d)")
_PLACED = re.compile(r"(?P<where>(?:in|at|on|from|near|to|for|of)\s+)(?P<name>.+)", re.IGNORECASE)
_STATE = re.compile(
    r"\s+(?:(?!(?:hundred|need|seed|feed|bed|red)\b)\w+ed|born|built|made|found|held|written|known|sold|bought|paid|"
    r"shot|won|lost|led|sent|kept|taken|given|chosen|hidden|broken|located|based|from|like|called)\b(?!-).*$"
)
"""What is said of a subject: "Scrooge born", "the lighthouse built by Holm"."""
_HAN_TOPIC = re.compile(
    r"^(?P<subject>[^谁什么何哪几怎是在有，,？?]{2,12}?)(?:的(?:时候|时间)|是|在|有|于|什么|何时|为什么|为何|怎么|如何|哪|几|多少|多[大高长久]|"
    r"出生|去世|住|死|成立|创立|创办|毕业|担任)"
)
_HAN = re.compile(r"[\u3400-\u9fff]")


def standalone(question: str, history: Sequence[Turn]) -> str:
    """What to search for: the question itself where it stands alone, else with what the history says it is about.

    Earlier questions are completed first, for they may rest on one another. A few microseconds per turn.
    """
    if not history or not leans(question):
        return question
    asked = answer = ""
    for turn in history[-MAX_TURNS:]:
        if turn.role == "assistant":
            answer = "" if _NOTHING_FOUND.search(turn.content) else turn.content[:MAX_ANSWER_CHARS]
        elif turn.role == "user" and not _SMALL_TALK.fullmatch(said := _COMMAND.sub("", turn.content.strip(), count=1)):
            asked, answer = completed(without_lead(said[:MAX_ASKED_CHARS]), asked, answer), ""
    return completed(question, asked, answer)


def completed(question: str, asked: str, answer: str) -> str:
    """The question with what it takes from the one asked before it and from the answer to that."""
    if not asked:
        return question
    if is_fragment(question):
        return _continued(core_of(question), asked, answer)
    return _with_notes(*_explained(question, asked, answer))


def _explained(question: str, asked: str, answer: str) -> tuple[str, list[str]]:
    """With what its pronoun stands for in its place, and what else it may be about: all names, where rules cannot
    tell who is meant, or the answer, where the one before asked who somebody is."""
    subject, told = _subject(asked), _new_names(answer, asked)
    match dangling(question):
        case None:
            return question, []
        case "person":
            meant = _person(asked, subject, told)
        case "thing":
            meant = _thing(asked, subject)
        case "several":
            meant = subject if subject and _SEVERAL.search(subject) else None
        case "other":
            meant = None
    if meant is None:
        return question, [*filter(None, [subject]), *names_of(asked), *told]
    is_described = meant == subject and not _is_name(meant)
    return with_subject(question, meant), told[:1] if is_described and _ASKS_WHAT.search(asked) else []


def _continued(core: str, asked: str, answer: str) -> str:
    """The question before once more: with the fragment in place of its like, or beside it."""
    if asks_or_goes_on(core):
        return _with_notes(asked, [core, *_new_names(answer, asked)])
    explained, notes = _explained(core, asked, answer)
    if dangling(explained) is None and (changed := _exchanged(explained, asked)):
        return _with_notes(changed, notes)
    return _with_notes(asked, [explained, *notes])


def _exchanged(core: str, asked: str) -> str | None:
    """The question before, with its year, its place, its name or its subject replaced; None where it has none, or
    several."""
    if year := _YEAR.search(core):
        return _YEAR.sub(year.group(), asked) if len(_YEAR.findall(asked)) == 1 else None
    names, topic = names_of(asked), _topic(asked)
    if placed := _PLACED.fullmatch(core):
        stated = [n for n in names if re.search(rf"\b{placed['where']}(?:the\s+)?{re.escape(n)}", asked, re.IGNORECASE)]
        return asked.replace(stated[0], placed["name"]) if len(stated) == 1 else None
    if topic is None or topic not in asked:
        return None
    if topic in core or _is_name(topic):
        return asked.replace(topic, core)
    if _HAN.search(topic):
        return None
    if _is_name(core):
        return asked.replace(names[0], core) if len(names) == 1 else None
    head, of, owner = topic.partition(" of ")
    return asked.replace(topic, f"{core}{of}{owner}" if " of " not in core else core) if head else None


# ----------------------------------------------------------------------------- who and what


def _person(asked: str, subject: str | None, told: Sequence[str]) -> str | None:
    if subject is not None:
        return subject if _is_name(subject) or _ASKS_WHO.search(asked) else None
    if _ASKS_WHO.search(asked):
        return told[0] if told and not _HAN.search(told[0]) else None
    return _only_name(asked)


def _thing(asked: str, subject: str | None) -> str | None:
    """The answer to "where does he live?" may be meant as well as what was asked about."""
    if _ASKS_WHERE.search(asked) and _DOES.search(asked):
        return None
    return subject or _topic(asked)


def _topic(asked: str) -> str | None:
    """The subject, else the only thing that is named: "the lighthouse of Kallnes"."""
    if subject := _subject(asked):
        return subject
    name = _only_name(asked)
    described = (
        re.search(rf"\b(?:the|an?)\s+(?:[a-z]+\s+){{1,3}}(?:of|in|at|from)\s+{re.escape(name)}", asked)
        if name
        else None
    )
    return described.group() if described else name


def _only_name(asked: str) -> str | None:
    """Rules find no names among Chinese words."""
    names = names_of(asked)
    return names[0] if len(names) == 1 and not _HAN.search(asked) else None


def _subject(asked: str) -> str | None:
    """What the last part of a question that says so is about."""
    for part in reversed(parts_of(asked)):
        if found := subject_of(part):
            return _STATE.sub("", found)
        if topic := _HAN_TOPIC.match(part):
            return topic["subject"]
    return None


def _is_name(text: str) -> bool:
    """A name rather than a description."""
    return "的" not in text if _HAN.search(text) else bool(_IS_NAME.fullmatch(text))


def _new_names(answer: str, asked: str) -> list[str]:
    """Names of the answer's beginning that the question does not have."""
    text = _OPENERS.sub("", _MARKS.sub("", answer))
    if _HAN.search(text):
        text = re.split(r"[。！？\n]", text, maxsplit=1)[0]
    return [n for n in names_of(text) if n.lower() not in asked.lower() and len(n) <= MAX_NAME_CHARS]


def _with_notes(question: str, notes: Sequence[str | None]) -> str:
    """With words in brackets before the question mark, so that they are no question of their own."""
    kept: list[str] = []
    for note in notes:
        if note and not any(note in other for other in (question, *kept)):
            kept.append(note)
    if not kept:
        return question
    is_han = _HAN.search(question)
    body = question.rstrip(" ?？!！.。\n")
    return f"{body} ({('、' if is_han else ', ').join(kept[: MAX_NAMES + 1])}){'？' if is_han else '?'}"
