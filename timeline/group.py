"""Group commit: the appends of many sessions in one transaction and one fsync.

All of this runs in the writer's thread, beside an event loop that wants the
interpreter lock. Each statement gives the lock up and has to win it back, so a
group is few statements with many values instead of a statement for each event.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from typing import Final, TypeAlias, TypeVar

from attrs import define, field

from bargein.protocol.ids import NOTHING, Seq, SessionId
from bargein.timeline.archive import Erasure
from bargein.timeline.audit import AuditEntry
from bargein.timeline.audit_rows import AuditUnwritable, write_lines
from bargein.timeline.checksum import event_crc, row_crc, session_crc
from bargein.timeline.erasure import NEXT_KEY, ask, forget, sweep
from bargein.timeline.faults import fault_of, is_damage
from bargein.timeline.store import (
    Append,
    AuditCorrupt,
    DatabaseDamaged,
    NewSession,
    SeqConflict,
    StoreError,
    TimelineCorrupt,
)
from bargein.timeline.titles import forget_title, is_title, note_titles

T = TypeVar("T")

Refused: TypeAlias = dict[int, StoreError]
"""What was not stored of a group, by place in the group; empty if all was."""

EXACT: Final = 64
"""Up to so many events take one statement of just their number: most groups do."""

BLOCK: Final = 256
"""Larger groups are cut into statements of this many events, and a rest."""

MOST_KNOWN: Final = 20_000
"""Sessions whose place is remembered; looking up a forgotten one costs 10 us."""

PROBE_BYTES: Final = 64 * 1024
"""Room enough that appends are not refused again the moment after."""

_COLUMNS: Final = 4


@define(eq=False)
class _Place:
    """Where a session stands in the database."""

    key: int
    last: Seq
    closed: bool
    unsettled: bool
    crc: int


@define(eq=False)
class GroupCommit:
    """Writes groups through one connection; owns it, used by one thread at a time."""

    _connection: sqlite3.Connection
    _places: dict[SessionId, _Place] = field(factory=dict[SessionId, _Place], init=False)

    def write(self, group: Sequence[Append]) -> Refused:
        """Store all appends of *group* in order, or say which were refused and why.

        When it returns, what was not refused has been fsynced. Waits for the lock of
        another process as long as the connection was opened to wait.
        """
        try:
            return self._write(group)
        except AuditUnwritable:
            self._give_up(group)
        except sqlite3.Error as error:
            self._give_up(group)
            if not (isinstance(error, sqlite3.IntegrityError) or is_damage(error)):
                return dict.fromkeys(range(len(group)), fault_of(error))
        return self._write_singly(group)

    def note(self, entries: Sequence[AuditEntry]) -> StoreError | None:
        """Store *entries* in the audit, all or none; return what stood in the way."""
        try:
            self._alone(lambda connection: write_lines(connection, entries))
        except StoreError as error:
            return error
        return None

    def probe(self) -> None:
        """Write something and take it back.

        Raises:
            StoreError: If that can't be done.
        """
        # No session has the key 0. Left behind by a crash, it is written over.
        ballast = "INSERT OR REPLACE INTO events VALUES (0, 1, zeroblob(?), 0)"
        self._alone(lambda connection: connection.execute(ballast, (PROBE_BYTES,)))
        self._alone(lambda connection: connection.execute("DELETE FROM events WHERE session = 0"))

    def forget(self, session_id: SessionId, audit: Sequence[AuditEntry]) -> bool:
        """Take a session out of the index; return whether there was one.

        Raises:
            StoreError: If that can't be done; it is still there.
        """
        self._places.pop(session_id, None)
        with suppress(DatabaseDamaged):  # nothing but a number, of a key that nobody gets again
            self._alone(lambda connection: forget_title(connection, session_id))
        return self._alone(lambda connection: forget(connection, session_id, audit))

    def sweep(self) -> bool:
        """Delete some of what was forgotten; return whether some may be left.

        Raises:
            StoreError: If that can't be done; sweep again later.
        """
        return self._alone(sweep)

    def ask(self, erasures: Sequence[Erasure]) -> None:
        """Note what is to be erased.

        Raises:
            StoreError: If that can't be done.
        """
        self._alone(lambda connection: ask(connection, erasures))

    def close(self) -> None:
        """Close the connection; the last one to go copies the log into the database."""
        self._connection.close()

    def _alone(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do *work* in a transaction of its own."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            result = work(self._connection)
            self._connection.execute("COMMIT")
        except AuditUnwritable:
            self._give_up(())
            raise AuditCorrupt from None
        except sqlite3.Error as error:
            self._give_up(())
            if is_damage(error):  # of somebody's rows: no reason to end all the others
                raise DatabaseDamaged from error
            raise fault_of(error) from error
        return result

    def _write_singly(self, group: Sequence[Append]) -> Refused:
        # Somebody else has written, or a page is damaged: find out whom it hits.
        refused: Refused = {}
        lost: dict[SessionId, StoreError] = {}
        for index, append in enumerate(group):
            error = lost.get(append.session_id) or self._write_one(append)
            if error is None:
                continue
            refused[index] = lost[append.session_id] = error
            if not isinstance(error, SeqConflict | TimelineCorrupt | AuditCorrupt):
                # It hits everybody: nothing of what follows is tried.
                return refused | dict.fromkeys(range(index, len(group)), error)
        return refused

    def _write_one(self, append: Append, *, titled: bool = True) -> StoreError | None:
        try:
            return self._write((append,), titled=titled).get(0)
        except sqlite3.IntegrityError:
            self._give_up((append,))
            place = self._look_up(append.session_id)
            return _conflict(append, NOTHING if place is None else place.last)
        except AuditUnwritable:
            self._give_up((append,))
            return AuditCorrupt()
        except sqlite3.Error as error:
            self._give_up((append,))
            if not is_damage(error):
                return fault_of(error)
            # It may be the notes of titles alone that are damaged: they are for lists.
            if titled and any(map(is_title, append.frames)):
                return self._write_one(append, titled=False)
            return TimelineCorrupt(append.session_id, append.first_seq)

    def _write(self, group: Sequence[Append], *, titled: bool = True) -> Refused:
        refused: Refused = {}
        lost: dict[SessionId, StoreError] = {}
        values: list[object] = []
        changed: dict[int, _Place] = {}
        titles: dict[int, Seq] = {}
        audit: list[AuditEntry] = []
        begun = False
        for index, append in enumerate(group):
            if lost and append.session_id in lost:
                refused[index] = lost[append.session_id]
                continue
            try:
                place = self._place(append.session_id)
            except TimelineCorrupt as error:
                refused[index] = lost[append.session_id] = error
                continue
            if place is None and append.opened is not None and append.first_seq == 1:
                if not begun:
                    self._connection.execute("BEGIN IMMEDIATE")
                    begun = True
                place = self._open(append.opened)
                changed[place.key] = place  # to note how far the first append goes
            elif place is None or place.last != append.first_seq - 1 or append.opened is not None:
                found = NOTHING if place is None else place.last
                refused[index] = lost[append.session_id] = _conflict(append, found)
                continue
            _bind(append, place, values, titles)
            audit += append.audit
            if _turn_flags(append, place):
                changed[place.key] = place
        self._commit(values, changed, titles if titled else {}, audit, begun=begun)
        return refused

    def _commit(
        self,
        values: list[object],
        changed: dict[int, _Place],
        titles: dict[int, Seq],
        audit: Sequence[AuditEntry],
        *,
        begun: bool,
    ) -> None:
        if not values:
            return
        single = len(values) <= EXACT * _COLUMNS and not (changed or titles or audit)
        if not (single or begun):
            self._connection.execute("BEGIN IMMEDIATE")
            begun = True
        for block in _blocks(values):
            self._connection.execute(_insert(len(block) // _COLUMNS), block)
        for place in changed.values():
            self._connection.execute(
                "UPDATE sessions SET unsettled = ?, closed = ?, noted_seq = ? WHERE key = ?",
                (place.unsettled, place.closed, place.last, place.key),
            )
        if titles:
            note_titles(self._connection, titles)
        if audit:
            write_lines(self._connection, audit)
        # A single statement is a transaction by itself, in one step without the lock.
        if begun:
            self._connection.execute("COMMIT")

    def _open(self, new: NewSession) -> _Place:
        columns = (new.session_id, new.principal, new.tenant, new.epoch, 0, new.opened_at)
        key = self._connection.execute(
            f"INSERT INTO sessions VALUES ({NEXT_KEY}, ?, ?, ?, ?, ?, 0, 0, 0, ?, ?)",  # noqa: S608
            (*columns, row_crc(*columns)),
        ).lastrowid
        place = _Place(
            key or 0, NOTHING, closed=False, unsettled=False, crc=session_crc(new.session_id)
        )
        self._remember(new.session_id, place)
        return place

    def _place(self, session_id: SessionId) -> _Place | None:
        place = self._places.get(session_id)
        if place is None:
            place = self._look_up(session_id)
            if place is not None:
                self._remember(session_id, place)
        return place

    def _look_up(self, session_id: SessionId) -> _Place | None:
        found = self._connection.execute(
            "SELECT key, coalesce((SELECT max(seq) FROM events WHERE session = key), 0),"
            " noted_seq, closed, unsettled FROM sessions WHERE session_id = ?",
            (session_id,),
        ).fetchone()
        if found is None:
            return None
        key, last, noted, closed, unsettled = found
        if last < noted:
            raise TimelineCorrupt(session_id, Seq(last + 1))
        return _Place(key, last, bool(closed), bool(unsettled), session_crc(session_id))

    def _remember(self, session_id: SessionId, place: _Place) -> None:
        self._places[session_id] = place
        if len(self._places) > MOST_KNOWN:
            del self._places[next(iter(self._places))]

    def _give_up(self, group: Sequence[Append]) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        for append in group:
            self._places.pop(append.session_id, None)


def _conflict(append: Append, found: Seq) -> SeqConflict:
    return SeqConflict(append.session_id, Seq(append.first_seq - 1), found)


def _bind(append: Append, place: _Place, values: list[object], titles: dict[int, Seq]) -> None:
    key, shared = place.key, place.crc
    for seq, frame in enumerate(append.frames, append.first_seq):
        values += (key, seq, frame, event_crc(shared, seq, frame))
        if is_title(frame):
            titles[key] = Seq(seq)
    place.last = append.last_seq


def _turn_flags(append: Append, place: _Place) -> bool:
    closed = place.closed or append.closed
    if (place.unsettled, place.closed) == (append.unsettled, closed):
        return False
    place.unsettled, place.closed = append.unsettled, closed
    return True


def _blocks(values: list[object]) -> Iterator[list[object]]:
    start, size = 0, len(values)
    for events in (BLOCK, EXACT):
        step = events * _COLUMNS
        while size - start >= step:
            yield values[start : start + step]
            start += step
    if start < size:
        yield values[start:]


@cache
def _insert(events: int) -> str:
    rows = ", ".join(["(?, ?, ?, ?)"] * events)
    return f"INSERT INTO events (session, seq, frame, crc) VALUES {rows}"  # noqa: S608 - marks only
