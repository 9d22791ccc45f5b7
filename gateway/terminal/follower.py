"""Follows a session's timeline over one connection after the other: every event once, in order."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
from attrs import define, field
from msgspec import UNSET, UnsetType

from bargein.gateway.terminal.link import Link, Phase, Place
from bargein.gateway.terminal.pending import Pending
from bargein.gateway.terminal.reports import Reports
from bargein.protocol import frames
from bargein.protocol.codec import EventRefused, decode_event
from bargein.protocol.codes import ErrorCode
from bargein.protocol.events import Event
from bargein.protocol.ids import NOTHING, CommandId, Epoch, Seq, SessionId, TurnId
from bargein.protocol.state import SessionState


class Listener(Protocol):
    """Who is told what is new."""

    def greeted(self, hello: frames.Hello, *, afresh: bool) -> None:
        """Hear of a new connection; *afresh*: what was known is not the session's history."""
        ...

    def happened(self, event: Event) -> None:
        """Hear of an event; the fold has it already."""
        ...

    def live(self) -> None:
        """Hear that all there is has come."""
        ...

    def flushed(self, turn_id: TurnId) -> None:
        """Hear that no more of a turn may be shown."""
        ...

    def told(self, frame: frames.Frame) -> None:
        """Hear what else the server said to this client alone."""
        ...

    def waiting(self, phase: Phase, wait_s: float, reason: str) -> None:
        """Hear how the connection is."""
        ...


class _Head(msgspec.Struct):
    type: str
    event_id: str | UnsetType = UNSET
    seq: int = 0
    first_seq: int | UnsetType = UNSET
    command_id: str | None = None


class _Reply(msgspec.Struct):
    result: dict[str, Any]
    at_seq: int


@define(eq=False)
class Follower:
    """What a client knows of a session: the server's own fold of its events.

    Attributes:
        state: The fold.
        link: What connects it; set by whoever composes the two.
        listener: Who is told; sets itself.
        is_live: Nothing is missing, as far as this client was told.
    """

    session_id: SessionId | None
    pending: Pending
    reports: Reports
    link: Link = field(init=False)
    listener: Listener = field(init=False)
    state: SessionState = field(factory=SessionState, init=False)
    is_live: bool = field(default=False, init=False)
    _epoch: Epoch | None = field(default=None, init=False)
    _seq: Seq = field(default=NOTHING, init=False)

    # --- for the link -----------------------------------------------------------------

    @property
    def place(self) -> Place:
        """Where to come back to."""
        return Place(self.session_id, self._epoch, self._seq)

    def changed(self, phase: Phase, wait_s: float, reason: str) -> None:
        """Take note of how the connection is."""
        if phase == "waiting":
            self.is_live = False
            self.pending.lost()
        self.listener.waiting(phase, wait_s, reason)

    def forget_session(self) -> None:
        """Take a new session: this one was lost before anything of it was stored."""
        self.session_id = self._epoch = None

    def receive(self, text: str) -> None:
        """Take what the server said; what is not understood is left alone."""
        raw = text.encode()
        try:
            head = msgspec.json.decode(raw, type=_Head)
            if head.event_id is not UNSET:
                self._event(raw, head)
            else:
                self._frame(raw, head)
        except msgspec.MsgspecError:
            return

    # --- events -----------------------------------------------------------------------

    def _event(self, raw: bytes, head: _Head) -> None:
        seq = Seq(head.seq)
        first = seq if isinstance(head.first_seq, UnsetType) else head.first_seq
        if seq <= self._seq:
            return
        if first != self._seq + 1:
            self._gap()
            return
        self._seq = seq
        self.reports.received(seq)
        try:
            event = decode_event(raw)
        except EventRefused:  # written by a version that says more than this one knows
            return
        self.state.apply(event.seq, event.ts, event.turn_id, event.payload)
        self.listener.happened(event)

    def _gap(self) -> None:
        """Come back: a resume gives exactly what is missing."""
        self.link.redial()

    # --- frames -----------------------------------------------------------------------

    def _frame(self, raw: bytes, head: _Head) -> None:
        if head.type == frames.Reply.type:
            self._reply(CommandId(head.command_id or ""), raw)
            return
        kind = frames.FRAMES.get(head.type)
        if kind is None:
            return
        match frame := msgspec.json.decode(raw, type=kind):
            case frames.Hello():
                self._hello(frame)
            case frames.Live(seq=seq) | frames.CaughtUp(seq=seq) if seq > self._seq:
                self._gap()
            case frames.Live():
                self._live()
            case frames.Refused(command_id=command_id, error=problem):
                known = self.pending.settle(command_id, problem)
                # A report of what was printed that came too late: nobody has to know.
                if not known and problem.code is not ErrorCode.STALE:
                    self.listener.told(frame)
            case frames.Flush(turn_id=turn_id):
                self.listener.flushed(turn_id)
            case frames.GoAway(reconnect_after_ms=after_ms):
                self.link.away(after_ms / 1000)
                self.listener.told(frame)
            case _:
                self.listener.told(frame)

    def _hello(self, hello: frames.Hello) -> None:
        # All of it, or exactly the rest, and never a part.
        afresh = self._seq > 0 and hello.replay_from != self._seq + 1
        if afresh:
            self.state, self._seq = SessionState(), NOTHING
        self.session_id, self._epoch = hello.session_id, hello.epoch
        self.link.greeted(hello.heartbeat_s)
        self.listener.greeted(hello, afresh=afresh)
        most_bytes = hello.limits.get("command_bytes")
        if isinstance(most_bytes, int):
            self.pending.limit(most_bytes)
        self.pending.pump()

    def _live(self) -> None:
        self.is_live = True
        self.link.live()
        self.reports.again(self.state.open_turn)
        self.listener.live()

    def _reply(self, command_id: CommandId, raw: bytes) -> None:
        reply = msgspec.json.decode(raw, type=_Reply)
        if reply.at_seq > self._seq:
            self._gap()  # it comes after its events: the next connection brings both
        else:
            self.pending.settle(command_id, reply.result)
