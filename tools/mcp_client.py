"""The MCP SDK's client, met in this file only; see `bargein.tools.mcp` for what is made of it.

Import this where the first server is opened: the SDK takes about a second.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, assert_never, cast

import anyio
import structlog
import trio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from attrs import define
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp.types import (
    CONNECTION_CLOSED,
    INVALID_REQUEST,
    CallToolResult,
    jsonrpc_message_adapter,
)
from mcp.types import Tool as McpTool

from bargein.protocol.events import Effect
from bargein.tools.child import MOST_LINE_BYTES, Child, LineTooLong, child_process
from bargein.tools.errors import ToolFailed
from bargein.tools.http_client import bounded_client
from bargein.tools.mcp_servers import CUT_OFF, Declared, HttpServer, PeerLost, Server, StdioServer

STEP_LIMIT_S: Final = 8.0
"""How long a server may take for one answer before its tools are known; some never answer
what they don't know."""

MOST_TOOLS: Final = 256
MOST_PAGES: Final = 32
MOST_DESCRIPTION_CHARS: Final = 4096
MOST_SHOWN_CHARS: Final = 500
MOST_NONSENSE_LINES: Final = 100
"""A stray print is common in servers, and harmless; a flood is another program."""

SILENCE_LIMIT_S: Final = 300.0
"""How long a server may keep an event stream open and say nothing."""

NONSENSE: Final = "The tool's server answered with something that is no answer."

Show = Callable[[str, float | None], None]

_log = structlog.get_logger()

# It logs what it can't read, with its content and a traceback, line by line.
logging.getLogger("mcp.client").setLevel(logging.CRITICAL)


@define(eq=False)
class Peer:
    """A server that is connected.  Lives as long as the block of `connected`."""

    _client: Client

    async def tools(self) -> dict[str, Declared]:
        """List the tools by their names.

        Raises:
            ValueError: If there are more than 256, or the list does not end.
        """
        listed: dict[str, Declared] = {}
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await self._client.list_tools(cursor=cursor)
            listed |= {tool.name: _declared(tool) for tool in page.tools}
            cursor = page.next_cursor
            if cursor is None or len(listed) > MOST_TOOLS:
                break
        if cursor is not None or len(listed) > MOST_TOOLS:
            raise ValueError(f"it has more than {MOST_TOOLS} tools, or than {MOST_PAGES} pages")
        return listed

    async def call(
        self, name: str, args: Mapping[str, Any], key: str | None, show: Show, *, timeout_s: float
    ) -> Any:
        """Call a tool and return its result; cancelled, it tells the server so.

        Raises:
            ToolFailed: If the tool says so, or the server answers with no answer.
            PeerLost: If the connection is over.
        """

        async def show_progress(progress: float, total: float | None, message: str | None) -> None:
            fraction = min(1.0, max(0.0, progress / total)) if total else None
            show((message or f"{progress:g}")[:MOST_SHOWN_CHARS], fraction)

        try:
            answer = await self._client.call_tool(
                name,
                dict(args),
                read_timeout_seconds=timeout_s,
                progress_callback=show_progress,
                meta=cast("Any", {"idempotencyKey": key}) if key else None,
            )
        except MCPError as error:
            if error.code == CONNECTION_CLOSED:
                raise PeerLost(CUT_OFF) from None
            words = f"The tool's server refused: {error.error.message[:MOST_SHOWN_CHARS]}"
            # This code is how the SDK says that an HTTP session is over.
            raise (PeerLost if error.code == INVALID_REQUEST else ToolFailed)(words) from None
        except Exception as error:
            # Whatever the SDK makes of an answer that doesn't fit its types, or the tool's.
            _log.warning("mcp.answer_refused", tool=name, error=type(error).__name__)
            raise ToolFailed(NONSENSE) from error
        return _result_of(answer)


