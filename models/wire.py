"""The way from an HTTP response back to its socket, for a body that is read token by token.

The layers of an HTTP client cost more per token than everything else we do with it.  So the
connections here are ours: they let the client read the head of a response and not a byte more,
and then either carry on under it as if nothing were (any other response), or let us read the
chunked body straight from the socket.  Only public interfaces of httpx2 and httpcore2 are used.

Importing this module imports both, which takes a while: see `bargein.models.anthropic`.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Generator, Iterable
from contextlib import contextmanager
from typing import Any, Final, TypeAlias, cast

import httpcore2
import httpx2
import trio
from attrs import define, field

READ_BYTES: Final = 64 * 1024
KEEPALIVE_S: Final = 30.0
"""How long an idle connection is kept: shorter than any load balancer on the way would."""

_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
_WHOLE_BODY: Final = b"0\r\n\r\n"

_SOCKET_OPTIONS: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
)

_Stream: TypeAlias = "trio.SocketStream | trio.SSLStream[trio.SocketStream]"


class BodyBroken(Exception):
    """The connection ended before the body did."""


class WireBroken(Exception):
    """The connection broke while we read from it."""


@contextmanager
def _translated(
    timeout_s: float | None, late: type[Exception], broken: type[Exception]
) -> Generator[None]:
    """Raise what httpcore2 promises in place of what trio raises."""
    try:
        with trio.fail_after(float("inf") if timeout_s is None else timeout_s):
            yield
    except trio.TooSlowError as error:
        raise late from error
    except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
        raise broken from error


@define(eq=False)
class Wire(httpcore2.AsyncNetworkStream):
    """A connection that knows where the head of a response ends.

    Lives as long as its socket.
    """

    _stream: _Stream
    _held: bytes = field(default=b"", init=False)
    _tail: bytes = field(default=b"", init=False)
    _at_blank_line: bool = field(default=False, init=False)

    @property
    def at_blank_line(self) -> bool:
        """Whether what was read last ended with a blank line: the client holds no body yet."""
        return self._at_blank_line

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Return what came, but never more than up to the next blank line."""
        if not self._held:
            with _translated(timeout, httpcore2.ReadTimeout, httpcore2.ReadError):
                self._held = bytes(await self._stream.receive_some(max_bytes))
        known = len(self._tail)
        blank = _BLANK_LINE.search(self._tail + self._held)
        end = min(max_bytes, len(self._held) if blank is None else blank.end() - known)
        self._at_blank_line = blank is not None and end == blank.end() - known
        piece, self._held = self._held[:end], self._held[end:]
        # A blank line may straddle two reads; one that was passed on must not be found again.
        self._tail = b"" if self._at_blank_line else (self._tail + piece)[-2:]
        return piece

    async def receive(self) -> bytes:
        """Return what came, whatever it is; nothing at the end of the connection.

        Raises:
            WireBroken: The connection broke.
        """
        if self._held:
            held, self._held = self._held, b""
            return held
        try:
            if isinstance(self._stream, trio.SocketStream):
                return await _read(self._stream.socket)
            return bytes(await self._stream.receive_some(READ_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            raise WireBroken from None

    def pretend_end_of_body(self) -> None:
        """Let the client read an empty chunked body, in place of the one we read under it."""
        self._held = _WHOLE_BODY
        self._tail = b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Send all of *buffer*."""
        if buffer:
            with _translated(timeout, httpcore2.WriteTimeout, httpcore2.WriteError):
                await self._stream.send_all(buffer)

    async def aclose(self) -> None:
        """Close the socket, at once and even when cancelled."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> Wire:
        """Return this connection, encrypted."""
        plain = cast("trio.SocketStream", self._stream)
        tls = trio.SSLStream(
            plain, ssl_context, server_hostname=server_hostname, https_compatible=True
        )
        try:
            with _translated(timeout, httpcore2.ConnectTimeout, httpcore2.ConnectError):
                await tls.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(plain)
            raise
        return Wire(tls)

    def get_extra_info(self, info: str) -> Any:
        """Tell what the pool asks: whether an idle connection has been closed by the server."""
        if info != "is_readable":
            return None
        stream = self._stream
        plain = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        return plain.socket.is_readable()


async def _read(connection: trio.socket.SocketType) -> bytes:
    # Tokens come one by one, so there is nothing to read yet: to wait first saves a system call
    # and two layers for each.
    while True:
        await trio.lowlevel.wait_readable(connection)
        try:
            # A closed socket has the number -1, so this can't hit another one.
            return os.read(connection.fileno(), READ_BYTES)
        except BlockingIOError:
            continue  # woken for nothing


class _Backend(httpcore2.AsyncNetworkBackend):
    """Connects; its connections are wires."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> Wire:
        with _translated(timeout, httpcore2.ConnectTimeout, httpcore2.ConnectError):
            stream = await trio.open_tcp_stream(host, port, local_address=local_address)
        for level, name, value in _SOCKET_OPTIONS:
            stream.setsockopt(level, name, value)
        return Wire(stream)


@define(eq=False)
class _Passage(httpx2.AsyncByteStream):
    """A body on its way up through the client, without a generator of our own."""

    _body: httpcore2.Response

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(cast("AsyncIterable[bytes]", self._body.stream))

    async def aclose(self) -> None:
        await self._body.aclose()


@define(eq=False)
class WireTransport(httpx2.AsyncBaseTransport):
    """Sends a client's requests over wires.

    Lives as long as its client, which closes it.  It knows no proxies: where the environment
    asks for one, use the client's own transport.
    """

    _pool: httpcore2.AsyncConnectionPool

    @classmethod
    def opened(cls, ssl_context: ssl.SSLContext | None, most_idle: int) -> WireTransport:
        """Return a transport that keeps up to *most_idle* connections for further requests."""
        return cls(
            httpcore2.AsyncConnectionPool(
                ssl_context=ssl_context,
                max_connections=None,
                max_keepalive_connections=most_idle,
                keepalive_expiry=KEEPALIVE_S,
                network_backend=_Backend(),
            )
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send *request* and return its response once the head is in.

        Raises:
            httpx2.TransportError: There is no response.
        """
        asked = httpcore2.Request(
            method=request.method,
            url=httpcore2.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=cast("httpx2.AsyncByteStream", request.stream),
            extensions=cast("Any", request).extensions,
        )
        try:
            answer = await self._pool.handle_async_request(asked)
        except httpcore2.ConnectTimeout as error:
            raise httpx2.ConnectTimeout(str(error)) from error
        except httpcore2.TimeoutException as error:
            raise httpx2.ReadTimeout(str(error)) from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            raise httpx2.NetworkError(str(error)) from error
        return httpx2.Response(
            answer.status,
            headers=answer.headers,
            stream=_Passage(answer),
            extensions=cast("Any", answer).extensions,
        )

    async def aclose(self) -> None:
        """Close all connections, those in use as well."""
        await self._pool.aclose()
