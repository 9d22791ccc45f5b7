"""MCP servers as sources of tools, over stdio and over streamable HTTP.

    async with mcp_tools(StdioServer("uvx", ("some-server",))) as tools:
        app = App("desk", (Agent("desk", tools=tools),))

What happens when a server fails: a call that was under way fails, and is never
repeated, since nobody knows whether it took effect. The next call connects
anew, starting the process again where there is one, after a pause that grows
with each failure. A tool that has changed meanwhile is not called: its effect
might be another.

The extra `mcp` brings the package behind this. It is met in `mcp_client` only, and
imported when the first server is opened.
"""

from __future__ import annotations

import importlib
import json
import math
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import structlog
import trio
from attrs import define, field

from bargein.protocol.events import Effect
from bargein.tools.mcp_servers import (
    CUT_OFF,
    Declared,
    HttpServer,
    PeerLost,
    Server,
    StdioServer,
    name_of,
)
from bargein.tools.tool import NAME, TIMEOUT_S, Tool, ToolContext, ToolFailed, ToolInvalid

if TYPE_CHECKING:
    from bargein.tools.mcp_client import Peer

__all__ = ["HttpServer", "McpUnavailable", "StdioServer", "mcp_tools"]

CONNECT_LIMIT_S: Final = 20.0
"""How long a server may take from its start until its tools are known."""

PAUSE_S: Final = 1.0
MOST_PAUSE_S: Final = 30.0
"""Between two attempts to connect: doubled with each, until a call succeeds."""

MOST_SHOWN_CHARS: Final = 500
_CLIENT: Final = "bargein.tools.mcp_client"
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_-]")

UNREACHABLE: Final = "The tool's server can't be reached now; try again later."
CHANGED: Final = "The tool's server has changed this tool since it was declared; don't use it."
FAILED: Final = "The tool failed."

# Whoever runs a tool counts its time; past that, nobody waits for the server's answer.
_LATE_S: Final = 5.0

_log = structlog.get_logger()


class McpUnavailable(Exception):
    """The server can't be reached, or speaks no MCP; start without it, or try again.

    Attributes:
        server: Its command or address.
        reason: What went wrong.
    """

    def __init__(self, server: str, reason: str) -> None:
        super().__init__(f"MCP server {server!r}: {reason}")
        self.server = server
        self.reason = reason


@asynccontextmanager
async def mcp_tools(
    server: Server,
    *,
    prefix: str = "",
    effects: Mapping[str, Effect] | None = None,
    timeout_s: float = TIMEOUT_S,
    connect_limit_s: float = CONNECT_LIMIT_S,
    pause_s: float = PAUSE_S,
) -> AsyncGenerator[tuple[Tool, ...]]:
    """Connect to *server* and return its tools, which work until the block ends.

    A tool's effect is what the server hints at: `read` where it says read-only, `idempotent`
    where it says so, else `side_effect`. Where you know better, or don't trust it, name the
    tool in *effects*. The server checks the arguments. *prefix* goes before each name, to keep
    servers apart; a tool whose name no model would take is left out, and logged. Between two
    attempts to connect there are at least *pause_s*, twice as much after each failure.

    Raises:
        McpUnavailable: If it can't be reached now.
        ToolInvalid: If *effects* names a tool that it doesn't have.
    """
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        connection = _Connection(server, nursery, timeout_s, connect_limit_s, pause_s)
        try:
            life, _ = await connection.connect()
            yield tuple(_tools(connection, life.declared, prefix, effects or {}))
        except Exception as error:  # noqa: BLE001 - told below, where no group is made of it
            failure = error
        finally:
            connection.close()
    if failure is not None:
        raise failure


@define(eq=False)
class _Life:
    """One connection from its start to its end."""

    settled: trio.Event = field(factory=trio.Event)
    lost: trio.Event = field(factory=trio.Event)
    peer: Peer | None = None
    declared: Mapping[str, Declared] = field(factory=dict[str, Declared])
    failure: str = ""


@define(eq=False)
class _Call:
    """One call, done in a task of the connection: whoever cancels it needn't wait for that."""

    scope: trio.CancelScope = field(factory=trio.CancelScope)
    done: trio.Event = field(factory=trio.Event)
    result: Any = None
    failure: str | None = CUT_OFF


