"""The audit in SQLite: its lines, and the head that says which is the last."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from bargein.timeline.audit import HASH_BYTES, START, AuditEntry, AuditHead, AuditLine, sealed
from bargein.timeline.faults import is_damage

AUDIT_LAYOUT: Final = (
    "CREATE TABLE audit (n INTEGER PRIMARY KEY, text BLOB NOT NULL, hash BLOB NOT NULL)",
    """
    CREATE TABLE audit_head (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        n INTEGER NOT NULL,
        hash BLOB NOT NULL
    )
    """,
    f"INSERT INTO audit_head VALUES (1, 0, zeroblob({HASH_BYTES}))",  # noqa: S608 - a constant
)

LINES: Final = "SELECT n, text, hash FROM audit WHERE n > ? ORDER BY n LIMIT ?"
HEAD: Final = "SELECT n, hash FROM audit_head"


class AuditUnwritable(Exception):
    """The audit's own rows are damaged, so no line can follow; `audit verify` tells more."""


def write_lines(connection: sqlite3.Connection, entries: Sequence[AuditEntry]) -> None:
    """Add *entries* to the chain, within a transaction that the caller has begun.

    The head is read anew each time: another process may have written lines, too.

    Raises:
        AuditUnwritable: Roll back: what was to be audited must not happen.
        sqlite3.Error: Roll back likewise; it says what it means for others.
    """
    try:
        head = read_head(connection.execute(HEAD).fetchall())
        if head is None:
            raise AuditUnwritable
        lines = sealed(head, entries)
        connection.executemany(
            "INSERT INTO audit (n, text, hash) VALUES (?, ?, ?)",
            [(line.n, line.text, line.hash) for line in lines],
        )
        last = lines[-1]
        connection.execute("UPDATE audit_head SET n = ?, hash = ?", (last.n, last.hash))
    except sqlite3.IntegrityError as error:  # there are lines that the head doesn't know of
        raise AuditUnwritable from error
    except sqlite3.Error as error:
        if is_damage(error):
            raise AuditUnwritable from error
        raise


def read_head(rows: list[tuple[Any, ...]]) -> AuditHead | None:
    """Return the head that *rows* hold, or None if it is not one."""
    match rows:
        case [(int() as n, bytes() as digest)] if len(digest) == len(START.hash):
            return AuditHead(n, digest)
        case _:
            return None


def read_lines(rows: list[tuple[Any, ...]]) -> list[AuditLine]:
    """Return the lines that *rows* hold; damage stays visible to a check."""
    return [AuditLine(n, _bytes(text), _bytes(digest)) for n, text, digest in rows]


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else repr(value).encode()
