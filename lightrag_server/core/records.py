"""The values that travel between the parts. All frozen, all plain data; those made by the thousand are tuples.

Positions are character offsets into `ParsedDocument.text` unless said otherwise; ends are exclusive.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, NamedTuple

# ----------------------------------------------------------------------------- documents


class DocStatus(StrEnum):
    """LightRAG's words on the wire."""

    PENDING = "pending"
    PARSING = "parsing"
    ANALYZING = "analyzing"
    PROCESSING = "processing"
    PREPROCESSED = "preprocessed"
    PROCESSED = "processed"
    FAILED = "failed"


class Stage(StrEnum):
    """Where a document stands in our own pipeline; finer than `DocStatus`, never sent to LightRAG clients."""

    ACCEPTED = "accepted"  # bytes are kept, a prepare job is due
    PREPARED = "prepared"  # parts are kept, a commit is due
    COMMITTED = "committed"  # everything about it is in the shared stores
    DELETING = "deleting"  # a commit that removes it is due
    FAILED = "failed"  # stopped; its parts are kept so that a retry is cheap


class Profile(StrEnum):
    """How deep a document is indexed (`INDEX_PROFILE`)."""

    FULL = "full"
    LIGHT = "light"
    VECTOR = "vector"


@dataclass(frozen=True, slots=True)
class Version:
    """One state of a document's content and what was made of it."""

    blob_key: str | None
    content_hash: str | None
    content_summary: str
    content_length: int
    chunk_ids: tuple[str, ...]
    profile: Profile | None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Document:
    """One row of the document status store. `id` never changes; times are ISO 8601 UTC."""

    id: str
    file_path: str
    status: DocStatus
    stage: Stage
    created_at: str
    updated_at: str
    track_id: str | None = None
    content_summary: str = ""
    content_length: int = 0
    content_hash: str | None = None
    chunk_ids: tuple[str, ...] = ()
    profile: Profile | None = None
    error: str | None = None
    blob_key: str | None = None
    """Original bytes in the blob store; None once they are gone."""
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the pipeline notes of it, under LightRAG's names."""
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    """What its owner notes of it: scalars, or lists of scalars; filters look here."""
    tags: tuple[str, ...] = ()
    is_enabled: bool = True
    """Answers rest on enabled documents only."""
    serving: Version | None = None
    """The version that answers rest on while a new one is prepared."""

    def with_(self, **changes: Any) -> Document:
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class PageSpan:
    """Page `number` (from 1) covers text[start:end]."""

    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of `level` (1 is the highest) whose line begins at `start`."""

    level: int
    title: str
    start: int


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """What a parser makes of a file: one text and where its pages and headings are, in text order."""

    text: str
    pages: tuple[PageSpan, ...] = ()
    headings: tuple[Heading, ...] = ()
    format: str = "text"
    warnings: tuple[str, ...] = ()


# ----------------------------------------------------------------------------- chunks


class Window(NamedTuple):
    """A place of about 400 tokens inside a chunk: what is embedded, matched, cited and put into prompts.

    `start` and `end` are offsets into the document's text; `tokens` is counted once, here; `page` is where it begins.
    """

    start: int
    end: int
    tokens: int
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is extracted from and what LightRAG's clients see. `text` is exactly document text[start:end]."""

    id: str
    document_id: str
    index: int
    text: str
    tokens: int
    start: int
    end: int
    windows: tuple[Window, ...]
    headings: tuple[str, ...] = ()
    """Titles of the headings above this chunk, outermost first."""
    first_page: int | None = None
    last_page: int | None = None
    file_path: str = ""
    pages: tuple[tuple[int, int], ...] = ()
    """(start, number) of each page that it touches, in order; rows of older versions lack them."""

    def window_text(self, window: Window) -> str:
        return self.text[window.start - self.start : window.end - self.start]


# ----------------------------------------------------------------------------- extraction and fold


@dataclass(frozen=True, slots=True)
class EntityMention:
    """One entity as one chunk tells it. `name` is the spelling of the text."""

    name: str
    type: str
    description: str


