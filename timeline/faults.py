"""What SQLite's errors mean: for one session, for the whole store, for the operator."""

from __future__ import annotations

import sqlite3

from bargein.timeline.store import StoreDead, StoreError, StoreUnavailable


def fault_of(error: OSError | sqlite3.Error) -> StoreError:
    """Say what an error of the database means for the whole store.

    Waiting helps against a lock and a full disk. After anything else, above all a
    failed write or fsync, nobody knows what is on the disk.
    """
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StoreUnavailable("the database is locked by someone else")
    if primary == sqlite3.SQLITE_FULL:
        return StoreUnavailable("the disk is full")
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return StoreDead(f"{error} ({name})")


def is_damage(error: sqlite3.Error) -> bool:
    """Say whether the database found a page that can't be right."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF == sqlite3.SQLITE_CORRUPT


def is_of_rows(error: sqlite3.Error) -> bool:
    """Say whether it concerns single sessions: others may be tried without them."""
    return isinstance(error, sqlite3.IntegrityError) or is_damage(error)
