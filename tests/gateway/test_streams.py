"""The connection on a stream that is no socket, as in simulations: in virtual time."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio
from trio.testing import lockstep_stream_pair, memory_stream_pair
from websockets.server import ServerProtocol
from websockets.trio.server import Server

from bargein.gateway.connection import WireConnection
from bargein.gateway.egress import ClientStalled
from bargein.gateway.inbox import TextFrame
from tests.gateway.raw_client import CLOSE, TEXT, close_payload, frame, request


async def unserved(_: trio.abc.Stream) -> None:
    raise NotImplementedError


@asynccontextmanager
async def connected(
    ours: trio.abc.Stream, theirs: trio.abc.Stream
) -> AsyncGenerator[WireConnection]:
    async with trio.open_nursery() as nursery:
        wire = WireConnection(nursery, ours, ServerProtocol(), Server([], unserved))
        nursery.start_soon(wire.handshake)
        await theirs.send_all(request())
        assert (await theirs.receive_some()).startswith(b"HTTP/1.1 101")
        await trio.testing.wait_all_tasks_blocked()
        yield wire
        nursery.cancel_scope.cancel()


async def test_messages_pass_both_ways(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = memory_stream_pair()
    async with connected(ours, theirs) as wire:
        wire.put_many([b"a", b"b"])
        wire.put_first(b"first")
        await trio.testing.wait_all_tasks_blocked()
        assert await theirs.receive_some() == b"\x81\x05first\x81\x01a\x81\x01b"
        assert wire.taken_bytes == 6
        assert wire.buffered_bytes == 0
        await theirs.send_all(frame(TEXT, b"hi"))
        assert await wire.receive() == TextFrame("hi")


async def test_what_the_stream_has_not_sent_is_not_taken(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = lockstep_stream_pair()
    async with connected(ours, theirs) as wire:
        position = wire.put(b"a" * 100)
        await trio.testing.wait_all_tasks_blocked()
        assert wire.taken_bytes == 0
        assert wire.buffered_bytes == position
        assert await theirs.receive_some() == b"\x81\x64" + b"a" * 100
        await trio.testing.wait_all_tasks_blocked()
        assert wire.taken_bytes == position


class Plain(trio.abc.Stream):
    """A stream that can't be half-closed, as under TLS."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self.inner = inner

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.inner.aclose()


async def test_a_stream_without_half_close_is_closed_when_all_is_written(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = memory_stream_pair()
    async with connected(Plain(ours), theirs) as wire:
        wire.put(b"bye")
        await theirs.send_all(frame(CLOSE, close_payload(1000)))
        assert await wire.receive() is None
        received = b""
        while more := await theirs.receive_some():
            received += more
        assert received == b"\x81\x03bye\x88\x02" + (1000).to_bytes(2)
        await wire.wait_closed()


async def test_a_cancelled_flush_ends_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = lockstep_stream_pair()
    async with connected(ours, theirs) as wire:
        wire.put(b"half of this")
        await trio.testing.wait_all_tasks_blocked()
        assert wire.buffered_bytes > 0
    assert wire.stream_closed.is_set()
    assert wire.taken_bytes == 0


async def test_a_stalled_client_is_given_up_after_exactly_ten_seconds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = lockstep_stream_pair()
    async with connected(ours, theirs) as wire:
        wire.put(b"nobody reads this")
        stalled_at_s = trio.current_time()
        assert await wire.receive() is None
        assert trio.current_time() - stalled_at_s == 10.0
        assert isinstance(wire.connection_exc, ClientStalled)
        assert wire.taken_bytes == 0


async def test_an_unanswered_close_ends_after_exactly_two_seconds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = memory_stream_pair()
    async with connected(ours, theirs) as wire:
        wire.put(b"bye")
        await trio.testing.wait_all_tasks_blocked()
        closed_at_s = trio.current_time()
        await wire.aclose(4000)
        assert trio.current_time() - closed_at_s == 2.0 + 10.0  # while it is still unwritten
        assert await theirs.receive_some() == b"\x81\x03bye\x88\x02" + (4000).to_bytes(2)


async def test_an_answered_close_half_closes_and_ends_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = memory_stream_pair()
    async with connected(ours, theirs) as wire:
        await theirs.send_all(frame(CLOSE, close_payload(1000)))
        assert await wire.receive() is None
        assert await theirs.receive_some() == b"\x88\x02" + (1000).to_bytes(2)
        assert await theirs.receive_some() == b""
        await theirs.aclose()
        closed_at_s = trio.current_time()
        await wire.wait_closed()
        assert trio.current_time() == closed_at_s


async def test_a_write_to_a_stream_that_broke_ends_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = memory_stream_pair()
    async with connected(ours, theirs) as wire:
        await trio.aclose_forcefully(theirs)
        position = wire.put(b"nobody is there")
        assert await wire.receive() is None
        await wire.wait_closed()
        assert wire.taken_bytes < position
        assert wire.buffered_bytes == 0


async def test_who_waits_on_a_connection_is_woken_by_its_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = lockstep_stream_pair()
    async with connected(ours, theirs) as wire:
        wire.put_many([b"x" * 1000] * 100)
        rooms: list[bool] = []

        async def wait_for_room() -> None:
            rooms.append(await wire.room())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_room)
            nursery.start_soon(wire.wait_closed)
            nursery.start_soon(wire.receive)
            nursery.start_soon(wire.aclose)
            await trio.testing.wait_all_tasks_blocked()
            assert rooms == []
            wire.abort()
        assert rooms == [False]
