"""One file with the beginning of one session: written once, synced, and only read from then on.

It is a SQLite database, so that any tool can look into it. Each event has the checksum that it had
in Redis, and is checked again whenever it is read. All of this blocks, and runs in threads.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator, Iterable
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, Final

from attrs import define, field

from bargein.protocol.ids import NOTHING, Seq, SessionId
from bargein.timeline.checksum import event_crc, session_crc
from bargein.timeline.redis.cold import PART_SUFFIX
from bargein.timeline.store import Stored, StoreUnavailable, TimelineCorrupt

APPLICATION: Final = 0x62617263
"""`barc`, kept in the file's `application_id`."""

SCHEMA: Final = 1

PAGE_EVENTS: Final = 1024
PAGE_BYTES: Final = 1024 * 1024
"""Read at a time where a file is looked through as a whole."""

_LAYOUT: Final = (
    "PRAGMA journal_mode = OFF",  # nobody reads it before it is whole and synced
    "PRAGMA synchronous = OFF",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {SCHEMA}",
    "BEGIN",
    "CREATE TABLE session (session_id TEXT NOT NULL, last INTEGER NOT NULL)",
    "CREATE TABLE events (seq INTEGER PRIMARY KEY, frame BLOB NOT NULL, crc INTEGER NOT NULL)",
)

_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
"""What SQLite says of a file that can't be right; a table that is missing is a plain error."""


class ColdMissing(Exception):
    """A file is not there; its row may name another one by now."""


_UNREADABLE: Final = (ColdMissing, StoreUnavailable, sqlite3.Error, UnicodeDecodeError)


@define(eq=False)
class ColdDraft:
    """A file that is being written, by one thread at a time.

    One that was left behind in the middle of a step keeps the connection until that ends.

    Attributes:
        path: Where it will be.
        last: The last event that it has so far.
    """

    path: Path
    session_id: SessionId
    _connection: sqlite3.Connection
    last: Seq = field(default=NOTHING, init=False)
    _step: Lock = field(factory=Lock, init=False)
    _is_dropped: bool = field(default=False, init=False)

    @property
    def part(self) -> Path:
        """Where it is until it is whole."""
        return _part_of(self.path)

    @classmethod
    def begin(cls, path: Path, session_id: SessionId) -> ColdDraft:
        """Create it, for its owner alone.

        Raises:
            OSError, sqlite3.Error: If that can't be done.
        """
        shelf, part = path.parent, _part_of(path)
        if not shelf.is_dir():
            shelf.mkdir(mode=0o700, exist_ok=True)
            sync(shelf.parent)
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        connection = _connect(part, "mode=rw")
        try:
            for statement in _LAYOUT:
                connection.execute(statement)
        except BaseException:
            connection.close()
            part.unlink(missing_ok=True)
            raise
        return cls(path, session_id, connection)

    def add(self, events: Iterable[Stored]) -> None:
        """Write what comes next.

        Raises:
            OSError, sqlite3.Error: If that can't be done.
        """
        shared = session_crc(self.session_id)
        rows = [(e.seq, e.frame, event_crc(shared, e.seq, e.frame)) for e in events]
        with self._used() as connection:
            connection.executemany("INSERT INTO events VALUES (?, ?, ?)", rows)
            self.last = Seq(rows[-1][0])

    def seal(self) -> None:
        """End it, see that it is on the disk, put it in its place, and read it back.

        Raises:
            OSError, sqlite3.Error: If that can't be done.
            TimelineCorrupt, ColdMissing: If it is not there as it was written.
        """
        with self._used() as used:
            with closing(used) as connection:
                about = (self.session_id.encode(), self.last)
                connection.execute("INSERT INTO session VALUES (CAST(? AS TEXT), ?)", about)
                connection.execute("COMMIT")
            sync(self.part)
            self.part.rename(self.path)
            sync(self.path.parent)
            after = NOTHING
            while after < self.last:
                page = read_events(
                    self.path, self.session_id, self.last, after, PAGE_EVENTS, PAGE_BYTES
                )
                after = page[-1].seq

    def drop(self) -> None:
        """Take away what there is of it; what can't be, is named by no row and taken later.

        Where a thread is in the middle of a step, that thread does so again when it ends.
        """
        self._is_dropped = True
        self._take_away()

    @contextmanager
    def _used(self) -> Generator[sqlite3.Connection]:
        try:
            with self._step:
                yield self._connection
        finally:
            if self._is_dropped:  # looked at once the step is over: else nobody would close it
                self._take_away()

    def _take_away(self) -> None:
        # A connection that is closed under a statement takes the whole process with it.
        if self._step.acquire(blocking=False):
            try:
                self._connection.close()
            finally:
                self._step.release()
        for path in (self.part, self.path):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def read_events(
    path: Path, session_id: SessionId, last: Seq, after: Seq, limit: int, most_bytes: int
) -> list[Stored]:
    """Read events behind *after* of the session's file, which ends with *last*, checked.

    At most *limit* of them and *most_bytes* bytes of frames, but at least one.

    Raises:
        ColdMissing: If it is not there.
        TimelineCorrupt: If an event of these is damaged or missing, or it is another file.
        StoreUnavailable: If it can't be read now.
    """
    shared, events, room = session_crc(session_id), list[Stored](), most_bytes
    try:
        with closing(_opened(path)) as connection:
            if _about(connection) != [(session_id.encode(), last)]:
                raise TimelineCorrupt(session_id, Seq(after + 1))
            found = connection.execute(
                "SELECT seq, frame, crc FROM events WHERE seq > ? ORDER BY seq LIMIT ?",
                (after, min(limit, last - after)),
            )
            for seq, (name, frame, crc) in enumerate(found, after + 1):
                sound = name == seq and isinstance(frame, bytes)
                if not sound or crc != event_crc(shared, seq, frame):
                    raise TimelineCorrupt(session_id, Seq(seq))
                room -= len(frame)
                if room < 0 and events:
                    return events
                events.append(Stored(Seq(seq), frame))
    except (sqlite3.Error, UnicodeDecodeError) as error:  # it quotes what it could not parse
        if _is_damage(error):
            raise TimelineCorrupt(session_id, Seq(after + len(events) + 1)) from error
        raise StoreUnavailable(f"a file of a session can't be read: {error}") from error
    if len(events) < min(limit, last - after):
        raise TimelineCorrupt(session_id, Seq(after + len(events) + 1))
    return events


