"""Routes about the server itself."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from lightrag_server import __version__
from lightrag_server.api.auth import GuardedRoute, access_of
from lightrag_server.api.deps import ChosenWorkspace, CurrentCaller, OpenedApp
from lightrag_server.api.health import details
from lightrag_server.api.jobs import LIVE_OWNER_S
from lightrag_server.engine.status import PipelineState
from lightrag_server.errors import LightRAGError
from lightrag_server.settings import Settings

router = APIRouter(tags=["system"], route_class=GuardedRoute)

API_VERSION = "0344"
"""The version of LightRAG's API that clients compare with."""
TITLE = "LightRAG Server"


@router.get("/", responses={307: {"description": "Where people begin: the documentation."}})
async def start_page(request: Request) -> Response:
    """Where people begin."""
    if request.app.state.settings.server.api_docs:
        return RedirectResponse(f"{request.scope.get('root_path', '')}/docs", 307)
    return JSONResponse({"status": "healthy", "service": TITLE, "api_version": API_VERSION, "health_url": "/health"})


@router.get("/health")
async def health(request: Request, app: OpenedApp, caller: CurrentCaller, workspace: ChosenWorkspace) -> dict[str, Any]:
    """That the server lives; callers with a credential also see how it is configured."""
    settings: Settings = request.app.state.settings
    state = await workspace.pipeline.state()
    short = _short(settings, state, access_of(request).has_accounts)
    if not caller.is_known:
        return short
    return short | details(app, workspace.name, state, is_one_of_many=request.app.state.is_one_of_many)


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


def about(settings: Settings) -> dict[str, Any]:
    """What front ends want to know before somebody has logged in."""
    return {
        "core_version": __version__,
        "api_version": API_VERSION,
        "webui_title": settings.server.title,
        "webui_description": settings.server.description,
        "ai_content_notice_enabled": False,
    }


def _short(settings: Settings, state: PipelineState, has_accounts: bool) -> dict[str, Any]:
    return {
        "status": "healthy",
        "auth_mode": "enabled" if has_accounts else "disabled",
        **about(settings),
        "webui_available": False,
        "workspace_available": False,
        "api_docs_available": settings.server.api_docs,
        "pipeline_busy": state.is_busy,
        "pipeline_active": state.is_busy,
    }
