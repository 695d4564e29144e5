"""What /health tells callers with a credential: LightRAG's fields, whose front end shows them.

LightRAG coordinates by locks, freezes and fences that do not exist here: those fields have their values at rest.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from lightrag_server.bootstrap import App
from lightrag_server.engine import job_kinds
from lightrag_server.engine.status import PipelineState
from lightrag_server.settings import Settings

Fields = dict[str, Any]

ROLES = ("extract", "keyword", "query")
CAPABILITIES = (
    "scheduling_pages",
    "typed_source_resolution",
    "strict_active_count",
    "source_conflict_listing",
    "source_conflict_repair",
    "strict_point_reads",
)
NO_QUEUE: Fields = {"available": False}


def details(app: App, workspace: str, state: PipelineState, *, is_one_of_many: bool) -> Fields:
    settings = app.settings
    llm = _queue("llm", asdict(app.llm.snapshot())) if app.llm else NO_QUEUE
    vision = _queue("vlm", asdict(app.vision.snapshot())) if app.vision else NO_QUEUE
    return {
        "working_directory": str(settings.server.working_dir),
        "input_directory": str(settings.server.input_dir),
        "configuration": _configuration(app, workspace),
        "server_mode": "gunicorn" if is_one_of_many else "uvicorn",
        "workers": settings.server.workers if is_one_of_many else 1,
        "pipeline_scanning": state.is_open(job_kinds.SCAN),
        "pipeline_destructive_busy": state.is_open(job_kinds.CLEAR),
        "pipeline_pending_enqueues": 0,
        "scheduling": _scheduling(),
        "capabilities": dict.fromkeys(CAPABILITIES, True),
        "scheduling_metrics": _metrics(),
        "keyed_locks": _locks(),
        "llm_queue_status": {**dict.fromkeys(ROLES, llm), "vlm": vision},
        "embedding_queue_status": _queue("embedding", asdict(app.embedder.snapshot())),
        "rerank_queue_status": _queue("rerank", asdict(app.reranker.snapshot())) if app.reranker else NO_QUEUE,
    }


def _configuration(app: App, workspace: str) -> Fields:
    settings = app.settings
    llm, embedding = settings.llm, settings.embedding
    storages = _storages(settings)
    return {
        "llm_binding": llm.binding,
        "llm_binding_host": llm.host,
        "llm_model": llm.model,
        "embedding_binding": embedding.binding,
        "embedding_binding_host": embedding.host,
        "embedding_model": embedding.model,
        **_reranking(app),
        **storages,
        "storage_workspaces": dict.fromkeys(storages, workspace),
        "workspace": workspace,
        "index_profile": app.profile,
        "enable_llm_cache_for_extract": settings.ingest.enable_llm_cache_for_extract,
        "enable_llm_cache": settings.query.enable_llm_cache,
        "vlm_process_enable": app.vision is not None,
        "max_graph_nodes": settings.server.max_graph_nodes,
        "summary_language": settings.ingest.summary_language,
        "summary_max_tokens": settings.query.summary_max_tokens,
        "summary_context_size": settings.query.summary_context_tokens,
        "force_llm_summary_on_merge": settings.query.force_llm_summary_on_merge,
        "max_parallel_insert": settings.ingest.max_parallel_documents,
        "cosine_threshold": settings.query.cosine_threshold,
        "max_async": llm.max_async,
        "llm_timeout": llm.timeout_s,
        "embedding_func_max_async": embedding.max_async,
        "embedding_batch_num": embedding.batch_size,
        "embedding_timeout": embedding.timeout_s,
        "role_llm_config": {role: _role(settings) for role in (*ROLES, "vlm")},
        **_without_effect(),
    }


def _reranking(app: App) -> Fields:
    rerank = app.settings.rerank
    return {
        "enable_rerank": app.reranker is not None,
        "rerank_binding": rerank.binding,
        "rerank_model": app.reranker.identity.partition("/")[2] if app.reranker else None,
        "rerank_binding_host": rerank.host,
        "rerank_max_async": rerank.max_async,
        "rerank_timeout": rerank.timeout_s,
        "min_rerank_score": rerank.min_score,
    }


def _storages(settings: Settings) -> Fields:
    chosen = settings.storages
    return {
        "kv_storage": chosen.kv,
        "doc_status_storage": chosen.doc_status,
        "graph_storage": chosen.graph,
        "vector_storage": chosen.vectors,
    }


def _role(settings: Settings) -> Fields:
    llm = settings.llm
    return {
        "binding": llm.binding,
        "model": llm.model,
        "host": llm.host,
        "is_cross_provider": False,
        "max_async": llm.max_async,
        "timeout": llm.timeout_s,
        "has_model_kwargs": False,
        "metadata": {},
    }


def _without_effect() -> Fields:
    """LightRAG's settings that have no counterpart here."""
    unknown = "related_chunk_number"
    no_service: Fields = {"endpoint": None, "options": {}}
    return {
        **dict.fromkeys(unknown.split()),
        "parser_routing": "",
        "mineru": {**no_service, "api_mode": None},
        "docling": no_service,
    }


def _queue(name: str, counts: Fields) -> Fields:
    """Counts of this process since its start."""
    totals = {f"{word}_total": counts[word] for word in ("submitted", "completed", "failed", "cancelled")}
    shared = {
        "queue_name": name,
        "max_async": counts["limit"],
        "max_queue_size": None,
        "queued": counts["queued"],
        "running": counts["running"],
        "in_flight": counts["queued"] + counts["running"],
        "worker_count": counts["current_limit"],
        "current_limit": counts["current_limit"],
        "initialized": True,
        **totals,
        "rejected_total": 0,
        "global_slot_waits": 0,
        "physical_queued": counts["queued"],
    }
    return {**shared, "reporting_workers": 1, "per_worker": {str(os.getpid()): shared}, "available": True}


def _scheduling() -> Fields:
    return {
        "manual_phase": "idle",
        "manual_freeze_requested": False,
        "manual_resetting": False,
        "manual_freeze_seconds": 0.0,
        "manual_owner_request_id": None,
        "manual_owner_pid": None,
        "drain_pending_enqueues": 0,
        "drain_waiting_on_workers": 0,
        "manual_retries_queued": 0,
        "manual_retries_capacity": 0,
        "document_notifications_queued": 0,
        "document_notification_overflows": 0,
        "auto_rescan_pending": False,
    }


def _metrics() -> Fields:
    counters = ("freeze_rejects", "auto_rescan_rearms", "manual_reset_docs", "manual_reset_pages")
    durations = ("scheduling_page_seconds", "active_count_seconds", "manual_drain_seconds", "manual_reset_seconds")
    nothing = {"count": 0, "total_seconds": 0.0, "max_seconds": 0.0, "last_seconds": 0.0, "mean_seconds": 0.0}
    return {"counters": dict.fromkeys(counters, 0), "durations": dict.fromkeys(durations, nothing)}


def _locks() -> Fields:
    locks = ("total_mp_locks", "pending_mp_cleanup", "total_async_locks", "pending_async_cleanup")
    return {
        "process_id": os.getpid(),
        "cleanup_performed": {"mp_cleaned": 0, "async_cleaned": 0},
        "current_status": dict.fromkeys(locks, 0),
    }
