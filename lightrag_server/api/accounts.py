"""Logging in and out, API keys, and the audit trail."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.security import OAuth2PasswordRequestForm
from pydantic import AwareDatetime, BaseModel, Field

from lightrag_server.access.accounts import MAX_NAME_CHARS
from lightrag_server.access.keys import NewKey
from lightrag_server.api.audit import client_address
from lightrag_server.api.auth import GuardedRoute, access_of, audited
from lightrag_server.api.lightrag.schemas import PaginationInfo
from lightrag_server.api.system import about
from lightrag_server.core.access import ApiKey, AuditEntry, Caller, CallerKind, Scope
from lightrag_server.ports.access import AuditFilter

router = APIRouter(tags=["access"], route_class=GuardedRoute)

DAY_S = 86_400.0
MAX_DAYS = 36_500
GUEST_MESSAGE = "No accounts are configured: this token is a guest's and opens nothing by itself."


class About(BaseModel):
    core_version: str
    api_version: str
    webui_title: str | None
    webui_description: str | None
    ai_content_notice_enabled: bool


class AuthStatus(About):
    auth_configured: bool = Field(description="Whether accounts exist, so that people log in.")
    auth_mode: Literal["enabled", "disabled"]
    access_token: str | None = Field(None, description="A guest's token, where there are no accounts.")
    token_type: str | None = None
    message: str | None = None


class LoginReply(About):
    access_token: str
    token_type: str
    auth_mode: Literal["enabled", "disabled"]
    message: str | None = None


class Ok(BaseModel):
    status: Literal["ok"] = "ok"


class LogoutReply(Ok):
    revoked: bool = Field(description="Whether a token was sent; it opens nothing any more.")


class KeyRequest(BaseModel):
    name: str = Field(min_length=1, max_length=100, description="Who or what will use the key.", examples=["website"])
    scope: Scope = Field(Scope.READ, description="What it may do at most; each includes those before it.")
    workspaces: list[str] | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description="The workspaces it opens; the first is used when a request names none. Unset: all.",
    )
    expires_days: float | None = Field(None, gt=0, le=MAX_DAYS, description="Its life in days. Unset: for ever.")


class KeyInfo(BaseModel):
    id: str
    name: str
    scope: Scope
    workspaces: list[str] | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="Some minutes may be missing.")
    revoked_at: datetime | None


class NewKeyReply(KeyInfo):
    key: str = Field(description="The key itself. It is shown this once.")


class KeyList(BaseModel):
    keys: list[KeyInfo]


class AuditRow(BaseModel):
    at: datetime
    caller: str
    kind: CallerKind
    key_id: str | None
    address: str
    workspace: str | None
    method: str
    path: str
    status: int
    request_id: str


class AuditPage(BaseModel):
    entries: list[AuditRow]
    pagination: PaginationInfo


@router.get("/auth-status", response_model=AuthStatus, response_model_exclude_unset=True)
async def auth_status(request: Request, response: Response) -> dict[str, Any]:
    """Whether people log in here; where they do not, a guest's token for front ends that want one."""
    _keep_nowhere(response)
    access, known = access_of(request), about(request.app.state.settings)
    if access.has_accounts:
        return {"auth_configured": True, "auth_mode": "enabled", **known}
    return {"auth_configured": False, **_guest_token(request), **known}


@router.post(
    "/login",
    response_model=LoginReply,
    response_model_exclude_unset=True,
    responses={401: {"description": "The name or the password is wrong."}, 429: {"description": "Too many tries."}},
)
async def login(
    request: Request, response: Response, form: Annotated[OAuth2PasswordRequestForm, Depends()]
) -> dict[str, Any]:
    """A token for name and password; a guest's token where there are no accounts."""
    _keep_nowhere(response)
    access, known = access_of(request), about(request.app.state.settings)
    if not access.has_accounts:
        return {**_guest_token(request), **known}
    # what is typed as a name may be a password: only names that exist go on record
    name = form.username if form.username in access.accounts else "unknown user"
    audited(request, Caller(name, "anonymous", None))
    done = await access.login(form.username[: MAX_NAME_CHARS + 1], form.password, client_address(request.scope))
    if done.wait_s:
        wait = {"Retry-After": str(math.ceil(done.wait_s))}
        raise HTTPException(429, "Too many failed login attempts. Please try again later.", wait)
    if done.token is None:
        raise HTTPException(401, "Incorrect credentials", {"WWW-Authenticate": "Bearer"})
    audited(request, access.accounts[name].caller)
    return {"access_token": done.token, "token_type": "bearer", "auth_mode": "enabled", **known}


