"""What people decided about the graph, laid over what documents say. Pure.

A curation is kept per subject, apart from contributions, and wins over their fold whenever the subject is folded: it
survives deletion, replacement and re-indexing. A merged or renamed entity leaves an alias, so that documents which use
the old name tell of the entity that it became.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypeVar

from lightrag_server.core import ids
from lightrag_server.core.edits import MANUAL, EntityFields, RelationFields
from lightrag_server.core.folding import UNKNOWN_TYPE, fact_text
from lightrag_server.core.records import Entity, Fragment, Origin, Pair, Relation, RelationMention, Subject

Row = dict[str, Any]
SEPARATOR = "<SEP>"
"""Between several sources or paths in one field, as LightRAG writes them."""
DEFAULT_WEIGHT = 1.0


@dataclass(frozen=True, slots=True)
class EntityCuration:
    """`fields` win over the fold; `notes` stand beside it. A created one exists without any document."""

    key: str
    name: str | None = None
    fields: EntityFields = field(default_factory=EntityFields)
    notes: tuple[str, ...] = ()
    is_created: bool = False
    is_deleted: bool = False
    created_at: str = ""

    @property
    def says_something(self) -> bool:
        return bool(self.name or self.notes or self.fields != EntityFields())


@dataclass(frozen=True, slots=True)
class RelationCuration:
    """As `EntityCuration`."""

    pair: Pair
    fields: RelationFields = field(default_factory=RelationFields)
    notes: tuple[str, ...] = ()
    is_created: bool = False
    is_deleted: bool = False
    created_at: str = ""

    @property
    def says_something(self) -> bool:
        return bool(self.notes or self.fields != RelationFields())

    @property
    def fact(self) -> str | None:
        """The text by which it is found, when it has one of its own: subject, keywords, object. Made of keys, for
        spellings may change."""
        if not (self.is_created or self.fields.keywords):
            return None
        return fact_text(RelationMention(*self.pair, keywords_of(self.fields.keywords or ""), ""))


@dataclass(frozen=True, slots=True)
class Curation:
    """The curations of some subjects."""

    entities: dict[str, EntityCuration] = field(default_factory=dict[str, EntityCuration])
    relations: dict[Pair, RelationCuration] = field(default_factory=dict[Pair, RelationCuration])

    def name_of(self, key: str) -> str | None:
        return self.entities[key].name if key in self.entities else None

    def is_deleted(self, key: str) -> bool:
        return key in self.entities and self.entities[key].is_deleted


def curated_entity(folded: Entity | None, curation: EntityCuration | None) -> Entity | None:
    """The entity that is shown; None when it is not to be there."""
    if curation is None or _leaves_alone(curation, folded):
        return folded
    if _removes(curation, folded):
        return None
    base = folded or _bare_entity(curation)
    given = curation.fields
    named = (Fragment(Origin(0, given.source_id or MANUAL), curation.name),) if curation.name else ()
    return replace(
        base,
        name=curation.name or base.name,
        type=given.type or base.type,
        fragments=_fragments(base.fragments, given.description, curation.notes, given.source_id),
        names=(*named, *(f for f in base.names if f.text != curation.name)),
        file_paths=_paths(base.file_paths, given.file_path),
        is_curated=True,
        folded=folded,
    )


def curated_relation(folded: Relation | None, curation: RelationCuration | None) -> Relation | None:
    """As `curated_entity`."""
    if curation is None or _leaves_alone(curation, folded):
        return folded
    if _removes(curation, folded):
        return None
    base = folded or _bare_relation(curation)
    given = curation.fields
    keywords = base.keywords
    if given.keywords is not None:
        keywords = _texts(keywords_of(given.keywords), given.source_id)
    return replace(
        base,
        fragments=_fragments(base.fragments, given.description, curation.notes, given.source_id),
        keywords=keywords,
        weight=base.weight if given.weight is None else given.weight,
        file_paths=_paths(base.file_paths, given.file_path),
        is_curated=True,
        folded=folded,
    )


def _leaves_alone(curation: EntityCuration | RelationCuration, folded: Entity | Relation | None) -> bool:
    return folded is not None and not (curation.is_deleted or curation.says_something)


def _removes(curation: EntityCuration | RelationCuration, folded: Entity | Relation | None) -> bool:
    """What no document speaks of is there only when it was made by hand."""
    return curation.is_deleted or (folded is None and not curation.is_created)


def folded_entity(entity: Entity | None) -> Entity | None:
    """What chunks alone say of a stored entity."""
    return entity.folded if entity and entity.is_curated else entity


def folded_relation(relation: Relation | None) -> Relation | None:
    return relation.folded if relation and relation.is_curated else relation


def keywords_of(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for part in text.split(",") if (word := part.strip())))


Fields = TypeVar("Fields", EntityFields, RelationFields)


def with_fields(current: Fields, given: Fields) -> Fields:
    """The fields after another edit: what it leaves open stays."""
    return replace(current, **_set(given))


def _set(fields: EntityFields | RelationFields) -> Row:
    return {name: value for name, value in asdict(fields).items() if value is not None}


def own_texts(curation: EntityCuration | RelationCuration | None) -> tuple[str, ...]:
    """What a person wrote of it, to be kept as notes by what it is merged into."""
    if curation is None:
        return ()
    description = curation.fields.description
    return tuple(dict.fromkeys([*([description] if description else []), *curation.notes]))


def _bare_entity(curation: EntityCuration) -> Entity:
    return Entity(
        key=curation.key,
        name=curation.name or curation.key,
        type=UNKNOWN_TYPE,
        fragments=(),
        types={},
        names=(),
        mentions=0,
        file_paths=(MANUAL,),
        created_at=curation.created_at,
    )


def _bare_relation(curation: RelationCuration) -> Relation:
    return Relation(
        pair=curation.pair,
        names=curation.pair,
        fragments=(),
        keywords=(),
        weight=DEFAULT_WEIGHT,
        mentions=0,
        file_paths=(MANUAL,),
        created_at=curation.created_at,
    )


def _fragments(
    folded: tuple[Fragment, ...], description: str | None, notes: Iterable[str], source: str | None
) -> tuple[Fragment, ...]:
    own = folded if description is None else _texts([description], source)
    said = {f.text for f in own}
    return (*own, *_texts([note for note in notes if note not in said], source))


def _texts(texts: Iterable[str], source: str | None) -> tuple[Fragment, ...]:
    return tuple(Fragment(Origin(0, source or MANUAL, n), text) for n, text in enumerate(texts) if text)


def _paths(folded: tuple[str, ...], given: str | None) -> tuple[str, ...]:
    return folded if given is None else tuple(path for path in given.split(SEPARATOR) if path)


# ----------------------------------------------------------------------------- taking a merge back

Turned = dict[str, tuple[Row | None, Row | None]]
"""By row key: a curated row before and after something that changed it. None: there is none."""


@dataclass(frozen=True, slots=True)
class Merge:
    """How an alias came about, and what it takes to undo that. `name` is the spelling that the alias had as an entity,
    `to` the key that it was merged into then, `aliases` are the keys that stood for it."""

    name: str
    to: str
    at: str
    number: int = 0
    """Later ones have larger numbers."""
    reason: str = ""
    aliases: tuple[str, ...] = ()
    rows: Turned = field(default_factory=Turned)


def taken_back(now: Row | None, before: Row | None, after: Row | None, *, keeps_name: bool = False) -> Row | None:
    """The row without the change from `before` to `after`: fields that were changed again since stay. Notes are taken
    back one by one."""
    now, before, after = now or {}, before or {}, after or {}
    kept = dict(now)
    for name in (before.keys() | after.keys()) - {"notes", *(["name"] if keeps_name else [])}:
        if now.get(name) == after.get(name):
            _set_or_drop(kept, name, before.get(name))
    _set_or_drop(kept, "notes", _notes_back(now.get("notes", []), before.get("notes", []), after.get("notes", [])))
    return kept or None


def _notes_back(now: list[str], before: list[str], after: list[str]) -> list[str]:
    if now == after:
        return before
    return [*(n for n in now if n not in after or n in before), *(n for n in before if n not in (*after, *now))]


def _set_or_drop(row: Row, name: str, value: Any) -> None:
    if value:
        row[name] = value
    else:
        row.pop(name, None)


def row_key_now(row_key: str, aliases: Mapping[str, str]) -> str | None:
    """Where a curated row is kept by now: its entities may have been merged since. None where there is no such row."""
    if row_key.startswith(ENTITY):
        return None if row_key.removeprefix(ENTITY) in aliases else row_key
    a, b = (aliases.get(end, end) for end in _pair(row_key) or ("", ""))
    return relation_row_key(ids.pair_of(a, b)) if a != b else None


def without_merge(merge: Merge, gone: Merge) -> Merge:
    """A later merge as it would have been without an earlier one. Its name it gave itself."""
    own = entity_row_key(merge.to)
    turned = {
        key: (taken_back(before, *gone.rows[key]), taken_back(after, *gone.rows[key], keeps_name=key == own))
        if key in gone.rows
        else (before, after)
        for key, (before, after) in merge.rows.items()
    }
    return replace(merge, rows=turned)


# ----------------------------------------------------------------------------- stored form

ENTITY, RELATION, ALIAS, MERGE = "entity:", "relation:", "alias:", "merge:"
"""Beginnings of the keys under which curations, aliases, and what made the aliases are kept."""


def entity_row_key(key: str) -> str:
    return ENTITY + key


def relation_row_key(pair: Pair) -> str:
    return RELATION + ids.subject_of(pair)


def alias_row_key(key: str) -> str:
    return ALIAS + key


def merge_row_key(key: str) -> str:
    return MERGE + key


def entity_curation_to_row(curation: EntityCuration) -> Row:
    return _set(curation.fields) | ({"name": curation.name} if curation.name else {}) | _marks(curation)


def relation_curation_to_row(curation: RelationCuration) -> Row:
    return _set(curation.fields) | _marks(curation)


def _marks(curation: EntityCuration | RelationCuration) -> Row:
    row = {
        "notes": list(curation.notes),
        "is_created": curation.is_created,
        "is_deleted": curation.is_deleted,
        "created_at": curation.created_at,
    }
    return {name: value for name, value in row.items() if value}


def entity_curation_from_row(key: str, row: Row) -> EntityCuration:
    return EntityCuration(key, row.get("name"), _fields(EntityFields, row), **_marked(row))


def relation_curation_from_row(pair: Pair, row: Row) -> RelationCuration:
    return RelationCuration(pair, _fields(RelationFields, row), **_marked(row))


def _fields(kind: type[Fields], row: Row) -> Fields:
    return kind(**{part.name: row.get(part.name) for part in fields(kind)})


def _marked(row: Row) -> Row:
    return {
        "notes": tuple(row.get("notes", ())),
        "is_created": row.get("is_created", False),
        "is_deleted": row.get("is_deleted", False),
        "created_at": row.get("created_at", ""),
    }


def curation_from_rows(rows: Mapping[str, Row]) -> Curation:
    """Rows of the namespace `curated`, aliases and merges apart."""
    curation = Curation()
    for row_key, row in rows.items():
        if row_key.startswith(ENTITY):
            key = row_key.removeprefix(ENTITY)
            curation.entities[key] = entity_curation_from_row(key, row)
        elif pair := _pair(row_key):
            curation.relations[pair] = relation_curation_from_row(pair, row)
    return curation


def _pair(row_key: str) -> Pair | None:
    return ids.pair_from(row_key.removeprefix(RELATION)) if row_key.startswith(RELATION) else None


def subject_of_row(row_key: str) -> Subject | None:
    """What a curated row is about; None for an alias or a merge."""
    begins = next((begin for begin in (ENTITY, RELATION) if row_key.startswith(begin)), None)
    return row_key.removeprefix(begins) if begins else None


def aliases_from_rows(rows: Mapping[str, Row]) -> dict[str, str]:
    return {key.removeprefix(ALIAS): row["to"] for key, row in rows.items() if key.startswith(ALIAS)}


def involves(subject: Subject, keys: frozenset[str]) -> bool:
    """Whether an entity is one of the keys, or a relation has one of them as an end."""
    pair = ids.pair_from(subject)
    return bool(keys.intersection(pair)) if pair else subject in keys


def merge_to_row(merge: Merge) -> Row:
    return asdict(merge) | {"rows": {key: list(rows) for key, rows in merge.rows.items()}}


def merges_from_rows(rows: Mapping[str, Row]) -> dict[str, Merge]:
    """By the key of the alias."""
    return {key.removeprefix(MERGE): _merge_from(row) for key, row in rows.items() if key.startswith(MERGE)}


def _merge_from(row: Row) -> Merge:
    turned: Turned = {key: (before, after) for key, (before, after) in row["rows"].items()}
    values: Row = row | {"aliases": tuple(row["aliases"]), "rows": turned}
    return Merge(**values)
