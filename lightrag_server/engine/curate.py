"""From an edit to what it changes: curated rows, and the subjects that have to be folded anew. Reads only.

Runs inside the commit, the one writer of the workspace, so that what an edit found is still so when it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from lightrag_server.core import curation as rules
from lightrag_server.core import ids
from lightrag_server.core.curation import (
    EntityCuration,
    Merge,
    RelationCuration,
    Turned,
    alias_row_key,
    entity_row_key,
    merge_row_key,
    relation_row_key,
)
from lightrag_server.core.edits import (
    CreateEntity,
    CreateRelation,
    DeleteEntity,
    DeleteRelation,
    Edit,
    Edited,
    EditEntity,
    EditRelation,
    EntityFields,
    Import,
    MergeEntities,
    SplitEntity,
)
from lightrag_server.core.folding import Aliases
from lightrag_server.core.records import Entity, Pair, Relation, Subject
from lightrag_server.engine.clock import Clock
from lightrag_server.engine.curated import Curated
from lightrag_server.engine.stores import Stores
from lightrag_server.errors import Conflict, InvalidInput, NotFound
from lightrag_server.ports.kv import Row

ALL_EDGES = 1_000_000


@dataclass(frozen=True, slots=True)
class Change:
    """`rows` are curated rows to write (None: to delete), `subjects` are folded anew, and chunks that speak of the keys
    in `retold` are read again, for they tell of something else now."""

    edited: Edited
    rows: Mapping[str, Row | None]
    subjects: frozenset[Subject]
    retold: frozenset[str]

    def aliases(self, before: Aliases) -> Aliases:
        """The aliases after the change."""
        after = dict(before)
        for row_key, row in self.rows.items():
            if not row_key.startswith(rules.ALIAS):
                continue
            key = row_key.removeprefix(rules.ALIAS)
            if row is None:
                after.pop(key, None)
            else:
                after[key] = row["to"]
        return after


@dataclass(slots=True)
class _Draft:
    """What an edit comes to while it is worked out. Later steps of an edit see what earlier ones decided."""

    aliases: dict[str, str]
    curated_entities: dict[str, EntityCuration | None] = field(default_factory=dict[str, EntityCuration | None])
    curated_relations: dict[Pair, RelationCuration | None] = field(default_factory=dict[Pair, RelationCuration | None])
    entities: dict[str, Entity | None] = field(default_factory=dict[str, Entity | None])
    """Of the graph as it is."""
    relations: dict[Pair, Relation | None] = field(default_factory=dict[Pair, Relation | None])
    names: dict[str, str] = field(default_factory=dict[str, str])
    """Display names of what this edit makes or keeps."""
    new_aliases: dict[str, str] = field(default_factory=dict[str, str])
    merges: dict[str, Merge] = field(default_factory=dict[str, Merge])
    before: dict[str, Row | None] = field(default_factory=dict[str, Row | None])
    """Curated rows as they were before the merge that is being worked out."""
    touched_entities: set[str] = field(default_factory=set[str])
    touched_relations: set[Pair] = field(default_factory=set[Pair])
    subjects: set[Subject] = field(default_factory=set[Subject])
    retold: set[str] = field(default_factory=set[str])

    def key_of(self, name: str) -> str:
        key = ids.entity_key(name)
        if not key:
            raise InvalidInput(f"{name!r} is no name")
        return self.aliases.get(key, key)

    def put_entity(self, curation: EntityCuration) -> None:
        self._put_entity(curation.key, curation)

    def end_entity(self, key: str) -> None:
        self._put_entity(key, None)

    def _put_entity(self, key: str, curation: EntityCuration | None) -> None:
        self.before.setdefault(entity_row_key(key), self.entity_row(key))
        self.curated_entities[key] = curation
        self.touched_entities.add(key)
        self.subjects.add(key)

    def put_relation(self, pair: Pair, curation: RelationCuration | None) -> None:
        self.before.setdefault(relation_row_key(pair), self.relation_row(pair))
        self.curated_relations[pair] = curation
        self.touched_relations.add(pair)
        self.subjects.add(ids.subject_of(pair))

    def entity_row(self, key: str) -> Row | None:
        curation = self.curated_entities.get(key)
        return rules.entity_curation_to_row(curation) if curation else None

    def relation_row(self, pair: Pair) -> Row | None:
        curation = self.curated_relations.get(pair)
        return rules.relation_curation_to_row(curation) if curation else None

    def curated_rows(self) -> dict[str, Row | None]:
        """Of what was touched."""
        entities = {entity_row_key(key): self.entity_row(key) for key in self.touched_entities}
        return entities | {relation_row_key(pair): self.relation_row(pair) for pair in self.touched_relations}

    def change(self, edited: Edited) -> Change:
        rows: dict[str, Row | None] = {alias_row_key(k): {"to": to} for k, to in self.new_aliases.items()}
        rows |= {merge_row_key(k): rules.merge_to_row(merge) for k, merge in self.merges.items()}
        rows |= self.curated_rows()
        return Change(edited, rows, frozenset(self.subjects), frozenset(self.retold))


class Curate:
    """One edit to one `Change`."""

    def __init__(self, stores: Stores, clock: Clock) -> None:
        self._stores = stores
        self._curated = Curated(stores)
        self._clock = clock

    async def change_for(self, edit: Edit) -> Change:
        """Raises `NotFound`, `Conflict` (the name is taken) or `InvalidInput`."""
        if isinstance(edit, SplitEntity):
            return await self._split(edit)
        draft = _Draft(dict(await self._curated.aliases()))
        match edit:
            case CreateEntity():
                edited = await self._create_entity(draft, edit)
            case EditEntity():
                edited = await self._edit_entity(draft, edit)
            case MergeEntities():
                edited = await self._merge_entities(draft, edit)
            case DeleteEntity():
                edited = await self._delete_entity(draft, edit)
            case CreateRelation():
                edited = await self._create_relation(draft, edit)
            case EditRelation():
                edited = await self._edit_relation(draft, edit)
            case DeleteRelation():
                edited = await self._delete_relation(draft, edit)
            case Import():
                edited = await self._import(draft, edit)
        return draft.change(edited)

    # -- entities

    async def _create_entity(self, draft: _Draft, edit: CreateEntity) -> Edited:
        key, name = draft.key_of(edit.name), ids.display_name(edit.name)
        await self._load(draft, [key])
        is_known = _is_there(draft, key)
        if is_known and not edit.may_exist:
            raise _taken(draft, key, name)
        curation = draft.curated_entities[key] or EntityCuration(key, created_at=self._now())
        if curation.is_deleted:
            draft.retold.add(key)
        draft.put_entity(
            replace(
                curation,
                name=curation.name if is_known else name,
                fields=rules.with_fields(curation.fields, edit.fields),
                is_created=True,
                is_deleted=False,
            )
        )
        draft.names[key] = _name(draft, key) if is_known else name
        return Edited((draft.names[key],))

    async def _edit_entity(self, draft: _Draft, edit: EditEntity) -> Edited:
        key = await self._known(draft, edit.name)
        target = draft.key_of(edit.new_name) if edit.new_name else key
        if target == key:
            new_name = ids.display_name(edit.new_name) if edit.new_name else None
            is_renamed = bool(new_name) and new_name != _name(draft, key)
            self._set_fields(draft, key, edit.fields, new_name if is_renamed else None)
            return Edited((new_name or _name(draft, key),), renamed=is_renamed)
        await self._load(draft, [target])
        is_taken = _is_there(draft, target)
        if is_taken and not edit.may_merge:
            raise _taken(draft, target, ids.display_name(edit.new_name or ""))
        name = _name(draft, target) if is_taken else ids.display_name(edit.new_name or "")
        await self._join(draft, key, target, name)
        self._set_fields(draft, target, edit.fields)
        return Edited((name,), merged=is_taken, renamed=not is_taken)

    async def _merge_entities(self, draft: _Draft, edit: MergeEntities) -> Edited:
        target = draft.key_of(edit.into)
        sources = [key for key in dict.fromkeys(map(draft.key_of, edit.names)) if key != target]
        await self._load(draft, [*sources, target])
        if unknown := [name for name in edit.names if not _is_there(draft, draft.key_of(name))]:
            raise NotFound(f"no such entity: {', '.join(map(repr, unknown))}")
        if not sources:
            raise InvalidInput(f"there is nothing to merge into {edit.into!r} but itself")
        name = _name(draft, target) if _is_there(draft, target) else ids.display_name(edit.into)
        for key in sorted(
            sources, key=lambda k: draft.curated_entities[k] is None
        ):  # a new one is made of written ones
            await self._join(draft, key, target, name, edit.reason)
        return Edited((name,), merged=True)

    async def _delete_entity(self, draft: _Draft, edit: DeleteEntity) -> Edited:
        key = await self._known(draft, edit.name)
        name = _name(draft, key)
        draft.put_entity(EntityCuration(key, is_deleted=True))
        for pair in (await self._curated.relations_with(frozenset([key]))).relations:
            draft.put_relation(pair, None)
        edges = (await self._stores.graph.expand([key], ALL_EDGES))[key]
        draft.subjects.update(ids.subject_of(r.pair) for r in edges.relations)
        return Edited((name,))

    async def _join(self, draft: _Draft, source: str, target: str, name: str, reason: str = "") -> None:
        """Let `target` be what both were: told by their chunks, with what was written of them by hand. What it takes
        to undo that is kept with the alias."""
        draft.before = {}
        source_name, other = _name(draft, source), draft.curated_entities[source]
        stored = draft.curated_entities[target]
        if stored and stored.is_deleted:
            stored = None
            draft.retold.add(target)
        if _is_there(draft, target) or other is None:
            own, notes = stored or EntityCuration(target, created_at=self._now()), rules.own_texts(other)
        else:  # a new name
            own, notes = replace(other, key=target), ()
        is_created = own.is_created or (other is not None and other.is_created)
        notes = tuple(dict.fromkeys([*own.notes, *notes]))
        draft.put_entity(replace(own, name=name, notes=notes, is_created=is_created))
        draft.names[target] = name
        draft.end_entity(source)
        draft.retold.add(source)
        edges = (await self._stores.graph.expand([source], ALL_EDGES)).get(source)
        draft.subjects.update(ids.subject_of(r.pair) for r in (edges.relations if edges else ()))
        await self._move_relations(draft, frozenset([source]), target)
        aliases = tuple(alias for alias, to in draft.aliases.items() if to == source)
        for alias in (source, *aliases):
            draft.new_aliases[alias] = draft.aliases[alias] = target
        after = draft.curated_rows()
        turned: Turned = {key: (before, after[key]) for key, before in draft.before.items()}
        numbers = (merge.number for merge in ((await self._curated.merges()) | draft.merges).values())
        draft.merges[source] = Merge(
            source_name, target, self._now(), 1 + max(numbers, default=0), reason, aliases, turned
        )

    async def _split(self, edit: SplitEntity) -> Change:
        """The name stands for itself again, and so do those that came with it. Curated rows are as they were before
        the merge, but for what was written since."""
        key, aliases = ids.entity_key(edit.alias), await self._curated.aliases()
        if key not in aliases:
            raise NotFound(f"{edit.alias!r} is no other name of any entity")
        target, merges = aliases[key], await self._curated.merges()
        gone = merges.pop(key, Merge(key, target, ""))
        with_it = [alias for alias in gone.aliases if aliases.get(alias) == target]
        rows: dict[str, Row | None] = {alias_row_key(key): None, merge_row_key(key): None}
        rows |= {alias_row_key(alias): {"to": key} for alias in with_it}
        rows |= await self._taken_back(gone, key, target, aliases, merges)
        rows |= {
            merge_row_key(k): rules.merge_to_row(rules.without_merge(merge, gone))
            for k, merge in merges.items()
            if merge.number > gone.number and not gone.rows.keys().isdisjoint(merge.rows)
        }
        subjects = {key, target, *(subject for row_key in rows if (subject := rules.subject_of_row(row_key)))}
        return Change(Edited((gone.name,)), rows, frozenset(subjects), frozenset({key, target}))

    async def _taken_back(
        self, gone: Merge, key: str, target: str, aliases: Aliases, others: Mapping[str, Merge]
    ) -> dict[str, Row | None]:
        """The name of an entity stays as long as a later merge into it stands."""
        later = (k for k, merge in others.items() if merge.to == gone.to and merge.number > gone.number)
        is_named = any(aliases.get(k) == target for k in later)
        now = {k: to for k, to in aliases.items() if k != key}
        turned = {there: pair for k, pair in gone.rows.items() if (there := rules.row_key_now(k, now))}
        stored = await self._curated.rows(turned)
        named = entity_row_key(gone.to) if is_named else None
        rows = {k: rules.taken_back(stored.get(k), *pair, keeps_name=k == named) for k, pair in turned.items()}
        own = rows.get(entity_row_key(target))
        if own and ids.entity_key(own.get("name", "")) == key:  # renamed since to what is split off
            rows[entity_row_key(target)] = {k: v for k, v in own.items() if k != "name"} or None
        return rows

    async def _move_relations(self, draft: _Draft, sources: frozenset[str], target: str) -> None:
        """What was written by hand of relations goes with the entity; one that would lead to itself ends."""
        stored = (await self._curated.relations_with(sources)).relations
        for pair in sorted(draft.touched_relations | stored.keys()):
            moved = draft.curated_relations.setdefault(pair, stored.get(pair))
            if moved is None or sources.isdisjoint(pair):
                continue
            draft.put_relation(pair, None)
            ends = [target if key in sources else key for key in pair]
            if ends[0] == ends[1]:
                continue
            new = ids.pair_of(ends[0], ends[1])
            await self._load(draft, [], [new])
            own = draft.curated_relations[new]
            if own is None:
                draft.put_relation(new, replace(moved, pair=new))
            else:
                notes = dict.fromkeys([*own.notes, *rules.own_texts(moved)])
                is_created = own.is_created or moved.is_created
                draft.put_relation(new, replace(own, notes=tuple(notes), is_created=is_created))

    def _set_fields(self, draft: _Draft, key: str, fields: EntityFields, name: str | None = None) -> None:
        curation = draft.curated_entities[key] or EntityCuration(key, created_at=self._now())
        fields = rules.with_fields(curation.fields, fields)
        draft.put_entity(replace(curation, fields=fields, name=name or curation.name))

    # -- relations

    async def _create_relation(self, draft: _Draft, edit: CreateRelation) -> Edited:
        pair = await self._ends(draft, edit.source, edit.target)
        if absent := [n for n in (edit.source, edit.target) if not _is_there(draft, draft.key_of(n))]:
            raise InvalidInput(f"a relation needs both its entities; there is no {', '.join(map(repr, absent))}")
        if _is_related(draft, pair) and not edit.may_exist:
            raise Conflict(f"the relation between {edit.source!r} and {edit.target!r} exists")
        curation = draft.curated_relations[pair] or RelationCuration(pair, created_at=self._now())
        fields = rules.with_fields(curation.fields, edit.fields)
        draft.put_relation(pair, replace(curation, fields=fields, is_created=True, is_deleted=False))
        for key in pair:
            self._keep(draft, key)
        return Edited(tuple(_name(draft, key) for key in pair))

    async def _edit_relation(self, draft: _Draft, edit: EditRelation) -> Edited:
        pair = await self._known_relation(draft, edit.source, edit.target)
        curation = draft.curated_relations[pair] or RelationCuration(pair, created_at=self._now())
        fields = rules.with_fields(curation.fields, edit.fields)
        draft.put_relation(pair, replace(curation, fields=fields))
        return Edited(tuple(_name(draft, key) for key in pair))

    async def _delete_relation(self, draft: _Draft, edit: DeleteRelation) -> Edited:
        pair = await self._known_relation(draft, edit.source, edit.target)
        draft.put_relation(pair, RelationCuration(pair, is_deleted=True))
        return Edited(tuple(_name(draft, key) for key in pair))

    def _keep(self, draft: _Draft, key: str) -> None:
        """The ends of a relation made by hand stay when no document speaks of them any more."""
        curation = draft.curated_entities[key] or EntityCuration(key, created_at=self._now())
        if not curation.is_created:
            draft.put_entity(replace(curation, name=curation.name or _name(draft, key), is_created=True))

    # -- many at once

    async def _import(self, draft: _Draft, edit: Import) -> Edited:
        keys = [draft.key_of(name) for name in _names_of(edit)]
        pairs = [ids.pair_of(draft.key_of(r.source), draft.key_of(r.target)) for r in edit.relations]
        await self._load(draft, keys, pairs)
        names: list[str] = []
        for entity in edit.entities:
            names += (await self._create_entity(draft, entity)).names
        for relation in edit.relations:
            await self._create_relation(draft, relation)
        return Edited(tuple(names))

    # -- what is there

    async def _known(self, draft: _Draft, name: str) -> str:
        key = draft.key_of(name)
        await self._load(draft, [key])
        if not _is_there(draft, key):
            raise NotFound(f"no such entity: {name!r}")
        return key

    async def _known_relation(self, draft: _Draft, source: str, target: str) -> Pair:
        pair = await self._ends(draft, source, target)
        if not _is_related(draft, pair):
            raise NotFound(f"no such relation: {source!r} and {target!r}")
        return pair

    async def _ends(self, draft: _Draft, source: str, target: str) -> Pair:
        a, b = draft.key_of(source), draft.key_of(target)
        if a == b:
            raise InvalidInput(f"an entity cannot be related to itself: {source!r} and {target!r}")
        pair = ids.pair_of(a, b)
        await self._load(draft, pair, [pair])
        return pair

    async def _load(self, draft: _Draft, keys: Iterable[str], pairs: Iterable[Pair] = ()) -> None:
        """Read what is not known yet of these subjects, all together."""
        new = [key for key in dict.fromkeys(keys) if key not in draft.entities]
        new_pairs = [pair for pair in dict.fromkeys(pairs) if pair not in draft.relations]
        if not (new or new_pairs):
            return
        stored = rules.curation_from_rows(await self._curated.of(new, new_pairs))
        entities = await self._stores.graph.entities(new)
        relations = await self._stores.graph.relations(new_pairs)
        draft.entities |= {key: entities.get(key) for key in new}
        draft.relations |= {pair: relations.get(pair) for pair in new_pairs}
        for key in new:
            draft.curated_entities.setdefault(key, stored.entities.get(key))
        for pair in new_pairs:
            draft.curated_relations.setdefault(pair, stored.relations.get(pair))

    def _now(self) -> str:
        return self._clock().isoformat()


def _taken(draft: _Draft, key: str, name: str) -> Conflict:
    known = _name(draft, key)
    if ids.entity_key(name) != key:
        return Conflict(f"{name!r} is another name of the entity {known!r}, which it was merged into")
    return Conflict(f"the entity {known!r} exists")


def _is_there(draft: _Draft, key: str) -> bool:
    return draft.entities[key] is not None or key in draft.names


def _is_related(draft: _Draft, pair: Pair) -> bool:
    """Also what an earlier step of the same edit made."""
    curation = draft.curated_relations[pair]
    made = pair in draft.touched_relations and curation is not None and curation.is_created
    return draft.relations[pair] is not None or made


def _name(draft: _Draft, key: str) -> str:
    entity = draft.entities[key]
    return draft.names.get(key) or (entity.name if entity else key)


def _names_of(edit: Import) -> list[str]:
    ends = [name for r in edit.relations for name in (r.source, r.target)]
    return [*(e.name for e in edit.entities), *ends]
