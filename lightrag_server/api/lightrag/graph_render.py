"""Entities and relations as the graph routes show them. Pure; plain dictionaries where there may be thousands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import orjson

from lightrag_server.api.lightrag.graph_schemas import (
    EntityDetails,
    EntityInfo,
    ListedEntity,
    ListedRelation,
    MentioningDocument,
    RelationDetails,
    RelationInfo,
    SourcedText,
)
from lightrag_server.api.lightrag.render import SEPARATOR, epoch
from lightrag_server.core.records import Entity, EntitySketch, Relation, RelationSketch
from lightrag_server.engine.browse import EntityDetail, Mention, RelationDetail, Told
from lightrag_server.ports.graph import Subgraph

Json = dict[str, Any]
BATCH = 64


def knowledge_graph(graph: Subgraph) -> memoryview:
    """JSON. Some rows at a time are decoded, brought into form and written, and stay in the caches of the CPU."""
    names: dict[str, str] = {}
    body = bytearray(b'{"nodes":')
    _append(body, (_node(entity, names) for entity in graph.entities))
    body += b',"edges":'
    _append(body, (_edge(relation, names) for relation in graph.relations))
    body += b',"is_truncated":%b}' % orjson.dumps(graph.is_truncated)
    return memoryview(body)


def _append(body: bytearray, rows: Iterator[Json]) -> None:
    """One array."""
    opening = b"["
    while batch := list(islice(rows, BATCH)):
        body += opening
        body += memoryview(orjson.dumps(batch))[1:-1]
        opening = b","
    body += b"]" if opening == b"," else b"[]"


def _node(entity: EntitySketch, names: dict[str, str]) -> Json:
    """Notes the name, which the edges need."""
    names[entity.key] = entity.name
    return {"id": entity.name, "labels": [entity.name], "properties": node_properties(entity)}


def _edge(relation: RelationSketch, names: Mapping[str, str]) -> Json:
    a, b = relation.pair
    source, target = names[a], names[b]
    return {
        "id": f"{source}-{target}",
        "type": "DIRECTED",
        "source": source,
        "target": target,
        "properties": edge_properties(relation),
    }


def node_properties(entity: Entity | EntitySketch) -> Json:
    return {
        "entity_id": entity.name,
        "entity_type": entity.type,
        "description": entity.description,
        "source_id": SEPARATOR.join(entity.chunk_ids),
        "file_path": SEPARATOR.join(entity.file_paths),
        "created_at": epoch(entity.created_at),
        "truncate": "",
    }


def edge_properties(relation: Relation | RelationSketch) -> Json:
    return {
        "weight": relation.weight,
        "description": relation.description,
        "keywords": relation.keyword_text,
        "source_id": SEPARATOR.join(relation.chunk_ids),
        "file_path": SEPARATOR.join(relation.file_paths),
        "created_at": epoch(relation.created_at),
        "truncate": "",
    }


def entity_info(entity: Entity) -> EntityInfo:
    properties = node_properties(entity)
    return EntityInfo(entity_name=entity.name, source_id=properties["source_id"], graph_data=properties)


def relation_info(detail: RelationDetail) -> RelationInfo:
    source, target = _ends(detail.relation, detail.ends)
    properties = edge_properties(detail.relation)
    return RelationInfo(src_entity=source, tgt_entity=target, source_id=properties["source_id"], graph_data=properties)


def listed_entity(entity: Entity, degree: int) -> ListedEntity:
    return ListedEntity(**_entity(entity, degree))


def listed_relation(relation: Relation, ends: Mapping[str, str]) -> ListedRelation:
    return ListedRelation(**_relation(relation, ends))


def entity_details(detail: EntityDetail) -> EntityDetails:
    return EntityDetails(
        **_entity(detail.entity, detail.degree),
        names=list(map(_sourced, detail.names)),
        types=detail.entity.types,
        descriptions=list(map(_sourced, detail.descriptions)),
        relations=[listed_relation(relation, detail.ends) for relation in detail.relations],
        documents=list(map(_mentioning, detail.documents)),
    )


def relation_details(detail: RelationDetail) -> RelationDetails:
    return RelationDetails(
        **_relation(detail.relation, detail.ends),
        descriptions=list(map(_sourced, detail.descriptions)),
        told_keywords=list(map(_sourced, detail.keywords)),
        documents=list(map(_mentioning, detail.documents)),
    )


def _ends(relation: Relation, names: Mapping[str, str]) -> tuple[str, str]:
    a, b = relation.pair
    return names.get(a, a), names.get(b, b)


def _entity(entity: Entity, degree: int) -> Json:
    return {
        "name": entity.name,
        "type": entity.type,
        "description": entity.description,
        "degree": degree,
        "mentions": entity.mentions,
        "is_curated": entity.is_curated,
        "file_paths": list(entity.file_paths),
        "created_at": entity.created_at or None,
    }


def _relation(relation: Relation, ends: Mapping[str, str]) -> Json:
    source, target = _ends(relation, ends)
    return {
        "source": source,
        "target": target,
        "description": relation.description,
        "keywords": [f.text for f in relation.keywords],
        "weight": relation.weight,
        "mentions": relation.mentions,
        "is_curated": relation.is_curated,
        "file_paths": list(relation.file_paths),
        "created_at": relation.created_at or None,
    }


def _sourced(told: Told) -> SourcedText:
    return SourcedText(text=told.text, chunk_id=told.chunk_id, document_id=told.document_id, file_path=told.file_path)


def _mentioning(mention: Mention) -> MentioningDocument:
    return MentioningDocument(id=mention.document_id, file_path=mention.file_path, chunks=mention.chunks)
