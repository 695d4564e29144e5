"""Where names stand in a parsed English paragraph: named entities, titles, codes, other proper nouns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightrag_server.nlp.layout import Paragraph
from lightrag_server.nlp.names import CODE, MARRIED_TITLES, is_title, person_name, plain_name
from lightrag_server.nlp.vocabulary import vocabulary

if TYPE_CHECKING:
    from spacy.tokens import Doc, Span

TYPES = {
    "PERSON": "person",
    "ORG": "organization",
    "GPE": "location",
    "LOC": "location",
    "FAC": "location",
    "EVENT": "event",
    "WORK_OF_ART": "content",
    "LAW": "content",
    "PRODUCT": "artifact",
}
OTHER = "other"
_ALSO_NAMES = ("NORP", "LANGUAGE")
"""Labels that the model also gives to names of other kinds."""
_NOUNS = ("PROPN", "NOUN", "X")
_PARTICLES = vocabulary("de del della di da do dos du la le van von der den af av zu al el bin ibn & of")
_OPENING = "\"“”‘'(:-–—*•"
MAX_JOINED_WORDS = 5
MAX_QUOTED_WORDS = 9
_QUOTED = re.compile(r"[\"“](?P<title>[^\"“”\n]{2,80}?),?[\"”]|``\s?(?P<tex>[^`\n]{2,80}?),?\s?''")
_FORMS_OF_ADDRESS = vocabulary("mr mr. messrs. dr dr. prof. sir capt. col. rev.")
_SMALL = vocabulary("a an the and or but of in on at to for with by from as is de la le no not my your")
_YEAR = re.compile(r"1[5-9]\d\d|20\d\d")
_NUMERAL = re.compile(r"[IVX]{1,4}|\d{1,3}[A-Z]?")


@dataclass(frozen=True, slots=True)
class Unit:
    """A paragraph or a part of a long one, parsed, with its names in text order."""

    doc: Doc
    paragraph: Paragraph
    spans: list[Span]
    chunks: list[Span]
    """Noun phrases."""


def name_spans(doc: Doc, paragraph: Paragraph) -> list[Span]:
    """Without overlaps: of two that share words the longer one."""
    from spacy.util import filter_spans

    is_heading = paragraph.is_title and not paragraph.topic
    entities = [] if is_heading else [span for span in doc.ents if _is_entity(span)]
    taken = {token.i for span in doc.ents if span in entities or span.label_ not in _ALSO_NAMES for token in span}
    runs = [] if paragraph.is_title or _is_shouted(doc.text) else list(_proper_runs(doc, taken))
    joined = [_over_hyphens(doc, span) for span in _joined(doc, entities, runs)]
    sure = [*_occurrences(doc, paragraph.topic), *_quoted_titles(doc), *_codes(doc)]
    return [_with_numbers(doc, span) for span in filter_spans([*sure, *joined])]


def written_name(span: Span) -> str:
    """As written, but a lone family name keeps the title that tells whose it is."""
    before = span.doc[span.start - 1].text if span.start else ""
    if before.lower() in MARRIED_TITLES and len(span) == 1:
        return f"{before} {plain_name(span.text)}"
    is_person = span.label_ == "PERSON" or span[0].lower_ in _FORMS_OF_ADDRESS
    return person_name(span.text) if is_person else plain_name(span.text)


def _is_entity(span: Span) -> bool:
    if span.label_ in _ALSO_NAMES:
        return all(token.tag_ == "NNP" for token in span) and _looks_like_name(span)
    return span.label_ in TYPES and _looks_like_name(span)


def _looks_like_name(span: Span) -> bool:
    words = [token for token in span if token.is_alpha and not token.is_stop]
    if not words or all(is_title(token.text) for token in words):
        return False
    last = span.text.split()[-1]  # Kim Jong-un
    return words[0].text[0].isupper() and (words[-1].text[0].isupper() or last[0].isupper())


# ----------------------------------------------------------------------------- proper nouns without a label


def _proper_runs(doc: Doc, taken: set[int]) -> Iterator[Span]:
    start = None
    for i in range(len(doc) + 1):
        if start is None and _begins(doc, i, taken):
            start = i
        elif start is not None and not _goes_on(doc, i, taken) and not _is_link(doc, i, taken):
            if _looks_like_name(span := doc[start:i]):
                yield span
            start = None


def _begins(doc: Doc, i: int, taken: set[int]) -> bool:
    """A proper noun, or another noun with a capital letter that no sentence or quotation gave it."""
    if not _goes_on(doc, i, taken) or doc[i].pos_ not in _NOUNS:
        return False
    return doc[i].pos_ == "PROPN" or not (doc[i].is_sent_start or doc[i - 1].text in _OPENING)


def _goes_on(doc: Doc, i: int, taken: set[int]) -> bool:
    if i >= len(doc) or i in taken or not doc[i].text[:1].isupper():
        return False
    return doc[i].pos_ == "PROPN" or not doc[i].is_stop


def _is_link(doc: Doc, i: int, taken: set[int]) -> bool:
    """The `of` in `Ghost of Christmas Present`, the `of the` in `Lord of the Rings`."""
    if i >= len(doc):
        return False
    word, following = doc[i].lower_, i + 1
    if word == "the" and doc[i - 1].lower_ == "of":
        return _begins(doc, following, taken)
    if word == "of" and following < len(doc) and doc[following].lower_ == "the":
        following += 1
    return word in _PARTICLES and _begins(doc, following, taken)


def _joined(doc: Doc, entities: list[Span], runs: list[Span]) -> Iterator[Span]:
    """Named entities with the proper nouns that touch them: `Halifax` + `Atlantic`. People keep to themselves, but for
    a first name."""
    starts, used = {run.start: run for run in runs}, set[int]()
    ends = {run.end: run for run in runs}
    for entity in entities:
        start, end = entity.start, entity.end
        before, after = ends.get(start), starts.get(end)
        is_person = entity.label_ == "PERSON"
        if before and _may_join(entity, before) and (not is_person or len(before) == len(entity) == 1):
            start = before.start
            used.add(before.start)
        if after and not is_person and _may_join(entity, after):
            end = after.end
            used.add(after.start)
        yield _labelled(doc, start, end, entity.label_)
    yield from (run for run in runs if run.start not in used)


def _may_join(entity: Span, run: Span) -> bool:
    return len(entity) + len(run) <= MAX_JOINED_WORDS and not any(is_title(token.text) for token in run)


def _over_hyphens(doc: Doc, span: Span) -> Span:
    """`KwaZulu` + `-Natal`."""
    end = span.end
    while end + 1 < len(doc) and doc[end].text == "-" and doc[end + 1].text[0].isupper():
        if doc[end - 1].whitespace_ or doc[end].whitespace_:
            break
        end += 2
    return span if end == span.end else _labelled(doc, span.start, end, span.label_)


# ----------------------------------------------------------------------------- sure ones


def _occurrences(doc: Doc, topic: str) -> Iterator[Span]:
    """Where the text says what its title says."""
    name = plain_name(topic)
    for match in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", doc.text) if name else ():
        label = next((span.label_ for span in doc.ents if span.start_char <= match.start() < span.end_char), "")
        if span := doc.char_span(match.start(), match.end(), label):
            yield span


def _quoted_titles(doc: Doc) -> Iterator[Span]:
    """`"I Walk the Line"`; what people say has small letters, or ends with a mark or with the comma before `said`."""
    for match in _QUOTED.finditer(doc.text):
        start, end = match.span("title" if match["title"] else "tex")
        before = doc.text[: match.start()].rstrip()[-1:]
        is_said = doc.text[end : end + 1] == "," and not before.isalnum()
        if not is_said and _is_title_case(doc.text[start:end]) and (span := doc.char_span(start, end, "WORK_OF_ART")):
            yield span


def _is_title_case(text: str) -> bool:
    words = [word.strip("().,'’") for word in text.split()]
    words = [word for word in words if word]
    if not words or len(words) > MAX_QUOTED_WORDS or text[-1] in ".!?;:-—" or not words[0][0].isupper():
        return False
    return all(not word[0].islower() or word in _SMALL for word in words) and not words[-1][0].islower()


def _codes(doc: Doc) -> Iterator[Span]:
    """Part numbers, models, error codes."""
    for match in CODE.finditer(doc.text):
        if span := doc.char_span(match.start(), match.end(), "PRODUCT"):
            yield span


def _is_shouted(text: str) -> bool:
    return 2 * sum(map(str.isupper, text)) > sum(map(str.isalpha, text))


def _with_numbers(doc: Doc, span: Span) -> Span:
    """`2018` + `World Cup`, `Route` + `97`, `Elizabeth` + `I`."""
    start = span.start - 1 if _is_year_of(doc, span) else span.start
    end = span.end + 1 if _is_numeral_of(doc, span) else span.end
    return span if len(span) == end - start else _labelled(doc, start, end, span.label_)


def _is_year_of(doc: Doc, span: Span) -> bool:
    if not span.start or span.label_ in ("PERSON", "GPE", "LOC"):
        return False
    before = doc[span.start - 1]
    return bool(_YEAR.fullmatch(before.text)) and before.dep_ in ("nummod", "compound") and before.head in span


def _is_numeral_of(doc: Doc, span: Span) -> bool:
    following = doc[span.end] if span.end < len(doc) else None
    if following is None or not _NUMERAL.fullmatch(following.text) or (span.label_ == "GPE" and len(span) == 1):
        return False
    if following.text.isalpha():
        return following.pos_ != "PRON"
    return span.label_ != "PERSON" and following.dep_ == "nummod" and following.head in span


def _labelled(doc: Doc, start: int, end: int, label: str) -> Span:
    from spacy.tokens import Span

    return Span(doc, start, end, label=label)
