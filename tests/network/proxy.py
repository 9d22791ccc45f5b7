"""A fault proxy on loopback: it relays TCP, and does to the bytes what a network may do.

async with proxied(server_port) as proxy:
    proxy.plan(Fault("reset", "down", after_bytes=120))
    ...  # the next client that connects to proxy.port is reset behind its 120th byte
"""

from __future__ import annotations

import random
import struct
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from socket import SO_LINGER, SO_RCVBUF, SO_SNDBUF, SOL_SOCKET
from typing import Final, Literal, TypeAlias

import trio
from attrs import define, field, frozen

Kind: TypeAlias = Literal["pass", "delay", "throttle", "cut", "half_open", "reset"]
Way: TypeAlias = Literal["up", "down", "both"]

KINDS: Final[tuple[Kind, ...]] = ("delay", "throttle", "cut", "half_open", "reset")
WAYS: Final[tuple[Way, ...]] = ("up", "down", "both")

_CHUNK_BYTES: Final = 16 * 1024
_WINDOW_BYTES: Final = 8 * 1024
"""Small, or the kernel's buffers would hide from the server that nobody reads."""

_PIECES_PER_S: Final = 50
_HEAD_END: Final = b"\r\n\r\n"
_RESET: Final = struct.pack("ii", 1, 0)
_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


@frozen
class Fault:
    """What happens to one connection.

    Attributes:
        way: Whose bytes are hit: "up" is from the client to the server.
        after_bytes: So many bytes of that way pass before it happens, counted behind the HTTP head.
        from_start: They are counted from the very first byte instead.
        delay_s: By which every chunk comes later.
        bytes_per_s: To which the way is throttled.
    """

    kind: Kind = "pass"
    way: Way = "both"
    after_bytes: int = 0
    from_start: bool = False
    delay_s: float = 0.02
    bytes_per_s: int = 20_000

    def hits(self, way: Way) -> bool:
        return self.kind != "pass" and self.way in (way, "both")


