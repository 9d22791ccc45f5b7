"""Where the titles of sessions are in their timelines, noted as they are written.

A session may be titled anywhere in its timeline, and a list can't look through all of it. An index
over the events would find them, too, but making it reads the whole file: it would keep a server
from starting for minutes, and for ever where one page of one session is damaged. So a table begins
empty, and sessions that were titled before it was there are listed by their first words.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

from bargein.protocol.ids import Seq, SessionId

TITLES_LAYOUT: Final = ("CREATE TABLE titles (session INTEGER PRIMARY KEY, seq INTEGER NOT NULL)",)

# As the encoder orders them: the type stands behind the time.
TS_BYTES: Final = b'"ts":"'
TS_CHARS: Final = 24
_TITLED_BYTES: Final = b',"type":"session.titled"'


def is_of_type(frame: bytes, mark: bytes) -> bool:
    """Say whether an event's type is as *mark* has it, by its bytes alone."""
    # Counted from the time, and not searched for: what a tool was given may look like an event.
    at = frame.find(TS_BYTES)
    return at >= 0 and frame.startswith(mark, at + len(TS_BYTES) + TS_CHARS + 1)


def is_title(frame: bytes) -> bool:
    """Say whether an event is a session's title."""
    return is_of_type(frame, _TITLED_BYTES)


def note_titles(connection: sqlite3.Connection, titles: Mapping[int, Seq]) -> None:
    """Note the newest title of each session by key, in a transaction that has begun."""
    note = (
        "INSERT INTO titles (session, seq) VALUES (?, ?)"
        " ON CONFLICT (session) DO UPDATE SET seq = excluded.seq"
    )
    connection.executemany(note, titles.items())


def forget_title(connection: sqlite3.Connection, session_id: SessionId) -> None:
    """Forget where a session's title is, likewise."""
    forget = "DELETE FROM titles WHERE session = (SELECT key FROM sessions WHERE session_id = ?)"
    connection.execute(forget, (session_id,))
