"""A server connection on which an interrupt never waits for a slow reader.

The trio flavour of `websockets` 17.4 takes its send lock after every read, so a client that has
stopped reading is not heard; a cancelled send leaves half a frame on the wire; a client that is
quick to close after the handshake may never be served.  Here nobody waits to send (see `egress`),
and reading is done by the task that calls `receive`: it costs no hop, and where nobody calls it
the client has to wait while nothing piles up.  So an idle connection has one task, its server's.
It overrides internals of the library, which is pinned; every trap has its test.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import structlog
import trio
from websockets.frames import DATA_OPCODES, CloseCode, Frame
from websockets.http11 import Request, Response
from websockets.protocol import OPEN, Event
from websockets.server import ServerProtocol
from websockets.trio.server import Server, ServerConnection

from bargein.gateway.egress import Egress, WireLimits
from bargein.gateway.handshake import Upgrade
from bargein.gateway.handshakes import Handshake
from bargein.gateway.inbox import Inbox, Incoming, TooManyFragments
from bargein.gateway.ingress import read_some
from bargein.gateway.outbox import text_frame
from bargein.gateway.request_head import MALFORMED, SECURITY_HEADERS, Refusal, read_head
from bargein.gateway.sparse_log import SparseLog
from bargein.gateway.tls import shake_hands, socket_under

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)
_refused: Final = SparseLog(log)

_CLOSE_REASON_BYTES: Final = 123  # what RFC 6455 leaves for it in a control frame


class WireConnection(ServerConnection):
    """Send without waiting; read when asked; end by itself.

    Made by `websockets.trio.serve`; lives as long as the TCP connection.  One task calls `receive`,
    any of the same trio run may put.  The library's `send`, `recv` and `ping` are not for use.

    Attributes:
        agreed: What held when it came; the sizes of messages stay so, since `hello` says them.
        egress: Its way out.
        under_way: Its handshake; None where nobody counts it.
        upgrade: What the client asked for; None until its request was read.
        address: Where it comes from, as limits count it; empty where that is no network address.
        last_message_s: When its last message was read, or it came (trio's clock, seconds).
        last_heard_s: When the last whole frame was read (trio's clock, seconds).
        pinged_s: When the last ping was sent (trio's clock, seconds).
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        stream: trio.abc.Stream,
        protocol: ServerProtocol,
        server: Server,
        *,
        limits: Callable[[], WireLimits] = WireLimits,
        handshake: Handshake | None = None,
        **_options: Any,
    ) -> None:
        self.upgrade: Upgrade | None = None
        self.last_heard_s = self.last_message_s = self.pinged_s = trio.current_time()
        self._limits = limits
        self.under_way = handshake
        self.address = "" if handshake is None else handshake.address
        self.egress = Egress(nursery, stream, self._limits, self._break, self.abort)
        self.agreed = agreed = limits()
        protocol.max_message_size = agreed.frame_bytes
        self._inbox = Inbox(agreed.message_bytes, agreed.fragments)
        self._incoming: list[Incoming] = []  # of one read; an empty deque takes 760 bytes
        self._deaf = False  # what arrives is dropped
        self._heard_all = False  # the client has closed its side of the TCP connection
        self._reading = self._closing = False
        self._read_ended = trio.lowlevel.ParkingLot()
        logger = protocol.logger
        # Last: it starts `recv_events`.  The library's clocks are off: each would wait for a lock.
        super().__init__(nursery, stream, protocol, server, ping_interval=None, close_timeout=None)
        # What its own `recv`, `send` and log lines need takes 4 KiB, and is not used here.
        del self.recv_messages, self.send_lock
        self.logger = protocol.logger = logger

    # --- for senders ---------------------------------------------------------------------------

    @property
    def buffered_bytes(self) -> int:
        """Count what was put, of every kind, and the kernel has not taken."""
        return self.egress.outbox.buffered_bytes

    @property
    def put_bytes(self) -> int:
        """Count the frames that were ever put in order, headers included."""
        return self.egress.outbox.put_bytes

    @property
    def taken_bytes(self) -> int:
        """Count what the kernel took of them; compare it with the positions that `put` returns."""
        return self.egress.outbox.taken_bytes

    @property
    def is_open(self) -> bool:
        """Whether what is put now is meant to be sent."""
        return self.protocol.state is OPEN and not self.egress.stopped

    @property
    def has_room(self) -> bool:
        """Whether a sender with manners may put more; never once the connection is closing."""
        return not self.egress.full and self.is_open

    @property
    def on_room(self) -> Callable[[], None] | None:
        """What is called when there is room again, so that a sender needs no task of its own.

        It must not wait; if it raises, the connection is cut.  Never called when that ends.
        """
        return self.egress.on_room

    @on_room.setter
    def on_room(self, callback: Callable[[], None] | None) -> None:
        self.egress.on_room = callback

    def put(self, text: bytes) -> int:
        """Send one text message, without waiting; do nothing if the client is gone.

        Args:
            text: UTF-8.

        Returns:
            The position at which its frame ends: it has wholly gone to the kernel once
            `taken_bytes` has reached this.
        """
        self._push([text_frame(text)])
        return self.put_bytes

    def put_many(self, texts: Iterable[bytes]) -> list[int]:
        """Send several messages with one write; return the position of each, as `put` does."""
        frames = [text_frame(text) for text in texts]
        position = self.put_bytes
        if frames:
            self._push(frames)
        return [position := position + len(frame) for frame in frames]

    def put_first(self, text: bytes) -> None:
        """Send one message ahead of all that has not begun, without waiting.

        Several keep their order, so nothing overtakes a greeting sent like this.  They are not
        counted in `put_bytes`.
        """
        if self.protocol.state is OPEN:
            self.egress.send([text_frame(text)], first=True)

    async def room(self) -> bool:
        """Wait until there is room; return False if there will be none.  Cancelling is harmless."""
        await trio.lowlevel.checkpoint()
        await self.egress.room()
        return self.is_open

    def ping_soon(self) -> None:
        """Ask the client for a sign of life, which will show in `last_heard_s`."""
        if self.is_open:
            self.pinged_s = trio.current_time()
            self.protocol.send_ping(b"")
            self._take_writes()

    def close_soon(self, code: int = 1000, reason: str = "") -> None:
        """Start to close, without waiting: all that was put is still sent, then the close.

        A client that takes too little in `stall_limit_s`, or does not answer in `close_limit_s`,
        is cut.  Messages that were not received yet are dropped.

        Raises:
            websockets.exceptions.ProtocolError: If a close frame can't have that code.
        """
        if self.protocol.state is not OPEN:
            return
        brief = reason.encode()[:_CLOSE_REASON_BYTES].decode(errors="ignore")
        self.protocol.send_close(code, brief)
        self._deaf = True
        self._incoming.clear()
        if self.egress.stopped:
            self.abort()
        self._take_writes()

    def abort(self, why: Exception | None = None) -> None:
        """Cut the TCP connection at once; what is buffered, here or in the kernel, is lost."""
        if not self.stream_closed.is_set():
            self.egress.discard()
        self._end(why or trio.ClosedResourceError("the connection was aborted"))

    # --- for the reader ------------------------------------------------------------------------

    @property
    def unread(self) -> int:
        """Count the messages that `receive` would return without reading: those of one read."""
        return len(self._incoming)

    async def receive(self) -> Incoming | None:
        """Wait for the next message; return None once no more will come.

        Cancelling it loses nothing.  Pings are answered, and the client's close is noticed, only
        while somebody waits here, so call it again soon.
        """
        if self._incoming or self.protocol.state is not OPEN:
            await trio.lowlevel.checkpoint()  # a read is one itself
        while not self._incoming:
            if self.protocol.state is not OPEN:
                return None
            await self._read_once()
        return self._incoming.pop(0)

    async def _read_once(self) -> None:
        self._reading = True
        try:
            received = await read_some(self.stream, self._limits().read_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._end(error)
            return
        finally:
            self._reading = False
            self._read_ended.unpark_all()
        if not received:
            self._hear_the_end()
            return
        self.protocol.receive_data(received)
        for event in self.protocol.events_received():
            self.last_heard_s = trio.current_time()
            self.process_event(event)
        self._take_writes()

    def _hear_the_end(self) -> None:
        self._heard_all = True
        self.protocol.receive_eof()
        self._take_writes()
        if not self._closing:
            self._end(None)

    def _take_frame(self, frame: Frame) -> None:
        if frame.opcode not in DATA_OPCODES or self._deaf:
            return
        try:
            message = self._inbox.take(frame.opcode, bytes(frame.data), final=frame.fin)
        except TooManyFragments as error:
            self._deaf = True
            self.set_connection_exc(error)
            self.protocol.fail(CloseCode.MESSAGE_TOO_BIG, str(error))
        else:
            if message is not None:
                self._incoming.append(message)
                self.last_message_s = self.last_heard_s

    # --- what websockets calls -----------------------------------------------------------------

    async def recv_events(self) -> None:
        """Read the request's head; all after it is read by `receive`, or by the closer."""
        try:
            await self._read_head()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._end(error)
        except Exception as error:  # or one client's exception would end the server
            log.exception("request.failed")
            self._end(error)

    async def _read_head(self) -> None:
        await shake_hands(self.stream, self.address)
        whole = await read_head(self.stream, self._limits().read_bytes)
        if whole is None:
            self._end(None)
            return
        if isinstance(whole, Refusal):
            self.protocol.send_response(self.refuse(whole))
        else:
            self.protocol.receive_data(whole)
            for event in self.protocol.events_received():
                self.process_event(event)
            if self.request is None:  # the library would close without a word
                self.egress.send([self.refuse(MALFORMED).serialize()])
        self._take_writes()

    async def handshake(self, *args: Any, **kwargs: Any) -> None:
        """Answer the request; forget it afterwards, since nothing else is as large."""
        try:
            with trio.fail_after(self._limits().open_limit_s):
                await super().handshake(*args, **kwargs)
        finally:
            if self.request is not None:
                self.request.headers.clear()  # the protocol's parser never lets go of it
            self.request = self.response = None
            vars(self.protocol).pop("select_subprotocol", None)  # it holds this connection
            if self.protocol.state is not OPEN:  # refused, or it took too long
                self._end(None)
            if self.under_way is not None:
                self.under_way.end()

    def refuse(self, refusal: Refusal) -> Response:
        """Make the answer to a request that is not served."""
        _refused.info("request.refused", status=int(refusal.status), address=self.address)
        response = self.protocol.reject(refusal.status, refusal.sentence + "\n")
        response.headers.update((*SECURITY_HEADERS, *refusal.headers))
        return response

    def process_event(self, event: Event) -> None:
        """Take in one event of the protocol."""
        if isinstance(event, Frame):
            self._take_frame(event)
        elif isinstance(event, Request):
            self.request = event
            self.request_rcvd.set()

    async def send_data(self) -> None:
        """Take what the protocol wants sent; never wait, since the library calls this anywhere."""
        self._take_writes()

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close, and wait until it is done; cancelled, cut the connection."""
        self.close_soon(code, reason)
        try:
            await self.stream_closed.wait()
        finally:
            self.abort()

    async def close_stream(self) -> None:
        """End at once."""
        self._end(None)
        await trio.lowlevel.checkpoint()

    def set_connection_exc(self, exc: BaseException | None) -> None:
        """Note what ended it, without the calls on the way: they hold this connection."""
        super().set_connection_exc(None if exc is None else exc.with_traceback(None))

    # --- the way out and the end ---------------------------------------------------------------

    def _push(self, frames: list[bytes]) -> None:
        if self.protocol.state is OPEN:
            self.egress.send(frames)
        else:
            self.egress.outbox.lose(sum(map(len, frames)))

    def _take_writes(self) -> None:
        frames: list[bytes] = []
        ends = False
        for written in self.protocol.data_to_send():
            if written:
                frames.append(written)
            else:  # how the protocol says: half-close
                ends = True
        if frames:
            # A pong overtakes all, but a close comes last.
            self.egress.send(frames, first=self.protocol.state is OPEN, last=ends)
        if ends:
            self.egress.end_after_flush()
        if self.protocol.close_expected():
            self._close_later()

    def _break(self, error: Exception) -> None:
        """Take note that nothing can be written, and let what was sent before be read."""
        self.set_connection_exc(error)
        self._close_later()

    def _close_later(self) -> None:
        if not self._closing and not self.stream_closed.is_set():
            self._closing = True
            self.nursery.start_soon(self._finish_closing)

    async def _finish_closing(self) -> None:
        limits = self._limits()
        limit_s = limits.close_limit_s + (limits.stall_limit_s if self.buffered_bytes else 0)
        try:
            with trio.move_on_after(limit_s):
                await self._hear_out()
                await self.egress.flushed()
        finally:
            self._end(None)

    async def _hear_out(self) -> None:
        while not self._heard_all and not self.stream_closed.is_set():
            # Only one task may read, and `receive` may still want what came before the end.
            if self._reading or self.protocol.state is OPEN:
                await self._read_ended.park()
            else:
                await self._read_once()

    def _end(self, why: Exception | None) -> None:
        if self.stream_closed.is_set():
            return
        if why is not None:
            self.set_connection_exc(why)
        self.egress.let_go()
        if (socket := socket_under(self.stream)) is not None:
            socket.close()
        else:
            self.nursery.start_soon(trio.aclose_forcefully, self.stream)
        self.protocol.receive_eof()
        self.protocol.data_to_send()
        self.acknowledge_pending_pings()
        self.stream_closed.set()
        self._read_ended.unpark_all()
