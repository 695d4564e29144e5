"""Records to compact JSON rows and back; the only place that knows their stored form.

Rows are JSON objects with full field names; what repeats often (fragments, windows, spans) is a list in field order,
and fields that hold their default are left out. A reader ignores names it does not know, so that rows of a newer
version can be read.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from lightrag_server.core.ids import chunk_id
from lightrag_server.core.records import (
    Chunk,
    DocStatus,
    Document,
    Entity,
    EntityMention,
    EntitySketch,
    Extraction,
    Fragment,
    Heading,
    Origin,
    PageSpan,
    ParsedDocument,
    Profile,
    Relation,
    RelationMention,
    RelationSketch,
    Stage,
    Version,
    Window,
)
from lightrag_server.errors import InvalidInput, StorageCorrupt

Row = dict[str, Any]
_FragmentRows = list[list[Any]]
PACKED_FROM_BYTES = 512
_PACKED_MARK = b"x"


def to_bytes(row: Any) -> bytes:
    """JSON of a row; `InvalidInput` where it cannot be JSON (lone surrogates, huge integers, other objects)."""
    try:
        return orjson.dumps(row)
    except TypeError as error:
        raise InvalidInput(f"a value cannot be stored as JSON: {error}") from error


def from_bytes(data: bytes | str) -> Any:
    """Raises `StorageCorrupt` for what is no JSON."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise StorageCorrupt(f"a stored row cannot be read: {error}") from error


def packed(json: bytes) -> bytes:
    """Deflated where that pays: prose and extractions to less than half. Costs about 15 us per kB, and 5 to unpack."""
    return zlib.compress(json, 1) if len(json) >= PACKED_FROM_BYTES else json


def unpacked(data: bytes) -> bytes:
    """What `packed` was given, also where it was stored before there was packing: no JSON begins like a zlib stream.
    Raises `StorageCorrupt`."""
    try:
        return zlib.decompress(data) if data.startswith(_PACKED_MARK) else data
    except zlib.error as error:
        raise StorageCorrupt(f"a stored row cannot be unpacked: {error}") from error


def _without_empty(row: Row) -> Row:
    return {name: value for name, value in row.items() if value not in (None, [], {})}


# ----------------------------------------------------------------------------- documents


def document_to_row(document: Document) -> Row:
    return _without_empty(
        {
            "id": document.id,
            "file_path": document.file_path,
            "status": document.status.value,
            "stage": document.stage.value,
            "created_at": document.created_at,
            "updated_at": document.updated_at,
            "track_id": document.track_id,
            "content_summary": document.content_summary,
            "content_length": document.content_length,
            "content_hash": document.content_hash,
            "chunk_ids": _chunk_ids_to_row(document.id, document.chunk_ids),
            "profile": document.profile.value if document.profile else None,
            "error": document.error,
            "blob_key": document.blob_key,
            "metadata": document.metadata,
            "attributes": document.attributes,
            "tags": list(document.tags),
            "is_enabled": None if document.is_enabled else False,
            "serving": _version_to_row(document.id, document.serving) if document.serving else None,
        }
    )


def document_from_row(row: Row) -> Document:
    profile = row.get("profile")
    return Document(
        id=row["id"],
        file_path=row.get("file_path", ""),
        status=DocStatus(row["status"]),
        stage=Stage(row["stage"]),
        created_at=row.get("created_at", ""),
        updated_at=row.get("updated_at", ""),
        track_id=row.get("track_id"),
        content_summary=row.get("content_summary", ""),
        content_length=row.get("content_length", 0),
        content_hash=row.get("content_hash"),
        chunk_ids=_chunk_ids_from_row(row["id"], row),
        profile=Profile(profile) if profile else None,
        error=row.get("error"),
        blob_key=row.get("blob_key"),
        metadata=row.get("metadata", {}),
        attributes=row.get("attributes", {}),
        tags=tuple(row.get("tags", ())),
        is_enabled=row.get("is_enabled", True),
        serving=_version_from_row(row["id"], row["serving"]) if "serving" in row else None,
    )


def _version_to_row(document: str, version: Version) -> Row:
    return {
        "blob_key": version.blob_key,
        "content_hash": version.content_hash,
        "content_summary": version.content_summary,
        "content_length": version.content_length,
        "chunk_ids": _chunk_ids_to_row(document, version.chunk_ids) or 0,
        "profile": version.profile.value if version.profile else None,
        "metadata": version.metadata,
    }


