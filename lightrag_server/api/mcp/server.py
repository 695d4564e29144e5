"""The SDK's server with our tools: what is listed, what is called, and how failures are told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    InputRequiredResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    ToolAnnotations,
)
from mcp_types import Tool as ListedTool
from pydantic import ValidationError

from lightrag_server import __version__
from lightrag_server.api.errors import internal_detail, shown_message, status_of
from lightrag_server.api.mcp.seat import Seat
from lightrag_server.api.mcp.tools import READING, WRITING, Call
from lightrag_server.errors import LightRAGError

logger = logging.getLogger(__name__)

NAME = "lightrag"
INSTRUCTIONS = (
    "Documents of the user, with a knowledge graph made from them. query answers a question with sources; retrieve "
    "gives the evidence for you to answer from; list_documents and read_document show the documents themselves."
)
SeatOf = Callable[[Any], Seat]
"""From the request that carries a call (None without HTTP) to where it comes from."""


def make_server(seat_of: SeatOf) -> Server[Any]:
    tools = {tool.name: tool for tool in _tools()}
    listed = ListToolsResult(tools=[_listed(tool) for tool in tools.values()])

    async def on_list(_: ServerRequestContext[Any], __: PaginatedRequestParams | None) -> ListToolsResult:
        return listed

    async def on_call(
        context: ServerRequestContext[Any], params: CallToolRequestParams
    ) -> CallToolResult | InputRequiredResult:
        tool = tools.get(params.name)
        if tool is None:
            return _failure(f"no such tool: {params.name!r}; there are {', '.join(tools)}")
        seat = seat_of(context.request)
        try:
            return await tool.run(params.arguments or {}, Call(seat, context), convert_result=True)
        except ToolError as error:
            return _failure(_sentence(error, seat.request_id))

    return Server(NAME, version=__version__, instructions=INSTRUCTIONS, on_list_tools=on_list, on_call_tool=on_call)


def _tools() -> list[Tool]:
    reading = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    writing = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
    return [
        *(Tool.from_function(fn, annotations=reading, structured_output=True) for fn in READING),
        *(Tool.from_function(fn, annotations=writing, structured_output=True) for fn in WRITING),
    ]


def _listed(tool: Tool) -> ListedTool:
    return ListedTool(
        name=tool.name,
        description=" ".join(tool.description.split()),
        input_schema=tool.parameters,
        output_schema=tool.output_schema,
        annotations=tool.annotations,
    )


def _failure(sentence: str) -> CallToolResult:
    """A failure that the model reads and may do something about."""
    return CallToolResult(content=[TextContent(type="text", text=sentence)], is_error=True)


def _sentence(error: ToolError, identifier: str) -> str:
    """What went wrong, in our words; of faults of ours only the id under which the log has them."""
    cause = error.__cause__
    if isinstance(cause, LightRAGError) and status_of(cause) != 500:
        return shown_message(cause, identifier)
    if isinstance(cause, ValidationError):
        return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in cause.errors())
    if isinstance(error, UnexpectedToolError):
        logger.error("tool failed error_id=%s", identifier, exc_info=cause)
        return internal_detail(identifier)
    return str(error)
