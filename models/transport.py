"""Sends the SDK's requests over connections of ours.

The layers of an HTTP client cost more per token, and per request, than all else that we do with
it: so httpx2 builds requests and looks at responses here, and what is between it and the socket
is ours.

Importing this module imports httpx2, which takes a while: see `bargein.models.anthropic`.
"""

from __future__ import annotations

import ssl
from collections import deque
from contextlib import suppress
from typing import Final, TypeAlias, cast

import httpx2
import trio
from attrs import define, field

from bargein.models.body import BODY, WireBody
from bargein.models.http1 import Head, framing_of, request_bytes, split_head
from bargein.models.readers import Readers
from bargein.models.sse import NotHttp
from bargein.models.wire import Wire, WireBroken

KEEPALIVE_S: Final = 30.0
"""How long an idle connection is kept: shorter than any load balancer on the way would."""

_PORTS: Final = {"http": 80, "https": 443}

_Origin: TypeAlias = tuple[str, str, int]


@define(eq=False)
class _Idle:
    """A connection that waits for its next request."""

    wire: Wire
    since_s: float

    @property
    def usable(self) -> bool:
        return trio.current_time() - self.since_s < KEEPALIVE_S and not self.wire.stirs


@define(eq=False)
class WireTransport(httpx2.AsyncBaseTransport):
    """Sends a client's requests over wires.

    Lives as long as its client, which closes it.  It knows no proxies: where the environment
    asks for one, use the client's own transport.

    Attributes:
        _ssl_context: Whom to trust; without one there is no way to https.
        _most_idle: How many connections to keep for further requests.
    """

    _readers: Readers
    _ssl_context: ssl.SSLContext | None
    _most_idle: int
    _idle: dict[_Origin, deque[_Idle]] = field(factory=dict[_Origin, deque[_Idle]], init=False)
    _closed: bool = field(default=False, init=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send *request* and return its response once the head is in.

        Raises:
            httpx2.TransportError: There is no response.
        """
        try:
            message = request_bytes(
                request.method.encode("ascii"),
                request.url.raw_path,
                request.headers.raw,
                await request.aread(),
            )
        except ValueError as error:
            raise httpx2.LocalProtocolError(str(error)) from None
        scheme, host = request.url.scheme, request.url.host
        origin = (scheme, host, request.url.port or _PORTS.get(scheme, 0))
        wire = self._kept(origin) or await self._connected(origin, request)
        try:
            head = await _asked(wire, message)
            body = WireBody(wire, framing_of(head), self._readers)
        except (WireBroken, NotHttp) as error:
            wire.close()
            raise httpx2.RemoteProtocolError("the server did not answer") from error
        except BaseException:
            wire.close()
            raise
        if head.keeps_alive:
            body.hand_back = lambda: self._keep(origin, wire)
        return httpx2.Response(
            head.status,
            headers=list(head.headers),
            stream=body,
            extensions={BODY: body, "http_version": b"HTTP/1.1", "reason_phrase": head.reason},
        )

    async def _connected(self, origin: _Origin, request: httpx2.Request) -> Wire:
        scheme, host, port = origin
        timeouts = cast("dict[str, float | None]", request.extensions.get("timeout", {}))
        limit_s = timeouts.get("connect")
        timeout_s = float("inf") if limit_s is None else limit_s
        if scheme != "http" and (scheme != "https" or self._ssl_context is None):
            raise httpx2.UnsupportedProtocol(f"there is no way to {scheme}")
        wire: Wire | None = None
        try:
            wire = await Wire.connected(host, port, timeout_s)
            if self._ssl_context is not None and scheme == "https":
                await wire.encrypt(self._ssl_context, host, timeout_s)
        except BaseException as error:
            if wire is not None:
                wire.close()
            if isinstance(error, trio.TooSlowError):
                raise httpx2.ConnectTimeout("the server did not take the connection") from error
            if isinstance(error, WireBroken):
                raise httpx2.ConnectError("the server can't be reached") from error
            raise
        return wire

    def _kept(self, origin: _Origin) -> Wire | None:
        """Return a connection that is open already, the one used last."""
        idle = self._idle.get(origin)
        while idle:
            kept = idle.pop()
            if kept.usable:
                return kept.wire
            kept.wire.close()
        return None

    def _keep(self, origin: _Origin, wire: Wire) -> None:
        if self._closed:
            wire.close()
            return
        idle = self._idle.setdefault(origin, deque())
        idle.append(_Idle(wire, trio.current_time()))
        while len(idle) > self._most_idle or not idle[0].usable:
            idle.popleft().wire.close()
            if not idle:
                return

    async def aclose(self) -> None:
        """Close the idle connections; the others are closed by those who use them."""
        self._closed = True
        while self._idle:
            _, idle = self._idle.popitem()
            for kept in idle:
                kept.wire.close()


async def _asked(wire: Wire, message: bytes) -> Head:
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
