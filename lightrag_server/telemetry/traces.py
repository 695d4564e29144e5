"""Spans for OpenTelemetry, sent by OTLP over HTTP to whom the settings name. Imported only when they name somebody.

A document is worked on by several jobs in any process: ids of its trace and of its root span follow from its key, and
the root is told when the document is done. The tracer provider is our own; no global one is touched.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.trace.status import Status

from lightrag_server import __version__
from lightrag_server.ports.telemetry import Attributes, Call, NoCall
from lightrag_server.telemetry.targets import Target

NAME = "lightrag_server"


class OtelTracer:
    """A `Tracer`. Spans are sent in batches by a thread; what cannot be sent is dropped after the SDK's own tries."""

    def __init__(self, targets: Sequence[Target], service: str, *, has_content: bool) -> None:
        self.has_content = has_content
        self._scope = InstrumentationScope(NAME, __version__)
        resource = Resource.create({"service.name": service, "service.version": __version__})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._senders = [BatchSpanProcessor(OTLPSpanExporter(t.url, headers=t.headers or None)) for t in targets]
        for sender in self._senders:
            self._provider.add_span_processor(sender)
        self._tracer = self._provider.get_tracer(NAME, __version__)

    @contextmanager
    def span(self, name: str, attributes: Attributes) -> Iterator[None]:
        if not _is_traced():
            yield
            return
        with self._tracer.start_as_current_span(name, attributes=attributes):
            yield

    def call(self, name: str, attributes: Attributes) -> Call:
        if not _is_traced():
            return NoCall()
        return _Call(self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes))

    @contextmanager
    def request(self, name: str, headers: Mapping[str, str]) -> Iterator[None]:
        parent = TraceContextTextMapPropagator().extract(headers, contexts.Context())
        with self._tracer.start_as_current_span(name, parent, SpanKind.SERVER):
            yield

    @contextmanager
    def within(self, key: str) -> Iterator[None]:
        root = NonRecordingSpan(self._root(key))
        token = contexts.attach(trace.set_span_in_context(root, contexts.Context()))
        try:
            yield
        finally:
            contexts.detach(token)

    def told(
        self, key: str, name: str, began: float, attributes: Attributes, *, is_root: bool, error: str | None = None
    ) -> None:
        root = self._root(key)
        if not root.trace_flags.sampled:
            return
        own = root if is_root else _context(root.trace_id, self._provider.id_generator.generate_span_id(), sampled=True)
        span = ReadableSpan(
            name,
            own,
            None if is_root else root,
            self._provider.resource,
            attributes,
            status=Status(StatusCode.ERROR, error) if error else Status(),
            start_time=_nanoseconds(began),
            end_time=time.time_ns(),
            instrumentation_scope=self._scope,
        )
        for sender in self._senders:
            sender.on_end(span)

    def close(self) -> None:
        self._provider.shutdown()

    def _root(self, key: str) -> SpanContext:
        digest = hashlib.sha256(key.encode()).digest()
        trace_id, span_id = int.from_bytes(digest[:16], "big") or 1, int.from_bytes(digest[16:24], "big") or 1
        decision = self._provider.sampler.should_sample(contexts.Context(), trace_id, "document").decision
        return _context(trace_id, span_id, sampled=decision.is_sampled())


class _Call:
    def __init__(self, span: Span) -> None:
        self._span = span

    def note(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def end(self, error: BaseException | None = None) -> None:
        if error is not None:
            self._span.set_attribute("error.type", type(error).__qualname__)
            self._span.set_status(StatusCode.ERROR, str(error))
        self._span.end()


def _is_traced() -> bool:
    return trace.get_current_span().get_span_context().is_valid


def _context(trace_id: int, span_id: int, *, sampled: bool) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
