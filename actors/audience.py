"""The clients of a session, as the session sees them."""

from __future__ import annotations

from typing import Protocol

from attrs import define, field

from bargein.protocol.codec import encode_frame
from bargein.protocol.commands import Role
from bargein.protocol.frames import Flush, Frame, Problem
from bargein.protocol.ids import NOTHING, Seq, TurnId
from bargein.timeline.log import Timeline


class Client(Protocol):
    """One attached connection: a cursor on the timeline that can also be spoken to.

    Nothing here waits, and nothing raises when the client is gone.
    """

    @property
    def role(self) -> Role:
        """What it may do."""
        ...

    @property
    def principal(self) -> str:
        """Who it is."""
        ...

    @property
    def tier(self) -> str:
        """Which quotas and which rank it has by its token."""
        ...

    @property
    def taken_seq(self) -> Seq:
        """The last event that its socket took; where the client acks, that it acked."""
        ...

    def acknowledge(self, seq: Seq) -> bool:
        """Note that the client has everything up to *seq*; False if it was never sent."""
        ...

    def authenticate(self, token: str) -> Problem | None:
        """Let the client stay for as long as a fresh token says; return why not."""
        ...

    def advance(self) -> None:
        """Take what has become visible on the timeline."""

    def show(self, frame: bytes) -> None:
        """Send a connection frame after what was sent before."""

    def show_first(self, frame: bytes) -> None:
        """Send a connection frame ahead of all that waits."""

    def show_at(self, seq: Seq, frame: bytes) -> None:
        """Send a connection frame once the client has the events up to *seq*."""

    def end(self, code: int, reason: str) -> None:
        """Close the connection, after what was sent before."""

    def end_at(self, seq: Seq, code: int, reason: str) -> None:
        """Close the connection once the client has the events up to *seq*."""


@define(eq=False)
class Audience:
    """Everybody who is attached to one session."""

    _timeline: Timeline
    _clients: list[Client] = field(factory=list[Client], init=False)
    _claimed: dict[Client, Seq] = field(factory=dict[Client, Seq], init=False)
    _delivered_before: Seq = field(default=NOTHING, init=False)

    def join(self, client: Client) -> None:
        """Let *client* follow the timeline."""
        self._clients.append(client)
        self._timeline.follow(client)
        if client.taken_seq > NOTHING:
            self._claimed[client] = client.taken_seq

    def leave(self, client: Client) -> None:
        """Let *client* go: what it was given stays given; what it only said it had does not."""
        if client in self._clients:
            self._clients.remove(client)
            self._timeline.unfollow(client)
            claimed, taken = self._claimed.pop(client, NOTHING), client.taken_seq
            if client.role == "drive" and taken != claimed:
                self._delivered_before = max(self._delivered_before, taken)

    @property
    def size(self) -> int:
        """How many clients are attached."""
        return len(self._clients)

    @property
    def drivers(self) -> int:
        """How many of them may drive."""
        return sum(client.role == "drive" for client in self._clients)

    @property
    def delivered_seq(self) -> Seq:
        """The last event that any driver's socket took."""
        taken = (client.taken_seq for client in self._clients if client.role == "drive")
        return max(self._delivered_before, *taken, NOTHING)

    def flush(self, turn_id: TurnId) -> None:
        """Tell everybody, ahead of all that waits, to show no more of a turn."""
        frame = encode_frame(Flush(turn_id, Seq(self._timeline.head + 1)))
        for client in self._clients:
            client.show_first(frame)

    def tell_first(self, frame: Frame) -> None:
        """Send a connection frame to everybody, ahead of all that waits."""
        encoded = encode_frame(frame)
        for client in self._clients:
            client.show_first(encoded)

    def tell_all(self, frame: Frame) -> None:
        """Send a connection frame to everybody."""
        encoded = encode_frame(frame)
        for client in self._clients:
            client.show(encoded)

    def end_all(self, code: int, reason: str) -> None:
        """Close every connection after what was sent to it."""
        for client in tuple(self._clients):
            client.end(code, reason)

    def end_all_at(self, seq: Seq, code: int, reason: str) -> None:
        """Close every connection once it has the events up to *seq*."""
        for client in tuple(self._clients):
            client.end_at(seq, code, reason)
