"""What came while turns ran: durable in a row for each group, and among the sessions' rows later.

Each session has pages of its own (see `schema`), so an event that is committed alone costs a
whole page of the write-ahead log, and another one when that is copied. While answers stream, nearly
every event of a group is of another session. So the group goes into one row here, in order of
arrival, and later the events of a session go among its rows together, many to a page: half the
processor time, and a fifth of the bytes.

What waits here is kept in memory, too, for whoever reads a session meanwhile. All rests on one
rule: what another process has written is looked at before anything is written. SQLite counts the
commits of others, and each transaction begins by comparing that number.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from itertools import islice
from struct import Struct
from typing import Any, Final, cast

import structlog
from attrs import define, field

from bargein.protocol.ids import NOTHING, Seq, SessionId
from bargein.timeline.faults import is_damage

JOURNAL_LAYOUT: Final = ("CREATE TABLE journal (n INTEGER PRIMARY KEY, events BLOB NOT NULL)",)

MOST_ROWS: Final = 256
"""Beyond so many, the oldest events are put among the rows of their sessions."""

MOST_BYTES: Final = 4 * 2**20
"""The same for large events; and so many are put there at a time."""

STEP_EVENTS: Final = 256
"""Put there at a time: some 3 ms, and other groups wait behind it."""

STEP_SHARE: Final = 32
"""But at least this part of all that waits, so that it never grows without end."""

MANY_EVENTS: Final = 16 * 1024
"""Where more than so many wait, or four times `MOST_BYTES`, memory matters more than the wait."""

MANY_SHARE: Final = 8
"""Then it is at least this part: where all groups are full, not many more than that ever wait."""

TRIM_ROWS: Final = 64
"""Rows that nobody needs any more are deleted when there are so many."""

COLUMNS: Final = 4
"""Of an event's row: the session's key, seq, frame, checksum."""

_HEAD: Final = Struct(">qqII")  # key, seq, checksum, size

_VERSION: Final = "(SELECT data_version FROM pragma_data_version)"
_NOTE: Final = f"INSERT INTO journal SELECT ?, ? WHERE {_VERSION} = ?"
_INSERT: Final = (
    "INSERT INTO events (session, seq, frame, crc) SELECT * FROM (VALUES {}) WHERE {} = ?"
)
_NAME: Final = "SELECT session_id FROM sessions WHERE key = ?"
_LAST: Final = "SELECT coalesce(max(seq), 0) FROM events WHERE session = ?"

_log = structlog.get_logger(__name__)


class Overtaken(Exception):
    """Another process has written since: look again at what is there, under the lock."""


@define(eq=False)
class Late:
    """Events of one session that are in the journal alone.

    Attributes:
        key: The session's.
        since: The row of the journal with the first of them.
        values: Their rows, one after the other.
        stuck: Whether they can't be put among the session's rows: a page is damaged.
    """

    key: int
    since: int
    values: list[Any] = field(factory=list[Any])
    stuck: bool = False

    @property
    def last(self) -> Seq:
        """The last seq of them."""
        return Seq(self.values[1 - COLUMNS])

    @property
    def size_bytes(self) -> int:
        """How large their frames are."""
        return sum(map(len, self.values[2::COLUMNS]))


@define(eq=False)
class Journal:
    """The journal of one connection; used in the writer's thread, and read from any.

    Attributes:
        damaged: Whether a page of it can't be read; then nothing more is written to it.
    """

    _connection: sqlite3.Connection
    # In the order of `since`. Never iterated over by other threads, which take copies.
    _late: dict[SessionId, Late] = field(factory=dict[SessionId, Late], init=False)
    _version: int = field(default=0, init=False)
    _oldest: int = field(default=1, init=False)
    _next: int = field(default=1, init=False)
    _events: int = field(default=0, init=False)
    _size_bytes: int = field(default=0, init=False)
    damaged: bool = field(default=False, init=False)

    @classmethod
    def opened(cls, connection: sqlite3.Connection) -> Journal:
        """Return the journal of *connection*, with what an earlier process has left in it.

        Raises:
            sqlite3.Error: If it can't be read, for another reason than damage.
        """
        journal = cls(connection)
        connection.execute("BEGIN")
        try:
            journal.catch_up()
        finally:
            connection.execute("ROLLBACK")
        return journal

    # --- what is here; any thread may ask ------------------------------------------

    def late(self, session_id: SessionId) -> Late | None:
        """Return what is here of a session; None if all of it is among its rows."""
        return self._late.get(session_id)

    def rows_of(self, session_id: SessionId) -> list[Any]:
        """Return the rows of a session's events that are here, as of now."""
        late = self._late.get(session_id)
        return [] if late is None else [*late.values]

    def ends(self) -> dict[SessionId, tuple[Seq, bytes]]:
        """Return seq and frame of the newest event here, by session, as of now."""
        found: dict[SessionId, tuple[Seq, bytes]] = {}
        for name, late in dict(self._late).items():
            _, seq, frame, _ = late.values[-COLUMNS:]
            found[name] = Seq(seq), frame
        return found

    # --- how much is here ----------------------------------------------------------

    @property
    def waits(self) -> bool:
        """Whether anything is here that could be put where it belongs."""
        return any(not late.stuck for late in self._late.values())

    @property
    def is_long(self) -> bool:
        """Whether the oldest events should go to where they belong."""
        return self._next - self._first_needed > MOST_ROWS or self._size_bytes > MOST_BYTES

    @property
    def is_worth_trimming(self) -> bool:
        """Whether there are rows that nobody needs, many of them or nothing else."""
        if self.damaged:
            return False
        first = next(iter(self._late.values()), None)
        if first is not None and first.stuck and self._next - first.since > MOST_ROWS:
            return True
        return self._first_needed - self._oldest > (TRIM_ROWS if self._late else 0)

    def oldest(self) -> list[tuple[SessionId, Late]]:
        """Return the sessions whose events have been here the longest, for one step."""
        chosen: list[tuple[SessionId, Late]] = []
        many = self._events > MANY_EVENTS or self._size_bytes > 4 * MOST_BYTES
        most_events = max(STEP_EVENTS, self._events // (MANY_SHARE if many else STEP_SHARE))
        events = size_bytes = 0
        for name, late in self._late.items():
            if events >= most_events or size_bytes > MOST_BYTES:
                break
            if not late.stuck:
                chosen.append((name, late))
                events += len(late.values) // COLUMNS
                size_bytes += late.size_bytes
        return chosen

    # --- within a transaction -----------------------------------------------------

    @property
    def is_overtaken(self) -> bool:
        """Whether somebody else has written since."""
        return self._data_version() != self._version

    def check(self) -> None:
        """Make sure that nobody else has written since.

        Raises:
            Overtaken: If somebody has.
        """
        if self.is_overtaken:
            raise Overtaken

    def note(self, events: Mapping[SessionId, list[Any]]) -> None:
        """Write a row with *events*; a transaction by itself, where none has begun.

        Raises:
            Overtaken: If somebody else has written since; then nothing was written.
        """
        packed = b"".join(_packed(events))
        if not self._connection.execute(_NOTE, (self._next, packed, self._version)).rowcount:
            raise Overtaken

    def insert(self, marks: str, rows: list[Any]) -> None:
        """Put *rows* where they belong, in a transaction of this one statement.

        Raises:
            Overtaken: If somebody else has written since; then nothing was written.
        """
        statement = _INSERT.format(marks, _VERSION)
        if not self._connection.execute(statement, [*rows, self._version]).rowcount:
            raise Overtaken

    def catch_up(self) -> None:
        """Look at what others have written, or an earlier process has left."""
        version = self._data_version()
        found = Journal(self._connection)
        found._next = self._next  # a number that was used is not used again
        for n in self._numbers(found):
            found._next = max(found._next, n + 1)
            for key, seq, frame, crc in self._events_in(n, found):
                found._sort_in(n, key, seq, (frame, crc))
        # Taken over whole and last: others read it meanwhile, and it may have failed.
        self._late = found._late
        self._events, self._size_bytes = found._events, found._size_bytes
        self._next, self._oldest = found._next, found._oldest
        self.damaged = self.damaged or found.damaged
        self._version = version

    def trim(self, *, wholly: bool = False) -> dict[SessionId, list[Any]]:
        """Delete the rows that nobody needs any more; tell `trimmed` once that is committed.

        What can't be put where it belongs is written into a new row where its own is old, or
        *wholly*: it is not to keep all others here.  That is returned.
        """
        before = self._next - (0 if wholly else MOST_ROWS)
        each = self._late.items()
        moved = {name: late.values for name, late in each if late.stuck and late.since < before}
        kept = (late.since for name, late in each if name not in moved)
        if moved:
            self.note(moved)
        self._connection.execute("DELETE FROM journal WHERE n < ?", (next(kept, self._next),))
        return moved

    # --- after it -----------------------------------------------------------------

    def noted(self, events: Mapping[SessionId, list[Any]]) -> None:
        """Keep what has been noted and is durable now."""
        for name, values in events.items():
            self._keep(name, self._next, values)
        self._next += 1

    def settled(self, session_id: SessionId) -> None:
        """Forget the events of a session: they are among its rows, or erased."""
        late = self._late.pop(session_id, None)
        if late is not None:
            self._events -= len(late.values) // COLUMNS
            self._size_bytes -= late.size_bytes

    def trimmed(self, moved: Mapping[SessionId, list[Any]]) -> None:
        """Note what `trim` has moved into the newest row."""
        if moved:
            for name in moved:
                self._late[name].since = self._next
            self._late = dict(sorted(self._late.items(), key=lambda each: each[1].since))
            self._next += 1
        self._oldest = self._first_needed

    def _keep(self, name: SessionId, n: int, values: list[Any]) -> Late:
        late = self._late.get(name)
        if late is None:
            late = self._late[name] = Late(values[0], n)
        late.values += values
        self._events += len(values) // COLUMNS
        self._size_bytes += sum(map(len, values[2::COLUMNS]))
        return late

    @property
    def _first_needed(self) -> int:
        return next((late.since for late in self._late.values()), self._next)

    def _data_version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    # --- reading it ---------------------------------------------------------------

    def _sort_in(self, n: int, key: int, seq: int, rest: tuple[bytes, int]) -> None:
        """Keep an event that is read back, unless it is among its session's rows."""
        name, last = self._place(key)
        if name is not None and (last is None or seq > last):
            self._keep(name, n, [key, seq, *rest]).stuck = last is None

    def _place(self, key: int) -> tuple[SessionId | None, int | None]:
        """Return whose *key* is, and the last seq among its rows; None where that is damaged."""
        try:
            found = self._connection.execute(_NAME, (key,)).fetchone()
            if found is None:
                return None, NOTHING  # it was erased
            name = SessionId(str(found[0]))
        except sqlite3.Error as error:
            _raise_unless_damage(error)
            return SessionId(f"key {key}"), None  # nobody asks for it, and it is kept
        try:
            (last,) = self._connection.execute(_LAST, (key,)).fetchone()
        except sqlite3.Error as error:
            _raise_unless_damage(error)
            last = None
        return name, last if isinstance(last, int) else None

    def _numbers(self, found: Journal) -> list[int]:
        numbers: list[int] = []
        try:
            for (n,) in self._connection.execute("SELECT n FROM journal ORDER BY n"):
                numbers.append(n)
        except sqlite3.Error as error:
            _raise_unless_damage(error)
            found.note_damage()
            behind: list[int] = []
            try:
                for (n,) in self._connection.execute("SELECT n FROM journal ORDER BY n DESC"):
                    behind.append(n)
            except sqlite3.Error as worse:
                _raise_unless_damage(worse)
            numbers += [n for n in reversed(behind) if not numbers or n > numbers[-1]]
        found._oldest = numbers[0] if numbers else found._next
        return numbers

    def _events_in(self, n: int, found: Journal) -> Iterator[tuple[int, int, bytes, int]]:
        packed: object = None
        try:
            row = self._connection.execute("SELECT events FROM journal WHERE n = ?", (n,))
            ((packed,),) = row.fetchall()
        except sqlite3.Error as error:
            _raise_unless_damage(error)
        start = 0
        while isinstance(packed, bytes) and start + _HEAD.size <= len(packed):
            key, seq, crc, size_bytes = _HEAD.unpack_from(packed, start)
            start += _HEAD.size + size_bytes
            if start > len(packed):
                break
            # Not checked here: what is wrong with it is said when it is read.
            yield key, seq, packed[start - size_bytes : start], crc
        if not isinstance(packed, bytes) or start != len(packed):
            found.note_damage()

    def note_damage(self) -> None:
        """Write no more to it, and say so once."""
        if not self.damaged:
            self.damaged = True
            _log.error("journal.damaged")


def _packed(events: Mapping[SessionId, list[Any]]) -> Iterator[bytes]:
    for values in events.values():
        columns = iter(values)
        while row := tuple(islice(columns, COLUMNS)):
            key, seq, frame, crc = cast("tuple[int, int, bytes, int]", row)
            yield _HEAD.pack(key, seq, crc, len(frame))
            yield frame


def _raise_unless_damage(error: sqlite3.Error) -> None:
    # A text that can't be decoded is an error without a code.
    if getattr(error, "sqlite_errorcode", None) is not None and not is_damage(error):
        raise error
