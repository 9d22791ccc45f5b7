"""A thin WebSocket client: it costs little, because bots share the machine with the server.

It takes from RFC 6455 what a conversation with bargein needs: text frames in one piece, pings,
closes.  What it reads it does not parse; whole frames come out as bytes, as they are.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

import trio
from attrs import define, field

from examples.bench.arrival import ANCILLARY_BYTES, arrived_s, stamp

SUBPROTOCOL: Final = "bargein.v1"
CONNECT_S: Final = 15.0
"""For connection and handshake: generous, so that a storm of arrivals fails on its own account."""

SEND_S: Final = 10.0
READ_BYTES: Final = 32 * 1024
HEAD_LIMIT_BYTES: Final = 16 * 1024
FRAME_LIMIT_BYTES: Final = 4 * 1024 * 1024

_MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE, _PING, _PONG = 0x81, 0x88, 0x89, 0x8A
_SHORT, _TWO_BYTES = 126, 127


class LinkLost(Exception):
    """The connection is over, or never was; connect again if you want to go on.

    Attributes:
        reason: In words, the same for all that have the same cause.
        close_code: What the server closed with; None where it did not say.
    """

    def __init__(self, reason: str, close_code: int | None = None) -> None:
        super().__init__(reason if close_code is None else f"{reason} {close_code}")
        self.reason = reason
        self.close_code = close_code


@define(eq=False)
class Link:
    """One connection to the server.  Lives until `aclose`, or until a read says it is lost.

    Attributes:
        heard_s: When what was read last had come.
    """

    _stream: trio.SocketStream
    _rest: bytes = b""
    heard_s: float = field(factory=trio.current_time, init=False)
    _reads: socket.socket = field(init=False)
    _sending: bool = field(default=False, init=False)
    _owed: list[bytes] = field(factory=list[bytes], init=False)

    def __attrs_post_init__(self) -> None:
        stamp(self.socket)
        # The same descriptor, to be read without a wait; the stream owns and closes it.  Made
        # last: if anything failed after it, both would close it.
        self._reads = socket.socket(fileno=self.socket.fileno())

    @property
    def socket(self) -> trio.socket.SocketType:
        """The socket, to wait for."""
        return self._stream.socket

    async def read(self) -> list[bytes]:
        """Wait for bytes; return the text messages that they complete, perhaps none.

        Raises:
            LinkLost: If the connection is over.
        """
        try:
            await trio.lowlevel.wait_readable(self.socket)
        except trio.ClosedResourceError:
            raise LinkLost("connection cut") from None
        return self.read_now()

    def read_now(self, most_bytes: int = READ_BYTES) -> list[bytes]:
        """Return the text messages that what is here completes, perhaps none.  Never wait.

        Read *most_bytes* at most.

        Raises:
            LinkLost: If the connection is over.
        """
        try:
            data, beside, _, _ = self._reads.recvmsg(most_bytes, ANCILLARY_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            raise LinkLost("connection cut") from None
        if not data:
            raise LinkLost("connection cut")
        self.heard_s = arrived_s(beside)
        return self._split(self._rest + data if self._rest else data)

    def early(self) -> list[bytes]:
        """Return the messages that came with the upgrade's answer.  Ask before you read."""
        return self._split(self._rest)

    async def send(self, text: bytes) -> None:
        """Send a text message.

        Raises:
            LinkLost: If the connection is over, or the server takes nothing for 10 s.
        """
        await self._send(_masked(_TEXT, text))

    async def abandon(self) -> None:
        """Go without a goodbye, as who walks into a tunnel."""
        self._reads.detach()
        await trio.aclose_forcefully(self._stream)

    async def aclose(self) -> None:
        """Say goodbye, and go without waiting for an answer."""
        try:
            with trio.move_on_after(1):
                await self._send(_masked(_CLOSE, (1000).to_bytes(2)))
        except LinkLost:
            pass
        finally:
            await self.abandon()  # which closes, cancelled or not

    def _split(self, data: bytes) -> list[bytes]:
        messages: list[bytes] = []
        at, size = 0, len(data)
        while at + 2 <= size:
            length, start = data[at + 1], at + 2
            if length == _SHORT:
                start += 2
                length = int.from_bytes(data[at + 2 : start]) if start <= size else size
            elif length == _TWO_BYTES:
                start += 8
                length = int.from_bytes(data[at + 2 : start]) if start <= size else size
            end = start + length
            if end > size:
                break
            if data[at] == _TEXT:
                messages.append(data[start:end])
            else:
                self._control(data[at], data[start:end])
            at = end
        self._rest = data[at:]
        if len(self._rest) > FRAME_LIMIT_BYTES:
            raise LinkLost("frame too large")
        return messages

    def _control(self, kind: int, body: bytes) -> None:
        if kind == _PING:
            self._answer_ping(_masked(_PONG, body))
        elif kind == _CLOSE:
            raise LinkLost("closed by the server", int.from_bytes(body[:2]) or None)
        elif kind != _PONG:
            raise LinkLost("frame of an unexpected kind")

    def _answer_ping(self, pong: bytes) -> None:
        if self._sending:
            self._owed.append(pong)  # or it would enter the middle of a frame
            return
        # So few bytes go as a whole or not at all; the server will ask again.
        with suppress(OSError):
            os.write(self.socket.fileno(), pong)

    async def _send(self, data: bytes) -> None:
        self._sending = True
        try:
            with trio.fail_after(SEND_S):
                await self._stream.send_all(data)
                while self._owed:
                    await self._stream.send_all(self._owed.pop())
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise LinkLost("connection cut") from None
        except trio.TooSlowError:
            raise LinkLost("the server takes nothing") from None
        finally:
            self._sending = False


