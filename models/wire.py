"""A connection to a model's service, TCP or TLS, that is read without waiting.

TLS is the standard library's on a socket that never blocks: such a socket can be watched and read
like a plain one, and nobody has to carry its bytes about.
"""

from __future__ import annotations

import errno
import select
import socket
import ssl
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

import trio
from attrs import define, field, frozen

READ_BYTES: Final = 64 * 1024
"""What is read at a time, if there is so much; of TLS, up to the end of a record."""

RECORD_BYTES: Final = 16 * 1024
"""What a record of TLS has at most: to read less could leave a part where no kernel sees it."""

_SOCKET_OPTIONS: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
)
_WOULD_WAIT: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

_Socket: TypeAlias = "socket.socket | ssl.SSLSocket"


class WireBroken(Exception):
    """The connection could not be made, or broke."""


@frozen
class Address:
    """Where a host is, as the socket's family writes it."""

    family: int
    place: tuple[Any, ...]


@define(eq=False)
class Wire:
    """A connection.  Lives until `close`.

    Attributes:
        held: What was read and not wanted: the next `receive` returns it.
        _ending: How the connection was found to end behind what was read last, if it was.
    """

    _socket: _Socket
    held: bytes = b""
    _ending: Literal["closed", "broken"] | None = field(default=None, init=False)

    @classmethod
    async def connected(cls, host: str, port: int, timeout_s: float) -> Wire:
        """Look *host* up and connect to the first of its addresses that answers.

        Raises:
            trio.TooSlowError: It took longer than *timeout_s*.
            WireBroken: Nobody is there.
        """
        try:
            with trio.fail_after(timeout_s):
                stream = await trio.open_tcp_stream(host, port)
            family, kind, number = stream.socket.family, stream.socket.type, stream.socket.proto
            plain = socket.socket(family, kind, number, fileno=stream.socket.detach())
            plain.settimeout(0)
            for level, name, value in _SOCKET_OPTIONS:
                plain.setsockopt(level, name, value)
        except OSError:
            raise WireBroken from None
        return cls(plain)

    @classmethod
    async def connected_to(cls, address: Address) -> Wire:
        """Connect to *address*, without a look at any other.  Set a deadline around it.

        Raises:
            WireBroken: Nobody is there.
        """
        plain = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            plain.settimeout(0)
            for level, name, value in _SOCKET_OPTIONS:
                plain.setsockopt(level, name, value)
            error = plain.connect_ex(address.place)
            if error == errno.EINPROGRESS:
                await trio.lowlevel.wait_writable(plain)
                error = plain.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except BaseException as error:
            plain.close()
            if isinstance(error, OSError):
                raise WireBroken from None
            raise
        if error:
            plain.close()
            raise WireBroken
        return cls(plain)

    @property
    def address(self) -> Address | None:
        """Where it leads to; None once that is gone."""
        try:
            return Address(self._socket.family, self._socket.getpeername())
        except OSError:
            return None

    async def encrypt(
        self,
        context: ssl.SSLContext,
        host: str,
        timeout_s: float,
        session: ssl.SSLSession | None = None,
    ) -> None:
        """Go on in TLS, with whoever proves to be *host*.

        A *session* of an earlier connection to *host*, in the same context, spares both sides
        most of the handshake, where the other one still knows it.

        Raises:
            trio.TooSlowError: The handshake took longer than *timeout_s*.
            WireBroken: It failed.  Close the wire.
        """
        try:
            tls = context.wrap_socket(
                self._socket,
                server_hostname=host,
                do_handshake_on_connect=False,
                session=session,
            )
            self._socket = tls
            with trio.fail_after(timeout_s):
                await _shake_hands(tls)
        except (OSError, ValueError):  # a ValueError is a host that can be no certificate's
            raise WireBroken from None

    @property
    def session(self) -> ssl.SSLSession | None:
        """What spares the next connection a handshake; None if there is nothing yet.

        The other side gives it after the handshake, so ask when something has been read.
        """
        return self._socket.session if isinstance(self._socket, ssl.SSLSocket) else None

    async def send(self, pieces: Sequence[bytes]) -> None:
        """Send all *pieces*, one after the other.

        Raises:
            WireBroken: The connection broke.
        """
        left = [memoryview(piece) for piece in pieces if piece]
        if isinstance(self._socket, ssl.SSLSocket):
            left = [memoryview(b"".join(left))]  # each would be a record of its own
        try:
            while left:
                try:
                    _drop(left, self._send_some(left))
                except ssl.SSLWantReadError:
                    await trio.lowlevel.wait_readable(self._socket)
                except _WOULD_WAIT:
                    await trio.lowlevel.wait_writable(self._socket)
        except (OSError, trio.ClosedResourceError):
            raise WireBroken from None

    def _send_some(self, pieces: list[memoryview]) -> int:
        if isinstance(self._socket, ssl.SSLSocket):
            return self._socket.send(pieces[0])
        return self._socket.sendmsg(pieces)

    async def receive(self) -> bytes:
        """Wait for bytes and return them; nothing at the end of the connection.

        Raises:
            WireBroken: The connection broke.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        raw = self.receive_nowait()
        if raw is not None:
            # Or a server that floods us would have us alone.
            await trio.lowlevel.cancel_shielded_checkpoint()
        while raw is None:
            try:
                await trio.lowlevel.wait_readable(self._socket)
            except trio.ClosedResourceError:
                raise WireBroken from None
            raw = self.receive_nowait()
        return raw

    def receive_nowait(self) -> bytes | None:
        """Return what is there, nothing at the end of the connection, None if that is to come.

        Raises:
            WireBroken: The connection broke.
        """
        if self.held:
            held, self.held = self.held, b""
            return held
        if isinstance(self._socket, ssl.SSLSocket):
            return self._receive_records(self._socket)
        try:
            return self._socket.recv(READ_BYTES)
        except _WOULD_WAIT:
            return None
        except OSError:
            raise WireBroken from None

    @property
    def is_over(self) -> bool:
        """Whether its end was read along with what came before: nothing more makes it readable."""
        return self._ending is not None

    def _receive_records(self, tls: ssl.SSLSocket) -> bytes | None:
        # One call brings one record, and a vendor sends each token in a record of its own.
        records: list[bytes] = []
        left_bytes = READ_BYTES
        try:
            while left_bytes > 0 and self._ending is None:
                record = tls.recv(RECORD_BYTES)
                if record:
                    records.append(record)
                    left_bytes -= len(record)
                else:
                    self._ending = "closed"
        except _WOULD_WAIT:
            if not records:
                return None
        except OSError:
            self._ending = "broken"
        if not records and self._ending == "broken":
            raise WireBroken
        return b"".join(records)

    def fileno(self) -> int:
        """Return the file descriptor, -1 once it is closed."""
        return self._socket.fileno()

    @property
    def stirs(self) -> bool:
        """Whether there is something to read: on an idle connection, that it was closed."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(self.held or self.is_over or poll.poll(0))

    def close(self) -> None:
        """Close it at once, without a farewell.  A second time does nothing."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


async def _shake_hands(tls: ssl.SSLSocket) -> None:
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(tls)
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(tls)
        else:
            return


def _drop(pieces: list[memoryview], sent_bytes: int) -> None:
    """Take what has been sent from *pieces*, which has none without bytes."""
    while pieces and sent_bytes >= len(pieces[0]):
        sent_bytes -= len(pieces.pop(0))
    if sent_bytes:
        pieces[0] = pieces[0][sent_bytes:]
