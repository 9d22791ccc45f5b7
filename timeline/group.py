"""Group commit: the appends of many sessions in one transaction and one fsync.

All of this runs in the writer's thread, beside an event loop that wants the
interpreter lock. Each statement gives the lock up and has to win it back, so a
group is few statements with many values instead of a statement for each event.

What comes while a turn runs goes into the journal, in one row for the group; the
rest goes among the rows of its session.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from attrs import define, field

from bargein.protocol.ids import NOTHING, Seq, SessionId
from bargein.timeline.archive import Erasure
from bargein.timeline.audit import AuditEntry
from bargein.timeline.audit_rows import AuditUnwritable, write_lines
from bargein.timeline.draft import Draft, blocks, insert_statement, marks
from bargein.timeline.erasure import ask, forget, sweep
from bargein.timeline.faults import fault_of, is_damage
from bargein.timeline.journal import COLUMNS, Journal, Late, Overtaken
from bargein.timeline.places import Places
from bargein.timeline.schema import Identity, open_both
from bargein.timeline.store import (
    Append,
    AuditCorrupt,
    DatabaseDamaged,
    SeqConflict,
    StoreError,
    StoreUnavailable,
    TimelineCorrupt,
)
from bargein.timeline.titles import forget_title, is_title, note_titles

T = TypeVar("T")

Refused: TypeAlias = dict[int, StoreError]
"""What was not stored of a group, by place in the group; empty if all was."""

PROBE_BYTES: Final = 64 * 1024
"""Room enough that appends are not refused again the moment after."""

_NOTED: Final = "UPDATE sessions SET unsettled = ?, closed = ?, noted_seq = ? WHERE key = ?"
_SETTLED: Final = "UPDATE sessions SET noted_seq = ? WHERE key = ?"


@define(eq=False)
class GroupCommit:
    """Writes groups through one connection; owns it, used by one thread at a time.

    Attributes:
        journal: Of the same connection.
    """

    _connection: sqlite3.Connection
    journal: Journal = field(init=False)
    _places: Places = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.journal = Journal.opened(self._connection)
        self._places = Places(self._connection, self.journal)

    def write(self, group: Sequence[Append]) -> Refused:
        """Store all appends of *group* in order, or say which were refused and why.

        When it returns, what was not refused has been fsynced. Waits for the lock of
        another process as long as the connection was opened to wait.
        """
        try:
            return self._attempt(group, journalled=True)
        except AuditUnwritable:
            self._give_up(group)
        except sqlite3.Error as error:
            self._give_up(group)
            if not _is_of_rows(error):
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
        self._settle_all()
        late = self.journal.late(session_id)
        if late is not None and not late.stuck:
            raise StoreUnavailable("the database is locked by someone else")
        self._places.forget(session_id)
        with suppress(DatabaseDamaged):  # nothing but a number, of a key that nobody gets again
            self._alone(lambda connection: forget_title(connection, session_id))
        found, trimmed = self._alone(
            lambda connection: (
                forget(connection, session_id, audit),
                self.journal.trim((session_id,), wholly=True),
            )
        )
        self.journal.settled((session_id,))  # what could not be put where it belongs
        trimmed()
        return found

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

    def settle(self) -> int:
        """Put the oldest events of the journal among the rows of their sessions.

        Returns how many; none if there are none, or if that can't be done now.
        """
        chosen = self.journal.oldest()
        try:
            return self._settle(chosen)
        except Overtaken:
            self._give_up(())
        except sqlite3.Error as error:
            self._give_up(())
            if _is_of_rows(error):
                return sum(self._settle_one(*each) for each in chosen)
        return 0

    def close(self) -> None:
        """Close the connection; the last one to go copies the log into the database."""
        while self.settle():
            pass
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
            return self._attempt((append,), journalled=False, titled=titled).get(0)
        except sqlite3.IntegrityError:
            self._give_up((append,))
            place = self._places.look_up(append.session_id)
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

    def _attempt(
        self, group: Sequence[Append], *, journalled: bool, titled: bool = True
    ) -> Refused:
        try:
            return self._write(group, journalled=journalled, titled=titled)
        except Overtaken:
            self._give_up(group)
            self._connection.execute("BEGIN IMMEDIATE")
            self.journal.catch_up()
            self._places.forget_all()
            return self._write(group, journalled=journalled, titled=titled, begun=True)

    def _write(
        self, group: Sequence[Append], *, journalled: bool, titled: bool, begun: bool = False
    ) -> Refused:
        refused: Refused = {}
        lost: dict[SessionId, StoreError] = {}
        draft = Draft(self.journal, journalled=journalled)
        for index, append in enumerate(group):
            if lost and append.session_id in lost:
                refused[index] = lost[append.session_id]
                continue
            try:
                place = self._places.of(append.session_id)
            except TimelineCorrupt as error:
                refused[index] = lost[append.session_id] = error
                continue
            if place is None and append.opened is not None and append.first_seq == 1:
                if not begun:
                    self._connection.execute("BEGIN IMMEDIATE")
                    begun = True
                place = self._places.open(append.opened)
                draft.changed[place.key] = place  # to note how far the first append goes
            elif place is None or place.last != append.first_seq - 1 or append.opened is not None:
                self.journal.check()  # what is remembered may be old
                found = NOTHING if place is None else place.last
                refused[index] = lost[append.session_id] = _conflict(append, found)
                continue
            draft.put(append, place)
        if not titled:
            draft.titles.clear()
        self._commit(draft, begun=begun)
        return refused

    def _commit(self, draft: Draft, *, begun: bool) -> None:
        if not (draft.rows or draft.noted):
            if begun:
                self._connection.execute("COMMIT")
            return
        if not (begun or draft.is_one_statement):
            self._connection.execute("BEGIN IMMEDIATE")
            begun = True
        if draft.noted:
            self.journal.note(draft.noted)
        elif begun:
            self.journal.check()
        for block in blocks(draft.rows):
            if begun:
                self._connection.execute(insert_statement(len(block) // COLUMNS), block)
            else:
                self.journal.insert(marks(len(block) // COLUMNS), block)
        for place in draft.changed.values():
            row = (place.unsettled, place.closed, place.stored, place.key)
            self._connection.execute(_NOTED, row)
        if draft.titles:
            note_titles(self._connection, draft.titles)
        if draft.audit:
            write_lines(self._connection, draft.audit)
        # A single statement is a transaction by itself, in one step without the lock.
        if begun:
            self._connection.execute("COMMIT")
        self.journal.settled(draft.settled)
        if draft.noted:
            self.journal.noted(draft.noted)

    def _settle(self, chosen: Sequence[tuple[SessionId, Late]]) -> int:
        if not chosen:
            return 0
        rows = [value for _, late in chosen for value in late.values]
        names = [name for name, _ in chosen]
        self._connection.execute("BEGIN IMMEDIATE")
        self.journal.check()
        for block in blocks(rows):
            self._connection.execute(insert_statement(len(block) // COLUMNS), block)
        self._connection.executemany(_SETTLED, [(late.last, late.key) for _, late in chosen])
        trimmed = self.journal.trim(names)
        self._connection.execute("COMMIT")
        for name, late in chosen:
            self._places.settled(name, late.last)
        self.journal.settled(names)
        trimmed()
        return len(rows) // COLUMNS

    def _settle_one(self, name: SessionId, late: Late) -> int:
        try:
            return self._settle(((name, late),))
        except Overtaken:
            self._give_up(())
        except sqlite3.Error as error:
            self._give_up(())
            if _is_of_rows(error):
                late.stuck = True  # served from here, and takes nothing more
                self._places.forget(name)
        return 0

    def _settle_all(self) -> None:
        with suppress(StoreError):
            self._alone(lambda _: self.journal.look())
        while self.settle():
            pass

    def _give_up(self, group: Sequence[Append]) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        for append in group:
            self._places.forget(append.session_id)


def _is_of_rows(error: sqlite3.Error) -> bool:
    """Say whether it concerns single sessions: others may be tried without them."""
    return isinstance(error, sqlite3.IntegrityError) or is_damage(error)


def _conflict(append: Append, found: Seq) -> SeqConflict:
    return SeqConflict(append.session_id, Seq(append.first_seq - 1), found)


def open_commits(
    path: Path, locked_s: float
) -> tuple[GroupCommit, sqlite3.Connection, Identity, bool]:
    """Open a database as `schema.open_both` does, with what writes to it.

    Raises:
        StoreError: If it can't be opened.
    """
    writing, reading, files, has_rest = open_both(path, locked_s)
    try:
        return GroupCommit(writing), reading, files, has_rest
    except sqlite3.Error as error:
        reading.close()
        writing.close()
        raise fault_of(error) from error
