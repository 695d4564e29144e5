"""Which documents a filter chooses, and what may be shown of a graph that other documents speak of too. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

from lightrag_server.core.folding import UNKNOWN_TYPE
from lightrag_server.core.ids import document_of
from lightrag_server.core.records import Document, DocumentFilter, Entity, Fragment, Relation


def matches(document: Document, wanted: DocumentFilter) -> bool:
    """Whether every condition holds. A document without a readable time fulfils no condition on time."""
    tags = frozenset(document.tags)
    return (
        (wanted.document_ids is None or document.id in wanted.document_ids)
        and (wanted.file_paths is None or document.file_path in wanted.file_paths)
        and (not wanted.tags_any or not tags.isdisjoint(wanted.tags_any))
        and wanted.tags_all <= tags
        and all(_has(document.attributes.get(name), values) for name, values in wanted.attributes.items())
        and _is_between(document.created_at, wanted.created_from, wanted.created_before)
    )


def moment(text: str) -> datetime | None:
    """An ISO 8601 date or time; UTC where it names no zone. None for anything else."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _has(value: Any, allowed: Collection[Any]) -> bool:
    """Of a list one value is enough."""
    own = cast(Iterable[Any], value) if isinstance(value, list | tuple) else (value,)
    return any(_is_same(a, b) for a in own for b in allowed)


def _is_same(a: Any, b: Any) -> bool:
    """As JSON sees it: true is not 1."""
    return a is not None and a == b and isinstance(a, bool) == isinstance(b, bool)


def _is_between(created_at: str, start: str | None, end: str | None) -> bool:
    if start is None and end is None:
        return True
    created = moment(created_at)
    if created is None:
        return False
    first, behind = moment(start or ""), moment(end or "")
    return (first is None or created >= first) and (behind is None or created < behind)


# ----------------------------------------------------------------------------- what may be shown


@dataclass(frozen=True, slots=True)
class Scope:
    """The documents that answers may rest on: those named, or with `is_rest` all but those named.

    `chunks` are the chunks of these documents whose ids do not tell the document. What belongs to no document, being
    made by hand, is part of the rest.
    """

    documents: frozenset[str] = frozenset()
    file_paths: frozenset[str] = frozenset()
    chunks: frozenset[str] = frozenset()
    is_rest: bool = True

    @property
    def is_everything(self) -> bool:
        return self.is_rest and not self.documents

    @property
    def is_nothing(self) -> bool:
        return not self.is_rest and not self.documents

    def has_chunk(self, chunk_id: str) -> bool:
        return (document_of(chunk_id) in self.documents or chunk_id in self.chunks) != self.is_rest

    def has_path(self, file_path: str) -> bool:
        return (file_path in self.file_paths) != self.is_rest


def scope_of(documents: Iterable[Document], *, is_rest: bool) -> Scope:
    listed = list(documents)
    odd = (i for d in listed for i in chunk_ids_of(d) if document_of(i) != d.id)
    return Scope(frozenset(d.id for d in listed), frozenset(d.file_path for d in listed), frozenset(odd), is_rest)


def chunk_ids_of(document: Document) -> list[str]:
    """The chunks that answers may rest on now; also those of a new version, which are not stored yet."""
    serving = document.serving.chunk_ids if document.serving else ()
    return list(dict.fromkeys((*serving, *document.chunk_ids)))


def entity_within(entity: Entity, scope: Scope) -> Entity:
    """What the documents of the scope say of it. Of one that they only name, the name stays."""
    fragments, names = _within(entity.fragments, scope), _within(entity.names, scope)
    is_told = bool(fragments) or (entity.is_curated and not entity.mentions)
    return replace(
        entity,
        name=names[0].text if names else entity.name,
        type=entity.type if is_told else UNKNOWN_TYPE,
        fragments=fragments,
        types=entity.types if is_told else {},
        names=names,
        file_paths=tuple(path for path in entity.file_paths if scope.has_path(path)),
        folded=None,
    )


def relation_within(relation: Relation, scope: Scope) -> Relation:
    """As `entity_within`."""
    return replace(
        relation,
        fragments=_within(relation.fragments, scope),
        keywords=_within(relation.keywords, scope),
        file_paths=tuple(path for path in relation.file_paths if scope.has_path(path)),
        folded=None,
    )


def is_by_hand(told: Entity | Relation) -> bool:
    """Whether it is there, or says something, because a person wrote it."""
    texts = told.fragments + (told.names if isinstance(told, Entity) else told.keywords)
    return told.is_curated and (not told.mentions or any(document_of(f.origin.chunk_id) is None for f in texts))


def _within(fragments: tuple[Fragment, ...], scope: Scope) -> tuple[Fragment, ...]:
    return tuple(f for f in fragments if scope.has_chunk(f.origin.chunk_id))
