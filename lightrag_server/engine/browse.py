"""The graph as people look at it: labels, neighbourhoods, lists, and one entity or relation with all that is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from lightrag_server.core.curation import SEPARATOR
from lightrag_server.core.folding import Aliases, key_of
from lightrag_server.core.graph_formats.rows import EntityRow, RelationRow, entity_row, relation_row
from lightrag_server.core.ids import MAX_KEY_CHARS, document_of, entity_key, pair_of, subject_of
from lightrag_server.core.records import Entity, Fragment, Relation, Subject
from lightrag_server.engine.curated import Curated
from lightrag_server.engine.stores import Stores
from lightrag_server.errors import NotFound
from lightrag_server.ports.graph import EntityFilter, Extent, Listed, Subgraph

EVERYTHING = "*"
"""The label that stands for the nodes of highest degree."""
MAX_CHUNKS = 10_000
"""Chunks that are looked at for the documents that speak of one subject."""


@dataclass(frozen=True, slots=True)
class Told:
    """A text and where it comes from; `document_id` is None for what people wrote."""

    text: str
    chunk_id: str
    document_id: str | None
    file_path: str


@dataclass(frozen=True, slots=True)
class Mention:
    """A document that speaks of a subject, in so many chunks."""

    document_id: str
    file_path: str
    chunks: int


@dataclass(frozen=True, slots=True)
class EntityDetail:
    """`relations` are the first of `degree`, strongest first."""

    entity: Entity
    names: list[Told]
    descriptions: list[Told]
    degree: int
    relations: list[Relation]
    ends: Mapping[str, str]
    documents: list[Mention]


@dataclass(frozen=True, slots=True)
class RelationDetail:
    relation: Relation
    ends: Mapping[str, str]
    descriptions: list[Told]
    keywords: list[Told]
    documents: list[Mention]


class Browse:
    """Reads only. Any spelling finds an entity, and so do the names of what was merged into it. `ends` of results maps
    keys to spellings."""

    def __init__(self, stores: Stores) -> None:
        self._curated = Curated(stores)
        self._graph = stores.graph
        self._documents = stores.documents

    async def labels(self) -> list[str]:
        return await self._graph.labels()

    async def popular(self, limit: int) -> list[str]:
        return await self._graph.labels("degree", limit)

    async def search(self, text: str, limit: int) -> list[str]:
        """Exact matches first, then beginnings, then the rest; nothing for a text without letters."""
        return await self._graph.labels(limit=limit, contains=text) if entity_key(text) else []

    async def subgraph(self, label: str, max_depth: int, max_nodes: int) -> Subgraph:
        key = None if label == EVERYTHING else await self._curated.key_of(label)
        return await self._graph.subgraph(key, max_depth, max_nodes)

    async def exists(self, name: str) -> bool:
        """Not for the name of what was merged into another: it is no entity any more."""
        key = await self._curated.key_of(name)
        found = (await self._graph.entities([key])).get(key)
        return found is not None and entity_key(name) in (key, entity_key(found.name))

    async def entity(self, name: str, max_relations: int = 20) -> EntityDetail:
        """Raises `NotFound`."""
        entity = await self.known_entity(name)
        key = entity.key
        expansion = (await self._graph.expand([key], max_relations))[key]
        sources = await self._sources((*entity.names, *entity.fragments), key)
        return EntityDetail(
            entity=entity,
            names=sources.told(entity.names),
            descriptions=sources.told(entity.fragments),
            degree=expansion.degree,
            relations=list(expansion.relations),
            ends=await self._ends(expansion.relations),
            documents=sources.mentions,
        )

    async def known_entity(self, name: str) -> Entity:
        """Raises `NotFound`."""
        key = await self._curated.key_of(name)
        found = await self._graph.entities([key])
        if not found:
            raise NotFound(f"no such entity: {name[:MAX_KEY_CHARS]!r}")
        return found[key]

    async def relation(self, source: str, target: str) -> RelationDetail:
        """Raises `NotFound`. Either end may be the source: relations are undirected."""
        pair = pair_of(await self._curated.key_of(source), await self._curated.key_of(target))
        found = await self._graph.relations([pair])
        if not found:
            raise NotFound(f"no such relation: {source[:MAX_KEY_CHARS]!r} and {target[:MAX_KEY_CHARS]!r}")
        relation = found[pair]
        sources = await self._sources((*relation.fragments, *relation.keywords), subject_of(pair))
        return RelationDetail(
            relation=relation,
            ends=await self._ends([relation]),
            descriptions=sources.told(relation.fragments),
            keywords=sources.told(relation.keywords),
            documents=sources.mentions,
        )

    async def entities(
        self, where: EntityFilter, extent: Extent, order: Literal["name", "degree"]
    ) -> tuple[list[Listed], int]:
        """One page, and how many match in all."""
        return await self._graph.page_entities(where, extent, order)

    async def relations(self, extent: Extent, of: str | None) -> tuple[list[Relation], Mapping[str, str], int]:
        """One page strongest first, the spellings of its ends, and how many there are; `of` is the name of an end."""
        key = None if of is None else await self._curated.key_of(of)
        relations, total = await self._graph.page_relations(extent, key)
        return relations, await self._ends(relations), total

    async def entity_rows(self) -> AsyncIterator[list[EntityRow]]:
        """All entities, in batches."""
        async for batch in self._graph.scan_entities():
            yield [entity_row(entity) for entity in batch]

    async def relation_rows(self) -> AsyncIterator[list[RelationRow]]:
        """All relations, in batches."""
        async for batch in self._graph.scan_relations():
            ends = await self._ends(batch)
            yield [relation_row(relation, ends) for relation in batch]

    async def aliases(self) -> Aliases:
        """Names that stand for other entities, by key."""
        return await self._curated.aliases()

    async def absent(self, names: Iterable[str]) -> set[str]:
        """Those that are no entities, one spelling for each."""
        aliases = await self._curated.aliases()
        by_key = {key_of(name, aliases): name for name in names}
        return {by_key[key] for key in by_key.keys() - (await self._graph.names(by_key)).keys()}

    async def _ends(self, relations: Iterable[Relation]) -> dict[str, str]:
        return await self._graph.names({key for relation in relations for key in relation.pair})

    async def _sources(self, fragments: Collection[Fragment], subject: Subject) -> _Sources:
        """The documents behind fragments, and those that speak of the subject."""
        chunks = (await self._graph.chunks_of([subject], MAX_CHUNKS)).get(subject, [])
        counts = Counter(document for chunk in chunks if (document := document_of(chunk)))
        origins = {document for f in fragments if (document := _document_of(f))}
        known = await self._documents.get({*counts, *origins})
        paths = {document: row.file_path for document, row in known.items()}
        mentions = [Mention(i, paths.get(i, ""), count) for i, count in counts.most_common()]
        return _Sources(paths, mentions)


@dataclass(frozen=True, slots=True)
class _Sources:
    """`paths` has the file path of each known document."""

    paths: Mapping[str, str]
    mentions: list[Mention]

    def told(self, fragments: Iterable[Fragment]) -> list[Told]:
        return [self._told(fragment) for fragment in fragments]

    def _told(self, fragment: Fragment) -> Told:
        document = _document_of(fragment)
        return Told(fragment.text, fragment.origin.chunk_id, document, self.paths.get(document or "", ""))


def _document_of(fragment: Fragment) -> str | None:
    """Of a text that people took from several chunks, the first one's."""
    return document_of(fragment.origin.chunk_id.partition(SEPARATOR)[0])
