"""Many streams over TLS, read together: a record for each token, and all of them in one call."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from attrs import define, field

from bargein.models.body import BodyBroken, WireBody
from bargein.models.http1 import Framing, UntilClosed
from bargein.models.pace import LONGEST_S, Pace
from bargein.models.readers import FEW, Readers
from bargein.models.wire import READ_BYTES, RECORD_BYTES, Wire, WireBroken
from tests.fakes.certificates import Pair, make_pair
from tests.models.ears import LIMIT_S

STREAMS = FEW + 1
WORDS = [b"%d " % number for number in range(7)]


def slowest() -> Pace:
    """Return a pace that keeps the longest period, because its clock stands still."""
    pace = Pace(lambda: 0.0, lambda: 0.0)
    pace.period_s = LONGEST_S
    return pace


async def settled() -> None:
    """Let what is in the sockets be read, if anybody wants to."""
    for _ in range(5):
        await trio.testing.wait_all_tasks_blocked()


@define(eq=False)
class Listening:
    """One stream, and what it heard of it, piece by piece."""

    wire: Wire
    vendor: ssl.SSLSocket
    wanted: int = 1_000_000
    heard: list[bytes] = field(factory=list[bytes])
    outcome: str = ""

    async def run(self, readers: Readers) -> None:
        """Hear the stream to its end; after so many pieces as are wanted, begin anew."""
        body = WireBody(self.wire, UntilClosed(), readers)
        try:
            while not body.ended:
                await body.pour(self._take, lambda: False)
        except BodyBroken:
            self.outcome = "broken"
        else:
            self.outcome = "ended"

    def _take(self, piece: bytes, framing: Framing) -> bool:
        assert framing.feed(piece) == piece
        self.heard.append(piece)
        return len(self.heard) % self.wanted != 0

    def tell(self, *words: bytes) -> None:
        """Send each word in a record of its own."""
        for word in words:
            self.vendor.sendall(word)

    def take_leave(self) -> None:
        """Say in TLS that nothing follows, and leave the socket open."""
        with suppress(ssl.SSLWantReadError):
            self.vendor.unwrap()


async def _shake_hands(tls: ssl.SSLSocket) -> None:
    while True:
        with suppress(ssl.SSLWantReadError):
            tls.do_handshake()
            return
        await trio.lowlevel.wait_readable(tls)


async def _listening(pair: Pair, near: socket.socket, far: socket.socket) -> Listening:
    near.setblocking(False)
    far.setblocking(False)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    vendor = context.wrap_socket(far, server_side=True, do_handshake_on_connect=False)
    wire = Wire(near)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_shake_hands, vendor)
        nursery.start_soon(partial(wire.encrypt, pair.trusting(), "localhost", LIMIT_S))
    return Listening(wire, vendor)


@asynccontextmanager
async def listening(folder: Path, count: int) -> AsyncGenerator[list[Listening]]:
    """Lend streams that nobody has begun to read."""
    pair = make_pair(folder)
    streams: list[Listening] = []
    try:
        for _ in range(count):
            stream = await _listening(pair, *socket.socketpair())
            streams.append(stream)
        yield streams
    finally:
        for stream in streams:
            stream.wire.close()
            stream.vendor.close()


@asynccontextmanager
async def heard_rarely(folder: Path) -> AsyncGenerator[list[Listening]]:
    """Lend streams that are all being read, and are left alone for the longest period now."""
    readers = Readers(slowest())
    async with listening(folder, STREAMS) as streams, trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(stream.run, readers)
        await settled()
        for stream in streams:
            stream.tell(b"first ")
        await settled()
        assert all(stream.heard == [b"first "] for stream in streams)
        yield streams
        nursery.cancel_scope.cancel()
    readers.close()


async def test_what_came_in_many_records_is_heard_at_once_after_the_period(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with heard_rarely(tmp_path) as streams:
        for stream in streams:
            stream.tell(*WORDS)
        await settled()
        assert all(stream.heard == [b"first "] for stream in streams)
        mock_clock.jump(LONGEST_S)
        await settled()
        assert all(stream.heard == [b"first ", b"".join(WORDS)] for stream in streams)


async def test_an_end_that_was_read_along_with_the_last_words_is_heeded_at_once(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with heard_rarely(tmp_path) as streams:
        for stream in streams:
            stream.tell(*WORDS)
            stream.take_leave()  # the connection stays, and never gets readable again
        mock_clock.jump(LONGEST_S)
        await settled()
        assert all(stream.heard == [b"first ", b"".join(WORDS)] for stream in streams)
        assert {stream.outcome for stream in streams} == {"ended"}


async def test_what_breaks_behind_the_last_words_does_not_swallow_them(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with heard_rarely(tmp_path) as streams:
        broken, *others = streams
        for stream in streams:
            stream.tell(*WORDS)
        with socket.socket(fileno=broken.vendor.detach()) as plain:
            plain.sendall(b"no record of TLS")
            mock_clock.jump(LONGEST_S)
            await settled()
            assert broken.heard == [b"first ", b"".join(WORDS)]
            assert broken.outcome == "broken"
        assert all(other.heard == broken.heard and not other.outcome for other in others)


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_stream_that_is_left_and_taken_up_again_misses_neither_words_nor_end(
    tmp_path: Path, mock_clock: trio.testing.MockClock, *, leaves: bool
) -> None:
    async with heard_rarely(tmp_path) as streams:
        stream = streams[0]
        stream.wanted = 1
        stream.tell(*WORDS)
        if leaves:
            stream.take_leave()
        for _ in range(3):
            mock_clock.jump(LONGEST_S)
            await settled()
        assert stream.heard == [b"first ", b"".join(WORDS)]
        assert stream.outcome == ("ended" if leaves else "")


async def test_a_flood_is_heard_in_order_and_so_much_at_a_time(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with heard_rarely(tmp_path) as streams:
        stream = streams[0]
        flood = b"".join(b"%07d " % number for number in range(12 * 1024))
        stream.vendor.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * len(flood))
        stream.tell(flood)
        pieces = 1 + -(-len(flood) // READ_BYTES)
        for _ in range(pieces):
            mock_clock.jump(LONGEST_S)
            await settled()
        assert b"".join(stream.heard[1:]) == flood
        assert len(stream.heard) == pieces
        assert max(map(len, stream.heard)) < READ_BYTES + RECORD_BYTES


async def test_an_idle_connection_stirs_when_its_end_has_been_read_already(
    tmp_path: Path,
) -> None:
    async with listening(tmp_path, 1) as [stream]:
        wire = stream.wire
        assert wire.receive_nowait() is None
        assert not wire.stirs
        stream.tell(*WORDS)
        stream.take_leave()
        assert wire.receive_nowait() == b"".join(WORDS)
        assert wire.stirs
        assert [wire.receive_nowait(), await wire.receive()] == [b"", b""]


async def test_a_broken_connection_stays_broken(tmp_path: Path) -> None:
    async with listening(tmp_path, 1) as [stream]:
        stream.tell(*WORDS)
        with socket.socket(fileno=stream.vendor.detach()) as plain:
            plain.sendall(b"no record of TLS")
            assert stream.wire.receive_nowait() == b"".join(WORDS)
            for _ in range(2):
                with pytest.raises(WireBroken):
                    stream.wire.receive_nowait()
