"""When bytes came, as the kernel noted it: bots and fake API wait for their own core, too.

Where the kernel does not say (it does on Linux), what is read counts as having come just now.
"""

from __future__ import annotations

import re
import socket
import struct
import sys
import time
from collections.abc import Iterable
from typing import Final, TypeAlias

import trio

Ancillary: TypeAlias = Iterable[tuple[int, int, bytes]]

_STAMPED: Final = sys.platform == "linux"
_SO_TIMESTAMPNS: Final = 35
"""`SO_TIMESTAMPNS_OLD` of <asm-generic/socket.h>, and the kind of what it adds to a read."""

_TIMESPEC: Final = struct.Struct("ll")

ANCILLARY_BYTES: Final = 64
"""Room for one time beside what is read."""

_MADE: Final = re.compile(rb"made-in-(\d+)us")


def stamp(connection: socket.socket | trio.socket.SocketType) -> None:
    """Have the kernel say with each `recvmsg` of *connection* when the last of its bytes came."""
    if _STAMPED:
        connection.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


def arrived_s(ancillary: Ancillary) -> float:
    """Return when bytes came, by trio's clock, from what `recvmsg` gave beside them."""
    now_s = trio.current_time()
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack(data[: _TIMESPEC.size])
            # The kernel's times are those of the wall clock, which may be set meanwhile.
            ago_s = time.time() - (seconds + nanoseconds / 1e9)
            return now_s - max(0.0, ago_s)
    return now_s


def first_word(took_s: float) -> str:
    """Return the first word of an answer, which tells how long the model took until then.

    All such words have the same length, up to 99 s.
    """
    return f"made-in-{round(took_s * 1e6):08d}us "


def made_in_s(frame: bytes) -> float | None:
    """Return how long the model took for the first word, which is in *frame*; None if untold."""
    found = _MADE.search(frame)
    return int(found[1]) / 1e6 if found else None
