"""A wire to a Redis that can be late, dead for a while, torn, or led to another server."""

from __future__ import annotations

from contextlib import suppress

import trio
from attrs import define, field

CHUNK_BYTES = 65536
MOST_LATE_CHUNKS = 10_000
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


@define(eq=False)
class Wire:
    """Relays TCP from a port of its own to the server on a port.

    Attributes:
        target: The server's port; a change holds for connections that come later.
        delay_s: By which each byte comes later, on each of the two ways.
        port: Where it listens, once it runs.
    """

    target: int
    delay_s: float = 0.0
    port: int = field(default=0, init=False)
    _passes: trio.Event = field(factory=trio.Event, init=False)
    _scopes: set[trio.CancelScope] = field(factory=set[trio.CancelScope], init=False)

    def __attrs_post_init__(self) -> None:
        self._passes.set()

    def fall_silent(self) -> None:
        """Hold all bytes back until `mend`, as where packets are lost; nobody is told."""
        self._passes = trio.Event()

    def mend(self) -> None:
        """Let pass what was held back, and all that comes."""
        self._passes.set()

    def tear(self) -> None:
        """Close every connection; what was under way is lost."""
        for scope in self._scopes:
            scope.cancel()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Relay until cancelled."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._relay, [listener])

    async def _relay(self, client: trio.SocketStream) -> None:
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                async with client:
                    await self._passes.wait()
                    server = await trio.open_tcp_stream("127.0.0.1", self.target)
                    async with server, trio.open_nursery() as nursery:
                        nursery.start_soon(self._carry, client, server, scope)
                        nursery.start_soon(self._carry, server, client, scope)
            except OSError:
                pass  # nobody listens there: the client sees its connection closed
        self._scopes.discard(scope)

    async def _carry(
        self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        send, receive = trio.open_memory_channel[tuple[float, bytes]](MOST_LATE_CHUNKS)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._deliver, receive, sink, scope)
            with suppress(*_GONE):
                while some := await source.receive_some(CHUNK_BYTES):
                    await send.send((trio.current_time() + self.delay_s, some))
            scope.cancel()

    async def _deliver(
        self,
        receive: trio.MemoryReceiveChannel[tuple[float, bytes]],
        sink: trio.SocketStream,
        scope: trio.CancelScope,
    ) -> None:
        with suppress(*_GONE):
            async for due_s, some in receive:
                await trio.sleep_until(due_s)
                await self._passes.wait()
                await sink.send_all(some)
        scope.cancel()
