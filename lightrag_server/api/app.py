"""The FastAPI application: routes, middleware, and the life of what they work on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from lightrag_server import __version__
from lightrag_server.api import accounts, docs, errors, system, ui, workspaces
from lightrag_server.api.audit import AuditTrail
from lightrag_server.api.auth import NEW_TOKEN_HEADER, GuardedRoute
from lightrag_server.api.lightrag import (
    document_detail,
    documents,
    duplicates,
    events,
    graph,
    graph_edits,
    query,
    transfer,
    upkeep,
    uploads,
)
from lightrag_server.api.limits import BodyLimit, limits_of
from lightrag_server.api.mcp import endpoint
from lightrag_server.api.mcp import router as mcp
from lightrag_server.api.ollama import router as ollama
from lightrag_server.api.openai import router as openai
from lightrag_server.api.openapi import Application, operation_id
from lightrag_server.api.requests import RequestContext
from lightrag_server.bootstrap import App, open_app
from lightrag_server.settings import Settings

DESCRIPTION = "Documents in, a knowledge graph and vector indexes kept, cited answers out."
ROUTERS = (
    system.router,
    accounts.router,
    # before documents: its /documents/delete_… are no ids of documents
    graph_edits.router,
    uploads.router,
    documents.router,
    document_detail.router,
    events.router,
    query.router,
    graph.router,
    duplicates.router,
    transfer.router,
    upkeep.router,
    ui.router,
    openai.router,
    mcp.router,
    ollama.router,
    workspaces.router,
)

Opening = Callable[[Settings], AbstractAsyncContextManager[App]]


def create_app(settings: Settings, opening: Opening = open_app, *, is_one_of_many: bool = False) -> FastAPI:
    """The application, not yet opened: entering its lifespan opens stores and workers, leaving it closes them.
    `is_one_of_many` is what /health says of the processes."""
    server = settings.server
    app = Application(
        title=server.title or system.TITLE,
        description=server.description or DESCRIPTION,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=_lifespan(settings, opening),
        generate_unique_id_function=operation_id,
    )
    app.router.route_class = GuardedRoute
    app.state.settings = settings
    app.state.is_one_of_many = is_one_of_many
    app.state.streams = events.Streams(server.max_event_streams, server.event_stream_s)
    errors.install(app)
    for router in ROUTERS:
        app.include_router(router)
    if server.api_docs:
        app.include_router(docs.router)
    _add_middleware(app, settings)
    return app


def _lifespan(settings: Settings, opening: Opening) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opening(settings) as opened, endpoint.open_endpoint() as app.state.mcp:
            app.state.opened = opened
            yield

    return lifespan


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    """The last one added is the outermost."""
    app.add_middleware(AuditTrail)
    app.add_middleware(BodyLimit, limit=limits_of(settings.server))
    origins = [origin for part in settings.server.cors_origins.split(",") if (origin := part.strip())]
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=[errors.REQUEST_ID_HEADER, NEW_TOKEN_HEADER],
        )
    app.add_middleware(RequestContext, prefix=_prefix(settings.server.api_prefix))


def _prefix(path: str) -> str:
    """One leading slash, none at the end; a lone slash is no prefix."""
    return "/" + path.strip("/") if path.strip("/") else ""
