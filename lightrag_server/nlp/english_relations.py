"""Statements of a parsed English sentence: who does what to whom, who is what, whose is what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spacy.tokens import Span, Token

_SUBJECTS = ("nsubj", "nsubjpass")
_OBJECTS = ("dobj", "obj", "dative", "oprd")
_RELATIVES = ("who", "which", "that", "whom")


@dataclass(frozen=True, slots=True)
class Statement:
    """`source` and `target` are token positions in the document."""

    source: int
    target: int
    keyword: str


def statements(sentence: Span) -> Iterator[Statement]:
    """In text order. Ends are heads of phrases, or pronouns; whether they are worth anything is for the caller."""
    for token in sentence:
        if token.pos_ in ("VERB", "AUX") and token.dep_ not in ("aux", "auxpass"):
            yield from _of_verb(token)
        if token.dep_ == "appos":
            yield from _equated(token.head, token)
        if token.dep_ == "poss":
            yield from _owned(token, token.head)
        if token.dep_ == "compound" and token.pos_ == "NOUN" and token.head.pos_ == "PROPN":
            yield from _roles(token.head, token)
        if token.dep_ == "prep" and token.head.pos_ == "PROPN":
            yield from (Statement(token.head.i, target.i, token.lower_) for target in _prepositional(token))


def _of_verb(verb: Token) -> Iterator[Statement]:
    for subject in _subjects(verb):
        for phrase, target in _complements(verb):
            if target.dep_ == "attr" and target.pos_ in ("NOUN", "PROPN"):
                yield from _equated(subject, target)
            else:
                yield Statement(subject.i, target.i, phrase)


def _subjects(verb: Token) -> list[Token]:
    own = [child for child in verb.children if child.dep_ in _SUBJECTS]
    if not own and verb.dep_ in ("conj", "xcomp") and verb.head.pos_ in ("VERB", "AUX"):
        return _subjects(verb.head)
    is_relative = verb.dep_ == "relcl" and all(subject.lower_ in _RELATIVES for subject in own)
    if is_relative or verb.dep_ == "acl":
        own = [verb.head, *_described(verb.head)]
    return [token for subject in own for token in (subject, *subject.conjuncts)]


def _described(noun: Token) -> list[Token]:
    """What a noun says something of: the ship in `the ship is a ferry built by …`."""
    if noun.dep_ == "appos":
        return [noun.head]
    return [child for child in noun.head.children if child.dep_ in _SUBJECTS] if noun.dep_ == "attr" else []


def _complements(verb: Token) -> Iterator[tuple[str, Token]]:
    """Objects with the words that lead to them: `study at`, `born in`, `not pay`."""
    phrase = _phrase(verb)
    for child in verb.children:
        if child.dep_ in ("prep", "agent") or (child.dep_ == "dative" and child.pos_ == "ADP"):
            for target in _prepositional(child):
                yield f"{phrase} {child.lower_}", target
        elif child.dep_ in (*_OBJECTS, "attr"):
            for target in (child, *child.conjuncts):
                yield phrase, target


def _phrase(verb: Token) -> str:
    particles = [child.lower_ for child in verb.children if child.dep_ == "prt"]
    negated = any(child.dep_ == "neg" for child in verb.children)
    passive = verb.tag_ == "VBN" and not any(child.lemma_ == "have" for child in verb.children if child.dep_ == "aux")
    word = verb.lower_ if passive else verb.lemma_.lower()
    return " ".join([*(["not"] if negated else []), word, *particles])


def _prepositional(preposition: Token) -> Iterator[Token]:
    for child in preposition.children:
        if child.dep_ == "pobj":
            yield child
            yield from child.conjuncts


def _equated(subject: Token, noun: Token) -> Iterator[Statement]:
    """X is Y; and where Y is Y of Z, X has to do with Z: `Lund, director of the museum`."""
    yield Statement(subject.i, noun.i, "is")
    yield from _roles(subject, noun)
    for child in subject.children:
        if child.dep_ == "poss":
            yield Statement(child.i, noun.i, subject.lemma_.lower())


def _roles(subject: Token, noun: Token) -> Iterator[Statement]:
    role = noun.lemma_.lower()
    for child in noun.children:
        if child.dep_ == "poss" or (child.dep_ == "compound" and child.pos_ == "PROPN" and noun.pos_ == "NOUN"):
            yield Statement(subject.i, child.i, role)
        elif child.dep_ == "prep":
            for target in _prepositional(child):
                yield Statement(subject.i, target.i, f"{role} {child.lower_}")


def _owned(owner: Token, thing: Token) -> Iterator[Statement]:
    """`Scrooge's nephew Fred`: the common noun beside a name says what it is to the owner."""
    kinds = [child.lemma_.lower() for child in thing.children if child.dep_ == "compound" and child.pos_ == "NOUN"]
    yield Statement(owner.i, thing.i, kinds[0] if kinds and thing.pos_ == "PROPN" else "have")
