"""Which requests reach Ollama's routes, and as what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Request, Response

from lightrag_server.api.auth import GuardedRoute

JSON = (b"content-type", b"application/json")


class OllamaRoute(GuardedRoute):
    """Bodies are JSON whatever their content type says, since Ollama's clients may say none. A page of another origin
    could send such a request without asking first: `api.auth` refuses it where no credential is needed."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            kept = [pair for pair in request.scope["headers"] if pair[0] != b"content-type"]
            return await handle(Request({**request.scope, "headers": [*kept, JSON]}, request.receive))

        return handled
