"""Erasing sessions in SQLite: whole at once for everybody, then from the disk in steps.

The index row goes first, in one transaction, and with it the session: nobody finds its
events any more. What is left of them is then deleted a few at a time, so that no commit
of others waits long; `secure_delete` overwrites the bytes. A key is never used again,
because a writer may still remember it: the highest one that was erased is kept.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

from bargein.protocol.ids import SessionId
from bargein.timeline.archive import Erasure
from bargein.timeline.audit import AuditEntry
from bargein.timeline.audit_rows import write_lines

ERASURE_LAYOUT: Final = (
    "CREATE TABLE erased (key INTEGER PRIMARY KEY)",
    """
    CREATE TABLE erasures (
        session_id TEXT PRIMARY KEY,
        asked_at TEXT NOT NULL,
        by TEXT NOT NULL
    ) WITHOUT ROWID
    """,
)

NEXT_KEY: Final = (
    "1 + max(coalesce((SELECT max(key) FROM sessions), 0),"
    " coalesce((SELECT max(key) FROM erased), 0))"
)
"""The key of a new session."""

ASKED: Final = "SELECT session_id, asked_at, by FROM erasures ORDER BY asked_at, session_id"

_REST: Final = (
    "SELECT key FROM erased WHERE EXISTS (SELECT 1 FROM events WHERE session = key) LIMIT 1"
)

STEP_EVENTS: Final = 500
"""Deleted in one transaction: about 1 ms, and other sessions wait behind it."""


def forget(
    connection: sqlite3.Connection, session_id: SessionId, audit: Sequence[AuditEntry]
) -> bool:
    """Take the session out of the index, within a transaction that the caller has begun.

    Returns whether there was one; only then *audit* is written.
    """
    connection.execute("DELETE FROM erasures WHERE session_id = ?", (session_id,))
    found = connection.execute(
        "DELETE FROM sessions WHERE session_id = ? RETURNING key", (session_id,)
    ).fetchall()
    if not found:
        return False
    connection.execute("INSERT INTO erased (key) VALUES (?)", found[0])
    if audit:
        write_lines(connection, audit)
    return True


def has_rest(connection: sqlite3.Connection) -> bool:
    """Say whether events of erased sessions are left, as after a crash."""
    try:
        return connection.execute(_REST).fetchone() is not None
    except sqlite3.Error:
        return False  # then it can't be swept now; what is wrong is said where it is read


def sweep(connection: sqlite3.Connection) -> bool:
    """Delete some events of erased sessions, likewise; return whether some may be left."""
    found = connection.execute(_REST).fetchone()
    if found is None:
        connection.execute("DELETE FROM erased WHERE key < (SELECT max(key) FROM erased)")
        return False
    connection.execute(
        "DELETE FROM events WHERE session = ?1 AND seq <= (SELECT max(seq) FROM"
        " (SELECT seq FROM events WHERE session = ?1 ORDER BY seq LIMIT ?2))",
        (*found, STEP_EVENTS),
    )
    return True


def ask(connection: sqlite3.Connection, erasures: Iterable[Erasure]) -> None:
    """Note sessions that are to be erased, likewise; who asked first stands."""
    connection.executemany(
        "INSERT OR IGNORE INTO erasures (session_id, asked_at, by) VALUES (?, ?, ?)",
        [(erasure.session_id, erasure.asked_at, erasure.by) for erasure in erasures],
    )


def read_asked(rows: list[tuple[Any, ...]]) -> list[Erasure]:
    """Return the erasures that *rows* hold."""
    return [Erasure(SessionId(str(name)), str(at), str(by)) for name, at, by in rows]