@dataclass(frozen=True, slots=True)
class RelationMention:
    """One relation as one chunk tells it; direction is kept here although the graph is undirected."""

    source: str
    target: str
    keywords: tuple[str, ...]
    description: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Extraction:
    """What one chunk contributes. `repairs` counts the malformed rows that were mended or dropped."""

    entities: tuple[EntityMention, ...] = ()
    relations: tuple[RelationMention, ...] = ()
    repairs: int = 0


Pair = tuple[str, str]
"""Keys of the two ends of an undirected edge, sorted."""

Subject = str
"""An entity key, or both keys of a pair joined by `ids.PAIR_SEPARATOR`."""


class Origin(NamedTuple):
    """Where a contribution comes from; ordered so that the openings of documents come first."""

    chunk_index: int
    chunk_id: str
    ordinal: int = 0


class Fragment(NamedTuple):
    """A distinct text together with the first place that says it."""

    origin: Origin
    text: str


@dataclass(frozen=True, slots=True)
class Entity:
    """A node: the fold of all contributions under one key."""

    key: str
    name: str
    type: str
    fragments: tuple[Fragment, ...]
    """Distinct descriptions by first place, bounded by `folding.MAX_FRAGMENTS`."""
    types: dict[str, int]
    """Votes for each type."""
    names: tuple[Fragment, ...]
    """Distinct spellings by first place, bounded; the first one is `name`."""
    mentions: int
    """Number of chunks that mention it."""
    file_paths: tuple[str, ...] = ()
    created_at: str = ""
    is_curated: bool = False
    folded: Entity | None = None
    """Of a curated one: what chunks alone say; None when they say nothing."""

    @property
    def description(self) -> str:
        return "\n".join(f.text for f in self.fragments)

    @property
    def chunk_ids(self) -> tuple[str, ...]:
        """Chunks that the kept texts come from, each once."""
        return tuple(dict.fromkeys(f.origin.chunk_id for f in (*self.fragments, *self.names)))


@dataclass(frozen=True, slots=True)
class Relation:
    """An undirected edge: the fold of all contributions under one pair of keys."""

    pair: Pair
    names: Pair
    """Spellings of the two ends, in the order of `pair`; stored as the keys and filled in by `folding.with_names`."""
    fragments: tuple[Fragment, ...]
    keywords: tuple[Fragment, ...]
    weight: float
    mentions: int
    file_paths: tuple[str, ...] = ()
    created_at: str = ""
    is_curated: bool = False
    folded: Relation | None = None
    """As of an entity."""

    @property
    def description(self) -> str:
        return "\n".join(f.text for f in self.fragments)

    @property
    def keyword_text(self) -> str:
        return ", ".join(f.text for f in self.keywords)

    @property
    def chunk_ids(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(f.origin.chunk_id for f in (*self.fragments, *self.keywords)))


class EntitySketch(NamedTuple):
    """What a picture of the graph shows of an entity; the names mean what they mean there. A tuple, and without
    fragments, for pictures hold thousands."""

    key: str
    name: str
    type: str
    description: str
    chunk_ids: tuple[str, ...]
    file_paths: tuple[str, ...]
    created_at: str


class RelationSketch(NamedTuple):
    pair: Pair
    description: str
    keyword_text: str
    weight: float
    chunk_ids: tuple[str, ...]
    file_paths: tuple[str, ...]
    created_at: str


# ----------------------------------------------------------------------------- questions and answers

Mode = Literal["local", "global", "hybrid", "naive", "mix", "bypass"]


