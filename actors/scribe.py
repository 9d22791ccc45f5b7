"""The one hand that writes a session's timeline: seq, time, cause, bytes, fold."""

from __future__ import annotations

from typing import Final

from attrs import define, field

from bargein.actors.cleaning import cleaned
from bargein.actors.clock import Timestamps
from bargein.actors.tally import Tally
from bargein.protocol.causes import parent_of
from bargein.protocol.codec import (
    encode_event,
    encode_payload,
    encode_words,
    session_prefix,
    words_envelope,
)
from bargein.protocol.events import (
    CancelRequested,
    CancelStage,
    ModelToken,
    Payload,
    ResponseEnd,
    SessionClosed,
)
from bargein.protocol.ids import Seq, TurnId, event_id
from bargein.protocol.state import SessionState
from bargein.timeline.audit import AuditEntry, digest_of
from bargein.timeline.log import Timeline
from bargein.timeline.store import NewSession

_URGENT: Final = ("turn.", "cancel.", "action.")


def is_urgent(payload: Payload) -> bool:
    """Whether the store should be asked for a commit at once for this event.

    The first rungs of a ladder are not urgent by themselves: its ack follows in
    a fraction of a millisecond where work stops as it should, and then one
    commit holds all of it.  Where it doesn't, they go with the next group.
    """
    if isinstance(payload, (CancelRequested, CancelStage)):
        return False
    return payload.type.startswith(_URGENT) or isinstance(payload, ResponseEnd)


@define(eq=False)
class Scribe:
    """Turns payloads into events of one session, in the order in which they come.

    Used by the output actor while the session lives, and by recovery before it
    does: by nobody else, because a timeline has one writer.
    """

    state: SessionState
    timeline: Timeline
    _times: Timestamps
    _opened: NewSession | None = None
    _principal: str | None = None
    _tenant: str | None = None
    tally: Tally = field(init=False)
    _prefix: bytes = field(init=False)
    _envelope: bytes = field(default=b"", init=False)
    _words_of: tuple[TurnId, Seq] | None = field(default=None, init=False)
    _frames: list[bytes] = field(factory=list[bytes], init=False)
    _audit: list[AuditEntry] = field(factory=list[AuditEntry], init=False)
    _urgent: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._prefix = session_prefix(self.timeline.session_id)
        self.tally = Tally.of(self.timeline, self.state)

    @property
    def head(self) -> Seq:
        """The seq of the last event written."""
        return self.state.seq

    def write(self, turn_id: TurnId | None, payload: Payload) -> Seq:
        """Write one event; it goes to the store with the next `commit`."""
        state = self.state
        seq = Seq(state.seq + 1)
        ts = self._times.next()
        parent = parent_of(state, turn_id, payload)
        try:
            frame = encode_event(self._prefix, seq, ts, turn_id, parent, payload)
        except UnicodeEncodeError:  # of an app's own words: a title, a reason, a name
            payload = cleaned(payload)
            frame = encode_event(self._prefix, seq, ts, turn_id, parent, payload)
        self._frames.append(frame)
        state.apply(seq, ts.decode(), turn_id, payload)
        if isinstance(payload, ModelToken) and turn_id is not None:
            # The first words of an answer don't wait for a fuller group.
            urgent = state.turns[turn_id].chars == len(payload.text)
            self.tally.spoke(turn_id, payload.n)
        else:
            self.tally.note(seq, turn_id, payload)
            urgent = is_urgent(payload)
            if payload.type.startswith("action."):
                self._audit.append(self._audited(seq, state.ts, payload))
        self._urgent = self._urgent or urgent
        return seq

    def write_words(self, turn_id: TurnId, text: str, deltas: int) -> Seq:
        """Write a piece of an answer: as `write`, and cheaper, since nearly every event is one."""
        state, payload = self.state, ModelToken(text, deltas)
        turn = state.turns.get(turn_id)
        cause = None if turn is None else turn.model_seq
        if turn is None or cause is None:
            return self.write(turn_id, payload)
        if self._words_of != (turn_id, cause):
            self._words_of = turn_id, cause
            self._envelope = words_envelope(turn_id, event_id(cause))
        seq, ts = Seq(state.seq + 1), self._times.next()
        try:
            frame = encode_words(self._prefix, seq, ts, self._envelope, payload)
        except UnicodeEncodeError:
            return self.write(turn_id, payload)
        self._frames.append(frame)
        state.apply(seq, ts.decode(), turn_id, payload)
        if turn.chars == len(text):
            self._urgent = True
        self.tally.spoke(turn_id, deltas)
        return seq

    def _audited(self, seq: Seq, ts: str, payload: Payload) -> AuditEntry:
        by = getattr(payload, "by", None) or None
        return AuditEntry(
            ts=ts,
            act=payload.type,
            session_id=self.timeline.session_id,
            seq=seq,
            principal=self._principal,
            tenant=self._tenant,
            subject=getattr(payload, "action_id", None),
            by=None if by == self._principal else by,
            digest=digest_of(encode_payload(payload)),
        )

    def commit(self) -> None:
        """Hand what was written to the store."""
        if not self._frames:
            return
        self.timeline.append(
            self._frames,
            urgent=self._urgent,
            unsettled=self.state.unsettled,
            closed=self.state.closed,
            opened=self._opened,
            audit=tuple(self._audit),
        )
        self._frames.clear()
        self._audit.clear()
        self._urgent = False
        self._opened = None

    def close(self, reason: str) -> Seq:
        """Write that the session is over for good."""
        return self.write(None, SessionClosed(reason))
