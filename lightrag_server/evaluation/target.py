"""What is asked: the two ways (`in_process`, `over_http`) behind one protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lightrag_server.core.records import Mode
from lightrag_server.evaluation.ranking import Piece
from lightrag_server.evaluation.results import Answer

PROCESSED, FAILED = "processed", "failed"


@dataclass(frozen=True, slots=True)
class Asked:
    """None leaves a number to the server's settings."""

    text: str
    mode: Mode
    top_k: int | None = None
    chunk_top_k: int | None = None
    rerank: bool | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Passages in the order returned; `context` is all the text that an answer would rest on."""

    pieces: tuple[Piece, ...]
    context: str
    seconds: float


@dataclass(frozen=True, slots=True)
class State:
    """A document: `status` in LightRAG's words, and why it failed."""

    status: str
    error: str = ""

    @property
    def is_settled(self) -> bool:
        return self.status in (PROCESSED, FAILED)


class Target(Protocol):
    """Everything raises a `LightRAGError` when the other side fails."""

    async def about(self) -> dict[str, str]:
        """What answers: address or folder, version, models; whatever can be learnt."""
        ...

    async def documents(self) -> dict[str, State]:
        """All of the workspace, by file path."""
        ...

    async def upload(self, name: str, data: bytes) -> None:
        """Hand a file over; it is worked on afterwards."""
        ...

    async def find(self, asked: Asked) -> Evidence:
        """The evidence alone."""
        ...

    async def answer(self, asked: Asked) -> tuple[Evidence, Answer]: ...
