"""The way out of one connection: whoever sends does not wait, and one task waits for the socket."""

import os
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from socket import SHUT_WR, SO_LINGER, SO_SNDBUF, SOL_SOCKET
from typing import Final

import structlog
import trio
from attrs import define, field, frozen

from bargein.gateway.outbox import Outbox
from bargein.gateway.tls import socket_under

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)

_AT_ONCE: Final = struct.pack("ii", 1, 0)


class ClientStalled(TimeoutError):
    """The client read too little of what was sent to it; it was given up and may resume.

    Attributes:
        limit_s: How long one flush may take, in seconds.
    """

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"the client took too little in {limit_s} s")
        self.limit_s = limit_s


class BufferOverrun(Exception):
    """More was put for a client than any client may hold; it was given up and may resume.

    Attributes:
        limit_bytes: The limit that was passed.
    """

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"over {limit_bytes} bytes were waiting for the client")
        self.limit_bytes = limit_bytes


@frozen
class WireLimits:
    """How much a connection holds, and how long it waits."""

    high_water_bytes: int = 64 * 1024
    """Above this there is no room: about 200 events, too little to matter with 10,000 clients."""

    low_water_bytes: int = 16 * 1024
    """Here there is room again, so that senders don't run on the edge."""

    most_bytes: int = 1024 * 1024
    """Senders with manners stay far below; a flood of pings does not, and is given up.  The largest
    frame that waits is not counted, since no sender can make an event smaller than it is."""

    flush_bytes: int = 16 * 1024
    """What has to be taken within `stall_limit_s`."""

    stall_limit_s: float = 10.0
    """A client that does not take one flush in this time is no reader."""

    heartbeat_s: float = 20.0
    """Time between two pings."""

    open_limit_s: float = 5.0
    """Who has not got its answer this long after it has connected is dropped."""

    close_limit_s: float = 2.0
    """How long the client may take to answer a close, once it has been sent."""

    kernel_bytes: int = 32 * 1024
    """For SO_SNDBUF, which Linux doubles: what the kernel took is at most 64 KiB ahead."""

    past_kernel_bytes: int = 128 * 1024
    """The same while what is sent is long past, and nobody asks how much of it was heard: several
    segments even of loopback, or the receiver lets each wait for its acknowledgement."""

    message_bytes: int = 64 * 1024
    """A larger message is counted and reported, not kept."""

    frame_bytes: int = 256 * 1024
    """A larger message closes the connection with 1009, before it is read."""

    fragments: int = 64
    """A message in more pieces closes the connection with 1009."""

    read_bytes: int = 16 * 1024
    """One read, and with it all that is ever parsed before it is asked for."""


