"""Opening the port, or saying why that can't be done."""

from __future__ import annotations

import errno
from contextlib import ExitStack
from socket import AI_PASSIVE, IPPROTO_IPV6, IPV6_V6ONLY, SO_REUSEADDR, SO_REUSEPORT, SOL_SOCKET

import trio
from attrs import define


class PortTaken(OSError):
    """Another program listens there: stop that one, or choose another port.

    Attributes:
        host: The address.
        port: The port.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(errno.EADDRINUSE, f"port {port} of {host} is taken by another program")
        self.host = host
        self.port = port


class AddressUnusable(OSError):
    """The system does not let this process listen there: choose an address or port that it may.

    Attributes:
        host: The address.
        port: The port.
        reason: What the system says.
    """

    def __init__(self, host: str, port: int, error: OSError) -> None:
        reason = error.strerror or str(error)
        super().__init__(error.errno, f"port {port} of {host} can't be listened on: {reason}")
        self.host = host
        self.port = port
        self.reason = reason


@define(eq=False)
class ReservedPort:
    """A port that others of this user may listen on, and nobody else.  Lives until it is closed.

    Attributes:
        port: The port, also where the system chose it.
    """

    port: int
    _sockets: list[trio.socket.SocketType]

    def close(self) -> None:
        """Let anybody have it."""
        for each in self._sockets:
            each.close()


async def open_port(
    host: str, port: int, backlog: int, *, shared: bool = False
) -> list[trio.SocketListener]:
    """Listen on a port; one listener for each address that the name stands for.

    Args:
        host: Address or name.
        port: 0 lets the system choose.
        backlog: How many clients the kernel lets wait.
        shared: Whether other processes of this user listen there, too: each client goes to one.

    Raises:
        PortTaken: Stop the other program, or choose another port.
        AddressUnusable: Choose an address of this machine, and a port that it lets you have.
    """
    try:
        if not shared:
            return list(await trio.open_tcp_listeners(port, host=host, backlog=backlog))
        listening = await _bound(host, port, shared=True)
        for each in listening:
            each.listen(backlog)
        return [trio.SocketListener(each) for each in listening]
    except OSError as error:
        if _is_taken(error):
            raise PortTaken(host, port) from error
        raise AddressUnusable(host, port, error) from error


async def reserve_port(host: str, port: int) -> ReservedPort:
    """Keep a port for processes that will share it; nobody is served through this.

    Args:
        host: Address or name.
        port: 0 lets the system choose.

    Raises:
        PortTaken: Stop the other program, or choose another port.
        AddressUnusable: Choose an address of this machine, and a port that it lets you have.
    """
    try:
        # Alone first: others of this user who share a port would let this one in, too.
        for each in await _bound(host, port, shared=False):
            port = port or int(each.getsockname()[1])
            each.close()
        kept = await _bound(host, port, shared=True)
        for each in kept:
            # It was for connections that wait for their end; from now on it would let in others.
            each.setsockopt(SOL_SOCKET, SO_REUSEADDR, 0)
        return ReservedPort(port, kept)
    except OSError as error:
        if _is_taken(error):
            raise PortTaken(host, port) from error
        raise AddressUnusable(host, port, error) from error


async def _bound(host: str, port: int, *, shared: bool) -> list[trio.socket.SocketType]:
    """Bind a socket to each address of *host*, all to one port; they do not listen yet."""
    found = await trio.socket.getaddrinfo(
        host, port, type=trio.socket.SOCK_STREAM, flags=AI_PASSIVE
    )
    sockets: list[trio.socket.SocketType] = []
    with ExitStack() as undone:
        for family, kind, protocol, _, address in found:
            each = trio.socket.socket(family, kind, protocol)
            undone.callback(each.close)
            each.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
            if shared:
                each.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)
            if family == trio.socket.AF_INET6:
                each.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
            await each.bind((address[0], port, *address[2:]))
            port = port or int(each.getsockname()[1])
            sockets.append(each)
        undone.pop_all()
    return sockets


def _is_taken(error: OSError) -> bool:
    # trio raises one error for the addresses of a name, with each one's own as its cause.
    return errno.EADDRINUSE in (error.errno, getattr(error.__cause__, "errno", None))
