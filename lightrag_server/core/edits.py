"""What people change in the graph by hand. Plain data: an edit is kept as JSON until its turn comes."""

from __future__ import annotations

from dataclasses import dataclass

MANUAL = "manual_creation"
"""Source of what was created by hand, as LightRAG names it."""


@dataclass(frozen=True, slots=True)
class EntityFields:
    """What is set by hand; None leaves a field to what documents say."""

    type: str | None = None
    description: str | None = None
    source_id: str | None = None
    file_path: str | None = None


@dataclass(frozen=True, slots=True)
class RelationFields:
    """As `EntityFields`. Keywords are comma separated."""

    description: str | None = None
    keywords: str | None = None
    weight: float | None = None
    source_id: str | None = None
    file_path: str | None = None


@dataclass(frozen=True, slots=True)
class CreateEntity:
    """Refused when the entity exists, unless `may_exist`: then its fields are set."""

    name: str
    fields: EntityFields
    may_exist: bool = False


@dataclass(frozen=True, slots=True)
class EditEntity:
    """`new_name` renames. To a name that exists only with `may_merge`: then both become one."""

    name: str
    fields: EntityFields
    new_name: str | None = None
    may_merge: bool = False


@dataclass(frozen=True, slots=True)
class MergeEntities:
    """All of `names` become `into`, which is made when it does not exist. `reason` is kept with each alias."""

    names: tuple[str, ...]
    into: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SplitEntity:
    """Takes a merge or a new name back: the name `alias` stands for an entity of its own again."""

    alias: str


@dataclass(frozen=True, slots=True)
class DeleteEntity:
    """Its relations go with it. It stays away when further documents mention it, until somebody creates it again."""

    name: str


@dataclass(frozen=True, slots=True)
class CreateRelation:
    """Both ends must exist."""

    source: str
    target: str
    fields: RelationFields
    may_exist: bool = False


@dataclass(frozen=True, slots=True)
class EditRelation:
    source: str
    target: str
    fields: RelationFields


@dataclass(frozen=True, slots=True)
class DeleteRelation:
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Import:
    """Entities, then relations between them or known ones; all or nothing."""

    entities: tuple[CreateEntity, ...] = ()
    relations: tuple[CreateRelation, ...] = ()


@dataclass(frozen=True, slots=True)
class Mend:
    """Nobody's wish: what was found damaged is put right, by what is stored when its turn comes. Chunks of no document
    go; the others are written as their texts and contributions have it. Subjects are folded anew. Vectors are made anew
    where they are called for and go where not: those of windows by id, those of names and facts by id and subject."""

    storage: bool = False
    """What a storage finds damaged in its own form."""
    chunk_ids: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    windows: tuple[str, ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    facts: tuple[tuple[str, str], ...] = ()


EntityEdit = CreateEntity | EditEntity | MergeEntities | SplitEntity | DeleteEntity
RelationEdit = CreateRelation | EditRelation | DeleteRelation
Edit = EntityEdit | RelationEdit | Import


@dataclass(frozen=True, slots=True)
class Edited:
    """How an edit ended: the display names of what is there now. `merged` and `renamed` say what a new name led to."""

    names: tuple[str, ...]
    merged: bool = False
    renamed: bool = False
