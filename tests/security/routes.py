"""Every route that the application serves, and requests that stop as soon as it is known how they are answered."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.convertors import CONVERTOR_TYPES
from starlette.routing import BaseRoute, Mount, Route

from lightrag_server.api.deps import chosen_workspace

PARAMETER = re.compile(r"\{[a-z_]+(?::([a-z]+))?\}")
SAMPLES = ("x", "1", "doc-00000000000000000000000000000000")
SETTLE_S = 5.0


@dataclass(frozen=True)
class Endpoint:
    """`has_workspace`: the request's header chooses the workspace that it works in."""

    method: str
    template: str
    route: BaseRoute
    has_workspace: bool

    @property
    def path(self) -> str:
        return PARAMETER.sub(lambda found: _sample(found[1]), self.template)

    def __str__(self) -> str:
        return f"{self.method} {self.template}"


def endpoints(app: FastAPI) -> Iterator[Endpoint]:
    """Mounted applications count as one route that takes every method."""
    for context in iter_route_contexts(app.routes):
        route, template = context.original_route, str(context.path)
        match route:
            case APIRoute():
                has_workspace = _depends_on_workspace(route.dependant)
                methods = route.methods or set()
            case Mount():
                methods, has_workspace = {"GET", "POST", "DELETE"}, False
            case Route():
                methods, has_workspace = route.methods or set(), False
            case _:
                raise AssertionError(f"a kind of route that this test does not know: {route}")
        for method in sorted(methods):
            yield Endpoint(method, template, route, has_workspace)


def _depends_on_workspace(dependant: Dependant) -> bool:
    return any(each.call is chosen_workspace or _depends_on_workspace(each) for each in dependant.dependencies)


def _sample(convertor: str | None) -> str:
    """A value of a parameter that the route's pattern takes."""
    pattern = CONVERTOR_TYPES[convertor or "str"].regex
    return next(sample for sample in SAMPLES if re.fullmatch(pattern, sample))


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    was_read: bool
    """Whether the application asked for the request's body."""


async def ask(app: FastAPI, endpoint: Endpoint, headers: Mapping[str, str], body: bytes = b"") -> Answer:
    """The answer's beginning is enough: streams of events never end."""
    began = asyncio.Event()
    was_read = False
    messages: list[Any] = []

    async def receive() -> dict[str, Any]:
        nonlocal was_read
        if was_read:
            await asyncio.Event().wait()
        was_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        messages.append(message)
        began.set()

    task = asyncio.create_task(app(_scope(endpoint, headers), receive, send))
    waiting = asyncio.create_task(began.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if messages and not _is_stream(messages[0]):
        await asyncio.wait([task], timeout=SETTLE_S)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    start = messages[0]
    text = b"".join(message.get("body", b"") for message in messages[1:])
    found = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], found, text, was_read)


def _is_stream(start: Any) -> bool:
    return any(name.lower() == b"content-type" and b"event-stream" in value for name, value in start["headers"])


def _scope(endpoint: Endpoint, headers: Mapping[str, str]) -> dict[str, Any]:
    sent = {"host": "test", **headers}
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": endpoint.method,
        "scheme": "http",
        "path": endpoint.path,
        "raw_path": endpoint.path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
    }