@dataclass(frozen=True, slots=True)
class Image:
    """A picture inside a message. `data` is base64 text without line breaks."""

    media_type: str
    data: str

    @property
    def url(self) -> str:
        return f"data:{self.media_type};base64,{self.data}"


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation."""

    role: str
    content: str
    images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the answering call is to write; None leaves it to the settings and the vendor."""

    temperature: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DocumentFilter:
    """Which documents may serve as evidence: conditions that must all hold; empty or None means any.

    `attributes` maps a name of `Document.attributes` to the values of which one must be there. Times are ISO 8601 and
    compared with `created_at`; `before` is exclusive.
    """

    document_ids: frozenset[str] | None = None
    file_paths: frozenset[str] | None = None
    tags_any: frozenset[str] = frozenset()
    tags_all: frozenset[str] = frozenset()
    attributes: dict[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])
    created_from: str | None = None
    created_before: str | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """Tokens a prompt may spend on entities, on relations, and on everything together."""

    entities: int
    relations: int
    total: int


@dataclass(frozen=True, slots=True)
class Question:
    """One question with everything that steers retrieval and answer; unset values are filled in by the engine."""

    text: str
    mode: Mode
    top_k: int
    chunk_top_k: int
    budget: Budget
    response_type: str = "Multiple Paragraphs"
    high_keywords: tuple[str, ...] = ()
    low_keywords: tuple[str, ...] = ()
    history: tuple[Turn, ...] = ()
    user_prompt: str = ""
    """Further instructions to the model; in mode bypass its system prompt."""
    images: tuple[Image, ...] = ()
    """Pictures that belong to the question; only a model that sees can answer it."""
    sampling: Sampling = Sampling()
    documents: DocumentFilter | None = None
    is_quoted: bool = False
    """Answer with sentences of the documents and without an LLM call."""
    rerank: bool = True
    """Let the reranker, where there is one, order the passages."""
    standalone: str | None = None
    """The text with what it takes from the history, where it leans on that."""

    @property
    def search_text(self) -> str:
        """What is searched for; a model is asked the text."""
        return self.standalone or self.text


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of evidence: one or more neighbouring windows. `score` only orders within one answer.

    `similarity` is the cosine with what is asked of its best window, None where nobody compared. `pages` are
    (start, number) of the pages of its chunk.
    """

    chunk_id: str
    document_id: str
    file_path: str
    text: str
    start: int
    end: int
    tokens: int
    score: float
    headings: tuple[str, ...] = ()
    first_page: int | None = None
    last_page: int | None = None
    reference_id: str = ""
    similarity: float | None = None
    pages: tuple[tuple[int, int], ...] = ()


Span = tuple[int, int, int | None]
"""(start, end, first page) in a document's text; the page where the format has pages."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A numbered source. `spans` are those of its passages, best first, or of the sentences that an answer rests on."""

    id: str
    file_path: str
    document_id: str
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Support:
    """A citation mark at answer[start:end], and the sentence of its source that says the same; None if none does."""

    start: int
    end: int
    reference_id: str
    span: Span | None


WEAK_EVIDENCE = "weak_evidence"
"""Among the warnings of a context whose passages are near certain not to answer the question."""


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that an answer rests on, after ranking and budget."""

    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    passages: tuple[Passage, ...] = ()
    references: tuple[Reference, ...] = ()
    high_keywords: tuple[str, ...] = ()
    low_keywords: tuple[str, ...] = ()
    found: dict[str, int] = field(default_factory=dict[str, int])
    """Counts before truncation, by LightRAG's `processing_info` names."""
    warnings: tuple[str, ...] = ()
    digests: dict[Subject, str] = field(default_factory=dict[Subject, str])
    """What a prompt says of the entities and relations whose description is too long for it."""

    @property
    def is_weak(self) -> bool:
        return WEAK_EVIDENCE in self.warnings

    @property
    def is_empty(self) -> bool:
        return not (self.entities or self.relations or self.passages)


@dataclass(frozen=True, slots=True)
class Usage:
    """What vendor calls cost, added up."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    """Of the calls to models that have a price; None where none has."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            added_cost(self.cost, other.cost),
        )


def added_cost(one: float | None, other: float | None) -> float | None:
    """What is unknown adds nothing, and two unknown costs are no cost of 0."""
    return other if one is None else one if other is None else one + other
