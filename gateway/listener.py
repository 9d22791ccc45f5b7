"""The port: who may come in, what each is served with, and an orderly end."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast

import structlog
import trio
from attrs import define, evolve, field, frozen
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.trio.server import Server, ServerConnection, serve
from websockets.typing import Subprotocol

from bargein.gateway.connection import WireConnection
from bargein.gateway.counters import CONNECTIONS, CONNECTIONS_CLOSED, REQUESTS_REFUSED
from bargein.gateway.egress import WireLimits
from bargein.gateway.handshake import (
    SUBPROTOCOL,
    AllowList,
    Upgrade,
    check_host,
    check_origin,
    is_session_path,
    read_upgrade,
)
from bargein.gateway.handshakes import (
    HandshakeLimits,
    Handshakes,
    PacedListener,
    client_behind,
)
from bargein.gateway.heartbeat import keep_heartbeats
from bargein.gateway.page import Page, Reader
from bargein.gateway.pages import GUARDED_PATHS, UNCHECKED_PATHS, Pages
from bargein.gateway.ports import open_port
from bargein.gateway.request_head import SECURITY_HEADERS, Refusal
from bargein.gateway.session_list import SESSIONS_PATH, SessionList
from bargein.gateway.tls import Certificate
from bargein.protocol.codes import CloseCode

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)

ServeClient = Callable[[WireConnection, Upgrade], Awaitable[None]]
Admit = Callable[[Upgrade], Awaitable[Upgrade | Refusal | None]]
AdmitReader = Callable[[str, str | None, bool], Refusal | None]
"""Given an address, an Authorization, and whether a proxy has passed the request on."""

GoAway = Callable[[str, int], Awaitable[None]]

_TOO_MANY: Final = Refusal(
    HTTPStatus.TOO_MANY_REQUESTS,
    "Too many unfinished requests come from your address; finish one, or come back soon.",
    (("Retry-After", "5"),),
)

_PASSED_ON: Final = ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP")
"""Headers of which any proxy writes at least one, unless it was told to keep quiet."""

_EXCEPTIONS_ONLY: Final = logging.getLogger("bargein.gateway.wire")
_EXCEPTIONS_ONLY.setLevel(logging.WARNING)  # it has a line for each connection otherwise


@frozen
class Terms:
    """What whoever comes to the port is held to.

    Attributes:
        allowed: Where clients may come from; by default from this machine.
        limits: Of each connection.
        handshake_limits: How many may be under way; others wait in the backlog.
    """

    allowed: AllowList = field(factory=AllowList)
    limits: WireLimits = field(factory=WireLimits)
    handshake_limits: HandshakeLimits = field(factory=HandshakeLimits)


@define(eq=False)
class Edge:
    """The open port.  Lives until it is drained, or `listen` is cancelled.

    Attributes:
        host: The address it listens on.
        port: The port, also where the system chose it.
    """

    host: str
    port: int
    _server: Server
    _go_away: GoAway | None
    _scope: trio.CancelScope
    _door: _Door

    @property
    def connections(self) -> frozenset[WireConnection]:
        """Those whose clients are served now."""
        return frozenset(self._door.connections)

    @property
    def count(self) -> int:
        """How many those are."""
        return len(self._door.connections)

    def hold_to(self, terms: Terms) -> None:
        """Hold everybody to *terms* from now on; nobody is sent away for it."""
        self._door.allowed, self._door.limits = terms.allowed, terms.limits
        self._door.handshakes.hold_to(terms.handshake_limits)
        for wire in self._door.connections:
            wire.egress.renew_patience()

    async def drain(
        self,
        reason: str,
        reconnect_after_ms: int,
        *,
        code: int = CloseCode.DRAIN,
        deadline_s: float = math.inf,
    ) -> None:
        """Accept no one, tell everybody to go away, close all, and return when all have gone.

        What has not gone when the deadline passes is cut.

        Args:
            reason: Goes into `go_away` and into the close frames.
            reconnect_after_ms: When clients should come back.
            code: Close code.
            deadline_s: For all of it, the session layer's goodbye included.
        """
        log.info("edge.drain_started", reason=reason, connections=self.count)
        with trio.move_on_after(deadline_s) as patience:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(self._server.aclose, close_connections=False))
                await self._say_goodbye(reason, reconnect_after_ms)
                for connection in self.connections:
                    connection.close_soon(code, reason)
        late = self.connections
        for connection in late:
            connection.abort()
        self._scope.cancel()
        log.info("edge.drained", in_time=not patience.cancelled_caught, cut=len(late))

    async def _say_goodbye(self, reason: str, reconnect_after_ms: int) -> None:
        if self._go_away is None:
            return
        try:
            await self._go_away(reason, reconnect_after_ms)
        except Exception:  # the port has to be closed all the same
            log.exception("edge.goodbye_failed")


@define(eq=False)
class _Door:
    """What the library calls for each client."""

    serve_client: ServeClient
    pages: Pages
    allowed: AllowList
    admit: Admit | None
    admit_reader: AdmitReader | None
    session_list: SessionList | None
    limits: WireLimits
    handshakes: Handshakes
    connections: set[WireConnection] = field(factory=set[WireConnection])

    def current(self) -> WireLimits:
        """Return what connections are held to now."""
        return self.limits

    def make_connection(
        self, nursery: trio.Nursery, stream: trio.abc.Stream, *parts: Any, **options: Any
    ) -> WireConnection:
        handshake = self.handshakes.of(stream)
        try:
            return WireConnection(
                nursery, stream, *parts, limits=self.current, handshake=handshake, **options
            )
        except Exception:  # the library swallows it
            handshake.end()
            log.exception("connection.not_made")
            raise

    async def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        wire = cast("WireConnection", connection)
        wire.address = self._client_of(wire, request)
        if wire.under_way is not None and not wire.under_way.is_for(wire.address):
            return wire.refuse(_TOO_MANY)
        if not is_session_path(request.path):
            return await self._page(wire, request)
        if request.method != "GET":
            return None  # the library says 405
        upgrade = read_upgrade(request.path, request.headers, self.allowed)
        if isinstance(upgrade, Refusal):
            return wire.refuse(upgrade)
        wire.upgrade = upgrade = evolve(
            upgrade,
            address=wire.address,
            from_page="Origin" in request.headers,
            agreed=wire.agreed,
        )
        verdict = None if self.admit is None else await self.admit(upgrade)
        if isinstance(verdict, Refusal):
            return wire.refuse(verdict)
        wire.upgrade = verdict or upgrade
        return None

    def _client_of(self, wire: WireConnection, request: Request) -> str:
        forwarded = request.headers.get_all("X-Forwarded-For")
        return client_behind(wire.address, forwarded, self.handshakes.limits.proxies)

    async def _page(self, wire: WireConnection, request: Request) -> Response:
        bare = request.path.partition("?")[0]
        if bare not in UNCHECKED_PATHS and (refusal := check_host(request.headers, self.allowed)):
            return wire.refuse(refusal)
        if bare == SESSIONS_PATH and self.session_list is not None:
            if refusal := check_origin(request.headers, self.allowed):
                return wire.refuse(refusal)
            authorization = request.headers.get_all("Authorization")
            page = await self.session_list.answer(
                request.method, request.path, wire.address, authorization
            )
        elif refusal := self._reader_refused(wire, request):
            return wire.refuse(refusal)
        else:
            await self.pages.prepare(bare)
            page = self.pages.answer(request.method, request.path, _reader_of(request.headers))
        return _response_of(page, wire, request)

    def _reader_refused(self, wire: WireConnection, request: Request) -> Refusal | None:
        if self.admit_reader is None or request.path.partition("?")[0] not in GUARDED_PATHS:
            return None
        authorization = request.headers.get_all("Authorization")
        bearer = authorization[0] if authorization else None
        passed_on = any(name in request.headers for name in _PASSED_ON)
        return self.admit_reader(wire.address, bearer, passed_on)

    def harden(self, _: ServerConnection, __: Request, response: Response) -> None:
        """Give the library's own refusals the headers that ours have."""
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            REQUESTS_REFUSED.labels(response.status_code).inc()
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            for name, value in SECURITY_HEADERS:
                if name not in response.headers:
                    response.headers[name] = value

    def choose(self, connection: ServerConnection, _: Sequence[Subprotocol]) -> Subprotocol | None:
        upgrade = cast("WireConnection", connection).upgrade
        return Subprotocol(SUBPROTOCOL) if upgrade is not None and upgrade.strict else None

    async def serve(self, connection: ServerConnection) -> None:
        wire = cast("WireConnection", connection)
        upgrade = wire.upgrade
        if upgrade is None:
            return  # only what `answer` has let pass comes here
        self.connections.add(wire)
        CONNECTIONS.inc()
        try:
            await self.serve_client(wire, upgrade)
        except Exception:  # the boundary: what one client causes is no other's business
            log.exception("client.failed")
            wire.close_soon(CloseCode.INTERNAL_ERROR)
        else:
            wire.close_soon()
        finally:
            await self._part(wire)

    async def _part(self, wire: WireConnection) -> None:
        try:
            await wire.aclose(CloseCode.GOING_AWAY)
        finally:
            self.connections.discard(wire)
            CONNECTIONS.dec()
            CONNECTIONS_CLOSED.labels(wire.protocol.close_code).inc()
            wire.nursery.cancel_scope.cancel()