@router.get("/auth/verify")
async def verify() -> Ok:
    """Whether the credential is good: `WHITELIST_PATHS` does not open this."""
    return Ok()


@router.post("/logout")
async def logout(request: Request) -> LogoutReply:
    """End the session of the token that was sent, also where it was renewed meanwhile. A key stays as it is."""
    token = request.state.token
    if token:
        await access_of(request).logout(token)
    return LogoutReply(revoked=token is not None)


@router.post("/auth/keys", status_code=201)
async def create_key(request: Request, response: Response, body: KeyRequest) -> NewKeyReply:
    """Make an API key. The reply is the only place where it can be read."""
    _keep_nowhere(response)
    life_s = body.expires_days * DAY_S if body.expires_days is not None else None
    key, secret = await access_of(request).keys.create(NewKey(body.name, body.scope, body.workspaces, life_s))
    return NewKeyReply(**_shown(key), key=secret)


@router.get("/auth/keys")
async def list_keys(request: Request) -> KeyList:
    """All API keys that were ever made, oldest first, without the keys themselves."""
    return KeyList(keys=[KeyInfo(**_shown(key)) for key in await access_of(request).keys.all()])


@router.get("/auth/keys/{id}", responses={404: {"description": "There is no such key."}})
async def get_key(request: Request, id: str) -> KeyInfo:
    """One API key, without the key itself."""
    return KeyInfo(**_shown(await access_of(request).keys.get(id)))


@router.delete("/auth/keys/{id}", responses={404: {"description": "There is no such key."}})
async def revoke_key(request: Request, id: str) -> KeyInfo:
    """Revoke an API key: at once in this process, within a second in others. The row stays on record."""
    return KeyInfo(**_shown(await access_of(request).keys.revoke(id)))


@router.get("/auth/audit")
async def audit(
    request: Request,
    caller: Annotated[str | None, Query(description="Name of a key or user.")] = None,
    workspace: Annotated[str | None, Query(description="Only changes of this workspace.")] = None,
    since: Annotated[AwareDatetime | None, Query(description="Only what happened at this time or later.")] = None,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    page_size: Annotated[int, Query(ge=1, le=500)] = 50,
) -> AuditPage:
    """Changes, tries of changes and logins, newest first."""
    which = AuditFilter(caller, workspace, since.timestamp() if since else None)
    entries, total = await access_of(request).audit(which, (page - 1) * page_size, page_size)
    return AuditPage(
        entries=[_row(entry) for entry in entries],
        pagination=PaginationInfo.of(page, page_size, total),
    )


def _keep_nowhere(response: Response) -> None:
    response.headers["Cache-Control"] = "no-store"


def _guest_token(request: Request) -> dict[str, Any]:
    token = access_of(request).guest_token()
    return {"access_token": token, "token_type": "bearer", "auth_mode": "disabled", "message": GUEST_MESSAGE}


def _shown(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "scope": key.scope,
        "workspaces": None if key.workspaces is None else list(key.workspaces),
        "created_at": _time(key.created_at),
        "expires_at": _time(key.expires_at),
        "last_used_at": _time(key.last_used_at),
        "revoked_at": _time(key.revoked_at),
    }


def _row(entry: AuditEntry) -> AuditRow:
    names = ("caller", "kind", "key_id", "address", "workspace", "method", "path", "status", "request_id")
    return AuditRow(at=datetime.fromtimestamp(entry.at, UTC), **{name: getattr(entry, name) for name in names})


def _time(at: float | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at, UTC)
