"""Swagger UI and ReDoc from files of an installed package and our own: no network, no script but theirs.

The pages are for everybody. What they show is not: where the server is protected they ask for a key or token, keep it
for the tab alone, and load the description with it.
"""

from __future__ import annotations

import base64
import hashlib
import html
import importlib.resources
import mimetypes
import re

from fastapi import APIRouter, HTTPException, Request
from fastapi.openapi.docs import get_swagger_ui_oauth2_redirect_html
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse

from lightrag_server.api.auth import GuardedRoute

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)

STATIC = "/static/api-docs"
VENDORED = "fastapi_offline"
OURS = "lightrag_server.api"
FILES = {
    "swagger-ui-bundle.js": VENDORED,
    "swagger-ui.css": VENDORED,
    "redoc.standalone.js": VENDORED,
    "favicon.png": VENDORED,
    "api-docs.js": OURS,
}
POLICY = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
"""The two viewers write styles into the page; scripts only ever come from our files."""
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="{static}/favicon.png">
{styles}</head>
<body data-description="{root}/openapi.json" data-viewer="{viewer}" style="margin: 0">
<div id="docs"></div>
<script src="{static}/{script}"></script>
<script src="{static}/api-docs.js"></script>
</body>
</html>
"""
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)


@router.get("/openapi.json")
async def openapi(request: Request) -> JSONResponse:
    root = request.scope.get("root_path", "")
    servers = {"servers": [{"url": root}]} if root else {}
    return JSONResponse({**request.app.openapi(), **servers})


@router.get("/docs")
async def swagger(request: Request) -> HTMLResponse:
    root = html.escape(request.scope.get("root_path", ""))
    styles = f'<link rel="stylesheet" href="{root}{STATIC}/swagger-ui.css">\n'
    return _page(request, "swagger", "swagger-ui-bundle.js", styles)


@router.get("/docs/oauth2-redirect")
async def swagger_redirect() -> HTMLResponse:
    """Its script is the viewer's, inside of the page: allowed by its hash."""
    page = get_swagger_ui_oauth2_redirect_html()
    scripts = _INLINE.findall(bytes(page.body).decode())
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    return _guarded(page, "".join(f" 'sha256-{value}'" for value in hashes))


@router.get("/redoc")
async def redoc(request: Request) -> HTMLResponse:
    return _page(request, "redoc", "redoc.standalone.js")


@router.get(STATIC + "/{name}")
async def static_file(name: str) -> FileResponse:
    if name not in FILES:
        raise HTTPException(404, "Not Found")
    with importlib.resources.as_file(importlib.resources.files(FILES[name]) / "static" / name) as path:
        headers = {"Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff"}
        return FileResponse(path, media_type=mimetypes.guess_type(name)[0], headers=headers)


def _page(request: Request, viewer: str, script: str, styles: str = "") -> HTMLResponse:
    root = html.escape(request.scope.get("root_path", ""))
    page = PAGE.format(
        title=html.escape(request.app.title),
        root=root,
        static=root + STATIC,
        styles=styles,
        viewer=viewer,
        script=script,
    )
    return _guarded(HTMLResponse(page))


def _guarded(page: HTMLResponse, scripts: str = "") -> HTMLResponse:
    page.headers["Content-Security-Policy"] = POLICY.format(scripts=scripts)
    page.headers["X-Content-Type-Options"] = "nosniff"
    page.headers["Referrer-Policy"] = "no-referrer"
    return page