async def listen(
    serve_client: ServeClient,
    *,
    pages: Pages,
    terms: Terms | None = None,
    host: str = "127.0.0.1",
    port: int = 8710,
    admit: Admit | None = None,
    admit_reader: AdmitReader | None = None,
    session_list: SessionList | None = None,
    go_away: GoAway | None = None,
    certificate: Certificate | None = None,
    backlog: int = 1024,
    shared: bool = False,
    task_status: trio.TaskStatus[Edge] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve clients on a port until the `Edge` that it reports is drained.

    Cancelled, it cuts everybody without a goodbye: drain first.

    Args:
        serve_client: Serves one client, in a task and a nursery of its own.  When it returns, the
            connection is closed with 1000 if it was not closed before; when it raises, with 1011.
        pages: Answers plain HTTP.
        terms: What clients are held to, until `Edge.hold_to` says otherwise.
        host: Address to listen on.
        port: Port; 0 lets the system choose.
        admit: Has the last word before the upgrade, e.g. 401 or 503; may say who asks.
        admit_reader: Says why somebody may not read operators' pages.
        session_list: Answers who asks for its sessions; without it, nobody may.
        go_away: Says goodbye when the edge is drained; given why, and when to reconnect, in ms.
        certificate: Encrypts the port; without it, nothing is encrypted.
        backlog: How many the kernel lets wait.
        shared: Whether other processes listen on the port, too.
        task_status: Reports the edge once the port is open.

    Raises:
        PortTaken: Stop the other program, or choose another port.
        AddressUnusable: Choose an address of this machine, and a port that it lets you have.
    """
    terms = terms or Terms()
    handshakes = Handshakes(terms.handshake_limits)
    admits = (admit, admit_reader, session_list)
    door = _Door(serve_client, pages, terms.allowed, *admits, terms.limits, handshakes)
    listeners = await open_port(host, port, backlog, shared=shared)
    paced = [PacedListener(listener, handshakes, certificate) for listener in listeners]
    async with trio.open_nursery() as tasks:
        server = await tasks.start(_library_server(door, paced))
        beat = partial(keep_heartbeats, lambda: door.connections, lambda: door.limits.heartbeat_s)
        tasks.start_soon(beat)
        port = int(listeners[0].socket.getsockname()[1])
        log.info("edge.opened", host=host, port=port)
        task_status.started(Edge(host, port, server, go_away, tasks.cancel_scope, door))


def _response_of(page: Page, wire: WireConnection, request: Request) -> Response:
    response = wire.protocol.reject(page.status, "")
    fixed = {"Date": response.headers["Date"], "Connection": "close"}
    if page.status != HTTPStatus.NOT_MODIFIED:  # there it would be the length of what is kept
        fixed["Content-Length"] = str(len(page.body))
    response.headers = Headers({**fixed, **dict(page.headers)})
    if request.method != "HEAD":
        response.body = page.body
    return response


def _reader_of(headers: Headers) -> Reader:
    def all_of(name: str) -> str:
        return ", ".join(headers.get_all(name))

    return Reader(all_of("Host"), all_of("If-None-Match"), all_of("Accept-Encoding"))


def _library_server(door: _Door, paced: list[PacedListener]) -> Callable[..., Awaitable[Any]]:
    return partial(
        serve,
        door.serve,
        # Declared narrower than what is used of them: `accept`, `socket`, a call.
        listeners=cast("list[trio.SocketListener]", paced),
        create_connection=cast("type[ServerConnection]", door.make_connection),
        process_request=door.answer,
        process_response=door.harden,
        select_subprotocol=door.choose,
        compression=None,
        server_header=None,
        open_timeout=None,  # our connections see to that, and to the size of messages
        logger=_EXCEPTIONS_ONLY,
    )
