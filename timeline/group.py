"""Group commit: the appends of many sessions in one transaction and one fsync.

All of this runs in the writer's thread, beside an event loop that wants the
interpreter lock. Each statement gives the lock up and has to win it back, so a
group is few statements with many values instead of a statement for each event.

What comes while a turn runs goes into the journal, in one row for the group; the
rest goes among the rows of its session.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import structlog
from attrs import define, field

from bargein.protocol.ids import NOTHING, Seq, SessionId
from bargein.timeline.archive import Erasure
from bargein.timeline.audit import AuditEntry
from bargein.timeline.audit_rows import AuditUnwritable, write_lines
from bargein.timeline.draft import Draft, blocks, insert_statement, marks
from bargein.timeline.erasure import ask, forget, sweep
from bargein.timeline.faults import fault_of, is_damage, is_of_rows
from bargein.timeline.journal import COLUMNS, Journal, Overtaken
from bargein.timeline.places import Place, Places
from bargein.timeline.schema import Identity, open_both
from bargein.timeline.store import (
    Append,
    AuditCorrupt,
    DatabaseDamaged,
    SeqConflict,
    StoreDead,
    StoreError,
    StoreUnavailable,
    TimelineCorrupt,
)
from bargein.timeline.titles import forget_title, is_title, note_titles

log = structlog.get_logger(__name__)

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
        hindrance: Why the journal could not be settled the last time; None if it could.
        dead: Why nothing more is written; None while it lives.
    """

    _connection: sqlite3.Connection
    journal: Journal = field(init=False)
    hindrance: StoreError | None = field(default=None, init=False)
    dead: StoreDead | None = field(default=None, init=False)
    _places: Places = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.journal = Journal.opened(self._connection)
        self._places = Places(self._connection, self.journal)

    def write(self, group: Sequence[Append]) -> Refused:
        """Store all appends of *group* in order, or say which were refused and why.

        When it returns, what was not refused has been fsynced. Waits for the lock of
        another process as long as the connection was opened to wait.
        """
        if self.dead is not None:
            return dict.fromkeys(range(len(group)), self.dead)
        try:
            return self._attempt(group, journalled=True)
        except AuditUnwritable:
            self._give_up(group)
        except sqlite3.Error as error:
            self._give_up(group)
            if not is_of_rows(error):
                return dict.fromkeys(range(len(group)), self._fault(error))
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
        self._alone(lambda _: None)  # to look at what others have written
        while self.settle():
            pass
        if self.journal.waits:
            raise self.hindrance or StoreUnavailable("others write to it all the time")
        self._places.forget(session_id)
        with suppress(DatabaseDamaged):  # nothing but a number, of a key that nobody gets again
            self._alone(lambda connection: forget_title(connection, session_id))
        found = self._alone(lambda connection: forget(connection, session_id, audit))
        self.journal.settled(session_id)  # what could not be put where it belongs
        self._trim(wholly=True)
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

        Returns how many sessions that was; none if there are none, or if it can't be done now.
        """
        if self.dead is not None:
            return 0
        names: list[SessionId] = []
        try:
            with self._transaction():
                names = [name for name, _ in self.journal.oldest()]
                self._move(names)
        except sqlite3.Error as error:
            if not is_of_rows(error):
                return self._hindered(error)
            return sum(map(self._settle_one, names))
        self._moved(names)
        if self.journal.is_worth_trimming:
            with suppress(StoreError):  # another time
                self._trim()
        return len(names)

    def close(self) -> None:
        """Close the connection; the last one to go copies the log into the database."""
        while self.journal.waits and self.settle():
            pass
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Generator[None]:
        """Begin under the lock, knowing what others have written, and commit in the end."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            if self.journal.is_overtaken:
                self.journal.catch_up()
                self._places.forget_all()
            yield
            self._connection.execute("COMMIT")
        finally:
            self._give_up(())

    def _alone(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do *work* in a transaction of its own."""
        if self.dead is not None:
            raise self.dead
        try:
            with self._transaction():
                return work(self._connection)
        except AuditUnwritable:
            raise AuditCorrupt from None
        except sqlite3.Error as error:
            if is_damage(error):  # of somebody's rows: no reason to end all the others
                raise DatabaseDamaged from error
            raise self._fault(error) from error

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
            return self._collision(append)
        except AuditUnwritable:
            self._give_up((append,))
            return AuditCorrupt()
        except sqlite3.Error as error:
            self._give_up((append,))
            if not is_damage(error):
                return self._fault(error)
            # It may be the notes of titles alone that are damaged: they are for lists.
            if titled and any(map(is_title, append.frames)):
                return self._write_one(append, titled=False)
            return TimelineCorrupt(append.session_id, append.first_seq)

    def _collision(self, append: Append) -> StoreError:
        try:
            place = self._places.look_up(append.session_id)
        except TimelineCorrupt as error:
            return error
        except sqlite3.Error as error:
            if is_damage(error):
                return TimelineCorrupt(append.session_id, append.first_seq)
            return self._fault(error)
        return _conflict(append, place)

    def _attempt(
        self, group: Sequence[Append], *, journalled: bool, titled: bool = True
    ) -> Refused:
        draft = Draft(self.journal, journalled=journalled, titled=titled)
        try:
            refused = self._write(group, draft)
        except Overtaken:
            self._give_up(group)
            draft = Draft(self.journal, journalled=journalled, titled=titled)
            with self._transaction():
                refused = self._write(group, draft, within=True)
        for name in draft.settled:
            self.journal.settled(name)
        if draft.noted:
            self.journal.noted(draft.noted)
        self._places.trim()
        return refused

    def _write(self, group: Sequence[Append], draft: Draft, *, within: bool = False) -> Refused:
        """Write what was not refused, *within* a transaction that has begun or one of its own.

        Raises:
            Overtaken: If somebody else has written since; then nothing was written.
        """
        begun = within
        refused: Refused = {}
        lost: dict[SessionId, StoreError] = {}
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
                refused[index] = lost[append.session_id] = _conflict(append, place)
                continue
            draft.put(append, place)
        if draft.is_one_statement and not begun:
            # A transaction by itself, in one step without the lock.
            self._put(draft, begun=False)
            return refused
        if not begun:
            self._connection.execute("BEGIN IMMEDIATE")
        self.journal.check()
        self._put(draft, begun=True)
        if not within:
            self._connection.execute("COMMIT")
        return refused

    def _put(self, draft: Draft, *, begun: bool) -> None:
        if draft.noted:
            self.journal.note(draft.noted)
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

    def _settle_one(self, name: SessionId) -> int:
        try:
            with self._transaction():
                self._move((name,))
        except sqlite3.Error as error:
            late = self.journal.late(name)
            if not is_of_rows(error) or late is None:
                return self._hindered(error)
            late.stuck = True  # served from here, and takes nothing more
            self._places.forget(name)
        else:
            self._moved((name,))
            return 1
        log.error("session.stuck", session=name)
        return 1

    def _move(self, names: Iterable[SessionId]) -> None:
        """Put what the journal has of sessions among their rows, within a transaction."""
        found = (self.journal.late(name) for name in names)
        chosen = [late for late in found if late is not None]
        for block in blocks([value for late in chosen for value in late.values]):
            self._connection.execute(insert_statement(len(block) // COLUMNS), block)
        self._connection.executemany(_SETTLED, [(late.last, late.key) for late in chosen])

    def _moved(self, names: Iterable[SessionId]) -> None:
        self.hindrance = None
        for name in names:
            late = self.journal.late(name)
            if late is not None:
                self._places.settled(name, late.last)
                self.journal.settled(name)

    def _trim(self, *, wholly: bool = False) -> None:
        try:
            moved = self._alone(lambda _: self.journal.trim(wholly=wholly))
            self.journal.trimmed(moved)
        except DatabaseDamaged:
            self.journal.note_damage()

    def _hindered(self, error: sqlite3.Error) -> int:
        """Note what keeps the journal from being settled; return how many sessions were."""
        if self.hindrance is None:
            log.warning("journal.not_settled", error=str(error))
        self.hindrance = self._fault(error)
        return 0

    def _fault(self, error: sqlite3.Error) -> StoreError:
        fault = fault_of(error)
        if isinstance(fault, StoreDead):
            self.dead = fault
        return fault

    def _give_up(self, group: Sequence[Append]) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        for append in group:
            self._places.forget(append.session_id)


def _conflict(append: Append, at: Place | None) -> SeqConflict:
    return SeqConflict(append.session_id, Seq(append.first_seq - 1), at.last if at else NOTHING)


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
