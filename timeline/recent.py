"""A principal's sessions by activity: what a list of them shows, and how SQLite finds it.

Neither the time of a session's newest event nor its title is noted in its index row: the first
would cost a write with each commit. The time is read from the end of each timeline, which is one
descent of the tree, 5 us, or told by the journal where that has newer events. Where the title is,
is noted in a table of its own: see `titles`. What was said first is recognised by its bytes, whose
order is the encoder's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from attrs import frozen

from bargein.protocol.ids import Seq, SessionId
from bargein.timeline.checksum import event_crc, session_crc
from bargein.timeline.store import SessionRow
from bargein.timeline.titles import TS_BYTES, TS_CHARS, is_of_type, is_title

MOST_RECENT: Final = 10_000
"""Only so many sessions of a principal, those opened last, are sorted: 50 ms."""

MOST_SHOWN_CHARS: Final = 200
"""Of a title, and of what was said first."""

EARLY_SEQ: Final = 16
"""What is said first is looked for up to here: before it there are but openings."""

# In bytes, as everything here has to be compared with blobs: `"ts":"` and what follows its value.
_TS: Final = "X'227473223A22'"
_SAID_BYTES: Final = b',"type":"input.text"'


def _has_type(mark: bytes) -> str:
    # As `is_of_type` does it.
    start = f"instr(frame, {_TS}) + {len(TS_BYTES) + TS_CHARS + 1}"
    return f"substr(frame, {start}, {len(mark)}) = X'{mark.hex()}'"


_LAST_AT: Final = f"""
coalesce((
    SELECT at FROM (
        SELECT CAST(substr(frame, instr(frame, {_TS}) + {len(TS_BYTES)}, {TS_CHARS}) AS TEXT)
            AS at FROM events WHERE session = key ORDER BY seq DESC LIMIT 1
    ) WHERE at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T*Z'
), opened_at)
"""  # noqa: S608 - constants

SHOWN: Final = 7
"""Columns of the statement before those of the index row."""


_PAGE: Final = f"""
WITH late (name, at) AS MATERIALIZED (SELECT key, value FROM json_each(?6)), mine AS (
    SELECT sessions.*, coalesce(late.at, {_LAST_AT}) AS last_at
    FROM sessions LEFT JOIN late ON name = session_id
    WHERE principal = ?1 AND tenant IS ?2 ORDER BY sessions.key DESC LIMIT {MOST_RECENT}
), page AS (
    SELECT * FROM mine WHERE ?3 IS NULL OR (last_at, session_id) < (?3, ?4)
    ORDER BY last_at DESC, session_id DESC LIMIT ?5
)
"""  # noqa: S608 - constants

_ONE: Final = f"WITH page AS (SELECT *, {_LAST_AT} AS last_at FROM sessions WHERE key = ?1)"  # noqa: S608 - constants


def recent_statement(columns: str, *, single: bool = False, titled: bool = True) -> str:
    """Return what lists a principal's sessions; *columns* are those of an index row.

    Args:
        columns: What is read of each session's row.
        single: One session is listed, by its key.
        titled: With titles; they are noted in a tree that may be damaged by itself.
    """
    is_said = _has_type(_SAID_BYTES)
    title_seq = "(SELECT seq FROM titles WHERE session = key)" if titled else "NULL"
    return f"""
    {_ONE if single else _PAGE}, told AS MATERIALIZED (
        SELECT *, {title_seq} AS title_seq, (
            SELECT seq FROM events
            WHERE session = key AND seq <= {EARLY_SEQ} AND {is_said} ORDER BY seq LIMIT 1
        ) AS said_seq FROM page
    )
    SELECT last_at,
        title_seq, (SELECT crc FROM events WHERE session = key AND seq = title_seq),
        (SELECT frame FROM events WHERE session = key AND seq = title_seq),
        said_seq, (SELECT crc FROM events WHERE session = key AND seq = said_seq),
        (SELECT frame FROM events WHERE session = key AND seq = said_seq),
        {columns}
    FROM told ORDER BY last_at DESC, session_id DESC
    """  # noqa: S608 - constants


@frozen(order=True)
class Mark:
    """Where a list by activity has come to.

    Attributes:
        last_at: Time of the newest event of the last session that was listed, as UTC text.
        session_id: That session.
    """

    last_at: str
    session_id: SessionId


@frozen
class Asked:
    """Which of a principal's sessions are to be listed.

    Attributes:
        tenant: Whose principal that is.
        before: The end of the page before this one; None for the first page.
        limit: How many at most.
    """

    principal: str
    tenant: str | None
    before: Mark | None
    limit: int


@frozen
class Recent:
    """A session in the list of its principal.

    Attributes:
        last_at: Time of its newest event, as UTC text.
        title: None where it has none.
        first_words: Of its user; None where nothing was said yet.
    """

    row: SessionRow
    last_at: str
    title: str | None
    first_words: str | None

    @property
    def mark(self) -> Mark:
        """Where a list has come to with this session."""
        return Mark(self.last_at, self.row.session_id)


@frozen
class RecentPage:
    """A page of the list.

    Attributes:
        sessions: Newest activity first; damaged ones are left out.
        end: Where the next page begins; None if this was the last.
    """

    sessions: tuple[Recent, ...]
    end: Mark | None


class _Titled(msgspec.Struct):
    title: str = ""


class _Said(msgspec.Struct):
    text: str = ""


class _TitleEvent(msgspec.Struct):
    payload: _Titled


class _SaidEvent(msgspec.Struct):
    payload: _Said


def recent_of(row: SessionRow, columns: tuple[Any, ...]) -> Recent:
    """Read the columns that the statement has before those of *row*."""
    last_at, *events = columns
    title, said = (_checked(row.session_id, *event) for event in (events[:3], events[3:]))
    if title is not None and not is_title(title):
        title = None  # damage has made the note point to another event
    return Recent(row, str(last_at), _title_in(title), _words_in(said))


def recent_in(row: SessionRow, last_at: str, frames: Sequence[bytes]) -> Recent:
    """Look through all events of a session, where there is no index of them."""
    title = next((f for f in reversed(frames) if is_title(f)), None)
    said = next((f for f in frames[:EARLY_SEQ] if is_said(f)), None)
    return Recent(row, last_at, _title_in(title), _words_in(said))


def is_said(frame: bytes) -> bool:
    """Say whether an event is words of the user, by its bytes alone."""
    return is_of_type(frame, _SAID_BYTES)


def page_of(sessions: Iterable[Recent], asked: Asked) -> RecentPage:
    """Sort all sessions of a principal, and return the page that was asked for."""
    found = sorted(sessions, key=lambda each: each.mark, reverse=True)
    if (before := asked.before) is not None:
        found = [each for each in found if each.mark < before]
    page = tuple(found[: asked.limit])
    return RecentPage(page, page[-1].mark if len(page) == asked.limit else None)


def _title_in(frame: bytes | None) -> str | None:
    try:
        return _shown(msgspec.json.decode(frame or b"", type=_TitleEvent).payload.title)
    except msgspec.MsgspecError:
        return None


def _words_in(frame: bytes | None) -> str | None:
    try:
        return _shown(msgspec.json.decode(frame or b"", type=_SaidEvent).payload.text)
    except msgspec.MsgspecError:
        return None


def _checked(session_id: SessionId, seq: Any, crc: Any, frame: Any) -> bytes | None:
    if not isinstance(frame, bytes) or not isinstance(seq, int):
        return None
    return frame if crc == event_crc(session_crc(session_id), Seq(seq), frame) else None


def _shown(text: str) -> str | None:
    line = " ".join(text.split())
    if len(line) > MOST_SHOWN_CHARS:
        return line[: MOST_SHOWN_CHARS - 1].rstrip() + "…"
    return line or None
