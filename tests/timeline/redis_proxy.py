"""A wire between a store and its Redis that can be cut at any byte, held up or led elsewhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio
from attrs import define, field

from bargein.timeline.redis_address import Address

CHUNK_BYTES = 65536


@define(eq=False)
class Proxy:
    """Passes bytes on between clients and the server on a port.

    Attributes:
        target: The server's port; a change holds for connections that come later.
        cut_after_bytes: Cut all connections when so many more bytes of requests have passed.
        answers: Answers pass while it is set.
    """

    target: int
    cut_after_bytes: int | None = None
    cuts: int = 0
    answers: trio.Event = field(factory=trio.Event)
    port: int = field(default=0, init=False)
    _scopes: set[trio.CancelScope] = field(factory=set[trio.CancelScope], init=False)

    def __attrs_post_init__(self) -> None:
        self.answers.set()

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.port)

    def cut(self) -> None:
        """Cut every connection."""
        self.cut_after_bytes = None
        self.cuts += 1
        for scope in self._scopes:
            scope.cancel()

    def hold_answers(self) -> None:
        """Let no answer through until `answers` is set again."""
        self.answers = trio.Event()

    async def serve(self, client: trio.SocketStream) -> None:
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                server = await trio.open_tcp_stream("127.0.0.1", self.target)
            except OSError:
                self._scopes.discard(scope)
                return
            async with server, client, trio.open_nursery() as nursery:
                nursery.start_soon(self._requests, client, server, scope)
                nursery.start_soon(self._answers, server, client, scope)
        self._scopes.discard(scope)

    async def _requests(
        self, client: trio.SocketStream, server: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        try:
            while some := await client.receive_some(CHUNK_BYTES):
                left = self.cut_after_bytes
                if left is not None and left <= len(some):
                    await server.send_all(some[:left])
                    self.cut()
                    return
                if left is not None:
                    self.cut_after_bytes = left - len(some)
                await server.send_all(some)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()

    async def _answers(
        self, server: trio.SocketStream, client: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        try:
            while some := await server.receive_some(CHUNK_BYTES):
                await self.answers.wait()
                await client.send_all(some)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()


@asynccontextmanager
async def proxied(port: int) -> AsyncGenerator[Proxy]:
    """Run a proxy before the server on *port*."""
    proxy = Proxy(port)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        proxy.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, proxy.serve, [listener])
        yield proxy
        nursery.cancel_scope.cancel()
