"""Ways in which a workspace can be wrong. One look finds faults; people read them by kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from lightrag_server.core.records import Subject
from lightrag_server.ports.storage import Flaw

MAX_EXAMPLES = 5

_ANEW = "the document is prepared again"
_RESEND = "send the document again, or restore a backup"


class Kind(Enum):
    """Word, phrase, what mends it, and whether `--mend` does."""

    ORPHAN_CHUNK = ("orphan-chunks", "chunks that belong to no document", "they go", True)
    LOST_CHUNK = ("lost-chunks", "documents that lack what was extracted from some chunk", _ANEW, True)
    BAD_ROW = ("damaged-chunks", "chunks whose contribution is damaged", f"it goes, and {_ANEW}", True)
    CHUNK_ROW = ("wrong-chunks", "chunks that are not as cut from their text", "they are taken from the text", True)
    LOST_TEXT = ("lost-texts", "documents whose parsed text is gone or torn", _ANEW, True)
    LOST_ORIGINAL = ("lost-originals", "documents whose original is gone or torn", _RESEND, False)
    EVIDENCE = ("wrong-evidence", "chunks whose evidence is not what they speak of", "it is written anew", True)
    STRAY_EVIDENCE = ("orphan-evidence", "chunks that are gone and still have evidence", "it goes", True)
    NO_VECTOR = ("lost-passages", "chunks that lack vectors of passages", "they are embedded again", True)
    NO_TERMS = ("lost-terms", "chunks that lack places in the lexical index", "they are indexed again", True)
    EXTRA_WINDOW = ("orphan-passages", "vectors of passages that are gone", "they go", True)
    EXTRA_TERMS = ("orphan-terms", "places of the lexical index that are gone", "they go", True)
    BAD_WINDOW = ("damaged-passages", "vectors of passages that are damaged", "they are embedded again", True)
    SUBJECT = (
        "wrong-graph",
        "entities and relations that are not what chunks and people say",
        "they are folded anew",
        True,
    )
    NO_NAME_VECTOR = ("lost-entities", "entities that lack vectors of a name", "they are embedded again", True)
    NO_FACT_VECTOR = ("lost-facts", "relations that lack vectors of a fact", "they are embedded again", True)
    EXTRA_NAME = ("orphan-entities", "vectors of entities or names that are gone", "they go", True)
    EXTRA_FACT = ("orphan-facts", "vectors of relations or facts that are gone", "they go", True)
    BAD_NAME = ("damaged-entities", "vectors of entities that are damaged", "they are embedded again", True)
    BAD_FACT = ("damaged-facts", "vectors of facts that are damaged", "they are embedded again", True)
    LEFT_BLOB = ("orphan-blobs", "kept files of no document", "they go", True)
    NO_JOB = ("lost-jobs", "documents and edits that no job is queued for", "jobs are queued", True)
    DEAD_JOB = (
        "dead-jobs",
        "jobs whose process has ended",
        "they are put back, as by the next server that starts",
        True,
    )

    @property
    def word(self) -> str:
        return self.value[0]

    @property
    def can_mend(self) -> bool:
        return self.value[3]


@dataclass(frozen=True, slots=True)
class Fault:
    """`id` is what is wrong, `ref` what it belongs to; `subjects` are to be folded anew when it has been mended."""

    kind: Kind
    id: str
    ref: str = ""
    subjects: tuple[Subject, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """`examine` says what is wrong with a batch of ids; ids that are gone by then are nothing wrong."""

    title: str
    batches: Callable[[], AsyncIterator[Sequence[str]]]
    examine: Callable[[Sequence[str]], Awaitable[list[Fault]]]


def flaws_of(faults: Iterable[Fault]) -> list[Flaw]:
    """By kind, as a report shows them."""
    ids: dict[Kind, dict[str, None]] = {}
    for fault in faults:
        ids.setdefault(fault.kind, {})[fault.id] = None
    return [_flaw(kind, list(of_kind)) for kind, of_kind in ids.items()]


def _flaw(kind: Kind, ids: Sequence[str]) -> Flaw:
    word, what, remedy, can_mend = kind.value
    return Flaw(word, what, len(ids), tuple(ids[:MAX_EXAMPLES]), remedy, can_mend)