@asynccontextmanager
async def connected(
    server: Server, *, lost: Callable[[], None], timeout_s: float
) -> AsyncGenerator[Peer]:
    """Connect to *server*; *lost* is called when it has gone by itself.

    Raises:
        Exception: Whatever the transport raises, as a group mostly.
    """
    async with AsyncExitStack() as stack:
        match server:
            case StdioServer():
                transport = _stdio_streams(server, lost)
            case HttpServer():
                http = bounded_client(
                    server.headers,
                    most_body_bytes=MOST_LINE_BYTES,
                    silence_limit_s=max(SILENCE_LIMIT_S, timeout_s),
                )
                transport = streamable_http_client(
                    server.url,
                    http_client=await stack.enter_async_context(http),
                    max_sse_event_size=MOST_LINE_BYTES,
                )
            case _:
                assert_never(server)
        client = Client(
            transport,
            mode="auto" if server.handshake == "auto" else "legacy",
            read_timeout_seconds=STEP_LIMIT_S,
        )
        yield Peer(await stack.enter_async_context(client))


def _declared(tool: McpTool) -> Declared:
    hints = tool.annotations
    effect: Effect = "side_effect"
    if hints is not None and hints.read_only_hint:
        effect = "read"
    elif hints is not None and hints.idempotent_hint:
        effect = "idempotent"
    description = (tool.description or tool.title or "")[:MOST_DESCRIPTION_CHARS]
    return Declared(tool.name, description, json.dumps(tool.input_schema), effect)


def _result_of(answer: CallToolResult) -> Any:
    """Return what the tool answered.

    Raises:
        ToolFailed: If that is a failure.
    """
    blocks = [_block(block) for block in answer.content]
    texts = [block for block in blocks if isinstance(block, str)]
    if answer.is_error:
        raise ToolFailed("\n".join(texts)[: 4 * MOST_SHOWN_CHARS] or "The tool failed.")
    if answer.structured_content is not None:
        return answer.structured_content
    return "\n".join(texts) if len(texts) == len(blocks) else blocks


def _block(block: Any) -> Any:
    match block.type:
        case "text":
            return block.text
        case "image" | "audio":
            # The model reads text, and the timeline keeps no media.
            return {"type": block.type, "mime_type": block.mime_type, "chars": len(block.data)}
        case "resource_link":
            return {"type": "resource_link", "uri": str(block.uri), "name": block.name}
        case _:
            return {"type": block.type, "text": getattr(block.resource, "text", None)}


@asynccontextmanager
async def _stdio_streams(server: StdioServer, lost: Callable[[], None]) -> AsyncGenerator[Any]:
    to_client, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_server, from_client = anyio.create_memory_object_stream[SessionMessage](0)
    async with (
        to_client,
        from_server,
        to_server,
        from_client,
        child_process(server.command, server.args, server.env) as child,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(_read, child, to_client, lost)
        nursery.start_soon(_write, child, from_client, to_client)
        nursery.start_soon(_log_complaints, child, server.command)
        yield from_server, to_server
        nursery.cancel_scope.cancel()


async def _read(
    child: Child,
    to_client: MemoryObjectSendStream[SessionMessage | Exception],
    lost: Callable[[], None],
) -> None:
    nonsense_lines = 0
    async with to_client:  # closed, it tells the client that there will be no more
        while nonsense_lines <= MOST_NONSENSE_LINES:
            try:
                line = await child.said.next()
            except LineTooLong:
                break
            if line is None:
                break
            try:
                message = jsonrpc_message_adapter.validate_json(line, by_name=False)
            except ValueError:
                nonsense_lines += 1
                continue
            await to_client.send(SessionMessage(message))
        _log.info("mcp.process_ended", pid=child.pid, nonsense_lines=nonsense_lines)
    lost()


async def _write(
    child: Child,
    from_client: MemoryObjectReceiveStream[SessionMessage],
    to_client: MemoryObjectSendStream[SessionMessage | Exception],
) -> None:
    async with from_client:
        async for message in from_client:
            line = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            if not await child.tell(line.encode()):
                break
    await to_client.aclose()


async def _log_complaints(child: Child, command: str) -> None:
    while True:
        try:
            line = await child.complained.next()
        except LineTooLong:
            continue  # read on, or the server would wait for its complaint to be heard
        if line is None:
            return
        text = line.decode(errors="replace")[:MOST_SHOWN_CHARS]
        _log.debug("mcp.server_wrote", server=command, **{"pii.text": text})