def drawn(number: int, chance: random.Random) -> Fault:
    """Draw the fault with this number: kinds and ways take turns, the rest is chance."""
    kind = KINDS[number % len(KINDS)]
    way = WAYS[number // len(KINDS) % len(WAYS)]
    most_bytes = 150 if way == "up" else 20_000
    return Fault(
        kind,
        way,
        after_bytes=chance.choice((0, chance.randrange(150), chance.randrange(most_bytes))),
        from_start=chance.random() < 0.1,
        delay_s=chance.choice((0.001, 0.01, 0.05)),
        bytes_per_s=chance.choice((1_000, 10_000, 100_000)),
    )


@define(eq=False)
class _Count:
    """Counts the bytes of one way until the fault is due."""

    left_bytes: int
    in_head: bool
    _tail: bytes = b""

    def due_at(self, data: bytes) -> int | None:
        """Return how much of *data* may pass before the fault; None if all of it."""
        start = 0
        if self.in_head:
            seen = self._tail + data
            end = seen.find(_HEAD_END)
            if end < 0:
                self._tail = seen[-len(_HEAD_END) + 1 :]
                return None
            start = end + len(_HEAD_END) - len(self._tail)
            self.in_head = False
        if len(data) - start <= self.left_bytes:
            self.left_bytes -= len(data) - start
            return len(data) if self.left_bytes == 0 else None
        return start + self.left_bytes


@define(eq=False)
class Relay:
    """One connection through the proxy.

    Attributes:
        acted: The fault has happened.
        over: Nothing is relayed any more.
    """

    fault: Fault
    _client: trio.SocketStream
    _server: trio.SocketStream
    acted: trio.Event = field(factory=trio.Event, init=False)
    over: trio.Event = field(factory=trio.Event, init=False)
    _silent: set[Way] = field(factory=set[Way], init=False)
    _scope: trio.CancelScope = field(factory=trio.CancelScope, init=False)

    async def run(self) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._carry, "up", self._client, self._server)
                    nursery.start_soon(self._carry, "down", self._server, self._client)
        finally:
            for stream in (self._client, self._server):
                stream.socket.close()
            self.over.set()

    def fall_silent(self, way: Way = "both") -> None:
        """Forward nothing more of *way* from now on, and keep the sockets open."""
        self._silent |= {"up", "down"} if way == "both" else {way}
        self.acted.set()

    def reset(self) -> None:
        """Reset both connections now."""
        for stream in (self._client, self._server):
            with suppress(OSError):
                stream.setsockopt(SOL_SOCKET, SO_LINGER, _RESET)
        self.cut()

    def cut(self) -> None:
        """Close both connections now."""
        self.acted.set()
        self._scope.cancel()

    async def _carry(self, way: Way, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        count = _Count(self.fault.after_bytes, not self.fault.from_start)
        hit = self.fault.hits(way)
        due = hit and self.fault.from_start and not self.fault.after_bytes
        try:
            while not due:
                data = await source.receive_some(_CHUNK_BYTES)
                await self._unless_silent(way)
                if not data:
                    await sink.send_eof()
                    return
                passes = count.due_at(data) if hit else None
                await sink.send_all(data if passes is None else data[:passes])
                if passes is not None:
                    await self._act(way, source, sink, data[passes:])
                    return
            await self._act(way, source, sink, b"")
        except _GONE:
            # What the one side did, the other is to see as well: a reset stays a reset.
            self.reset()

    async def _unless_silent(self, way: Way) -> None:
        if way in self._silent:
            await trio.sleep_forever()

    async def _act(
        self, way: Way, source: trio.SocketStream, sink: trio.SocketStream, rest: bytes
    ) -> None:
        self.acted.set()
        match self.fault.kind:
            case "cut":
                self.cut()
            case "reset":
                self.reset()
            case "half_open":
                self.fall_silent(self.fault.way)
                await trio.sleep_forever()
            case "delay" | "throttle":
                await self._crawl(way, source, sink, rest)
            case "pass":
                pass

    async def _crawl(
        self, way: Way, source: trio.SocketStream, sink: trio.SocketStream, data: bytes
    ) -> None:
        slow = self.fault.kind == "throttle"
        piece = max(1, self.fault.bytes_per_s // _PIECES_PER_S) if slow else _CHUNK_BYTES
        while True:
            for start in range(0, len(data), piece):
                part = data[start : start + piece]
                await trio.sleep(len(part) / self.fault.bytes_per_s if slow else self.fault.delay_s)
                await self._unless_silent(way)
                await sink.send_all(part)
            data = await source.receive_some(piece if slow else _CHUNK_BYTES)
            if not data:
                await sink.send_eof()
                return


@define(eq=False)
class Proxy:
    """Relays every connection to a server, each with the next fault that was planned.

    Attributes:
        relays: One for each connection, in the order in which they came.
    """

    server_port: int
    port: int = field(default=0, init=False)
    relays: list[Relay] = field(factory=list[Relay], init=False)
    _planned: deque[Fault] = field(factory=deque[Fault], init=False)

    def plan(self, fault: Fault) -> None:
        """Let the next connection without a plan have this fault."""
        self._planned.append(fault)

    @property
    def latest(self) -> Relay:
        return self.relays[-1]

    @property
    def open(self) -> list[Relay]:
        """The connections that are relayed now; those that are over are forgotten."""
        self.relays = [relay for relay in self.relays if not relay.over.is_set()]
        return self.relays

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._connected, listeners)

    async def _connected(self, client: trio.SocketStream) -> None:
        fault = self._planned.popleft() if self._planned else Fault()
        socket = trio.socket.socket()
        try:
            socket.setsockopt(SOL_SOCKET, SO_RCVBUF, _WINDOW_BYTES)
            await socket.connect(("127.0.0.1", self.server_port))
        except OSError:  # there is no server: the client is to see just that
            socket.close()
            client.setsockopt(SOL_SOCKET, SO_LINGER, _RESET)
            client.socket.close()
            return
        with suppress(OSError):
            client.setsockopt(SOL_SOCKET, SO_SNDBUF, _WINDOW_BYTES)
        relay = Relay(fault, client, trio.SocketStream(socket))
        self.relays.append(relay)
        await relay.run()


@asynccontextmanager
async def proxied(server_port: int) -> AsyncGenerator[Proxy]:
    """Run a proxy in front of the server on *server_port*; at the end all is cut."""
    proxy = Proxy(server_port)
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.serve)
        yield proxy
        nursery.cancel_scope.cancel()