def _version_from_row(document: str, row: Row) -> Version:
    return Version(
        blob_key=row["blob_key"],
        content_hash=row["content_hash"],
        content_summary=row["content_summary"],
        content_length=row["content_length"],
        chunk_ids=_chunk_ids_from_row(document, row),
        profile=Profile(row["profile"]) if row["profile"] else None,
        metadata=row["metadata"],
    )


def _chunk_ids_to_row(document: str, ids: Sequence[str]) -> int | list[str] | None:
    """Their number where they are the ids of this document's chunks in order, which is nearly always."""
    if not ids:
        return None
    is_regular = all(given == chunk_id(document, index) for index, given in enumerate(ids))
    return len(ids) if is_regular else list(ids)


def _chunk_ids_from_row(document: str, row: Row) -> tuple[str, ...]:
    stored: int | list[str] = row.get("chunk_ids", 0)
    if isinstance(stored, int):
        return tuple(chunk_id(document, index) for index in range(stored))
    return tuple(stored)


def parsed_to_row(parsed: ParsedDocument) -> Row:
    return {
        "text": parsed.text,
        "pages": [[p.number, p.start, p.end] for p in parsed.pages],
        "headings": [[h.level, h.title, h.start] for h in parsed.headings],
        "format": parsed.format,
        "warnings": list(parsed.warnings),
    }


def parsed_from_row(row: Row) -> ParsedDocument:
    return ParsedDocument(
        text=row["text"],
        pages=tuple(PageSpan(*page) for page in row["pages"]),
        headings=tuple(Heading(*heading) for heading in row["headings"]),
        format=row["format"],
        warnings=tuple(row["warnings"]),
    )


# ----------------------------------------------------------------------------- chunks


def chunk_to_row(chunk: Chunk) -> Row:
    row: Row = {
        "id": chunk.id,
        "document_id": chunk.document_id,
        "index": chunk.index,
        "text": chunk.text,
        "tokens": chunk.tokens,
        "start": chunk.start,
        "end": chunk.end,
        "windows": [
            [w.start, w.end, w.tokens] if w.page is None else [w.start, w.end, w.tokens, w.page] for w in chunk.windows
        ],
    }
    optional: Row = {
        "headings": list(chunk.headings),
        "first_page": chunk.first_page,
        "last_page": chunk.last_page,
        "file_path": chunk.file_path,
        "pages": [list(page) for page in chunk.pages],
    }
    return row | _without_empty(optional)


def chunk_from_row(row: Row) -> Chunk:
    return Chunk(
        id=row["id"],
        document_id=row["document_id"],
        index=row["index"],
        text=row["text"],
        tokens=row["tokens"],
        start=row["start"],
        end=row["end"],
        windows=tuple(Window(*window) for window in row["windows"]),
        headings=tuple(row.get("headings", ())),
        first_page=row.get("first_page"),
        last_page=row.get("last_page"),
        file_path=row.get("file_path", ""),
        pages=tuple((start, number) for start, number in row.get("pages", ())),
    )


def chunked_to_bytes(parsed: ParsedDocument, chunks: Sequence[Chunk]) -> bytes:
    """A parsed document and the chunks cut from it; the chunks' texts are not kept twice."""
    rows = [{name: value for name, value in chunk_to_row(c).items() if name != "text"} for c in chunks]
    return packed(to_bytes({"parsed": parsed_to_row(parsed), "chunks": rows}))


def chunked_from_bytes(data: bytes) -> tuple[ParsedDocument, list[Chunk]]:
    row = from_bytes(unpacked(data))
    parsed = parsed_from_row(row["parsed"])
    rows: list[Row] = row["chunks"]
    return parsed, [chunk_from_row(r | {"text": parsed.text[r["start"] : r["end"]]}) for r in rows]


# ----------------------------------------------------------------------------- extraction


def extraction_to_row(extraction: Extraction) -> Row:
    return {
        "entities": [[e.name, e.type, e.description] for e in extraction.entities],
        "relations": [[r.source, r.target, list(r.keywords), r.description, r.weight] for r in extraction.relations],
        "repairs": extraction.repairs,
    }


def extraction_from_row(row: Row) -> Extraction:
    return Extraction(
        entities=tuple(entity_mention_from_row(entity) for entity in row["entities"]),
        relations=tuple(relation_mention_from_row(relation) for relation in row["relations"]),
        repairs=row.get("repairs", 0),
    )


def entity_mention_from_row(row: Sequence[Any]) -> EntityMention:
    return EntityMention(*row)