def read_one(path: Path, seq: Seq) -> tuple[Any, Any, Any] | None:
    """Read one event as it is stored: its seq, checksum and frame; None if it can't be read."""
    with suppress(*_UNREADABLE), closing(_opened(path)) as opened:
        question = "SELECT seq, crc, frame FROM events WHERE seq = ?"
        return opened.execute(question, (seq,)).fetchone()
    return None


def session_in(path: Path) -> SessionId | None:
    """Say whose file it is; None if that can't be told."""
    with suppress(*_UNREADABLE), closing(_opened(path)) as opened:
        for name, _ in _about(opened):
            return SessionId(name.decode(errors="replace")) if isinstance(name, bytes) else None
    return None


def _about(connection: sqlite3.Connection) -> list[tuple[Any, Any]]:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    if application == APPLICATION and schema > SCHEMA:
        raise StoreUnavailable("a file of a session was written by newer code: run that again")
    if (application, schema) != (APPLICATION, SCHEMA):
        return []
    return connection.execute("SELECT session_id, last FROM session LIMIT 2").fetchall()


def _opened(path: Path) -> sqlite3.Connection:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise ColdMissing from None
    except OSError as error:
        raise StoreUnavailable(f"a file of a session can't be read: {error.strerror}") from None
    connection = _connect(path, "mode=ro&immutable=1")  # no locks: it never changes
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.text_factory = bytes  # damaged text must reach the comparison
    return connection


def _connect(path: Path, how: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?{how}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def _is_damage(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code is None or code & 0xFF in _DAMAGED


def _part_of(path: Path) -> Path:
    return path.with_suffix(PART_SUFFIX)


def sync(path: Path) -> None:
    """See that a file, or the names in a directory, are on the disk.

    Raises:
        OSError: If that can't be done.
    """
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
