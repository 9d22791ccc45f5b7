"""Where sessions stand in the database, as one writer remembers it."""

from __future__ import annotations

import sqlite3
from typing import Final

from attrs import define, field

from bargein.protocol.ids import NOTHING, Seq, SessionId
from bargein.timeline.checksum import row_crc, session_crc
from bargein.timeline.erasure import NEXT_KEY
from bargein.timeline.journal import Journal
from bargein.timeline.store import NewSession, TimelineCorrupt

MOST_KNOWN: Final = 4096
"""Sessions whose place is remembered, some 0.3 KiB each; looking up a forgotten one costs 10 us.
Many more than one process has answers for at a time."""


@define(eq=False)
class Place:
    """Where a session stands.

    Attributes:
        stored: Last seq among its rows.
        last: Last seq of all, those that are only in the journal included.
        crc: What the checksums of its events share.
    """

    key: int
    stored: Seq
    last: Seq
    closed: bool
    unsettled: bool
    crc: int


@define(eq=False)
class Places:
    """The places of the sessions that were written to last; more than the limit until `trim`."""

    _connection: sqlite3.Connection
    _journal: Journal
    _known: dict[SessionId, Place] = field(factory=dict[SessionId, Place], init=False)

    def of(self, session_id: SessionId) -> Place | None:
        """Return where a session stands, None if there is no such session.

        Raises:
            TimelineCorrupt: If newest events of it are missing, or can't go where they belong.
        """
        place = self._known.pop(session_id, None) or self.look_up(session_id)
        if place is not None:
            self._known[session_id] = place  # at the end: who is first was not used for longest
        return place

    def look_up(self, session_id: SessionId) -> Place | None:
        """Find it in the database, whatever is remembered; see `of`."""
        found = self._connection.execute(
            "SELECT key, coalesce((SELECT max(seq) FROM events WHERE session = key), 0),"
            " noted_seq, closed, unsettled FROM sessions WHERE session_id = ?",
            (session_id,),
        ).fetchone()
        if found is None:
            return None
        key, stored, noted, closed, unsettled = found
        if stored < noted:
            raise TimelineCorrupt(session_id, Seq(stored + 1))
        late = self._journal.late(session_id)
        if late is not None and late.stuck:
            raise TimelineCorrupt(session_id, Seq(stored + 1))
        last = stored if late is None else late.last
        return Place(key, stored, last, bool(closed), bool(unsettled), session_crc(session_id))

    def open(self, new: NewSession) -> Place:
        """Add a session to the index, in a transaction that has begun."""
        columns = (new.session_id, new.principal, new.tenant, new.epoch, 0, new.opened_at)
        key = self._connection.execute(
            f"INSERT INTO sessions VALUES ({NEXT_KEY}, ?, ?, ?, ?, ?, 0, 0, 0, ?, ?)",  # noqa: S608
            (*columns, row_crc(*columns)),
        ).lastrowid
        crc = session_crc(new.session_id)
        place = Place(key or 0, NOTHING, NOTHING, closed=False, unsettled=False, crc=crc)
        self._known[new.session_id] = place
        return place

    def forget(self, session_id: SessionId) -> None:
        """Look it up anew the next time."""
        self._known.pop(session_id, None)

    def forget_all(self) -> None:
        """Look all of them up anew."""
        self._known.clear()

    def settled(self, session_id: SessionId, last: Seq) -> None:
        """Note that a session's events up to *last* are among its rows."""
        place = self._known.get(session_id)
        if place is not None:
            place.stored = max(place.stored, last)

    def trim(self) -> None:
        """Forget those not used for longest.

        Between groups only: what a group has come to is in its places, and not yet in the database.
        """
        while len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
