"""Reading from a socket without the layers above it."""

import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from bargein.gateway.ingress import read_some


@asynccontextmanager
async def pair() -> AsyncGenerator[tuple[trio.SocketStream, trio.SocketStream]]:
    """Yield both ends of a TCP connection: ours, and the client's."""
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with listener:
        theirs = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        ours = await listener.accept()
    async with ours, theirs:
        with trio.fail_after(10):
            yield ours, theirs


async def test_what_is_here_is_read_up_to_the_limit():
    async with pair() as (ours, theirs):
        await theirs.send_all(b"0123456789")
        assert await read_some(ours, 4) == b"0123"
        assert await read_some(ours, 100) == b"456789"


async def test_the_end_is_empty():
    async with pair() as (ours, theirs):
        await theirs.send_eof()
        assert await read_some(ours, 100) == b""


async def test_a_lost_connection_is_broken():
    async with pair() as (ours, theirs):
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await theirs.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await read_some(ours, 100)


async def test_who_waits_while_it_is_closed_is_told():
    async def wait(ours: trio.SocketStream) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await read_some(ours, 100)

    async with pair() as (ours, _), trio.open_nursery() as nursery:
        nursery.start_soon(wait, ours)
        await trio.testing.wait_all_tasks_blocked()
        ours.socket.close()


async def test_a_closed_socket_is_not_read():
    async with pair() as (ours, _):
        ours.socket.close()
        with pytest.raises(trio.ClosedResourceError):
            await read_some(ours, 100)


async def test_cancelling_a_read_loses_nothing():
    async with pair() as (ours, theirs):
        with trio.CancelScope() as scope:
            scope.cancel()
            await read_some(ours, 100)
        assert scope.cancelled_caught
        await theirs.send_all(b"later")
        assert await read_some(ours, 100) == b"later"


async def test_any_other_stream_is_read_as_it_is():
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"hello")
    assert await read_some(ours, 3) == b"hel"