@define(eq=False)
class _Connection:
    """A server as its tools see it: there, or soon there again."""

    _server: Server
    _nursery: trio.Nursery
    _timeout_s: float
    _connect_limit_s: float
    _first_pause_s: float
    _life: _Life | None = field(default=None, init=False)
    _failures: int = field(default=0, init=False)
    _not_before_s: float = field(default=-math.inf, init=False)
    _closed: bool = field(default=False, init=False)

    @property
    def timeout_s(self) -> float:
        """How long a call may take."""
        return self._timeout_s

    def close(self) -> None:
        """End all calls and the connection."""
        self._closed = True
        self._nursery.cancel_scope.cancel()

    async def connect(self) -> tuple[_Life, Peer]:
        """Return the connection, made anew where there is none.

        Raises:
            McpUnavailable: If it can't be made, or it is too early to try again.
        """
        life = self._life
        if life is None or life.lost.is_set():
            if self._closed or trio.current_time() < self._not_before_s:
                raise McpUnavailable(name_of(self._server), "it failed a moment ago")
            pause_s = min(MOST_PAUSE_S, self._first_pause_s * 2**self._failures)
            self._not_before_s = trio.current_time() + pause_s
            self._failures = min(self._failures + 1, 10)
            life = self._life = _Life()
            self._nursery.start_soon(self._live, life)
        await life.settled.wait()
        if life.peer is None:
            raise McpUnavailable(name_of(self._server), life.failure)
        return life, life.peer

    async def call(self, tool: Declared, args: dict[str, Any], context: ToolContext) -> Any:
        """Call *tool*; a cancel passes on to the server, without being waited for.

        Raises:
            ToolFailed: If the tool says so, or its server can't be asked.
        """
        try:
            life, peer = await self.connect()
        except McpUnavailable:
            raise ToolFailed(UNREACHABLE) from None
        if life.declared.get(tool.name) != tool:
            raise ToolFailed(CHANGED)
        call = _Call()
        self._nursery.start_soon(self._perform, life, peer, call, tool.name, args, context)
        try:
            await call.done.wait()
        finally:
            call.scope.cancel()
        if call.failure is not None:
            raise ToolFailed(call.failure)
        return call.result

    async def _live(self, life: _Life) -> None:
        timing = trio.CancelScope(deadline=trio.current_time() + self._connect_limit_s)
        try:
            with timing:
                # The SDK takes a second to import, and nobody else should wait for that.
                await trio.to_thread.run_sync(importlib.import_module, _CLIENT)
                from bargein.tools.mcp_client import connected

                late_s = self._timeout_s + _LATE_S
                async with connected(self._server, lost=life.lost.set, timeout_s=late_s) as peer:
                    life.declared = await peer.tools()
                    timing.deadline = math.inf
                    life.peer = peer
                    life.settled.set()
                    await life.lost.wait()
                    life.failure = "it ended the connection"
            if timing.cancelled_caught:
                life.failure = f"it did not answer within {self._connect_limit_s:g} s"
        except BaseException as error:  # noqa: BLE001 - what is no error is raised again
            # The SDK's task groups make groups of whatever happens in them.
            failures, stopping = BaseExceptionGroup("", [error]).split(Exception)
            if stopping is not None:
                raise stopping from None
            life.failure = _words_of(cast("BaseException", failures))
        finally:
            life.peer = None
            life.lost.set()
            life.settled.set()
            if not self._closed:
                _log.warning("mcp.lost", server=name_of(self._server), reason=life.failure)

    async def _perform(
        self,
        life: _Life,
        peer: Peer,
        call: _Call,
        name: str,
        args: dict[str, Any],
        context: ToolContext,
    ) -> None:
        try:
            with call.scope:
                late_s = self._timeout_s + _LATE_S
                show = context.notes.progress
                call.result = await peer.call(name, args, context.key, show, timeout_s=late_s)
                call.failure = None
                self._failures = 0
        except ToolFailed as failed:
            call.failure = str(failed) or FAILED
        except PeerLost as gone:
            call.failure = gone.words
            life.lost.set()
        finally:
            call.done.set()


def _words_of(failures: BaseException) -> str:
    match failures:
        case BaseExceptionGroup():
            return _words_of(failures.exceptions[0])
        case ModuleNotFoundError():
            return "install bargein with its extra `mcp`"
        case _:
            return f"{type(failures).__name__}: {failures}"[:MOST_SHOWN_CHARS]


# --- tools and calls -----------------------------------------------------------------------------


def _tools(
    connection: _Connection,
    declared: Mapping[str, Declared],
    prefix: str,
    effects: Mapping[str, Effect],
) -> list[Tool]:
    for name in effects.keys() - declared.keys():
        raise ToolInvalid(name, "it has an effect, but the server has no such tool")
    tools: dict[str, Tool] = {}
    for each in declared.values():
        name = prefix + _NO_NAME.sub("_", each.name)
        schema = json.loads(each.schema)
        if not NAME.fullmatch(name) or name in tools or schema.get("type") != "object":
            _log.warning("mcp.tool_left_out", tool=name[:MOST_SHOWN_CHARS])
            continue
        tools[name] = Tool(
            name,
            each.description,
            schema,
            _binding(connection, each),
            effect=effects.get(each.name, each.effect),
            timeout_s=connection.timeout_s,
            secrets=frozenset(_secrets(schema)),
        )
    return list(tools.values())


def _binding(
    connection: _Connection, tool: Declared
) -> Callable[[Mapping[str, Any], ToolContext], Callable[[], Awaitable[Any]]]:
    return lambda args, context: lambda: connection.call(tool, dict(args), context)


def _secrets(schema: Mapping[str, Any]) -> set[str]:
    properties = schema.get("properties")
    shapes = cast("dict[str, Any]", properties) if isinstance(properties, dict) else {}
    return {
        name
        for name, shape in shapes.items()
        if isinstance(shape, dict)
        and (
            cast("Any", shape).get("writeOnly") is True
            or cast("Any", shape).get("format") == "password"
        )
    }
