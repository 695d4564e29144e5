"""What one piece of work took, added up by whatever is called for it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from lightrag_server.core.records import Usage, added_cost

_open: ContextVar[Bill | None] = ContextVar("bill", default=None)


@dataclass(slots=True)
class Bill:
    """`seconds` are by stage; stages overlap, so their sum may exceed the time that went by."""

    usage: Usage = field(default_factory=Usage)
    cached_calls: int = 0
    embedding_tokens: int = 0
    embedding_cost: float | None = None
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def is_empty(self) -> bool:
        return not (self.usage.calls or self.cached_calls or self.embedding_tokens or self.seconds)

    @property
    def cost(self) -> float | None:
        """Of the calls to models that have a price; None where none has."""
        return added_cost(self.usage.cost, self.embedding_cost)

    def spend(self, usage: Usage) -> None:
        self.usage += usage

    def embed(self, tokens: int, cost: float | None) -> None:
        self.embedding_tokens += tokens
        self.embedding_cost = added_cost(self.embedding_cost, cost)

    def take(self, stage: str, seconds: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


@contextmanager
def billed() -> Generator[Bill]:
    """A bill for all that is called inside, also from tasks started inside."""
    token = _open.set(bill := Bill())
    try:
        yield bill
    finally:
        _open.reset(token)


def current_bill() -> Bill | None:
    return _open.get()
