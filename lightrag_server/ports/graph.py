from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from lightrag_server.core.records import Entity, EntitySketch, Pair, Relation, RelationSketch, Subject


@dataclass(frozen=True, slots=True)
class Expansion:
    """A node's number of edges and its strongest edges (by weight, then pair)."""

    degree: int
    relations: tuple[Relation, ...]


@dataclass(frozen=True, slots=True)
class Subgraph:
    """There may be thousands: they can be gone through once, and stores decode them meanwhile, so do that in a thread.
    Relations by pair."""

    entities: Iterator[EntitySketch]
    relations: Iterator[RelationSketch]
    is_truncated: bool


@dataclass(frozen=True, slots=True)
class Listed:
    """A node in a list, and its number of edges."""

    entity: Entity
    degree: int


@dataclass(frozen=True, slots=True)
class Extent:
    """At most `limit` rows, passing over `offset` of them."""

    offset: int
    limit: int


@dataclass(frozen=True, slots=True)
class EntityFilter:
    """Conditions that must all hold. `contains` is looked for in keys, as `ids.entity_key` writes it; `type` is exact;
    None means any."""

    contains: str = ""
    type: str | None = None


@dataclass(frozen=True, slots=True)
class GraphCounts:
    entities: int
    relations: int
    evidence: int


class GraphStore(Protocol):
    """Entities, undirected relations, and the evidence that ties both to chunks."""

    async def entities(self, keys: Collection[str]) -> dict[str, Entity]: ...

    async def names(self, keys: Collection[str]) -> dict[str, str]:
        """Spellings of the known ones, at the cost of a fraction of `entities`."""
        ...

    async def relations(self, pairs: Collection[Pair]) -> dict[Pair, Relation]:
        """Pairs are sorted (`ids.pair_of`)."""
        ...

    async def expand(self, keys: Collection[str], limit: int, among: int | None = None) -> dict[str, Expansion]:
        """For each known key its degree and at most `limit` relations, the strongest first, then by pair. With `among`
        a store need not look at more of a key's relations than about so many, whichever they are."""
        ...

    async def chunks_of(self, subjects: Collection[Subject], limit: int | None = None) -> dict[Subject, list[str]]:
        """Chunk ids that speak of each subject, in id order; with a `limit` any so many of them. Unknown subjects are
        absent, an entity or relation without evidence is present and empty."""
        ...

    async def subjects_of(self, chunk_ids: Collection[str]) -> dict[str, list[Subject]]:
        """What each chunk speaks of, in subject order; unknown chunks are absent."""
        ...

    async def put(
        self,
        entities: Sequence[Entity] = (),
        relations: Sequence[Relation] = (),
        evidence: Mapping[str, Collection[Subject]] | None = None,
    ) -> None:
        """Replace nodes and edges by key. `evidence` maps a chunk id to all it speaks of, replacing what was there."""
        ...

    async def delete(
        self,
        keys: Collection[str] = (),
        pairs: Collection[Pair] = (),
        chunk_ids: Collection[str] = (),
    ) -> None:
        """Remove nodes (with their edges), edges, and the evidence of chunks. Unknown ones are no error.
        Evidence belongs to its chunk: it outlives the nodes and edges it speaks of."""
        ...

    async def labels(
        self, order: Literal["name", "degree"] = "name", limit: int | None = None, contains: str = ""
    ) -> list[str]:
        """Names (spellings) of entities. `contains` is looked for in their keys, as `ids.entity_key` writes it: exact
        matches come first, then prefixes."""
        ...

    async def page_entities(
        self, where: EntityFilter, extent: Extent, order: Literal["name", "degree"] = "name"
    ) -> tuple[list[Listed], int]:
        """Nodes by name, or by degree and name, and the number of those that match in all."""
        ...

    async def page_relations(self, extent: Extent, of: str | None = None) -> tuple[list[Relation], int]:
        """Edges (of the node with the key `of`) by weight, then pair, and the number of them in all."""
        ...

    def scan_entities(self) -> AsyncIterator[list[Entity]]:
        """All nodes in key order, in batches; bounded memory. What changes meanwhile may be seen or not."""
        ...

    def scan_relations(self) -> AsyncIterator[list[Relation]]:
        """All edges once, in the store's order; otherwise as `scan_entities`."""
        ...

    def scan_chunk_ids(self) -> AsyncIterator[list[str]]:
        """All chunks that have evidence, in id order; otherwise as `scan_entities`."""
        ...

    async def subgraph(self, key: str | None, max_depth: int, max_nodes: int) -> Subgraph:
        """Breadth first from `key`, neighbours by degree; with None the nodes of highest degree. Relations are those
        between the nodes returned. An unknown key gives an empty subgraph."""
        ...

    async def counts(self) -> GraphCounts: ...

    async def clear(self) -> None: ...
