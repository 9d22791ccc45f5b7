"""A connection as its session sees it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import define

from bargein.gateway.connection import WireConnection
from bargein.gateway.cursor import Cursor
from bargein.protocol.commands import Role
from bargein.protocol.frames import Problem
from bargein.protocol.ids import Seq


@define(eq=False)
class AttachedClient:
    """A connection as its session knows it: a cursor, and who holds it."""

    role: Role
    principal: str
    _tier: Callable[[], str]
    _wire: WireConnection
    _cursor: Cursor
    _authenticate: Callable[[str], Problem | None]

    @property
    def tier(self) -> str:
        """By its latest token."""
        return self._tier()

    @property
    def taken_seq(self) -> Seq:
        """The last event that its socket took, or that it acked."""
        return self._cursor.taken_seq

    def acknowledge(self, seq: Seq) -> bool:
        """Note what the client says it has."""
        return self._cursor.acknowledge(seq)

    def authenticate(self, token: str) -> Problem | None:
        """Let it stay for as long as a fresh token says; return why not."""
        return self._authenticate(token)

    def advance(self) -> None:
        """Send what has become visible."""
        self._cursor.advance()

    def show(self, frame: bytes) -> None:
        """Send a connection frame after what was sent before."""
        self._cursor.show(frame)

    def show_first(self, frame: bytes) -> None:
        """Send a connection frame ahead of all that waits."""
        self._cursor.show_first(frame)

    def show_at(self, seq: Seq, frame: bytes) -> None:
        """Send a connection frame once the client has the events up to *seq*."""
        self._cursor.when_at(seq, partial(self._cursor.show, frame))

    def end(self, code: int, reason: str) -> None:
        """Close the connection, after what was sent before."""
        self._wire.close_soon(code, reason)

    def end_at(self, seq: Seq, code: int, reason: str) -> None:
        """Close the connection once the client has the events up to *seq*."""
        self._cursor.when_at(seq, partial(self._wire.close_soon, code, reason))
