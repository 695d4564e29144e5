"""What the web front end asks about how it shall look. There is no branding bundle: names come from the settings."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from lightrag_server.api.auth import GuardedRoute
from lightrag_server.errors import InvalidInput, NotFound
from lightrag_server.settings import Settings

router = APIRouter(prefix="/ui", tags=["ui-customization"], route_class=GuardedRoute)

_LOCALE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}")


class Brand(BaseModel):
    title: str | None = None
    description: str | None = None


class Customization(BaseModel):
    customized: bool
    brand: Brand


@router.get("/customization")
async def customization(
    request: Request,
    response: Response,
    locale: Annotated[str, Query(description="A language tag such as `en` or `zh-TW`.", examples=["zh-TW"])] = "",
) -> Customization:
    """How the front end is to present itself."""
    if locale and not _LOCALE.fullmatch(locale):
        raise InvalidInput("locale is no language tag")
    response.headers["Cache-Control"] = "no-store"
    settings: Settings = request.app.state.settings
    return Customization(
        customized=False, brand=Brand(title=settings.server.title, description=settings.server.description)
    )


@router.get("/customization/assets/{asset_hash}/{asset_id}", responses={404: {}})
async def customization_asset(asset_hash: str, asset_id: str) -> Response:
    """A picture of the branding bundle; without a bundle there is none."""
    raise NotFound("Unknown asset")
