"""The body of a streamed response, poured piece by piece into whoever takes it.

A chain of async generators whose consumer is cancelled while it does something else is left to
the garbage collector, which warns and closes nothing in time.  Hence no generator on the fast way
here, and on the slow one a `close` that unwinds the client's own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final, Protocol, Self, TypeAlias

import httpcore2
import httpx2
import trio
from attrs import define, field

from bargein.models.http1 import UNFRAMED, Framing, UntilClosed
from bargein.models.readers import Readers, ReadersClosed
from bargein.models.sse import NotHttp
from bargein.models.wire import Wire, WireBroken

FAREWELL_S: Final = 0.05
"""How long the last chunk may follow the last event before we give up the connection: less than
anyone notices, enough to spare the next request a TLS handshake."""

GIVE_UP_S: Final = 1.0
"""How long closing may take where it must not be cancelled."""

Taker: TypeAlias = Callable[[bytes, Framing], bool]
"""Takes what one read brought, frees it of its framing, and says whether it wants more."""

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

    @property
    def ended(self) -> bool:
        """Whether all of it was read."""
        ...

    @property
    def resumes(self) -> bool:
        """Whether it can be poured again after a call that was cancelled; if not, only closed."""
        ...

    async def pour(self, take: Taker, hurries: Callable[[], bool]) -> None:
        """Give *take* what comes, in its framing, until it wants no more, or to the end.

        *take* must not wait.  While it *hurries*, no piece waits for those of other bodies.

        Raises:
            BodyBroken: The connection ended first.
            Exception: What *take* raised.
        """
        ...

    async def finish(self) -> None:
        """Read what is left, if that takes no time, so that the connection can be used again."""
        ...

    async def close(self) -> None:
        """Close the connection, unless it can be used again.  Never fails."""
        ...


@define(eq=False)
class WireBody(httpx2.AsyncByteStream):
    """A body that is read from its connection, together with all others by one task.

    Attributes:
        hand_back: What to do with a connection that can be used again; None where it can't.
    """

    _wire: Wire
    _framing: Framing
    _readers: Readers
    hand_back: Callable[[], None] | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)

    @property
    def ended(self) -> bool:
        """Whether all of it was read."""
        return self._framing.ended

    @property
    def resumes(self) -> bool:
        """That it can be poured again after a cancel: what was read is kept here."""
        return True

    async def pour(self, take: Taker, hurries: Callable[[], bool]) -> None:
        """Give *take* what comes: see `Body`."""

        def more() -> bool:
            while True:
                try:
                    raw = self._wire.receive_nowait()
                except WireBroken:
                    raise BodyBroken from None
                if raw is None:
                    return True
                if not raw:
                    self._end()
                elif not take(raw, self._framing):
                    return False
                if self._framing.ended:
                    return False
                if not self._wire.is_over:
                    return True

        # What came with the head, or lies decrypted, makes no connection readable.
        if not self.ended and more():
            try:
                await self._readers.until(self._wire, more, hurries)
            except ReadersClosed:
                raise BodyBroken from None

    async def finish(self) -> None:
        """Read what is left: see `Body`."""
        if not self.ended:
            with trio.move_on_after(FAREWELL_S), suppress(BodyBroken, NotHttp):
                while await self._read():
                    pass

    async def close(self) -> None:
        """Close the connection: see `Body`."""
        self._close()

    def __aiter__(self) -> Self:
        """Return itself: for the client, where it reads a body as a whole."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece.

        Raises:
            httpx2.RemoteProtocolError: The connection ended first, or speaks no HTTP.
        """
        try:
            piece = await self._read()
        except (BodyBroken, NotHttp) as error:
            raise httpx2.RemoteProtocolError("the body broke off") from error
        if not piece:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """Close the connection: for the client."""
        self._close()

    async def _read(self) -> bytes:
        while not self.ended:
            try:
                raw = await self._wire.receive()
            except WireBroken:
                raise BodyBroken from None
            if not raw:
                self._end()
            elif piece := self._framing.feed(raw):
                return piece
        return b""

    def _end(self) -> None:
        """Take it that the other side has closed the connection."""
        if not isinstance(self._framing, UntilClosed):
            raise BodyBroken
        self._framing.ended = True

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self.ended and not self._framing.surplus and self.hand_back is not None:
            self.hand_back()
        else:
            self._wire.close()


@define(eq=False)
class PlainBody:
    """Any body, read through all layers of the client, which undo any encoding."""

    _response: httpx2.Response
    ended: bool = field(default=False, init=False)
    _pieces: AsyncIterator[bytes] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pieces = self._response.aiter_bytes()

    @property
    def resumes(self) -> bool:
        """That a cancel is the end: it finishes the client's generators."""
        return False

    async def pour(self, take: Taker, hurries: Callable[[], bool]) -> None:
        """Give *take* what comes: see `Body`."""
        del hurries  # no other body is read by this task
        while piece := await self._read():
            if not take(piece, UNFRAMED):
                return
        self.ended = True

    async def finish(self) -> None:
        """Read what is left: see `Body`."""
        with trio.move_on_after(FAREWELL_S), suppress(BodyBroken):
            while await self._read():
                pass

    async def close(self) -> None:
        """Close the connection: see `Body`.

        With the socket closed the next read fails, and its error takes the client's chain of
        generators down in order.
        """
        # Bounded: nothing is left to wait for but what the client has buffered.
        with trio.move_on_after(GIVE_UP_S) as scope, suppress(*_CLIENT_ERRORS):
            scope.shield = True
            await self._response.aclose()
        with trio.move_on_after(GIVE_UP_S) as scope, suppress(*_CLIENT_ERRORS):
            scope.shield = True
            async for _ in self._pieces:
                pass

    async def _read(self) -> bytes:
        try:
            async for piece in self._pieces:
                if piece:
                    return piece
        except _CLIENT_ERRORS:
            raise BodyBroken from None
        return b""
