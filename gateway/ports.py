"""Opening the port, or saying why that can't be done."""

from __future__ import annotations

import errno

import trio


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


async def open_port(host: str, port: int, backlog: int) -> list[trio.SocketListener]:
    """Listen on a port; one listener for each address that the name stands for.

    Args:
        host: Address or name.
        port: 0 lets the system choose.
        backlog: How many clients the kernel lets wait.

    Raises:
        PortTaken: Stop the other program, or choose another port.
        AddressUnusable: Choose an address of this machine, and a port that it lets you have.
    """
    try:
        return list(await trio.open_tcp_listeners(port, host=host, backlog=backlog))
    except OSError as error:
        if _is_taken(error):
            raise PortTaken(host, port) from error
        raise AddressUnusable(host, port, error) from error


def _is_taken(error: OSError) -> bool:
    # trio raises one error for the addresses of a name, with each one's own as its cause.
    return errno.EADDRINUSE in (error.errno, getattr(error.__cause__, "errno", None))
