"""What one call appends to one session, and what is to be told of it."""

from __future__ import annotations

import re
from typing import Final

from attrs import define, field

from bargein.protocol.ids import NodeId, Seq, SessionId
from bargein.timeline.checksum import event_crc, session_crc
from bargein.timeline.recent import EARLY_SEQ, is_said
from bargein.timeline.redis.chain import Item
from bargein.timeline.redis.keys import events_key, outbox_key, row_key
from bargein.timeline.redis.known import Grant
from bargein.timeline.redis.rows import opening_columns
from bargein.timeline.redis.scripts import APPEND, Argument, Command
from bargein.timeline.store import Append
from bargein.timeline.titles import TS_BYTES, TS_CHARS, is_title

_TIME: Final = re.compile(rb"\d{4}-\d\d-\d\dT[0-9:.]{12}Z")


@define(eq=False)
class Held:
    """An append that was submitted and not answered yet.

    Attributes:
        due_s: When its session is told that it failed, if Redis is away until then.
    """

    append: Append
    due_s: float


@define(eq=False)
class Parcel:
    """Appends of one session that follow one another: stored together, or none of them.

    As one call they can't be torn apart: where the first is refused, nothing behind it could fit
    by accident.

    Attributes:
        item: What goes to the session's outbox with them; None where nothing is to be audited.
        sent: Whether it was sent before and the answer was lost.
        fence: With which it was sent last.
    """

    session_id: SessionId
    helds: list[Held] = field(factory=list[Held], init=False)
    item: Item | None = field(default=None, init=False)
    sent: bool = field(default=False, init=False)
    fence: int = field(default=0, init=False)

    def takes(self, append: Append) -> bool:
        """Say whether *append* follows what is in it."""
        if not self.helds:
            return True
        return append.opened is None and append.first_seq == self.last_seq + 1

    def add(self, held: Held) -> None:
        """Take what follows."""
        self.helds.append(held)

    def seal(self) -> None:
        """Note that nothing more comes; from here on it stays the same."""
        audit = tuple(entry for held in self.helds for entry in held.append.audit)
        self.item = Item.new(self.session_id, audit) if audit else None

    @property
    def first_seq(self) -> Seq:
        """Seq of the first event in it."""
        return self.helds[0].append.first_seq

    @property
    def last_seq(self) -> Seq:
        """Seq of the last event in it."""
        return self.helds[-1].append.last_seq

    @property
    def last_frame(self) -> bytes:
        """The last event in it."""
        return self.helds[-1].append.frames[-1]

    @property
    def count(self) -> int:
        """How many events are in it."""
        return sum(len(held.append.frames) for held in self.helds)

    @property
    def due_s(self) -> float:
        """When the first of it is due."""
        return self.helds[0].due_s

    @property
    def urgent(self) -> bool:
        """Whether something in it is waited for."""
        return any(held.append.urgent for held in self.helds)

    @property
    def unsettled(self) -> bool:
        """Whether the session may be unsettled once some or all of it is stored."""
        return self.helds[-1].append.unsettled

    @property
    def opens(self) -> bool:
        """Whether it begins the session."""
        first = self.helds[0].append
        return first.opened is not None and first.first_seq == 1

    def command(self, grant: Grant, history: str, me: NodeId, *, is_all_known: bool) -> Command:
        """Return the call that appends it.

        Args:
            grant: With what it was let in.
            history: In which life of the Redis server it is written.
            me: Who writes it.
            is_all_known: Whether nobody else can have appended since; else it is refused where
                the last append was in another life of the Redis server.
        """
        self.fence = grant.fence
        first, last = self.helds[0].append, self.helds[-1].append
        shared = session_crc(self.session_id)
        title, said = "", ""
        columns: list[Argument] = []
        for held in self.helds:
            for seq, frame in enumerate(held.append.frames, held.append.first_seq):
                columns += (frame, event_crc(shared, seq, frame))
                if is_title(frame):
                    title = str(seq)
                if seq <= EARLY_SEQ and not said and is_said(frame):
                    said = str(seq)
        opening = () if first.opened is None else opening_columns(first.opened, me)
        return APPEND.call(
            [row_key(self.session_id), events_key(self.session_id), outbox_key(self.session_id)],
            grant.fence,
            history,
            first.first_seq,
            int(last.unsettled),
            int(any(held.append.closed for held in self.helds)),
            _time_of(self.last_frame),
            title,
            said,
            "" if self.item is None else self.item.text,
            me,
            grant.token,
            "" if grant.replaced is None else f"={grant.replaced}",
            int(is_all_known),
            len(opening),
            *opening,
            *columns,
        )


def _time_of(frame: bytes) -> bytes:
    # By its bytes, as titles are found: the encoder writes the time before all that others chose.
    at = frame.find(TS_BYTES) + len(TS_BYTES)
    text = frame[at : at + TS_CHARS]
    return text if at >= len(TS_BYTES) and _TIME.fullmatch(text) else b""
