"""Fitting evidence into a token budget, numbering the sources, and writing the context of a prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import orjson

from lightrag_server.core.records import Budget, Context, Entity, Passage, Reference, Relation

Item = TypeVar("Item", Entity, Relation)
RESERVED_TOKENS = 100
PASSAGE_OVERHEAD_TOKENS = 12
MAX_DESCRIPTION_CHARS = 400


@dataclass(frozen=True, slots=True)
class Evidence:
    """Ranked, best first, before the budget."""

    entities: Sequence[Entity]
    relations: Sequence[Relation]
    passages: Sequence[Passage]


def estimated_tokens(text: str) -> int:
    """A quarter of the UTF-8 bytes: near enough for English and Chinese, and cheap enough for hundreds of lines."""
    return len(text.encode("utf-8", "replace")) // 4 + 1


def fit(evidence: Evidence, budget: Budget, spent: int) -> Context:
    """Keep the best of each kind within its share, and of the passages what the rest of the total holds.

    `spent` is what instructions, question and history take. At least one passage stays when there is any, for an
    answer without a source is worth less than a prompt that is a little long.
    """
    entities, entity_tokens = _within(evidence.entities, entity_line, budget.entities)
    relations, relation_tokens = _within(evidence.relations, relation_line, budget.relations)
    room = budget.total - spent - entity_tokens - relation_tokens - RESERVED_TOKENS
    passages: list[Passage] = []
    for passage in evidence.passages:
        room -= max(passage.tokens, estimated_tokens(passage.text)) + PASSAGE_OVERHEAD_TOKENS
        if room < 0 and passages:
            break
        passages.append(passage)
    numbered, references = number_sources(passages)
    return Context(tuple(entities), tuple(relations), tuple(numbered), tuple(references))


def _within(items: Sequence[Item], line: Callable[[Item], str], limit: int) -> tuple[list[Item], int]:
    kept: list[Item] = []
    used = 0
    for item in items:
        size = estimated_tokens(line(item))
        if used + size > limit:
            break
        kept.append(item)
        used += size
    return kept, used


def number_sources(passages: Sequence[Passage]) -> tuple[list[Passage], list[Reference]]:
    """Number the documents by their best passage, from "1"; each passage gets its document's number."""
    by_document: dict[str, list[Passage]] = {}
    for passage in passages:
        by_document.setdefault(passage.document_id, []).append(passage)
    references = [
        Reference(str(n), own[0].file_path, document, tuple((p.start, p.end, p.first_page) for p in own))
        for n, (document, own) in enumerate(by_document.items(), 1)
    ]
    number = {r.document_id: r.id for r in references}
    return [replace(p, reference_id=number[p.document_id]) for p in passages], references


def entity_line(entity: Entity) -> str:
    row = {"entity": entity.name, "type": entity.type, "description": entity.description[:MAX_DESCRIPTION_CHARS]}
    return orjson.dumps(row).decode()


def relation_line(relation: Relation) -> str:
    row = {
        "entity1": relation.names[0],
        "entity2": relation.names[1],
        "description": relation.description[:MAX_DESCRIPTION_CHARS] or relation.keyword_text,
    }
    return orjson.dumps(row).decode()


def passage_line(passage: Passage) -> str:
    row: dict[str, object] = {"reference_id": passage.reference_id}
    if passage.headings:
        row["section"] = " › ".join(passage.headings)
    if passage.first_page is not None:
        row["page"] = passage.first_page
    return orjson.dumps(row | {"content": passage.text}).decode()


def render(context: Context) -> str:
    """The context as the prompt shows it: JSON lines by kind, then the numbered sources."""
    sections = (
        ("Entities of the knowledge graph", map(entity_line, context.entities)),
        ("Relations of the knowledge graph", map(relation_line, context.relations)),
        ("Passages from the documents, with the number of their source", map(passage_line, context.passages)),
    )
    blocks = [_block(title, lines) for title, lines in sections]
    sources = "\n".join(f"[{r.id}] {r.file_path}" for r in context.references)
    return "\n\n".join([*filter(None, blocks), f"Sources:\n{sources}"] if sources else filter(None, blocks))


def _block(title: str, lines: Iterable[str]) -> str:
    body = "\n".join(lines)
    return f"{title}:\n```json\n{body}\n```" if body else ""
