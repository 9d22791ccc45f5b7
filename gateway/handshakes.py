"""Connections before their upgrade: how many there may be, from where, and who is let in next."""

from __future__ import annotations

import errno
import re
from collections import Counter
from collections.abc import Collection, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

import structlog
import trio
from attrs import define, field, frozen

from bargein.gateway.counters import ACCEPT_PAUSED, HANDSHAKES, HANDSHAKES_REFUSED
from bargein.gateway.sparse_log import SparseLog
from bargein.gateway.tls import Certificate

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)
_refusals: Final = SparseLog(_log)
_pauses: Final = SparseLog(_log, 1)

# What accept(2) says when the process or the machine is at its end for the moment.
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_PAUSE_S: Final = 0.1

_WITH_PORT: Final = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<v4>[0-9.]+))(?::[0-9]{1,5})?")

LOOPBACK: Final = ("127.0.0.0/8", "::1/128")


@frozen
class Networks:
    """A set of addresses, as networks."""

    _networks: tuple[IPv4Network | IPv6Network, ...]

    @classmethod
    def of(cls, names: Collection[str]) -> Networks:
        """Make it of networks as settings write them (`10.0.0.0/8`, `::1`)."""
        return cls(tuple(ip_network(name) for name in names))

    def __contains__(self, address: str) -> bool:
        try:
            wanted = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        # What an IPv6 socket says of an IPv4 client.
        plain = getattr(wanted, "ipv4_mapped", None) or wanted
        return any(plain in network for network in self._networks)


NOWHERE: Final = Networks(())


def client_behind(peer: str, forwarded: Sequence[str], proxies: Networks) -> str:
    """Return whose address a request is to be counted for.

    A header is believed as far as a proxy of ours has written it: from its end, up to the first
    address that is no proxy.  What stands before that, anybody may have made up.

    Args:
        peer: The other end of the TCP connection.
        forwarded: The values of `X-Forwarded-For`, in their order.
        proxies: Those that are believed.
    """
    client = peer
    hops = [hop.strip() for value in forwarded for hop in value.split(",")]
    while client in proxies and hops:
        hop = hops.pop()
        try:
            client = str(ip_address(_without_port(hop)))
        except ValueError:
            break  # no proxy of ours writes such a thing: the last good one it is
    return client


def _without_port(hop: str) -> str:
    """Return the address of a hop, to which some proxies add the client's port."""
    found = _WITH_PORT.fullmatch(hop)
    return hop if found is None else found["v6"] or found["v4"]


@frozen
class HandshakeLimits:
    """How many connections may be on their way to an upgrade.

    Attributes:
        most: In all; the others wait in the kernel's backlog.
        per_address_most: Of one address.
        uncounted: Whose addresses may have any number.
        proxies: Whose addresses say nothing; what they forward does.
    """

    most: int = 200
    per_address_most: int = 10
    uncounted: Networks = field(factory=lambda: Networks.of(LOOPBACK))
    proxies: Networks = NOWHERE


@define(eq=False)
class Handshake:
    """One connection on its way.  Lives until it is upgraded, refused or dropped.

    Attributes:
        address: Whose it is.
    """

    address: str
    _ledger: Handshakes
    _counted: bool
    _over: bool = field(default=False, init=False)

    def is_for(self, address: str) -> bool:
        """Count it for *address* from now on; say whether that one may have one more."""
        if address == self.address:
            return True
        self._uncount()
        self.address = address
        self._counted = self._ledger.takes(address)
        return self._counted

    def end(self) -> None:
        """Give its place to the next one; a second time is harmless."""
        if not self._over:
            self._over = True
            self._uncount()
            self._ledger.free_place()
            HANDSHAKES.dec()

    def _uncount(self) -> None:
        if self._counted:
            self._ledger.gave_back(self.address)
        self._counted = False


@define(eq=False)
class Handshakes:
    """All that are under way on a port.  Lives as long as its listener.

    Attributes:
        limits: What they are held to.
        places: One token for each that may begin.
        _owed: How many more have begun than the limits of now let begin.
    """

    limits: HandshakeLimits
    places: trio.Semaphore = field(init=False)
    _owed: int = field(default=0, init=False)
    _of_address: Counter[str] = field(factory=Counter[str], init=False)
    _of_stream: dict[trio.abc.Stream, Handshake] = field(
        factory=dict[trio.abc.Stream, Handshake], init=False
    )

    def __attrs_post_init__(self) -> None:
        self.places = trio.Semaphore(self.limits.most)

    def hold_to(self, limits: HandshakeLimits) -> None:
        """Hold those who come from now on to *limits*; whoever is under way goes on."""
        more = limits.most - self.limits.most
        self.limits = limits
        for _ in range(more):
            self.free_place()
        for _ in range(-more):
            try:
                self.places.acquire_nowait()
            except trio.WouldBlock:
                self._owed += 1

    def free_place(self) -> None:
        """Let one more begin, unless there are too many already."""
        if self._owed:
            self._owed -= 1
        else:
            self.places.release()

    def begin(self, stream: trio.abc.Stream, address: str) -> bool:
        """Note a connection that has taken its place; say whether it may stay."""
        if address in self.limits.proxies:
            counted = False  # for now: for whom it speaks is in its request
        elif not (counted := self.takes(address)):
            return False
        HANDSHAKES.inc()
        self._of_stream[stream] = Handshake(address, self, counted)
        return True

    def of(self, stream: trio.abc.Stream) -> Handshake:
        """Hand over the one of a stream, to whoever ends it."""
        return self._of_stream.pop(stream)

    def takes(self, address: str) -> bool:
        """Count one for *address*, unless that were too many."""
        uncounted = address in self.limits.uncounted
        if not uncounted and self._of_address[address] >= self.limits.per_address_most:
            HANDSHAKES_REFUSED.inc()
            _refusals.info("handshake.refused", address=address)
            return False
        self._of_address[address] += 1
        return True

    def gave_back(self, address: str) -> None:
        """Count one less for *address*."""
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]


@define(eq=False)
class PacedListener(trio.abc.Listener[trio.abc.Stream]):
    """Accept while few handshakes are under way; let the others wait in the kernel's backlog."""

    _listener: trio.SocketListener
    _handshakes: Handshakes
    _certificate: Certificate | None = None

    @property
    def socket(self) -> trio.socket.SocketType:
        """The socket that is listened on."""
        return self._listener.socket

    async def accept(self) -> trio.abc.Stream:
        """Wait for a free place, then for a client that may take it."""
        await self._handshakes.places.acquire()
        try:
            while True:
                if (stream := await self._next()) is not None:
                    return stream
        except BaseException:
            self._handshakes.free_place()
            raise

    async def _next(self) -> trio.abc.Stream | None:
        try:
            plain = await self._listener.accept()
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            ACCEPT_PAUSED.inc()
            _pauses.warning("accept.paused", error=errno.errorcode[error.errno or 0])
            await trio.sleep(_PAUSE_S)  # those who are in may go, and give back what they hold
            return None
        stream = plain if self._certificate is None else self._certificate.wrap(plain)
        try:
            address = str(plain.socket.getpeername()[0])
        except OSError:  # it has gone again
            address = ""
        if address and self._handshakes.begin(stream, address):
            return stream
        plain.socket.close()
        return None

    async def aclose(self) -> None:
        """Stop listening; who waits in the backlog is reset."""
        await self._listener.aclose()
