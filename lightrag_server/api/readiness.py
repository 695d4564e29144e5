"""Whether this process can serve, looked up when it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from fastapi import Request

from lightrag_server.api.auth import recognised
from lightrag_server.api.jobs import LIVE_OWNER_S
from lightrag_server.bootstrap import App
from lightrag_server.errors import LightRAGError

ANSWER_S = 1.0


async def missing_parts(request: Request) -> list[str]:
    """What is not ready, in words; each part has a second to answer. Workers are none: without them questions are
    answered and documents accepted all the same."""
    state = request.app.state
    if not hasattr(state, "opened"):
        return ["the server is starting"]
    if state.streams.is_stopping:
        return ["the server is stopping"]
    app: App = state.opened
    found = await asyncio.gather(
        _fault("storage", _storage(app)), _fault("job queue", app.queue.live_owners(LIVE_OWNER_S))
    )
    return [fault for fault in found if fault]


async def sees_details(request: Request) -> bool:
    """Callers with a credential, and everybody where none is needed."""
    try:
        async with asyncio.timeout(ANSWER_S):
            return (await recognised(request)).is_known
    except (TimeoutError, LightRAGError):
        return False


async def _storage(app: App) -> None:
    workspace = await app.workspaces.named(app.workspaces.register.default)
    await workspace.stores.documents.counts()


async def _fault(part: str, answer: Awaitable[object]) -> str:
    try:
        async with asyncio.timeout(ANSWER_S):
            await answer
            return ""
    except TimeoutError:
        return f"{part}: no answer within {ANSWER_S:g} s"
    except LightRAGError as error:
        return f"{part}: {error.code}"
