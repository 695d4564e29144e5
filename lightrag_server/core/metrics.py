"""Everything that is measured: names, what they mean and by what they are told apart. `docs/observability.md` lists it.

What is known at the moment of a scrape alone (the queue, documents by status) is in `api/metrics.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MODEL_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
STAGE_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0)
RETRIEVAL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
HTTP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)

Kind = Literal["counter", "gauge", "histogram"]
ModelKind = Literal["extract", "query", "keywords", "follow_up", "summary", "duplicates", "embedding", "rerank"]
"""What a model is asked for."""


@dataclass(frozen=True, slots=True)
class Metric:
    """`labels` are names, in the order in which values are given; `buckets` are upper bounds, ascending. Of a gauge the
    values of all living processes are added."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


MODEL_CALLS = Metric(
    "lightrag_model_calls_total",
    "counter",
    "Calls to models by how they ended: ok, cached, failed or cancelled.",
    ("workspace", "kind", "model", "outcome"),
)
MODEL_TOKENS = Metric(
    "lightrag_model_tokens_total",
    "counter",
    "Tokens sent (in) and received (out); of embeddings an estimate.",
    ("workspace", "kind", "model", "direction"),
)
MODEL_COST = Metric(
    "lightrag_model_cost_total",
    "counter",
    "What tokens cost by MODEL_PRICES, in its currency.",
    ("workspace", "kind", "model"),
)
MODEL_SECONDS = Metric(
    "lightrag_model_call_seconds",
    "histogram",
    "From asking a model to the end of its reply, with waiting for a slot and further tries.",
    ("kind", "model"),
    MODEL_BUCKETS,
)
MODEL_FAILURES = Metric(
    "lightrag_model_failures_total", "counter", "Failed calls to models by error code.", ("kind", "model", "code")
)
MODEL_SLOTS = Metric("lightrag_model_slots", "gauge", "Calls to a role's model: running or queued.", ("role", "state"))
CACHE = Metric(
    "lightrag_reply_cache_total", "counter", "Replies looked for in the cache: hit or miss.", ("kind", "result")
)
STAGE_SECONDS = Metric(
    "lightrag_stage_seconds",
    "histogram",
    "Indexing: parse, chunk and extract of a document, embed of a part of it, commit of a slice of documents.",
    ("stage",),
    STAGE_BUCKETS,
)
RETRIEVAL_SECONDS = Metric(
    "lightrag_retrieval_seconds",
    "histogram",
    "Retrieval for a question: embed, search, walk, rank, rerank and fit.",
    ("stage",),
    RETRIEVAL_BUCKETS,
)
JOBS_ENDED = Metric("lightrag_jobs_total", "counter", "Tries of jobs by how they ended.", ("kind", "outcome"))
JOB_SECONDS = Metric("lightrag_job_seconds", "histogram", "Tries of jobs.", ("kind",), STAGE_BUCKETS)
HTTP_REQUESTS = Metric("lightrag_http_requests_total", "counter", "Answered requests.", ("method", "route", "status"))
HTTP_SECONDS = Metric(
    "lightrag_http_request_seconds",
    "histogram",
    "From a request to the end of its answer, streams included.",
    ("method", "route"),
    HTTP_BUCKETS,
)
ERRORS = Metric("lightrag_errors_total", "counter", "Errors by code and by where: http or job.", ("where", "code"))
PROCESSES = Metric("lightrag_processes", "gauge", "Living processes of this host.")
PROCESS_MEMORY = Metric("lightrag_resident_memory_bytes", "gauge", "Memory of these processes.")
PROCESS_FILES = Metric("lightrag_open_files", "gauge", "Open files of these processes.")
PROCESS_CPU = Metric("lightrag_cpu_seconds_total", "counter", "CPU time of these processes and those that ended.")
LOOP_LAG = Metric("lightrag_event_loop_lag_seconds", "gauge", "How late the event loops last were, added up.")

ALL = (
    MODEL_CALLS,
    MODEL_TOKENS,
    MODEL_COST,
    MODEL_SECONDS,
    MODEL_FAILURES,
    MODEL_SLOTS,
    CACHE,
    STAGE_SECONDS,
    RETRIEVAL_SECONDS,
    JOBS_ENDED,
    JOB_SECONDS,
    HTTP_REQUESTS,
    HTTP_SECONDS,
    ERRORS,
    PROCESSES,
    PROCESS_MEMORY,
    PROCESS_FILES,
    PROCESS_CPU,
    LOOP_LAG,
)
