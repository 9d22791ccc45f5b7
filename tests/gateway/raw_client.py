"""A WebSocket client by hand: nothing reads, answers or repairs anything behind a test's back."""

import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from socket import SO_RCVBUF, SOL_SOCKET
from typing import Any

import trio
from attrs import define, evolve, field
from prometheus_client import CollectorRegistry

from bargein.gateway.connection import WireConnection
from bargein.gateway.egress import WireLimits
from bargein.gateway.handshake import AllowList, Upgrade
from bargein.gateway.handshakes import HandshakeLimits
from bargein.gateway.inbox import Incoming
from bargein.gateway.listener import Edge, Terms, listen
from bargein.gateway.pages import Pages

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
KEY = "MDEyMzQ1Njc4OWFiY2RlZg=="
DEADLINE_S = 10.0
WIRE = ("heartbeat_s", "frame_bytes", "open_limit_s")
"""What a test of the edge may set by itself of all that connections are held to."""


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True
) -> bytes:
    head = bytes([fin << 7 | rsv << 4 | opcode])
    size = len(payload)
    bit = 0x80 if masked else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + size.to_bytes(2)
    else:
        head += bytes([bit | 127]) + size.to_bytes(8)
    if not masked:
        return head + payload
    mask = secrets.token_bytes(4)
    wide = int.from_bytes((mask * (size // 4 + 1))[:size])
    return head + mask + (int.from_bytes(payload) ^ wide).to_bytes(size)


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return code.to_bytes(2) + reason


def request(path: str = "/v1/session", **changes: str | None) -> bytes:
    """Write an upgrade request; a change replaces a header, None leaves it out."""
    headers: dict[str, str | None] = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
    }
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}\r\n" for name, value in headers.items() if value is not None]
    return f"GET {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode("latin-1")


@define(eq=False)
class RawClient:
    stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]
    received: bytearray = field(factory=bytearray)

    async def send(self, *pieces: bytes) -> None:
        await self.stream.send_all(b"".join(pieces))

    async def say(self, text: bytes) -> None:
        await self.send(frame(TEXT, text))

    async def _need(self, size: int) -> None:
        with trio.fail_after(DEADLINE_S):
            while len(self.received) < size:
                more = await self.stream.receive_some()
                if not more:
                    raise EOFError(bytes(self.received))
                self.received += more

    async def _cut(self, size: int) -> bytes:
        await self._need(size)
        taken = bytes(self.received[:size])
        del self.received[:size]
        return taken

    async def read_head(self) -> bytes:
        while (end := self.received.find(b"\r\n\r\n")) < 0:
            await self._need(len(self.received) + 1)
        return await self._cut(end + 4)

    async def read_frame(self) -> tuple[int, bytes]:
        first, second = await self._cut(2)
        assert first & 0x70 == 0
        assert second & 0x80 == 0, "a server does not mask"
        size = second
        if second == 126:
            size = int.from_bytes(await self._cut(2))
        elif second == 127:
            size = int.from_bytes(await self._cut(8))
        return first & 0x0F, await self._cut(size)

    async def read_text(self) -> bytes:
        opcode, payload = await self.read_frame()
        assert opcode == TEXT, (opcode, payload)
        return payload

    async def read_close(self) -> int:
        """Read on until the server closes; return its code, 1006 where there was none."""
        try:
            while True:
                opcode, payload = await self.read_frame()
                if opcode == CLOSE:
                    return int.from_bytes(payload[:2]) if payload else 1005
        except (EOFError, trio.BrokenResourceError):
            return 1006

    async def read_to_end(self) -> bytes:
        with trio.fail_after(DEADLINE_S):
            async for more in self.stream:
                self.received += more
        return bytes(self.received)

    async def is_cut(self) -> bool:
        """Read until the server ends the TCP connection, in either way."""
        with suppress(trio.BrokenResourceError):
            await self.read_to_end()
        return True


