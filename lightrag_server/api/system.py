"""Routes about the server itself."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from lightrag_server import __version__
from lightrag_server.api.auth import GuardedRoute, is_authorised
from lightrag_server.api.deps import ChosenWorkspace, OpenedApp
from lightrag_server.api.jobs import LIVE_OWNER_S
from lightrag_server.engine import job_kinds
from lightrag_server.engine.status import PipelineState
from lightrag_server.errors import LightRAGError
from lightrag_server.settings import Settings

router = APIRouter(tags=["system"], route_class=GuardedRoute)

API_VERSION = "0344"
"""The version of LightRAG's API that clients compare with."""
TITLE = "LightRAG Server"
NO_QUEUE: dict[str, Any] = {"available": False}


@router.get("/", include_in_schema=False)
async def start_page(request: Request) -> Response:
    if request.app.state.settings.server.api_docs:
        return RedirectResponse(f"{request.scope.get('root_path', '')}/docs", 307)
    return JSONResponse({"status": "healthy", "service": TITLE, "api_version": API_VERSION, "health_url": "/health"})


@router.get("/health")
async def health(request: Request, app: OpenedApp, workspace: ChosenWorkspace) -> dict[str, Any]:
    """That the server lives; callers with the key also see how it is configured."""
    settings: Settings = request.app.state.settings
    state = await workspace.pipeline.state()
    short = _short(settings, state)
    if not is_authorised(request):
        return short
    return short | _details(app.settings, workspace.name, state)


@router.get("/health/ready")
async def ready(app: OpenedApp, workspace: ChosenWorkspace) -> JSONResponse:
    """200 when the storages answer and a worker lives, else 503 with what is missing."""
    missing: list[str] = []
    try:
        await workspace.stores.documents.counts()
        if not await app.queue.live_owners(LIVE_OWNER_S):
            missing.append("no worker is running")
    except LightRAGError as error:
        missing.append(error.code)
    return JSONResponse({"status": "not_ready" if missing else "ready", "missing": missing}, 503 if missing else 200)


@router.get("/auth-status")
async def auth_status(request: Request) -> dict[str, Any]:
    """Whether accounts are configured. There are none: an API key protects the server, or nothing."""
    settings: Settings = request.app.state.settings
    return {"auth_configured": False, "auth_mode": "disabled", **_about(settings)}


def _about(settings: Settings) -> dict[str, Any]:
    return {
        "core_version": __version__,
        "api_version": API_VERSION,
        "webui_title": settings.server.title,
        "webui_description": settings.server.description,
        "ai_content_notice_enabled": False,
    }


def _short(settings: Settings, state: PipelineState) -> dict[str, Any]:
    return {
        "status": "healthy",
        "auth_mode": "enabled" if settings.server.key else "disabled",
        **_about(settings),
        "webui_available": False,
        "workspace_available": False,
        "api_docs_available": settings.server.api_docs,
        "pipeline_busy": state.is_busy,
        "pipeline_active": state.is_busy,
    }


def _details(settings: Settings, workspace: str, state: PipelineState) -> dict[str, Any]:
    return {
        "working_directory": str(settings.server.working_dir),
        "input_directory": str(settings.server.input_dir),
        "configuration": _configuration(settings, workspace),
        "server_mode": "uvicorn",
        "workers": 1,
        "pipeline_scanning": state.is_open(job_kinds.SCAN),
        "pipeline_destructive_busy": state.is_open(job_kinds.CLEAR),
        "pipeline_pending_enqueues": 0,
        "llm_queue_status": dict.fromkeys(("extract", "keyword", "query", "vlm"), NO_QUEUE),
        "embedding_queue_status": NO_QUEUE,
        "rerank_queue_status": NO_QUEUE,
    }


def _configuration(settings: Settings, workspace: str) -> dict[str, Any]:
    llm, embedding, storages = settings.llm, settings.embedding, settings.storages
    names = {
        "kv_storage": storages.kv,
        "doc_status_storage": storages.doc_status,
        "graph_storage": storages.graph,
        "vector_storage": storages.vectors,
    }
    return {
        "llm_binding": llm.binding,
        "llm_binding_host": llm.host,
        "llm_model": llm.model,
        "embedding_binding": embedding.binding,
        "embedding_binding_host": embedding.host,
        "embedding_model": embedding.model,
        **names,
        "storage_workspaces": dict.fromkeys(names, workspace),
        "workspace": workspace,
        "index_profile": settings.ingest.profile,
        "enable_llm_cache_for_extract": settings.ingest.enable_llm_cache_for_extract,
        "enable_llm_cache": settings.query.enable_llm_cache,
        "vlm_process_enable": False,
        "enable_rerank": False,
        "rerank_binding": None,
        "rerank_model": None,
        "rerank_binding_host": None,
        "summary_language": settings.ingest.summary_language,
        "max_parallel_insert": settings.ingest.max_parallel_documents,
        "cosine_threshold": settings.query.cosine_threshold,
        "max_async": llm.max_async,
        "llm_timeout": llm.timeout_s,
        "embedding_func_max_async": embedding.max_async,
        "embedding_batch_num": embedding.batch_size,
        "embedding_timeout": embedding.timeout_s,
    }
