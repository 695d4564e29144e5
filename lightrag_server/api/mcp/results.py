"""What the tools give back. Their descriptions are read by models."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, Field

from lightrag_server.core.records import Context, DocStatus, Document, Entity, Relation


class Source(BaseModel):
    number: str = Field(description="The number in square brackets that cites it.")
    file: str
    document_id: str
    pages: list[int] = Field(description="Pages it rests on, where the format has pages.")


class Answer(BaseModel):
    answer: str = Field(description="Cites its sources by number in square brackets.")
    sources: list[Source]
    written_by_model: bool = Field(description="False where sentences of the documents are quoted, or nothing matched.")


class FoundEntity(BaseModel):
    name: str
    type: str
    description: str


class FoundRelation(BaseModel):
    entities: tuple[str, str]
    description: str
    keywords: str


class FoundPassage(BaseModel):
    source: str = Field(description="Number of its source.")
    text: str
    section: str = Field(description="Headings above it, outermost first.")
    page: int | None


class Evidence(BaseModel):
    passages: list[FoundPassage] = Field(description="Best first.")
    entities: list[FoundEntity]
    relations: list[FoundRelation]
    sources: list[Source]


class DocumentItem(BaseModel):
    id: str
    file: str
    status: DocStatus
    summary: str
    characters: int
    chunks: int
    created_at: str
    error: str | None


class DocumentList(BaseModel):
    documents: list[DocumentItem]
    page: int
    pages: int
    total: int


class DocumentText(BaseModel):
    id: str
    file: str
    text: str
    first_chunk: int
    chunks: int = Field(description="How many chunks the document has.")
    next_chunk: int | None = Field(description="Where to read on; null at the end.")


class Inserted(BaseModel):
    status: str = Field(description="success, or duplicated where it is stored already.")
    message: str
    track_id: str


class Mention(BaseModel):
    id: str
    file: str
    chunks: int = Field(description="In how many chunks.")


class EntityView(BaseModel):
    name: str
    type: str
    description: str
    relations: list[FoundRelation] = Field(description="Strongest first.")
    relation_count: int = Field(description="How many there are in all.")
    neighbours: list[str]
    documents: list[Mention] = Field(description="Documents that mention it, the most telling first.")


def sources(context: Context) -> list[Source]:
    return [
        Source(
            number=r.id,
            file=r.file_path,
            document_id=r.document_id,
            pages=sorted({page for _, _, page in r.spans if page is not None}),
        )
        for r in context.references
    ]


def evidence(context: Context) -> Evidence:
    return Evidence(
        passages=[
            FoundPassage(source=p.reference_id, text=p.text, section=" › ".join(p.headings), page=p.first_page)
            for p in context.passages
        ],
        entities=[entity(e) for e in context.entities],
        relations=[relation(r) for r in context.relations],
        sources=sources(context),
    )


def entity(found: Entity) -> FoundEntity:
    return FoundEntity(name=found.name, type=found.type, description=found.description)


def relation(found: Relation, ends: Mapping[str, str] | None = None) -> FoundRelation:
    """`ends` maps keys to spellings, where the relation itself does not have them."""
    first, second = ((ends or {}).get(key, name) for key, name in zip(found.pair, found.names, strict=True))
    return FoundRelation(entities=(first, second), description=found.description, keywords=found.keyword_text)


def document(found: Document) -> DocumentItem:
    return DocumentItem(
        id=found.id,
        file=found.file_path,
        status=found.status,
        summary=found.content_summary,
        characters=found.content_length,
        chunks=len(found.chunk_ids),
        created_at=found.created_at,
        error=found.error,
    )
