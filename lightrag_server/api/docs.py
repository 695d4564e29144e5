"""Swagger UI and ReDoc from files of an installed package: no network."""

from __future__ import annotations

import importlib.resources
import mimetypes

from fastapi import APIRouter, HTTPException, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html, get_swagger_ui_oauth2_redirect_html
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse

from lightrag_server.api.auth import GuardedRoute

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)

FILES = frozenset({"swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js", "favicon.png"})
STATIC = "/static/api-docs"


@router.get("/openapi.json")
async def openapi(request: Request) -> JSONResponse:
    root = request.scope.get("root_path", "")
    servers = {"servers": [{"url": root}]} if root else {}
    return JSONResponse({**request.app.openapi(), **servers})


@router.get("/docs")
async def swagger(request: Request) -> HTMLResponse:
    root = request.scope.get("root_path", "")
    return get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title=request.app.title,
        oauth2_redirect_url=f"{root}/docs/oauth2-redirect",
        swagger_js_url=f"{root}{STATIC}/swagger-ui-bundle.js",
        swagger_css_url=f"{root}{STATIC}/swagger-ui.css",
        swagger_favicon_url=f"{root}{STATIC}/favicon.png",
    )


@router.get("/docs/oauth2-redirect")
async def swagger_redirect() -> HTMLResponse:
    return get_swagger_ui_oauth2_redirect_html()


@router.get("/redoc")
async def redoc(request: Request) -> HTMLResponse:
    root = request.scope.get("root_path", "")
    return get_redoc_html(
        openapi_url=f"{root}/openapi.json",
        title=request.app.title,
        redoc_js_url=f"{root}{STATIC}/redoc.standalone.js",
        redoc_favicon_url=f"{root}{STATIC}/favicon.png",
        with_google_fonts=False,
    )


@router.get(STATIC + "/{name}")
async def static_file(name: str) -> FileResponse:
    if name not in FILES:
        raise HTTPException(404, "Not Found")
    with importlib.resources.as_file(importlib.resources.files("fastapi_offline") / "static" / name) as path:
        headers = {"Cache-Control": "public, max-age=86400"}
        return FileResponse(path, media_type=mimetypes.guess_type(name)[0], headers=headers)
