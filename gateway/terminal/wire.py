"""One connection to a server, by the library's client for trio: the only place that knows it.

Two traps of `websockets` 17.4 are kept away from here.  Errors come out of `async with connect()`
as groups, or not, depending on when; so its parts are used in a nursery of the caller's.  And a
cancelled send leaves half a frame on the wire; so whoever cancels gives up the connection.
"""

from __future__ import annotations

import logging
import os
import ssl
from typing import Final

import trio
from attrs import define, frozen
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    WebSocketException,
)
from websockets.trio.client import ClientConnection, connect
from websockets.typing import Subprotocol

SUBPROTOCOL: Final = Subprotocol("bargein.v1")
DIAL_S: Final = 10.0
CLOSE_S: Final = 1.0
"""A server that is well answers a close within a round trip."""

MOST_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""Far more than any frame of a server's; less than would hurt."""

ABNORMAL: Final = 1006
"""What stands for a connection that ended without a word (RFC 6455)."""

_RETRYABLE_STATUS: Final = frozenset({408, 429, 500, 502, 503, 504})

# It would write on the terminal that a conversation is drawn on.
_SILENT: Final = logging.getLogger("bargein.gateway.terminal")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


class NotConnected(Exception):
    """There is no connection: nobody answered, or the answer was no.

    Attributes:
        reason: What happened, for a person.
        status: The HTTP status of a server that refused; None where none was heard.
        retryable: Time alone may mend it.
    """

    def __init__(self, reason: str, *, status: int | None = None, retryable: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.retryable = retryable


@frozen
class Closed:
    """The end of a connection: its close code, and what was said to it."""

    code: int
    reason: str


@define(eq=False)
class Wire:
    """A connection that is open.  One task receives, one sends."""

    _connection: ClientConnection

    async def receive(self) -> str | Closed:
        """Return the next message, or how the connection ended; a binary one is read as text."""
        try:
            return await self._connection.recv(decode=True)
        except ConnectionClosed as closed:
            got = closed.rcvd
            return Closed(ABNORMAL, "") if got is None else Closed(got.code, got.reason)

    async def send(self, text: str) -> bool:
        """Send a message; return whether it is on its way.  Cancelled, the wire is of no use."""
        try:
            await self._connection.send(text)
        except ConnectionClosed:
            return False
        return True

    async def close(self) -> None:
        """Say goodbye; a server that doesn't answer is not waited for."""
        with trio.move_on_after(CLOSE_S, shield=True):  # bounded: who leaves wants to be gone
            await self._connection.aclose()


async def dial(nursery: trio.Nursery, url: str, token: str | None, *, local: bool) -> Wire:
    """Connect to *url*; the wire's tasks live in *nursery*, which ends them when it is cancelled.

    Args:
        nursery: Of this connection alone.
        url: Without any secret.
        token: Goes into the header.
        local: It is this machine, to which no proxy leads.

    Raises:
        NotConnected: Come back if it is `retryable`.
    """
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    connector = connect(
        url,
        subprotocols=[SUBPROTOCOL],
        additional_headers=headers,
        user_agent_header="bargein-chat",
        compression=None,
        proxy=None if local else True,
        open_timeout=DIAL_S,
        ping_interval=None,  # silence is noticed by the link
        close_timeout=CLOSE_S,
        max_size=MOST_MESSAGE_BYTES,
        logger=_SILENT,
    )
    try:
        connection = await connector.connect(nursery)
    except InvalidStatus as refused:
        raise _refusal(refused.response.status_code, bytes(refused.response.body)) from None
    except ssl.SSLCertVerificationError as error:
        reason = f"its certificate is not trusted ({error.verify_message})"
        raise NotConnected(reason, retryable=False) from None
    except trio.BrokenResourceError as error:  # how trio passes on what TLS says
        raise _broken(error) from None
    except TimeoutError:
        raise NotConnected(f"no answer within {DIAL_S:g} s") from None
    except OSError as error:
        raise NotConnected(_plain(error)) from None
    except InvalidHandshake as error:
        raise NotConnected(f"that is no bargein server ({error})", retryable=False) from None
    except (WebSocketException, EOFError) as error:
        raise NotConnected(f"the connection failed ({error})") from None
    return Wire(connection)


def _refusal(status: int, body: bytes) -> NotConnected:
    said = " ".join(body[:300].decode(errors="replace").split())
    reason = f"the server answered {status}" + (f": {said}" if said else "")
    return NotConnected(reason, status=status, retryable=status in _RETRYABLE_STATUS)


def _broken(error: trio.BrokenResourceError) -> NotConnected:
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        reason = f"its certificate is not trusted ({cause.verify_message})"
        return NotConnected(reason, retryable=False)
    if isinstance(cause, ssl.SSLError):
        return NotConnected(f"TLS failed ({cause.reason or cause})", retryable=False)
    return NotConnected("the connection broke off")


def _plain(error: OSError) -> str:
    # One for each address that was tried, where there were several.
    inside: tuple[Exception, ...] = getattr(error.__cause__, "exceptions", (error,))
    first = inside[0]
    number = first.errno if isinstance(first, OSError) else None
    # Some numbers are of the resolver's own, below 0.
    return str(first) if number is None or number <= 0 else os.strerror(number)
