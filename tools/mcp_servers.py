"""MCP servers as values: how they are reached, and what they say of their tools."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, assert_never

from attrs import field, frozen

from bargein.protocol.events import Effect

CUT_OFF: Final = (
    "The connection to the tool's server ended before it answered; whether the call took"
    " effect is not known."
)


@frozen
class StdioServer:
    """A program that serves MCP on its standard input and output.

    Attributes:
        env: Its environment, beside a few harmless variables of this process.
        handshake: `initialize` for a server that can't stand being asked what it speaks.
    """

    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(factory=dict[str, str], repr=False)
    handshake: Literal["auto", "initialize"] = "auto"


@frozen
class HttpServer:
    """A server of MCP over streamable HTTP.

    Attributes:
        headers: Sent with each request, such as `Authorization`.
        handshake: `initialize` for a server that can't stand being asked what it speaks.
    """

    url: str
    headers: Mapping[str, str] = field(factory=dict[str, str], repr=False)
    handshake: Literal["auto", "initialize"] = "auto"


Server: TypeAlias = StdioServer | HttpServer


def name_of(server: Server) -> str:
    """Name *server* for logs and errors, without what may be secret in it."""
    match server:
        case StdioServer(command):
            return command
        case HttpServer(url):
            return re.sub(r"//[^/@]*@", "//", url.partition("?")[0])
        case _:
            assert_never(server)


@frozen
class Declared:
    """What a server says of a tool; compared after each new connection.

    Attributes:
        schema: JSON Schema of the arguments, as JSON text.
        effect: What the server hints at.
    """

    name: str
    description: str
    schema: str
    effect: Effect


class PeerLost(Exception):
    """The connection is over; a call that was under way may or may not have taken effect.

    Attributes:
        words: What the agent is told.
    """

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words
