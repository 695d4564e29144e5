"""The FastAPI application: routes, middleware, and the life of what they work on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.middleware.cors import CORSMiddleware

from lightrag_server import __version__
from lightrag_server.api import docs, errors, system
from lightrag_server.api.auth import GuardedRoute
from lightrag_server.api.lightrag import documents, query
from lightrag_server.api.limits import BodyLimit, limits_of
from lightrag_server.api.requests import RequestContext
from lightrag_server.bootstrap import App, open_app
from lightrag_server.settings import Settings

DESCRIPTION = "Documents in, a knowledge graph and vector indexes kept, cited answers out."
ROUTERS = (system.router, documents.router, query.router)

Opening = Callable[[Settings], AbstractAsyncContextManager[App]]


def create_app(settings: Settings, opening: Opening = open_app) -> FastAPI:
    """The application, not yet opened: entering its lifespan opens stores and workers, leaving it closes them."""
    server = settings.server
    app = FastAPI(
        title=server.title or system.TITLE,
        description=server.description or DESCRIPTION,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=_lifespan(settings, opening),
        # only for the API documentation: GuardedRoute decides
        dependencies=[
            Security(APIKeyHeader(name="X-API-Key", auto_error=False)),
            Security(HTTPBearer(auto_error=False)),
        ],
    )
    app.router.route_class = GuardedRoute
    app.state.settings = settings
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
        async with opening(settings) as opened:
            app.state.opened = opened
            yield

    return lifespan


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    """The last one added is the outermost."""
    app.add_middleware(BodyLimit, limit=limits_of(settings.server))
    origins = [origin for part in settings.server.cors_origins.split(",") if (origin := part.strip())]
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=[errors.REQUEST_ID_HEADER],
        )
    app.add_middleware(RequestContext, prefix=_prefix(settings.server.api_prefix))


def _prefix(path: str) -> str:
    """One leading slash, none at the end; a lone slash is no prefix."""
    return "/" + path.strip("/") if path.strip("/") else ""