async def dial(port: int, *, window_bytes: int | None = None) -> RawClient:
    """Connect by TCP; with a small window the server soon notices that nobody reads."""
    socket = trio.socket.socket()
    if window_bytes is not None:
        socket.setsockopt(SOL_SOCKET, SO_RCVBUF, window_bytes)
    try:
        await socket.connect(("127.0.0.1", port))
    except OSError:
        socket.close()
        raise
    return RawClient(trio.SocketStream(socket))


@asynccontextmanager
async def opened(
    port: int, path: str = "/v1/session", *, window_bytes: int | None = None, **changes: str | None
) -> AsyncGenerator[RawClient]:
    client = await dial(port, window_bytes=window_bytes)
    try:
        await client.send(request(path, **changes))
        head = await client.read_head()
        assert head.startswith(b"HTTP/1.1 101 "), head
        yield client
    finally:
        await trio.aclose_forcefully(client.stream)


async def ask(port: int, *pieces: bytes) -> bytes:
    """Send bytes, and read all that comes back."""
    client = await dial(port)
    try:
        await client.send(*pieces)
        return await client.read_to_end()
    finally:
        await trio.aclose_forcefully(client.stream)


def status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer
    return int(answer[9:12])


def make_pages(**changes: Any) -> Pages:
    return Pages(
        readiness=changes.get("readiness", lambda: (True, "ready")),
        registry=changes.get("registry") or CollectorRegistry(),
        protocol_json=lambda: b'{"asyncapi":"3.0.0"}',
    )


@asynccontextmanager
async def edge_of(
    serve_client: Callable[[WireConnection, Upgrade], Awaitable[None]], **options: Any
) -> AsyncGenerator[Edge]:
    held_to = {name: options.pop(name) for name in WIRE if name in options}
    limits = evolve(options.pop("limits", WireLimits()), **{"heartbeat_s": 3600.0} | held_to)
    few = options.pop("handshake_limits", HandshakeLimits())
    terms = Terms(options.pop("allowed", AllowList()), limits, few)
    options = {"pages": make_pages(), "port": 0, "terms": terms} | options
    async with trio.open_nursery() as nursery:
        edge = await nursery.start(partial(listen, serve_client, **options))
        with trio.fail_after(6 * DEADLINE_S):
            yield edge
        nursery.cancel_scope.cancel()


@define(eq=False)
class Listening:
    """Serve one client at a time: keep its connection, and what it says."""

    connection: WireConnection | None = None
    came: trio.Event = field(factory=trio.Event)
    gone: trio.Event = field(factory=trio.Event)
    heard: list[Incoming] = field(factory=list[Incoming])
    heard_at_s: list[float] = field(factory=list[float])
    hear: Callable[[WireConnection, Incoming], None] | None = None

    async def __call__(self, connection: WireConnection, _: Upgrade) -> None:
        self.connection = connection
        self.came.set()
        try:
            while (message := await connection.receive()) is not None:
                self.heard.append(message)
                self.heard_at_s.append(trio.current_time())
                if self.hear is not None:
                    self.hear(connection, message)
        finally:
            self.gone.set()

    async def wire(self) -> WireConnection:
        with trio.fail_after(DEADLINE_S):
            await self.came.wait()
        assert self.connection is not None
        return self.connection

    async def until_gone(self, within_s: float = DEADLINE_S) -> None:
        with trio.fail_after(within_s):
            await self.gone.wait()

    async def until_heard(self, count: int) -> None:
        with trio.fail_after(DEADLINE_S):
            while len(self.heard) < count:
                await trio.testing.wait_all_tasks_blocked(0.001)


def stall(connection: WireConnection, text: bytes = b"x" * 1000) -> list[int]:
    """Put until nothing more fits, for a client that does not read."""
    positions: list[int] = []
    while connection.has_room:
        positions.append(connection.put(text))
    return positions
