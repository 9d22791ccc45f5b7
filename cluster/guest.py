"""A client of another node, as the session that it is attached to sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio
from attrs import define, field

from bargein.actors.session import Session
from bargein.cluster.letters import Advanced, End, GuestId, Letter, Sent, Show, Welcome
from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import Role
from bargein.protocol.frames import Problem, problem
from bargein.protocol.ids import NodeId, Seq

Tell = Callable[[Letter], None]
"""Sends a letter to the guest's node.  Never waits."""

MOST_FRAMES: Final = 64
MOST_BYTES: Final = 32 * 1024
"""Of events in one letter."""

ELSEWHERE: Final = "That is decided by the node that the client is connected to."


@define(eq=False)
class Guest:
    """Implements `Client` by letters.  Lives until its node says that it has gone, or has itself.

    Attributes:
        tier: By its token, as its node says.
        taken_seq: What its socket has taken, as its node said last.
        number: How many letters were sent to it.
        heard: How many commands of it came in.
        inbox: Commands that wait for the session to take them.
    """

    node: NodeId
    id: GuestId
    session: Session
    role: Role
    principal: str
    tier: str
    taken_seq: Seq
    _tell: Tell
    inbox: trio.MemorySendChannel[Sent]
    number: int = field(default=0, init=False)
    heard: int = field(default=0, init=False)

    def welcome(self) -> None:
        """Say that it is attached."""
        self._tell(Welcome(self.id))

    def acknowledge(self, seq: Seq) -> bool:
        """Say whether it has that; its own node notes what a client says it has."""
        return seq <= self.taken_seq

    def authenticate(self, token: str) -> Problem | None:
        """Refuse: its own node takes its tokens, and sends none of them on."""
        del token
        return problem(ErrorCode.UNAUTHORIZED, ELSEWHERE)

    def advance(self) -> None:
        """Do nothing: its node is told once for all of its guests."""

    def show(self, frame: bytes) -> None:
        """Send a connection frame after what is visible now."""
        self._show(frame, self.session.timeline.durable)

    def show_first(self, frame: bytes) -> None:
        """Send a connection frame ahead of all that waits."""
        self._show(frame, self.session.timeline.durable, first=True)

    def show_at(self, seq: Seq, frame: bytes) -> None:
        """Send a connection frame once the client has the events up to *seq*."""
        self._show(frame, seq)

    def end(self, code: int, reason: str) -> None:
        """Close the connection, after what was sent before."""
        self.end_at(self.session.timeline.durable, code, reason)

    def end_at(self, seq: Seq, code: int, reason: str) -> None:
        """Close the connection once the client has the events up to *seq*."""
        self.number += 1
        self._tell(End(self.id, self.number, int(code), reason, seq))

    def _show(self, frame: bytes, seq: Seq, *, first: bool = False) -> None:
        self.number += 1
        self._tell(Show(self.id, self.number, frame, seq, first))


@define(eq=False)
class Onlooker:
    """Tells one node how far a session is, for all its guests there.

    Attributes:
        told_seq: How far it was told last.
        heard_s: When that node last said that it follows (trio's clock).
        stay: Cancelled when that node follows the session no more.
        guests: Who of that node is attached.
    """

    session: Session
    _tell: Tell
    heard_s: float
    told_seq: Seq
    guests: dict[GuestId, Guest] = field(factory=dict[GuestId, Guest], init=False)
    stay: trio.CancelScope = field(factory=trio.CancelScope, init=False)

    def advance(self) -> None:
        """Say what has become visible."""
        session = self.session
        timeline = session.timeline
        self._tell(
            Advanced(
                session.id,
                timeline.epoch,
                timeline.durable,
                self._news(),
                session.stoppable,
                session.open_decisions,
            )
        )
        self.told_seq = timeline.durable

    def _news(self) -> tuple[bytes, ...]:
        """Return what that node has not, if that is little: more it had better read."""
        frames = self.session.timeline.visible_after(self.told_seq, MOST_FRAMES + 1)
        if not frames or len(frames) > MOST_FRAMES or sum(map(len, frames)) > MOST_BYTES:
            return ()
        return tuple(frames)
