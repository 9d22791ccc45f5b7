"""Sends requests over connections of ours, which are kept for those that follow.

The layers of an HTTP client cost more per token, and per request, than all else that we do with
it: so there are none between a request and its socket.

Importing this module imports httpx2, which takes a while: see `bargein.models.anthropic`.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import trio
from attrs import define, field, frozen

from bargein.models.body import WireBody
from bargein.models.http1 import Head, framing_of, split_head
from bargein.models.readers import Readers
from bargein.models.wire import Address, Wire, WireBroken

KEEPALIVE_S: Final = 30.0
"""How long an idle connection is kept: shorter than any load balancer on the way would."""

KNOWN_S: Final = 30.0
"""How long the address that answered last is called first, before names are looked up again."""

KNOWN_PATIENCE_S: Final = 1.0
"""How long that address may take, before all of them are asked."""


@frozen
class Origin:
    """Whom a request is for.

    Attributes:
        secure: It speaks TLS.
    """

    host: str
    port: int
    secure: bool


@define(eq=False)
class _Idle:
    """A connection that waits for its next request."""

    wire: Wire
    since_s: float

    @property
    def usable(self) -> bool:
        return trio.current_time() - self.since_s < KEEPALIVE_S and not self.wire.stirs


@define(eq=False)
class Transport:
    """Sends requests to one origin.  Lives until `close`.  It knows no proxies.

    Attributes:
        _ssl_context: Whom to trust; without one there is no way to an origin that speaks TLS.
        _most_idle: How many connections to keep for further requests.
        _connect_s: How long a connection may take, and as long again its handshake.
    """

    origin: Origin
    _readers: Readers
    _ssl_context: ssl.SSLContext | None
    _most_idle: int
    _connect_s: float
    _idle: deque[_Idle] = field(factory=deque[_Idle], init=False)
    _known: tuple[Address, float] | None = field(default=None, init=False)
    _session: ssl.SSLSession | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)

    async def ask(self, message: Sequence[bytes]) -> tuple[Head, WireBody]:
        """Send *message*, a whole request in pieces; return what is answered once its head is in.

        Close the body, whatever happens.

        Raises:
            trio.TooSlowError: The connection took too long.
            WireBroken: There is no connection, or it broke.
            NotHttp: What is answered can't be read.
        """
        kept = self._kept()
        wire = kept or await self._connected()
        try:
            head = await _asked(wire, message)
            body = WireBody(wire, framing_of(head), self._readers)
        except BaseException:
            wire.close()
            raise
        if kept is None and self.origin.secure:
            self._session = wire.session or self._session
        if head.keeps_alive:
            body.hand_back = lambda: self._keep(wire)
        return head, body

    async def _connected(self) -> Wire:
        origin = self.origin
        if origin.secure and self._ssl_context is None:
            raise WireBroken
        with trio.fail_after(self._connect_s):
            wire = await self._connected_to_known()
            if wire is None:
                wire = await Wire.connected(origin.host, origin.port, self._connect_s)
                address = wire.address
                self._known = address and (address, trio.current_time() + KNOWN_S)
        if origin.secure and self._ssl_context is not None:
            try:
                await wire.encrypt(self._ssl_context, origin.host, self._connect_s, self._session)
            except BaseException as error:
                wire.close()
                if isinstance(error, WireBroken):
                    self._session = None  # it may be why
                raise
        return wire

    async def _connected_to_known(self) -> Wire | None:
        if self._known is None:
            return None
        address, until_s = self._known
        if trio.current_time() < until_s:
            with suppress(WireBroken), trio.move_on_after(KNOWN_PATIENCE_S):
                return await Wire.connected_to(address)
        self._known = None
        return None

    def _kept(self) -> Wire | None:
        """Return a connection that is open already, the one used last."""
        idle = self._idle
        while idle:
            kept = idle.pop()
            if kept.usable:
                return kept.wire
            kept.wire.close()
        return None

    def _keep(self, wire: Wire) -> None:
        if self._closed:
            wire.close()
            return
        idle = self._idle
        idle.append(_Idle(wire, trio.current_time()))
        while len(idle) > self._most_idle or not idle[0].usable:
            idle.popleft().wire.close()
            if not idle:
                return

    def close(self) -> None:
        """Close the idle connections; the others are closed by those who use them."""
        self._closed = True
        while self._idle:
            self._idle.pop().wire.close()


async def _asked(wire: Wire, message: Sequence[bytes]) -> Head:
    """Send *message* and return the head of what is answered; the wire holds what follows it."""
    # A server may refuse a request before it has read it, and say so.
    with suppress(WireBroken):
        await wire.send(message)
    read = b""
    while True:
        raw = await wire.receive()
        if not raw:
            raise WireBroken
        read += raw
        split = split_head(read)
        if split is not None:
            head, wire.held = split
            return head
