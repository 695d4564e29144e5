"""What is told of work as it happens: counts, durations and spans. To tell never fails and never waits."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

from lightrag_server.core.metrics import Metric
from lightrag_server.ports.bills import current_bill

Attributes = Mapping[str, str | int | float | bool | tuple[str, ...]]


class Meter(Protocol):
    """Numbers that are added up over all processes. Label values are given in the order of the metric's labels."""

    def count(self, metric: Metric, value: float, *labels: str) -> None:
        """Add to a counter."""
        ...

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Put a value into a histogram."""
        ...

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """This process' part of a gauge; it is gone when the process is."""
        ...


class Call(Protocol):
    """A span that has begun and is nobody's parent. It ends once; without an error it went well."""

    def note(self, attributes: Attributes) -> None: ...

    def end(self, error: BaseException | None = None) -> None: ...


class Tracer(Protocol):
    @property
    def has_content(self) -> bool:
        """Whether prompts and replies are wanted as attributes."""
        ...

    def span(self, name: str, attributes: Attributes) -> AbstractContextManager[None]:
        """The parent of all that is told inside, also from tasks started inside; nothing where there is no trace."""
        ...

    def call(self, name: str, attributes: Attributes) -> Call:
        """A call to another server, as part of the trace that is current; for streams, which have no inside."""
        ...

    def request(self, name: str, headers: Mapping[str, str]) -> AbstractContextManager[None]:
        """A trace for what is asked, or a part of the caller's where `traceparent` is among the headers."""
        ...

    def within(self, key: str) -> AbstractContextManager[None]:
        """The trace that follows from the key: the same in every process and at every time."""
        ...

    def told(
        self, key: str, name: str, began: float, attributes: Attributes, *, is_root: bool, error: str | None = None
    ) -> None:
        """A span of the trace `key` that began at an epoch time and ends now. Its root is told last."""
        ...

    def close(self) -> None:
        """Send what is waiting; takes as long as the receiver does."""
        ...


class NoMeter:
    def count(self, metric: Metric, value: float, *labels: str) -> None:
        pass

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        pass

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        pass


class NoCall:
    def note(self, attributes: Attributes) -> None:
        pass

    def end(self, error: BaseException | None = None) -> None:
        pass


class NoTracer:
    has_content = False

    def span(self, name: str, attributes: Attributes) -> AbstractContextManager[None]:
        return nullcontext()

    def call(self, name: str, attributes: Attributes) -> Call:
        return NoCall()

    def request(self, name: str, headers: Mapping[str, str]) -> AbstractContextManager[None]:
        return nullcontext()

    def within(self, key: str) -> AbstractContextManager[None]:
        return nullcontext()

    def told(
        self, key: str, name: str, began: float, attributes: Attributes, *, is_root: bool, error: str | None = None
    ) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Both together, as it is handed around. By default nobody listens."""

    meter: Meter = field(default_factory=NoMeter)
    tracer: Tracer = field(default_factory=NoTracer)

    @contextmanager
    def stage(self, metric: Metric, name: str) -> Generator[None]:
        """A step of some work: its time in the histogram and on the bill that is open, and a span."""
        began = time.perf_counter()
        with self.tracer.span(name, {}):
            try:
                yield
            finally:
                seconds = time.perf_counter() - began
                self.meter.observe(metric, seconds, name)
                if bill := current_bill():
                    bill.take(name, seconds)