@define(eq=False)
class Egress:
    """Write through to the socket; keep what it does not take, and write that in a task.

    The task lives only while something is left, so an idle connection has none.  Over TLS, or any
    stream that is not a plain socket, every frame goes through the task: what TLS has encrypted has
    to be sent, whole and in order, so nobody may write beside it.

    Attributes:
        _limits: What holds now.
        on_broken: Called when nothing can be written any more; what the client sent before may
            still be readable.
        on_given_up: Called when the client has to be cut, with the reason.
        on_room: Called when there is room again; if it raises, the client is cut.
        stopped: Nothing will be written any more.
    """

    _nursery: trio.Nursery
    _stream: trio.abc.Stream
    _limits: Callable[[], WireLimits]
    on_broken: Callable[[Exception], None]
    on_given_up: Callable[[Exception], None]
    on_room: Callable[[], None] | None = field(default=None, init=False)
    outbox: Outbox = field(factory=Outbox, init=False)
    stopped: bool = field(default=False, init=False)
    full: bool = field(default=False, init=False)
    # Size of each large frame that waits, if none behind it is as large; and put bytes at its end.
    _large: tuple[tuple[int, int], ...] = field(default=(), init=False)
    _sends_past: bool = field(default=False, init=False)
    # The end of the stream, encrypted or not; and the same again where it can be written through.
    _transport: trio.socket.SocketType | None = field(default=None, init=False)
    _socket: trio.socket.SocketType | None = field(default=None, init=False)
    _running: bool = field(default=False, init=False)
    _flush_began_s: float = field(default=0.0, init=False)
    _patience: trio.CancelScope | None = field(default=None, init=False)
    _ends_after_flush: bool = field(default=False, init=False)
    _changed: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)

    def __attrs_post_init__(self) -> None:
        self._transport = socket_under(self._stream)
        if isinstance(self._stream, trio.SocketStream):
            self._socket = self._transport
        # The heard-truth of an interrupt is what the kernel took, so it must not take much.
        self._let_kernel_hold(self._limits().kernel_bytes)

    def send(self, frames: Sequence[bytes], *, first: bool = False, last: bool = False) -> None:
        """Send whole frames, without waiting; never raise.

        Args:
            frames: At least one.
            first: Whether they go before all others.
            last: Whether nothing will follow them; then they may be of any size.
        """
        if self.stopped:
            if not first:
                self.outbox.lose(sum(map(len, frames)))
            return
        taken = 0
        if self._socket is not None and not self._running:
            data = frames[0] if len(frames) == 1 else b"".join(frames)
            taken = self._write(self._socket, data)
            if taken == len(data):
                if not first:
                    self.outbox.pass_through(taken)
                return
        if first:
            self.outbox.put_first(frames)
        else:
            self.outbox.put(frames)
        if self.stopped:  # by this very write
            self.outbox.clear()
            return
        self.outbox.took(taken)
        self._run()
        self._note_size(frames, may_grow=last)

    def end_after_flush(self) -> None:
        """Half-close the stream once all is written; nothing may be sent after this."""
        self._ends_after_flush = True
        if self._running or self.stopped:
            return
        if self._socket is None:
            self._run()
        else:
            self._shut(self._socket)

    def stop(self) -> None:
        """Drop what waits and write nothing more, in the middle of a frame if need be."""
        self.stopped = True
        self.outbox.clear()
        self._changed.unpark_all()

    def discard(self) -> None:
        """Have the kernel drop what it holds of it as soon as the stream is closed."""
        if self._transport is not None:
            # A client that does not read would go on holding the kernel's buffer.
            with suppress(OSError):
                self._transport.setsockopt(SOL_SOCKET, SO_LINGER, _AT_ONCE)

    def let_go(self) -> None:
        """Stop, and tell nobody any more: whoever is told would hold itself in memory."""
        self.stop()
        self.on_broken = self.on_given_up = _nobody
        self.on_room = None

    def renew_patience(self) -> None:
        """Give a flush that is under way the time that is given now, from its beginning on."""
        if self._patience is not None:
            self._patience.deadline = self._flush_began_s + self._limits().stall_limit_s

    def send_past(self, *, is_past: bool) -> None:
        """Let the kernel take more at a time while what is sent *is_past*.

        What it has taken then stays with it: say early enough that the past is over.
        """
        if is_past != self._sends_past:
            self._sends_past = is_past
            limits = self._limits()
            self._let_kernel_hold(limits.past_kernel_bytes if is_past else limits.kernel_bytes)

    async def room(self) -> None:
        """Wait until there is room, or nothing will be written any more."""
        while self.full and not self.stopped:
            await self._changed.park()

    async def flushed(self) -> None:
        """Wait until all is written, or nothing will be written any more."""
        while self._running and not self.stopped:
            await self._changed.park()

    def _let_kernel_hold(self, most_bytes: int) -> None:
        if self._transport is not None:
            with suppress(OSError):  # some systems refuse it where the client has gone again
                self._transport.setsockopt(SOL_SOCKET, SO_SNDBUF, most_bytes)

    def _write(self, socket: trio.socket.SocketType, data: bytes | memoryview) -> int:
        try:
            # A closed socket has the number -1, so this can't hit another one.
            return os.write(socket.fileno(), data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self.stop()
            self.on_broken(error)
            return 0

    def _note_size(self, frames: Sequence[bytes], *, may_grow: bool) -> None:
        size, limits = self.outbox.buffered_bytes, self._limits()
        if size <= limits.high_water_bytes:
            return
        self.full = True
        self._note_large(frames, limits.high_water_bytes)
        # What is no larger than a batch is counted, and a flood is held to the very limit.
        largest_bytes = self._large[0][0] if self._large else 0
        granted_bytes = max(0, largest_bytes - limits.high_water_bytes)
        if size > limits.most_bytes + granted_bytes and not may_grow:
            self.on_given_up(BufferOverrun(limits.most_bytes))

    def _note_large(self, frames: Sequence[bytes], batch_bytes: int) -> None:
        """Forget the large frames that have gone, and note those that were just put."""
        if self._large:
            taken = self.outbox.taken_bytes
            self._large = tuple(large for large in self._large if large[1] > taken)
        if max(map(len, frames)) <= batch_bytes:
            return
        end = self.outbox.put_bytes - sum(map(len, frames))
        for size in map(len, frames):
            end += size
            if size > batch_bytes:
                larger = (large for large in self._large if large[0] > size)
                self._large = (*larger, (size, end))

    def _run(self) -> None:
        if not self._running and not self.stopped:
            self._running = True
            self._nursery.start_soon(self._write_the_rest)

    async def _write_the_rest(self) -> None:
        try:
            while self.outbox.buffered_bytes:
                self._flush_began_s = trio.current_time()
                with trio.CancelScope() as self._patience:
                    self.renew_patience()
                    await self._flush()
                if self._patience.cancelled_caught:
                    self.on_given_up(ClientStalled(self._limits().stall_limit_s))
                self._tell_of_room()
            if self._ends_after_flush and not self.stopped:
                await self._half_close()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            if not self.stopped:
                self.stop()
                self.on_broken(error)
        except Exception as error:  # or one client's callback would end the server
            log.exception("room.callback_failed")
            self.on_given_up(error)
        finally:
            self._running, self._patience = False, None
            if self.outbox.buffered_bytes:  # cancelled, perhaps in the middle of a frame
                self.on_given_up(trio.ClosedResourceError("the connection was cancelled"))
            self._changed.unpark_all()

    async def _flush(self) -> None:
        if self._socket is None:
            most_bytes = self._limits().flush_bytes
            data = self.outbox.peek(most_bytes)[:most_bytes]  # a frame may be far larger
            self.outbox.hand_over(len(data))
            await self._stream.send_all(data)
            self.outbox.arrived()
            return
        left_bytes = min(self._limits().flush_bytes, self.outbox.buffered_bytes)
        while left_bytes > 0:
            await trio.lowlevel.wait_writable(self._socket)
            if self.stopped:
                return
            taken = self._write(self._socket, self.outbox.peek(left_bytes))
            if self.stopped:
                return
            self.outbox.took(taken)
            left_bytes -= taken

    def _tell_of_room(self) -> None:
        if not self.full or self.stopped:
            return
        if self.outbox.buffered_bytes <= self._limits().low_water_bytes:
            self.full, self._large = False, ()
            self._changed.unpark_all()
            if self.on_room is not None:
                self.on_room()

    def _shut(self, socket: trio.socket.SocketType) -> None:
        # The client may have gone first; then there is nothing to close.
        with suppress(OSError):
            socket.shutdown(SHUT_WR)

    async def _half_close(self) -> None:
        if self._transport is not None:
            # TLS has no half-close of its own, but what it runs on has.
            self._shut(self._transport)
        elif isinstance(self._stream, trio.abc.HalfCloseableStream):
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._stream.send_eof()
        else:
            await self._stream.aclose()


def _nobody(_: Exception) -> None:
    """Hear what nobody wants to know any more."""
