"""The body of a streamed response, read piece by piece.

A chain of async generators whose consumer is cancelled while it does something else is left to
the garbage collector, which warns and closes nothing in time.  Hence no generator on the fast way
here, and on the slow one a `close` that unwinds the client's own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final, Protocol

import httpcore2
import httpx2
import trio
from attrs import define, field

from bargein.models.sse import Dechunker
from bargein.models.wire import Wire, WireBroken

FAREWELL_S: Final = 0.05
"""How long the last chunk may follow the last event before we give up the connection: less than
anyone notices, enough to spare the next request a TLS handshake."""

GIVE_UP_S: Final = 1.0
"""How long closing may take where it must not be cancelled."""

_CLIENT_ERRORS: Final = (
    httpx2.HTTPError,
    httpx2.StreamError,
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
)


class BodyBroken(Exception):
    """The connection ended before the body did."""


class Body(Protocol):
    """The body of a response.  Lives as long as the response."""

    async def read(self) -> bytes:
        """Return what came next, decoded; nothing at the end.

        After a cancelled read only `close` makes sense, unless the cancellation was ours and the
        body is a `ChunkedBody`.

        Raises:
            BodyBroken: The connection ended first.
            NotHttp: The bytes are no chunked body.
        """
        ...

    async def finish(self) -> None:
        """Hand the connection back for the next request, if that takes no time."""
        ...

    async def close(self) -> None:
        """Close the connection unless it was handed back.  Never fails."""
        ...


@define(eq=False)
class ChunkedBody:
    """A chunked body, read from the socket below the client."""

    _response: httpx2.Response
    _wire: Wire
    _chunks: Dechunker = field(factory=Dechunker, init=False)

    async def read(self) -> bytes:
        """Return what came next: see `Body`."""
        while not self._chunks.ended:
            try:
                raw = await self._wire.receive()
            except WireBroken:
                raise BodyBroken from None
            if not raw:
                raise BodyBroken
            body = self._chunks.feed(raw)
            if body:
                return body
        return b""

    async def finish(self) -> None:
        """Hand the connection back: see `Body`."""
        with trio.move_on_after(FAREWELL_S), suppress(BodyBroken, ValueError):
            while await self.read():
                pass
        if self._chunks.ended and not self._chunks.surplus:
            self._wire.pretend_end_of_body()
            with suppress(*_CLIENT_ERRORS):
                await _exhaust(self._response.aiter_raw())

    async def close(self) -> None:
        """Close the connection: see `Body`."""
        await _close(self._response)


@define(eq=False)
class PlainBody:
    """Any body, read through all layers of the client, which undo any encoding."""

    _response: httpx2.Response
    _pieces: AsyncIterator[bytes] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pieces = self._response.aiter_bytes()

    async def read(self) -> bytes:
        """Return what came next: see `Body`."""
        try:
            async for piece in self._pieces:
                if piece:
                    return piece
        except _CLIENT_ERRORS:
            raise BodyBroken from None
        return b""

    async def finish(self) -> None:
        """Hand the connection back: see `Body`."""
        with trio.move_on_after(FAREWELL_S), suppress(BodyBroken):
            while await self.read():
                pass

    async def close(self) -> None:
        """Close the connection: see `Body`.

        With the socket closed the next read fails, and its error takes the client's chain of
        generators down in order.
        """
        await _close(self._response)
        # Bounded: nothing is left to wait for but what the client has buffered.
        with trio.move_on_after(GIVE_UP_S) as scope, suppress(*_CLIENT_ERRORS):
            scope.shield = True
            await _exhaust(self._pieces)


def body_of(response: httpx2.Response) -> Body:
    """Return the body of *response* in the fastest way that reads it correctly."""
    wire = response.extensions.get("network_stream")
    headers = response.headers
    if (
        isinstance(wire, Wire)
        and wire.at_blank_line
        and headers.get("transfer-encoding", "").strip().lower() == "chunked"
        and headers.get("content-encoding", "identity").strip().lower() == "identity"
        and response.extensions.get("http_version") == b"HTTP/1.1"
    ):
        return ChunkedBody(response, wire)
    return PlainBody(response)


async def _close(response: httpx2.Response) -> None:
    # The socket is closed before anything waits; the shield lets the pool know of it too.
    with trio.move_on_after(GIVE_UP_S) as scope, suppress(*_CLIENT_ERRORS):
        scope.shield = True
        await response.aclose()


async def _exhaust(pieces: AsyncIterator[bytes]) -> None:
    async for _ in pieces:
        pass
