"""The SQLite file of the memory: how it is laid out, opened and recognised."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from attrs import frozen

from bargein.memory.errors import FactsError, FactsInDoubt, FactsUnavailable, FactsUnreadable

APPLICATION: Final = 0x62666374
"""`bfct`, kept in the file's `application_id`: nobody else's database is touched."""

MOST_WAL_BYTES: Final = 4 * 2**20

# A fact is JSON with a checksum: the class says what is in it, and a row that was damaged on
# the disk is left out instead of told.  A change outlives the fact, so that it can be undone.
_FACTS: Final = (
    """
    CREATE TABLE facts (
        owner TEXT NOT NULL,
        key TEXT NOT NULL,
        fact TEXT NOT NULL,
        crc INTEGER NOT NULL,
        PRIMARY KEY (owner, key)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE changes (
        number INTEGER PRIMARY KEY,
        owner TEXT NOT NULL,
        done_key TEXT NOT NULL,
        key TEXT NOT NULL,
        change TEXT NOT NULL,
        crc INTEGER NOT NULL,
        UNIQUE (owner, done_key)
    )
    """,
    "CREATE TABLE forgetful (owner TEXT PRIMARY KEY) WITHOUT ROWID",
)

STEPS: Final = (_FACTS,)
"""What each schema version adds to the one before; a released step is never changed."""

SCHEMA: Final = len(STEPS)


@frozen
class Opened:
    """A connection, and which file it has open, whatever the file's name is now."""

    connection: sqlite3.Connection
    path: Path
    file: tuple[int, int]

    def is_in_place(self) -> bool:
        """Whether the file that is open is still the one at its path."""
        try:
            return _identity(self.path) == self.file
        except OSError:
            return False


def path_beside(store: Path) -> Path:
    """Return where the facts are kept, for timelines in *store*: in the same directory."""
    return store.with_name(f"{store.stem}.memory{store.suffix}")


def open_facts(path: Path, *, locked_s: float) -> Opened:
    """Open the file, creating it where there is none, with every commit fsynced.

    Its files are for their owner alone.  The connection may move between threads, but is for
    one at a time.

    Raises:
        FactsUnreadable: If newer code or another application wrote it, or it is damaged.
        FactsUnavailable: If it stays locked, or can't be opened now.
    """
    try:
        _create_private(path)
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=locked_s,
            isolation_level=None,
            check_same_thread=False,
        )
    except (OSError, sqlite3.Error) as error:
        raise FactsUnavailable(_reason(error)) from error
    try:
        _prepare(connection, path)
        return Opened(connection, path, _identity(path))
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error):
            raise _not_opened(error) from error
        raise


def fault_of(error: sqlite3.Error) -> FactsError:
    """Say what an error of a change means: only a lock or a full disk leave no doubt."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return FactsUnavailable("it is locked by someone else")
    if primary == sqlite3.SQLITE_FULL:
        return FactsUnavailable("the disk is full")
    return FactsInDoubt(_reason(error))


def _not_opened(error: sqlite3.Error) -> FactsError:
    fault = fault_of(error)
    return FactsUnreadable(fault.reason) if isinstance(fault, FactsInDoubt) else fault


def _reason(error: OSError | sqlite3.Error) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__  # a path says too much
    return f"{error} ({getattr(error, 'sqlite_errorname', type(error).__name__)})"


def _create_private(path: Path) -> None:
    # The log takes over the mode of the database.  A file that exists is never opened here:
    # closing it would drop the locks that this process has on it through SQLite.
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


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    _check_known(connection, path)
    for setting in (
        "synchronous = FULL",
        "fullfsync = ON",  # macOS: otherwise fsync stops at the drive's own cache
        "trusted_schema = OFF",
        "cell_size_check = ON",
        "secure_delete = ON",  # what is forgotten for good leaves no copy in a free page
        f"journal_size_limit = {MOST_WAL_BYTES}",
    ):
        connection.execute(f"PRAGMA {setting}")
    (journal,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if journal != "wal":
        raise FactsUnavailable(f"its file system has no write-ahead log (got {journal!r})")
    connection.execute("BEGIN IMMEDIATE")
    # Another process may have been faster, hence a second look under the lock.
    found = _number(connection, "user_version")
    for step in STEPS[found:]:
        for statement in step:
            connection.execute(statement)
    if found < SCHEMA:
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
    connection.execute("COMMIT")


def _check_known(connection: sqlite3.Connection, path: Path) -> None:
    is_new = not _number(connection, "schema_version")
    if not is_new and _number(connection, "application_id") != APPLICATION:
        raise FactsUnreadable(f"{path.name} is the database of another application")
    found = _number(connection, "user_version")
    if found > SCHEMA:
        raise FactsUnreadable(
            f"{path.name} has schema version {found}, this code knows up to version {SCHEMA}: "
            "run the newer code again"
        )


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    (value,) = connection.execute(f"PRAGMA {pragma}").fetchone()
    return int(value)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
