"""What was put on a connection that had just broken has reached nobody."""

# pyright: reportPrivateUsage=false
# The moment between a client's end and its discovery is made by hand.

from __future__ import annotations

import json
import struct
from socket import SO_LINGER, SOL_SOCKET
from types import MethodType

import trio

from bargein.gateway.cursor import Cursor
from tests.e2e.harness import World, world
from tests.e2e.scripts import by_words
from tests.gateway.raw_client import DEADLINE_S, RawClient, opened

AT_ONCE = struct.pack("ii", 1, 0)
EVENT = b'{"type":"status"}'


async def cursor_of(w: World, raw: RawClient) -> Cursor:
    """Return the server's cursor of a client that has read all there is so far."""
    with trio.fail_after(DEADLINE_S):
        while json.loads(await raw.read_text())["type"] != "session.attached":
            pass
    (wire,) = w.edge.connections
    assert isinstance(wire.on_room, MethodType)
    cursor = wire.on_room.__self__
    assert isinstance(cursor, Cursor)
    return cursor


async def test_the_last_batch_for_a_client_that_was_cut_is_not_counted_as_taken() -> None:
    async with world(by_words({})) as w, opened(w.port, Sec_WebSocket_Protocol="bargein.v1") as raw:
        cursor = await cursor_of(w, raw)
        before = cursor.seq
        assert cursor.taken_seq == before
        cursor._put([EVENT])
        assert cursor.taken_seq == before + 1  # a client that is there has it
        assert isinstance(raw.stream, trio.SocketStream)
        raw.stream.socket.setsockopt(SOL_SOCKET, SO_LINGER, AT_ONCE)
        raw.stream.socket.close()
        cursor._put([EVENT] * 3)  # the server has had no turn to see that it is gone
        assert cursor.seq == before + 4
        assert cursor.taken_seq == before + 1