def _masked(kind: int, body: bytes) -> bytes:
    size = len(body)
    if size < _SHORT:
        head = bytes((kind, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((kind, 0x80 | _SHORT)) + size.to_bytes(2)
    else:
        head = bytes((kind, 0x80 | _TWO_BYTES)) + size.to_bytes(8)
    mask = os.urandom(4)
    pad = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(body) ^ int.from_bytes(pad)).to_bytes(size)
    return head + mask + masked


async def connect(url: str, receive_buffer_bytes: int | None = None) -> Link:
    """Open a session at *url* (`ws://`), or attach to the one that it names.

    With *receive_buffer_bytes* the kernel keeps no more than about that for us.

    Raises:
        LinkLost: If there is no server, or it refuses.
    """
    try:
        with trio.fail_after(CONNECT_S):
            return await _connect(url, receive_buffer_bytes)
    except trio.TooSlowError:
        raise LinkLost("no answer to the upgrade") from None
    except (OSError, trio.BrokenResourceError):
        raise LinkLost("no connection") from None


async def _connect(url: str, receive_buffer_bytes: int | None) -> Link:
    parts = urlsplit(url)
    stream = await trio.open_tcp_stream(parts.hostname or "127.0.0.1", parts.port or 80)
    if receive_buffer_bytes is not None:
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, receive_buffer_bytes)
    try:
        key = base64.b64encode(os.urandom(16))
        target = (parts.path or "/v1/session") + (f"?{parts.query}" if parts.query else "")
        lines = (
            f"GET {target} HTTP/1.1",
            f"Host: {parts.netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key.decode()}",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Protocol: {SUBPROTOCOL}",
        )
        await stream.send_all(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
        return await _upgraded(stream, key)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def _upgraded(stream: trio.SocketStream, key: bytes) -> Link:
    head = b""
    while b"\r\n\r\n" not in head:
        # What follows the head is the server's first frame, and goes to the link.
        piece = await stream.receive_some(4096)
        if not piece or len(head) > HEAD_LIMIT_BYTES:
            raise LinkLost("no answer to the upgrade")
        head += piece
    head, _, rest = head.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if status != [b"101"]:
        raise LinkLost(f"upgrade refused with {b''.join(status).decode(errors='replace')}")
    accept = base64.b64encode(hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest())
    if accept not in head:
        raise LinkLost("no WebSocket server")
    return Link(stream, rest)
