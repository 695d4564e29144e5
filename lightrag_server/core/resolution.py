"""Whether two entities are one thing: names, types and what stands around them, weighed into a score. Pure.

Nothing here is a constant of an embedder: how near two vectors are is measured between what its model gives unrelated
texts and what it gives equal ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lightrag_server.core import ids
from lightrag_server.core.names import Kinship, blocks_of, is_told_apart, kinship, names_another, sure_form
from lightrag_server.core.records import Entity, Pair

NEAR = 0.8
"""Of the way from unrelated to equal; vectors of names nearer than this are a reason to look at both."""
MIN_SCORE = 0.5
NAMES_COMPARED = 4
FILES_KNOWN = 20

_KIN_SCORES = {
    Kinship.SAME: 0.95,
    Kinship.FORM: 0.85,
    Kinship.PLURAL: 0.8,
    Kinship.INITIALS: 0.7,
    Kinship.ACRONYM: 0.6,
    Kinship.PART: 0.5,
    Kinship.WORD: 0.4,
}
_NEEDS_CONTEXT = frozenset({Kinship.PART, Kinship.WORD, Kinship.ACRONYM})
_NEAR_SCORE = 0.45
_SHARED_NEIGHBOUR, _SHARED_FILE = 0.1, 0.05
_NEAR_BONUS = 0.1

_CLASSES = {
    "person": "person people human character individual 人 人物 人名",
    "organization": "organization organisation company corporation institution agency team band org 组织 机构 公司",
    "location": "location place city country region state geo gpe loc 地点 地名 国家 城市",
    "event": "event 事件",
    "work": "content work book film movie song album document 作品",
    "creature": "creature animal species 动物",
}
_CLASS_OF = {word: name for name, words in _CLASSES.items() for word in words.split()}
"""Types that no thing has two of. A university is an organisation and a place, so these two do not clash."""
_MAY_BE_BOTH = frozenset({"organization", "location"})

Status = Literal["open", "accepted", "rejected"]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Appearance:
    """What is known of an entity when it is compared. The first name is the one that is shown."""

    key: str
    names: tuple[str, ...]
    classes: frozenset[str]
    type: str = ""
    mentions: int = 1
    files: frozenset[str] = frozenset()
    neighbours: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Likeness:
    """`score` in [0, 1]; sure ones need nobody's judgement."""

    score: float
    reasons: tuple[str, ...]
    is_sure: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the model said of a pair."""

    is_same: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Two entities that may be one; `names` and `types` in the order of `pair`. `into` is the name that an accepted one
    goes by, `by` says who decided: a person, the rule or the model."""

    pair: Pair
    names: Pair
    types: Pair
    score: float = 1.0
    reasons: tuple[str, ...] = ()
    is_sure: bool = False
    verdict: Verdict | None = None
    status: Status = "open"
    into: str | None = None
    by: str | None = None
    decided_at: str | None = None
    descriptions: Pair = field(default=("", ""))
    """The beginnings of both, for whoever decides."""

    @property
    def is_approved(self) -> bool:
        """By rule or by the model."""
        return self.is_sure or (self.verdict is not None and self.verdict.is_same)


def appearance_of(entity: Entity, neighbours: Collection[str] = ()) -> Appearance:
    told = dict.fromkeys([entity.name, *(f.text for f in entity.names)])
    return Appearance(
        entity.key,
        tuple(told)[:NAMES_COMPARED],
        classes_of([*entity.types, entity.type]),
        entity.type,
        entity.mentions,
        frozenset(entity.file_paths),
        frozenset(neighbours),
    )


def classes_of(types: Iterable[str]) -> frozenset[str]:
    """Those that say what a thing cannot be besides; none for concepts, others and unknown words."""
    return frozenset(found for t in types if (found := _CLASS_OF.get(t.strip().lower())))


def meeting_places(entity: Appearance) -> frozenset[str]:
    """Keys such that entities whose names are related share one."""
    is_person = "person" in entity.classes
    return frozenset(block for name in entity.names for block in blocks_of(name, is_person=is_person))


def types_clash(a: Appearance, b: Appearance) -> bool:
    """No document votes for a class that the other may have, too."""
    if not a.classes or not b.classes or a.classes & b.classes:
        return False
    return not (a.classes <= _MAY_BE_BOTH and b.classes <= _MAY_BE_BOTH)


def near_cosine(threshold: float) -> float:
    """The cosine of two names from which on both are looked at."""
    return threshold + NEAR * (1.0 - threshold)


def nearest_kin(a: Appearance, b: Appearance) -> Kinship | None:
    """Of all spellings of both."""
    kin = {found for one in a.names for other in b.names if (found := kinship(one, other))}
    return next((each for each in Kinship if each in kin), None)


def likeness(a: Appearance, b: Appearance, near: float) -> Likeness | None:
    """None for two that are kept apart: names that differ in what tells things apart, types that clash, or nothing
    that speaks for one thing. `near` is the `closeness` of their names."""
    if types_clash(a, b):
        return None
    kin = nearest_kin(a, b)
    if kin is not Kinship.ACRONYM and is_told_apart(a.names[0], b.names[0]):
        return None
    if kin is Kinship.WORD and "person" not in a.classes | b.classes:
        return None
    if kin is None and (near < NEAR or names_another(a.names[0], b.names[0])):
        return None
    neighbours, shares_file = a.neighbours & b.neighbours, not a.files.isdisjoint(b.files)
    if (kin is None or kin in _NEEDS_CONTEXT) and not (neighbours or shares_file):
        return None
    score = _KIN_SCORES[kin] if kin else _NEAR_SCORE
    score += _SHARED_NEIGHBOUR * min(len(neighbours), 2) + _SHARED_FILE * shares_file + _NEAR_BONUS * (near >= NEAR)
    if score < MIN_SCORE:
        return None
    reasons = [kin.value] if kin else []
    reasons += ["near in meaning"] if near >= NEAR else []
    reasons += [f"{len(neighbours)} shared neighbours"] if neighbours else []
    reasons += ["told of in one document"] if shares_file else []
    return Likeness(round(min(score, 1.0), 3), tuple(reasons), is_sure(a, b))


def is_sure(a: Appearance, b: Appearance) -> bool:
    """Every spelling of both is the same name, for no two spellings may become one through a third."""
    return not types_clash(a, b) and len({sure_form(name) for name in (*a.names, *b.names)}) == 1


def survivor(a: Appearance, b: Appearance) -> str:
    """The name that both go by: of what is known to be a person, a place …, is told of most, has the longer name. So a
    name of unknown type never makes one of two things whose types clash."""
    return max((a, b), key=lambda e: (bool(e.classes), e.mentions, len(e.names[0]), e.key)).names[0]


# ----------------------------------------------------------------------------- stored form

OPEN, DECIDED, PARTNERS = "open:", "decided:", "of:"
"""Beginnings of keys: candidates, what was decided of pairs, and the keys an entity has candidates with."""


def open_key(pair: Pair) -> str:
    return OPEN + ids.subject_of(pair)


def decided_key(pair: Pair) -> str:
    return DECIDED + ids.subject_of(pair)


def candidate_to_row(candidate: Candidate) -> Row:
    row = asdict(candidate)
    del row["pair"]
    return row


def candidate_from_row(row_key: str, row: Mapping[str, Any]) -> Candidate:
    pair = ids.pair_from(row_key.partition(":")[2])
    assert pair is not None
    verdict = row.get("verdict")
    values: Row = {**row, "verdict": Verdict(**verdict) if verdict else None}
    values |= {name: tuple(row[name]) for name in ("names", "types", "reasons", "descriptions")}
    return Candidate(pair, **values)