def relation_mention_from_row(row: Sequence[Any]) -> RelationMention:
    source, target, keywords, description, weight = row
    return RelationMention(source, target, tuple(keywords), description, float(weight))


# ----------------------------------------------------------------------------- graph


def entity_to_row(entity: Entity) -> Row:
    row: Row = {
        "key": entity.key,
        "name": entity.name,
        "type": entity.type,
        "fragments": _fragments_to_row(entity.fragments),
        "types": entity.types,
        "names": _fragments_to_row(entity.names),
        "mentions": entity.mentions,
    }
    optional: Row = {
        "file_paths": list(entity.file_paths),
        "created_at": entity.created_at,
        "is_curated": entity.is_curated or None,
        "folded": entity_to_row(entity.folded) if entity.folded else None,
    }
    return row | _without_empty(optional)


def entity_from_row(row: Row) -> Entity:
    return Entity(
        key=row["key"],
        name=row["name"],
        type=row["type"],
        fragments=_fragments_from_row(row["fragments"]),
        types=row["types"],
        names=_fragments_from_row(row["names"]),
        mentions=row["mentions"],
        file_paths=tuple(row.get("file_paths", ())),
        created_at=row.get("created_at", ""),
        is_curated=row.get("is_curated", False),
        folded=entity_from_row(row["folded"]) if "folded" in row else None,
    )


def relation_to_row(relation: Relation) -> Row:
    row: Row = {
        "pair": list(relation.pair),
        "fragments": _fragments_to_row(relation.fragments),
        "keywords": _fragments_to_row(relation.keywords),
        "weight": relation.weight,
        "mentions": relation.mentions,
    }
    optional: Row = {
        "names": None if relation.names == relation.pair else list(relation.names),
        "file_paths": list(relation.file_paths),
        "created_at": relation.created_at,
        "is_curated": relation.is_curated or None,
        "folded": relation_to_row(relation.folded) if relation.folded else None,
    }
    return row | _without_empty(optional)


def relation_from_row(row: Row) -> Relation:
    first, second = row["pair"]
    first_name, second_name = row.get("names", row["pair"])
    return Relation(
        pair=(first, second),
        names=(first_name, second_name),
        fragments=_fragments_from_row(row["fragments"]),
        keywords=_fragments_from_row(row["keywords"]),
        weight=float(row["weight"]),
        mentions=row["mentions"],
        file_paths=tuple(row.get("file_paths", ())),
        created_at=row.get("created_at", ""),
        is_curated=row.get("is_curated", False),
        folded=relation_from_row(row["folded"]) if "folded" in row else None,
    )


def entity_sketch_from_row(row: Row) -> EntitySketch:
    """Of the row of an entity, in a fraction of the time that the entity takes."""
    told: _FragmentRows = row["fragments"]
    return EntitySketch(
        row["key"],
        row["name"],
        row["type"],
        _joined(told, "\n"),
        _chunk_ids_of(told, row["names"]),
        tuple(row.get("file_paths", ())),
        row.get("created_at", ""),
    )


def relation_sketch_from_row(row: Row) -> RelationSketch:
    told: _FragmentRows = row["fragments"]
    keywords: _FragmentRows = row["keywords"]
    return RelationSketch(
        tuple(row["pair"]),
        _joined(told, "\n"),
        _joined(keywords, ", "),
        float(row["weight"]),
        _chunk_ids_of(told, keywords),
        tuple(row.get("file_paths", ())),
        row.get("created_at", ""),
    )


def _joined(fragments: _FragmentRows, separator: str) -> str:
    return fragments[0][3] if len(fragments) == 1 else separator.join([f[3] for f in fragments])


def _chunk_ids_of(told: _FragmentRows, others: _FragmentRows) -> tuple[str, ...]:
    """In their order, once each. Most entities and relations are told of by one chunk."""
    if len(told) == 1 == len(others) and told[0][1] == others[0][1]:
        return (told[0][1],)
    return tuple(dict.fromkeys([f[1] for f in told] + [f[1] for f in others]))


def _fragments_to_row(fragments: Iterable[Fragment]) -> list[list[Any]]:
    return [[f.origin.chunk_index, f.origin.chunk_id, f.origin.ordinal, f.text] for f in fragments]


def _fragments_from_row(rows: Sequence[Sequence[Any]]) -> tuple[Fragment, ...]:
    return tuple([Fragment(Origin(index, chunk, ordinal), text) for index, chunk, ordinal, text in rows])
