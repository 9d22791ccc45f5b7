"""What came while turns ran: durable in a row for each group, and among the sessions' rows later.

Each session has pages of its own (see `schema`), so an event that is committed alone costs a
whole page of the write-ahead log, and another one when that is copied. While answers stream, nearly
every event of a group is of another session. So the group goes into one row here, in order of
arrival, and later the events of a session go among its rows together, many to a page: half the
processor time, and a fifth of the bytes.

What waits here is kept in memory, too, for whoever reads a session meanwhile. All rests on one
rule: what another process has written is looked at before anything is written. SQLite counts the
commits of others, and each transaction here begins by comparing that number.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from struct import Struct
from typing import Any, Final, cast

import structlog
from attrs import define, field

from bargein.protocol.ids import Seq, SessionId
from bargein.timeline.faults import is_damage

JOURNAL_LAYOUT: Final = ("CREATE TABLE journal (n INTEGER PRIMARY KEY, events BLOB NOT NULL)",)

MOST_ROWS: Final = 256
"""Beyond so many, the oldest events are put among the rows of their sessions."""

MOST_BYTES: Final = 4 * 2**20
"""The same for large events."""

STEP_EVENTS: Final = 1024
"""Put there in one transaction: about 4 ms, and other groups wait behind it."""

COLUMNS: Final = 4
"""Of an event's row: the session's key, seq, frame, checksum."""

_HEAD: Final = Struct(">qqII")  # key, seq, checksum, size

_VERSION: Final = "(SELECT data_version FROM pragma_data_version)"
_NOTE: Final = f"INSERT INTO journal SELECT ?, ? WHERE {_VERSION} = ?"
_INSERT: Final = (
    "INSERT INTO events (session, seq, frame, crc) SELECT * FROM (VALUES {}) WHERE {} = ?"
)
_LAST: Final = (
    "SELECT session_id, coalesce((SELECT max(seq) FROM events WHERE session = key), 0)"
    " FROM sessions WHERE key = ?"
)

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
    values: list[object] = field(factory=list[object])
    stuck: bool = False

    @property
    def last(self) -> Seq:
        """The last seq of them."""
        return Seq(self.values[1 - COLUMNS])  # pyright: ignore[reportArgumentType]


@define(eq=False)
class Journal:
    """The journal of one connection; used in the writer's thread, and read from any."""

    _connection: sqlite3.Connection
    # In the order of `since`, because that never changes while an entry is here.
    _late: dict[SessionId, Late] = field(factory=dict[SessionId, Late], init=False)
    _version: int = field(default=0, init=False)
    _oldest: int = field(default=1, init=False)
    _next: int = field(default=1, init=False)
    _size_bytes: int = field(default=0, init=False)

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

    # --- what is here -------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """Whether nothing is here that could be put where it belongs."""
        return all(late.stuck for late in self._late.values())

    @property
    def is_long(self) -> bool:
        """Whether the oldest events should go to where they belong."""
        return self._next - self._oldest > MOST_ROWS or self._size_bytes > MOST_BYTES

    def late(self, session_id: SessionId) -> Late | None:
        """Return what is here of a session; None if all of it is among its rows."""
        return self._late.get(session_id)

    def rows_of(self, session_id: SessionId) -> list[Any]:
        """Return the rows of a session's events that are here, as of now; any thread may ask."""
        late = self._late.get(session_id)
        return [] if late is None else [*late.values]

    def oldest(self) -> list[tuple[SessionId, Late]]:
        """Return sessions whose events have been here the longest, `STEP_EVENTS` or a few more."""
        chosen: list[tuple[SessionId, Late]] = []
        events = 0
        for session_id, late in self._late.items():
            if events >= STEP_EVENTS:
                break
            if not late.stuck:
                chosen.append((session_id, late))
                events += len(late.values) // COLUMNS
        return chosen

    # --- within a transaction -----------------------------------------------------

    def check(self) -> None:
        """Make sure that nobody else has written since.

        Raises:
            Overtaken: If somebody has.
        """
        if self._data_version() != self._version:
            raise Overtaken

    def note(self, events: Mapping[SessionId, list[object]]) -> None:
        """Write a row with *events*; a transaction by itself, where none has begun.

        Raises:
            Overtaken: If somebody else has written since; then nothing was written.
        """
        packed = b"".join(_packed(events))
        if not self._connection.execute(_NOTE, (self._next, packed, self._version)).rowcount:
            raise Overtaken

    def insert(self, marks: str, rows: list[object]) -> None:
        """Put *rows* where they belong, in a transaction of this one statement.

        Raises:
            Overtaken: If somebody else has written since; then nothing was written.
        """
        statement = _INSERT.format(marks, _VERSION)
        if not self._connection.execute(statement, [*rows, self._version]).rowcount:
            raise Overtaken

    def look(self) -> None:
        """Catch up if somebody else has written since."""
        if self._data_version() != self._version:
            self.catch_up()

    def catch_up(self) -> None:
        """Look at what others have written, or an earlier process has left."""
        version = self._data_version()
        found = Journal(self._connection)
        known: dict[int, tuple[SessionId, int] | None] = {}
        for n in self._numbers():
            found._next = n + 1
            for key, seq, frame, crc in self._events_in(n):
                if key not in known:
                    known[key] = self._connection.execute(_LAST, (key,)).fetchone()
                place = known[key]
                if place is not None and seq > place[1]:
                    found._keep(place[0], n, [key, seq, frame, crc])
        # Taken over whole and last: others read it meanwhile, and it may have failed.
        self._late, self._size_bytes = found._late, found._size_bytes
        self._next = found._next
        self._oldest = self._first_needed(())
        self._version = version

    def trim(self, settled: Collection[SessionId], *, wholly: bool = False) -> Callable[[], None]:
        """Delete the rows that nobody needs when *settled* are; call what is returned after it.

        What can't be put where it belongs moves on, so that it does not keep all others here:
        where it is old, or *wholly*.
        """
        stuck = self._stuck(settled, self._next - (0 if wholly else MOST_ROWS))
        if stuck:
            self.note(stuck)
        oldest = self._first_needed((*settled, *stuck))
        self._connection.execute("DELETE FROM journal WHERE n < ?", (oldest,))

        def trimmed() -> None:
            self._carried(stuck)
            self._oldest = oldest

        return trimmed

    # --- after it -----------------------------------------------------------------

    def noted(self, events: Mapping[SessionId, list[object]]) -> None:
        """Keep what has been noted and is durable now."""
        for session_id, values in events.items():
            self._keep(session_id, self._next, values)
        self._next += 1

    def settled(self, sessions: Iterable[SessionId]) -> None:
        """Forget the events of *sessions*: they are among their rows, or erased."""
        for session_id in sessions:
            late = self._late.pop(session_id, None)
            if late is not None:
                self._size_bytes -= _size_bytes(late.values)

    def _stuck(self, settled: Collection[SessionId], before: int) -> dict[SessionId, list[object]]:
        stuck = {name: late for name, late in self._late.items() if late.stuck}
        return {
            name: late.values
            for name, late in stuck.items()
            if late.since < before and name not in settled
        }

    def _carried(self, events: Mapping[SessionId, list[object]]) -> None:
        for session_id in events:
            late = self._late.pop(session_id)
            late.since = self._next
            self._late[session_id] = late
        self._next += bool(events)

    def _first_needed(self, besides: Collection[SessionId]) -> int:
        """Return the first row with something that is not of *besides*."""
        needed = (late.since for name, late in self._late.items() if name not in besides)
        return next(needed, self._next)

    def _keep(self, session_id: SessionId, n: int, values: list[object]) -> None:
        late = self._late.get(session_id)
        if late is None:
            late = self._late[session_id] = Late(int(values[0]), n)  # pyright: ignore[reportArgumentType]
        late.values += values
        self._size_bytes += _size_bytes(values)

    def _data_version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def _numbers(self) -> list[int]:
        try:
            return [n for (n,) in self._connection.execute("SELECT n FROM journal ORDER BY n")]
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            _log.exception("journal.damaged")
            return []

    def _events_in(self, n: int) -> Iterator[tuple[int, int, bytes, int]]:
        try:
            row = self._connection.execute("SELECT events FROM journal WHERE n = ?", (n,))
            ((packed,),) = row.fetchall()
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            packed = None
        start = 0
        while isinstance(packed, bytes) and start + _HEAD.size <= len(packed):
            key, seq, crc, size_bytes = _HEAD.unpack_from(packed, start)
            start += _HEAD.size + size_bytes
            if start > len(packed):
                break
            # Not checked here: what is wrong with it is said when it is read.
            yield key, seq, packed[start - size_bytes : start], crc
        if not isinstance(packed, bytes) or start != len(packed):
            _log.error("journal.damaged", row=n)


def _packed(events: Mapping[SessionId, list[object]]) -> Iterator[bytes]:
    for values in events.values():
        columns = iter(values)
        while row := tuple(islice(columns, COLUMNS)):
            key, seq, frame, crc = cast("tuple[int, int, bytes, int]", row)
            yield _HEAD.pack(key, seq, crc, len(frame))
            yield frame


def _size_bytes(values: list[object]) -> int:
    return sum(len(frame) for frame in values[2::COLUMNS] if isinstance(frame, bytes))
