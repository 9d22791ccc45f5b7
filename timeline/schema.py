"""The SQLite file of the timelines: how it is laid out, opened and recognised."""

from __future__ import annotations

import os
import sqlite3
from functools import partial
from pathlib import Path
from typing import Final

from attrs import frozen

from bargein.timeline.audit_rows import AUDIT_LAYOUT
from bargein.timeline.erasure import ERASURE_LAYOUT, has_rest
from bargein.timeline.faults import fault_of
from bargein.timeline.journal import JOURNAL_LAYOUT
from bargein.timeline.store import SchemaTooNew, StoreDead, StoreUnavailable, StoreUnsuitable
from bargein.timeline.titles import TITLES_LAYOUT

APPLICATION: Final = 0x62617267
"""`barg`, kept in the file's `application_id`: nobody else's database is touched."""

MOST_WAL_BYTES: Final = 64 * 2**20
"""What a burst may leave of the write-ahead log once it is copied into the database."""

CHECKPOINT_PAGES: Final = 1000
"""4 MiB: whoever waits for a commit meanwhile waits some 10 ms.  With the journal before them,
pages change so rarely that copying them more often costs nothing that could be measured."""

CACHE_KIB: Final = 8 * 1024
"""The last pages of some 1,500 sessions and the inner pages above them; that many answers at a time
are beyond one core."""

# The rows of a session lie side by side, so a replay reads pages in order and the
# last seq is one descent of the tree: no counter is updated with each commit. But
# whenever a session's row is written anyway, at the start and end of each turn and
# when events come out of the journal, it notes the last seq among the rows: if damage
# carries off the newest of them, there is no gap behind which they are missing, and
# this note tells.
_TIMELINES: Final = (
    """
    CREATE TABLE sessions (
        key INTEGER PRIMARY KEY,
        session_id TEXT NOT NULL UNIQUE,
        principal TEXT NOT NULL,
        tenant TEXT,
        epoch TEXT NOT NULL,
        epoch_changed INTEGER NOT NULL,
        closed INTEGER NOT NULL,
        unsettled INTEGER NOT NULL,
        noted_seq INTEGER NOT NULL,
        opened_at TEXT NOT NULL,
        crc INTEGER NOT NULL
    )
    """,
    "CREATE INDEX sessions_by_owner ON sessions (principal, tenant, key)",
    "CREATE INDEX sessions_unsettled ON sessions (key) WHERE unsettled",
    """
    CREATE TABLE events (
        session INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        frame BLOB NOT NULL,
        crc INTEGER NOT NULL,
        PRIMARY KEY (session, seq)
    ) WITHOUT ROWID
    """,
)

STEPS: Final = (_TIMELINES, (*AUDIT_LAYOUT, *ERASURE_LAYOUT), TITLES_LAYOUT, JOURNAL_LAYOUT)
"""What each schema version adds to the one before; a released step is never changed.

A step reads no sessions: it runs before anybody is served, and damage in one of them must not
keep the others from that."""

SCHEMA: Final = len(STEPS)
"""Newest version of the layout, kept in the file's `user_version`."""


@frozen
class Identity:
    """Which files the database and its write-ahead log are, whatever their names."""

    database: tuple[int, int]
    wal: tuple[int, int]

    @classmethod
    def of(cls, path: Path) -> Identity:
        """Look at the files that are at *path* now.

        Raises:
            OSError: If one of them is not there.
        """
        return cls(_file_id(path), _file_id(f"{path}-wal"))


def open_for_writing(path: Path, *, locked_s: float) -> sqlite3.Connection:
    """Open the database, creating it where there is none, with every commit fsynced.

    Its files are for their owner alone. The connection may move between threads,
    but is for one at a time.

    Raises:
        SchemaTooNew: If newer code wrote it; nothing was changed.
        StoreUnavailable: If it stays locked, or the disk is full.
        StoreUnsuitable: If it is a database of something else, or its disk will not do.
        StoreDead: If it can't be read or written.
    """
    try:
        _create_private(path)
        connection = _connect(path, "rw", locked_s)
    except (OSError, sqlite3.Error) as error:
        raise fault_of(error) from error
    try:
        _prepare(connection, path)
    except BaseException as error:
        connection.close()
        if isinstance(error, UnicodeDecodeError):  # SQLite quotes what it could not parse
            raise StoreDead("its schema is damaged") from error
        if isinstance(error, sqlite3.Error):
            raise fault_of(error) from error
        raise
    return connection


def open_for_reading(path: Path, *, locked_s: float) -> sqlite3.Connection:
    """Open the database that a writer has open already; this one can't change it.

    Raises:
        StoreUnavailable: If it stays locked.
        StoreDead: If it can't be read.
    """
    try:
        connection = _connect(path, "ro", locked_s)
    except sqlite3.Error as error:
        raise fault_of(error) from error
    # Damaged text must reach the checksum instead of failing before it.
    connection.text_factory = partial(str, encoding="utf-8", errors="replace")
    return connection


def open_both(
    path: Path, locked_s: float
) -> tuple[sqlite3.Connection, sqlite3.Connection, Identity, bool]:
    """Open it for writing and for reading; say which files it is, and if erased events are left.

    Raises:
        StoreError: As `open_for_writing` does.
    """
    writing = open_for_writing(path, locked_s=locked_s)
    try:
        files = Identity.of(path)
        return writing, open_for_reading(path, locked_s=locked_s), files, has_rest(writing)
    except BaseException:
        writing.close()
        raise


def is_in_use(path: Path) -> bool:
    """Say whether anybody has the database open, in this process or another.

    Raises:
        StoreDead: If it can't be read.
    """
    try:
        connection = _connect(path, "rw", 0)
    except sqlite3.Error as error:
        raise fault_of(error) from error
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        fault = fault_of(error)
        if isinstance(fault, StoreUnavailable):
            return True
        raise fault from error
    finally:
        connection.close()
    return False


def _create_private(path: Path) -> None:
    # The log and its index take over the mode of the database. A file that exists
    # is never opened here: closing it would drop all locks that this process has
    # on it through SQLite.
    try:
        created = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        path.chmod(0o600)
        return
    os.close(created)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _connect(path: Path, mode: str, locked_s: float) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=locked_s,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    found = _number(connection, "user_version")
    if found > SCHEMA:
        raise SchemaTooNew(found, SCHEMA)
    is_new = not _number(connection, "schema_version")
    if not is_new and _number(connection, "application_id") != APPLICATION:
        raise StoreUnsuitable(f"{path.name} is the database of another application")
    for setting in (
        "synchronous = FULL",
        "fullfsync = ON",  # macOS: otherwise fsync stops at the drive's own cache
        "trusted_schema = OFF",
        "secure_delete = ON",  # what is erased is overwritten
        "cell_size_check = ON",
        f"journal_size_limit = {MOST_WAL_BYTES}",
        f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
        f"cache_size = -{CACHE_KIB}",
    ):
        connection.execute(f"PRAGMA {setting}")
    (journal,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if journal != "wal":
        raise StoreUnsuitable(f"its file system has no write-ahead log (got {journal!r})")
    connection.execute("BEGIN IMMEDIATE")
    # Another process may have been faster, hence a second look under the lock.
    found = _number(connection, "user_version")
    if found < SCHEMA:
        for step in STEPS[found:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
    connection.execute("COMMIT")


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    (value,) = connection.execute(f"PRAGMA {pragma}").fetchone()
    return int(value)


def _file_id(path: Path | str) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116 - runs with each commit, and this is the fast one
    return status.st_dev, status.st_ino
