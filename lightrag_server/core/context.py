"""Fitting evidence into a token budget, numbering the sources, and writing the context of a prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import orjson

from lightrag_server.core.digest import Wording, is_long, subject_of
from lightrag_server.core.records import Budget, Context, Entity, Passage, Reference, Relation, Subject

Item = TypeVar("Item", Entity, Relation)
RESERVED_TOKENS = 100
PASSAGE_OVERHEAD_TOKENS = 12
MAX_GAP = 8
"""White space that neighbouring chunks leave between them, in characters; a chunk begins and ends with text."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Ranked, best first, before the budget."""

    entities: Sequence[Entity]
    relations: Sequence[Relation]
    passages: Sequence[Passage]


def estimated_tokens(text: str) -> int:
    """A quarter of the UTF-8 bytes: near enough for English and Chinese, and cheap enough for hundreds of lines."""
    return len(text.encode("utf-8", "replace")) // 4 + 1


def fit(evidence: Evidence, budget: Budget, spent: int, wording: Wording) -> Context:
    """Keep the best of each kind within its share, and of the passages what the rest of the total holds.

    `spent` is what instructions, question and history take. At least one passage stays when there is any, for an
    answer without a source is worth less than a prompt that is a little long.
    """
    digests: dict[Subject, str] = {}
    entities, entity_tokens = _within(evidence.entities, entity_line, budget.entities, wording, digests)
    relations, relation_tokens = _within(evidence.relations, relation_line, budget.relations, wording, digests)
    room = budget.total - spent - entity_tokens - relation_tokens - RESERVED_TOKENS
    passages: list[Passage] = []
    for passage in evidence.passages:
        room -= max(passage.tokens, estimated_tokens(passage.text)) + PASSAGE_OVERHEAD_TOKENS
        if room < 0 and passages:
            break
        passages.append(passage)
    numbered, references = number_sources(joined(passages))
    return Context(tuple(entities), tuple(relations), tuple(numbered), tuple(references), digests=digests)


def _within(
    items: Sequence[Item],
    line: Callable[[Item, str], str],
    limit: int,
    wording: Wording,
    digests: dict[Subject, str],
) -> tuple[list[Item], int]:
    """The first items whose lines fit, and what they take; adds to `digests` what is told of long ones."""
    kept: list[Item] = []
    used = 0
    for item in items:
        told = wording.of(item)
        size = estimated_tokens(line(item, told))
        if used + size > limit:
            break
        kept.append(item)
        used += size
        if is_long(item):
            digests[subject_of(item)] = told
    return kept, used


def joined(passages: Sequence[Passage]) -> list[Passage]:
    """Passages of one section that touch or overlap as one, which has the overlap once and the rank of the better."""
    found: list[Passage] = []
    for passage in sorted(passages, key=lambda p: (p.document_id, p.start, -p.end)):
        if found and _touch(found[-1], passage):
            found[-1] = _union(found[-1], passage)
        else:
            found.append(passage)
    return sorted(found, key=lambda p: (-p.score, p.chunk_id, p.start))


def _touch(first: Passage, second: Passage) -> bool:
    is_one_section = (first.document_id, first.headings) == (second.document_id, second.headings)
    return is_one_section and second.start <= first.end + MAX_GAP


def _union(first: Passage, second: Passage) -> Passage:
    """`first` begins no later. Offsets stay true: a gap of white space is filled up with line ends."""
    if second.end <= first.end:
        second = replace(second, text="", end=first.end, tokens=0, last_page=first.last_page, pages=())
    overlap = max(first.end - second.start, 0)
    gap = "\n" * max(second.start - first.end, 0)
    better = max(first, second, key=lambda p: p.score)
    return replace(
        better,
        text=first.text + gap + second.text[overlap:],
        start=first.start,
        end=second.end,
        tokens=first.tokens + second.tokens * (len(second.text) - overlap) // max(len(second.text), 1),
        first_page=first.first_page,
        last_page=second.last_page,
        similarity=max((p.similarity for p in (first, second) if p.similarity is not None), default=None),
        pages=tuple(sorted({*first.pages, *second.pages})),
    )


def in_reading_order(passages: Sequence[Passage]) -> list[Passage]:
    """The best document first, and in each the order of its text."""
    return sorted(passages, key=lambda p: (int(p.reference_id), p.start))


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


def entity_line(entity: Entity, description: str) -> str:
    row = {"entity": entity.name, "type": entity.type, "description": description}
    return orjson.dumps(row).decode()


def relation_line(relation: Relation, description: str) -> str:
    row = {
        "entity1": relation.names[0],
        "entity2": relation.names[1],
        "description": description or relation.keyword_text,
    }
    return orjson.dumps(row).decode()


def passage_line(passage: Passage) -> str:
    row: dict[str, object] = {"reference_id": passage.reference_id}
    if passage.headings:
        row["section"] = " › ".join(passage.headings)
    if passage.first_page is not None:
        is_one = passage.last_page in (None, passage.first_page)
        row["page"] = passage.first_page if is_one else f"{passage.first_page}-{passage.last_page}"
    return orjson.dumps(row | {"content": passage.text}).decode()


def render(context: Context) -> str:
    """The context as the prompt shows it: JSON lines by kind, then the numbered sources."""

    def told(item: Entity | Relation) -> str:
        return context.digests.get(subject_of(item), item.description)

    sections = (
        ("Entities of the knowledge graph", (entity_line(e, told(e)) for e in context.entities)),
        ("Relations of the knowledge graph", (relation_line(r, told(r)) for r in context.relations)),
        (
            "Passages from the documents, with the number of their source",
            map(passage_line, in_reading_order(context.passages)),
        ),
    )
    blocks = [_block(title, lines) for title, lines in sections]
    sources = "\n".join(f"[{r.id}] {r.file_path}" for r in context.references)
    return "\n\n".join([*filter(None, blocks), f"Sources:\n{sources}"] if sources else filter(None, blocks))


def _block(title: str, lines: Iterable[str]) -> str:
    body = "\n".join(lines)
    return f"{title}:\n```json\n{body}\n```" if body else ""
