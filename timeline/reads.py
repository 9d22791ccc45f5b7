"""What is read back from SQLite: whole pages, checked before anybody sees them.

A page is one row of one statement. Row by row, the reading thread would have to
win the interpreter lock back from the event loop for each event: 1000 events took
19 ms beside a busy loop that way, and take 5 ms this way.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from math import inf
from threading import Lock
from time import monotonic
from typing import Any, Final, TypeAlias

from attrs import astuple, define, field

from bargein.protocol.ids import NOTHING, Epoch, Seq, SessionId
from bargein.timeline.archive import Erasure, Listed, time_of
from bargein.timeline.audit import AuditHead, AuditLine
from bargein.timeline.audit_rows import HEAD, LINES, read_head, read_lines
from bargein.timeline.checksum import row_crc
from bargein.timeline.erasure import ASKED, read_asked
from bargein.timeline.faults import fault_of, is_damage
from bargein.timeline.journal import COLUMNS, Journal
from bargein.timeline.pages import PAGE, checked_page, continued
from bargein.timeline.recent import (
    MOST_RECENT,
    SHOWN,
    Asked,
    Mark,
    RecentPage,
    page_of,
    recent_of,
    recent_statement,
)
from bargein.timeline.store import (
    SessionRow,
    Stored,
    StoreUnavailable,
    TimelineCorrupt,
)

_Ends: TypeAlias = Mapping[SessionId, tuple[Seq, bytes]]
_NO_END: Final = NOTHING, b""

_COLUMNS: Final = (
    "session_id, principal, tenant, epoch, epoch_changed, opened_at, crc, closed, unsettled,"
    " noted_seq, coalesce((SELECT max(seq) FROM events WHERE session = key), 0)"
)

_ROW: Final = f"SELECT {_COLUMNS} FROM sessions"  # noqa: S608 - constants

_LISTED: Final = (
    "SELECT key, (SELECT frame FROM events WHERE session = key ORDER BY seq DESC LIMIT 1),"  # noqa: S608 - constants
    f" {_COLUMNS} FROM sessions"
)

_RECENT: Final = recent_statement(_COLUMNS)

_RECENT_ONE: Final = (
    recent_statement(_COLUMNS, single=True),
    recent_statement(_COLUMNS, single=True, titled=False),
)
"""Better no title than no session, where the one is damaged and the other is not."""

# Of the rows' own pages, these need none: they find a session whose row is damaged.
_NAMES: Final = "SELECT session_id FROM sessions INDEXED BY sqlite_autoindex_sessions_1"
_KEYS: Final = (
    "SELECT key FROM sessions INDEXED BY sqlite_autoindex_sessions_1"
    " WHERE key > ? ORDER BY key LIMIT ?"
)
_KEYS_OF: Final = (
    "SELECT key FROM sessions INDEXED BY sessions_by_owner"
    " WHERE principal = ? AND tenant IS ? ORDER BY key DESC LIMIT ?"
)

_PLACE: Final = "SELECT key, noted_seq FROM sessions WHERE session_id = ?"

_SEQS: Final = (
    "SELECT quote(seq) FROM events"
    " WHERE session = (SELECT key FROM sessions WHERE session_id = ?) ORDER BY seq"
)

_PROBE: Final = "SELECT hex(frame), crc FROM events WHERE session = ? AND seq = ?"

_LOOK_STEPS: Final = 20_000
"""Of SQLite's machine, after each of which a read looks at the clock: about 1 ms."""

_GIVEN_UP: Final = "a read was given up"


@define(eq=False)
class Reads:
    """Reads through one connection of its own, which can't write; any thread may call.

    Attributes:
        _ends_s: When nobody waits for an answer any more, by `monotonic`.
    """

    _connection: sqlite3.Connection
    _journal: Journal | None = None
    _turn: Lock = field(factory=Lock)
    _ends_s: float = inf

    def within(self, limit_s: float) -> Reads:
        """Return the same with a limit: what takes longer ends, and lets others read."""
        return Reads(self._connection, self._journal, self._turn, monotonic() + limit_s)

    def row(self, session_id: SessionId) -> SessionRow | None:
        """Read the index row of a session; see `Store.row`."""
        late = self._late_ends()
        try:
            found = self._all(f"{_ROW} WHERE session_id = ?", session_id)
        except sqlite3.Error as error:
            if is_damage(error):
                raise TimelineCorrupt(session_id, NOTHING) from error
            raise fault_of(error) from error
        if not found:
            return None
        noted, last = found[0][-2:]
        if not isinstance(last, int):  # damage can turn a number into a text, or into bytes
            raise TimelineCorrupt(session_id, self._first_misplaced(session_id))
        row = _row(found[0], late)
        if row is None or not isinstance(noted, int):
            raise TimelineCorrupt(session_id, NOTHING)
        if last < noted:
            raise TimelineCorrupt(session_id, Seq(last + 1))
        return row

    def page(self, session_id: SessionId, after: Seq, limit: int, most_bytes: int) -> list[Stored]:
        """Read the events behind *after*; see `Store.read`."""
        late = self._late(session_id)
        try:
            page = self._page(session_id, after, limit, most_bytes)
            if late:
                continued(session_id, page, after, late, limit=limit, most_bytes=most_bytes)
        except TimelineCorrupt:
            if self._is_gone(session_id):
                return []  # it was erased between two statements
            raise
        return page

    def _page(self, session_id: SessionId, after: Seq, limit: int, most_bytes: int) -> list[Stored]:
        first = Seq(after + 1)
        key = noted = 0
        try:
            found = self._all(_PLACE, session_id)
            if not found or limit < 1:
                return []
            key, noted = found[0]
            (page,) = self._all(PAGE, key, after, limit, most_bytes)
        except sqlite3.Error as error:
            if is_damage(error):
                damaged = self._first_unreadable(key, first, limit)
                raise TimelineCorrupt(session_id, damaged) from error
            raise fault_of(error) from error
        *columns, end = page
        events = checked_page(session_id, first, columns)
        if not isinstance(noted, int):
            raise TimelineCorrupt(session_id, NOTHING)
        # An end that is no number is damage behind this page; the page that it is on names it.
        if isinstance(end, int) and end < noted > after:
            raise TimelineCorrupt(session_id, Seq(end + 1))
        return events

    def unsettled(self) -> list[SessionId]:
        """List the sessions to recover; see `Store.unsettled`."""
        try:
            found = self._all("SELECT session_id FROM sessions WHERE unsettled ORDER BY key")
        except sqlite3.Error as error:
            keys = self._keys(error, "SELECT key FROM sessions WHERE unsettled ORDER BY key")
            found = self._singly(keys, "SELECT session_id FROM sessions WHERE key = ?")
        return [SessionId(session_id) for (session_id,) in found]

    def sessions_of(self, principal: str, tenant: str | None, limit: int) -> list[SessionRow]:
        """List the sessions of a principal, without damaged ones; see `Store.sessions_of`."""
        late = self._late_ends()
        mine = f"{_ROW} WHERE principal = ? AND tenant IS ? ORDER BY key DESC LIMIT ?"
        try:
            found = self._all(mine, principal, tenant, limit)
        except sqlite3.Error as error:
            keys = self._keys(error, _KEYS_OF, principal, tenant, limit)
            found = self._singly(keys, f"{_ROW} WHERE key = ?")
        return [row for columns in found if (row := _row(columns, late)) is not None]

    def recent_of(self, asked: Asked) -> RecentPage:
        """List the sessions of a principal by activity; see `Archive.recent_of`."""
        late = self._late_ends()
        mark = (None, None) if asked.before is None else astuple(asked.before)
        try:
            mine = asked.principal, asked.tenant, *mark, asked.limit
            found = self._all(_RECENT, *mine, _times(late))
        except sqlite3.Error as error:
            keys = self._keys(error, _KEYS_OF, asked.principal, asked.tenant, MOST_RECENT)
            each = self._singly(keys, *_RECENT_ONE)
            rows = ((_row(columns[SHOWN:], late), columns[:SHOWN]) for columns in each)
            return page_of((recent_of(row, shown) for row, shown in rows if row), asked)
        rows = ((_row(columns[SHOWN:], late), columns[:SHOWN]) for columns in found)
        page = tuple(recent_of(row, shown) for row, shown in rows if row is not None)
        if len(found) < asked.limit:
            return RecentPage(page, None)
        last = found[-1]  # which is left out of the page where it is damaged
        return RecentPage(page, Mark(str(last[0]), SessionId(str(last[SHOWN]))))

    def sessions(self, after: int, limit: int) -> list[Listed]:
        """List all sessions; see `Archive.sessions`."""
        listed: list[Listed] = []
        late = self._late_ends()
        while not listed:
            try:
                found = self._all(f"{_LISTED} WHERE key > ? ORDER BY key LIMIT ?", after, limit)
                keys = [columns[0] for columns in found]
            except sqlite3.Error as error:
                keys = self._keys(error, _KEYS, after, limit)
                found = self._singly(keys, f"{_LISTED} WHERE key = ?")
            for place, frame, *columns in found:
                row = _row(tuple(columns), late)
                if row is not None:
                    newest = late[row.session_id][1] if row.session_id in late else frame
                    listed.append(Listed(place, row, time_of(newest) or row.opened_at))
            if not keys:
                break
            after = keys[-1]
        return listed

    def session_names(self) -> list[SessionId]:
        """List all sessions by name; see `Archive.session_names`."""
        try:
            return [SessionId(str(name)) for (name,) in self._all(_NAMES)]
        except sqlite3.Error as error:
            raise fault_of(error) from error

    def session_ids_of(self, principal: str, tenant: str | None) -> list[SessionId]:
        """List the sessions of a principal by name; see `Archive.session_ids_of`."""
        mine = "SELECT session_id FROM sessions WHERE principal = ? AND tenant IS ? ORDER BY key"
        try:
            return [SessionId(name) for (name,) in self._all(mine, principal, tenant)]
        except sqlite3.Error as error:
            raise fault_of(error) from error

    def size_bytes(self, session_id: SessionId) -> int:
        """Add up a session's frames; see `Archive.size_bytes`."""
        total = (
            "SELECT coalesce(sum(length(frame)), 0), coalesce(max(seq), 0) FROM events"
            " WHERE session = (SELECT key FROM sessions WHERE session_id = ?)"
        )
        late = self._late(session_id)
        try:
            found = self._all(total, session_id)
        except sqlite3.Error as error:
            if is_damage(error):
                raise TimelineCorrupt(session_id, NOTHING) from error
            raise fault_of(error) from error
        size_bytes, last = found[0]
        return size_bytes + sum(
            len(frame)
            for seq, frame in zip(late[1::COLUMNS], late[2::COLUMNS], strict=True)
            if seq > last
        )

    def erasures_asked(self) -> list[Erasure]:
        """List what is still to be erased; see `Archive.erasures_asked`."""
        try:
            return read_asked(self._all(ASKED))
        except sqlite3.Error as error:
            raise fault_of(error) from error

    def audit_lines(self, after: int, limit: int) -> list[AuditLine]:
        """Read lines of the audit; see `Archive.audit_lines`."""
        try:
            return read_lines(self._all(LINES, after, limit))
        except sqlite3.Error as error:
            raise fault_of(error) from error

    def audit_head(self) -> AuditHead | None:
        """Read what was noted of the last line; see `Archive.audit_head`."""
        try:
            return read_head(self._all(HEAD))
        except sqlite3.Error as error:
            raise fault_of(error) from error

    def close(self, *, within_s: float) -> None:
        """Close the connection, unless a read holds it for longer than *within_s*."""
        if self._turn.acquire(timeout=within_s):
            self._connection.close()
            self._turn.release()

    def _late(self, session_id: SessionId) -> list[Any]:
        """Return what is in the journal alone; asked first, as it may settle meanwhile."""
        return [] if self._journal is None else self._journal.rows_of(session_id)

    def _late_ends(self) -> _Ends:
        """Return the newest events of sessions of which the journal has more; asked first, too."""
        return {} if self._journal is None else self._journal.ends()

    def _is_gone(self, session_id: SessionId) -> bool:
        try:
            return not self._all(_PLACE, session_id)
        except sqlite3.Error:
            return False

    def _first_misplaced(self, session_id: SessionId) -> Seq:
        try:
            found = self._all(_SEQS, session_id)
        except sqlite3.Error:
            return NOTHING
        places = (Seq(place) for place, (seq,) in enumerate(found, 1) if seq != str(place))
        return next(places, NOTHING)

    def _first_unreadable(self, key: int, first: Seq, limit: int) -> Seq:
        seqs = range(first, first + limit)
        return Seq(next((seq for seq in seqs if not self._is_readable(key, seq)), first))

    def _is_readable(self, key: int, seq: int) -> bool:
        try:
            return bool(self._all(_PROBE, key, seq))
        except sqlite3.Error:
            return False

    def _keys(
        self, error: sqlite3.Error, statement: str, *parameters: str | int | None
    ) -> list[int]:
        """Find the sessions of a list that failed, to read them one by one if it met damage."""
        if not is_damage(error):
            raise fault_of(error) from error
        try:
            return [key for (key,) in self._all(statement, *parameters)]
        except sqlite3.Error as worse:
            raise fault_of(worse) from worse

    def _singly(self, keys: list[int], *statements: str) -> Iterator[tuple[Any, ...]]:
        """Read each session by the first of *statements* that meets no damage, if one does."""
        for key in keys:
            for statement in statements:
                try:
                    found = self._all(statement, key)
                except sqlite3.Error as error:
                    if not is_damage(error):
                        raise fault_of(error) from error
                else:
                    yield from found
                    break

    def _is_late(self) -> bool:
        return monotonic() > self._ends_s

    def _all(self, statement: str, *parameters: str | int | None) -> list[tuple[Any, ...]]:
        with self._turn:
            if self._is_late():
                raise StoreUnavailable(_GIVEN_UP)
            try:
                self._connection.set_progress_handler(self._is_late, _LOOK_STEPS)
                return self._connection.execute(statement, parameters).fetchall()
            except UnicodeEncodeError:
                return []  # a lone surrogate in a name: nothing is stored under it
            except sqlite3.ProgrammingError as error:
                raise StoreUnavailable("it has been closed") from error
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                    raise StoreUnavailable(_GIVEN_UP) from error
                raise


def _times(ends: _Ends) -> str:
    """Return the times of newest events as the statement for a list takes them."""
    return json.dumps({name: time_of(frame) for name, (_, frame) in ends.items()})


def _row(columns: tuple[Any, ...], late: _Ends) -> SessionRow | None:
    session_id, principal, tenant, epoch, changed, opened_at, crc, *state = columns
    if crc != row_crc(session_id, principal, tenant, epoch, changed, opened_at):
        return None
    closed, unsettled, _noted, last = state
    if not isinstance(last, int):
        return None
    return SessionRow(
        session_id=SessionId(session_id),
        principal=principal,
        tenant=tenant,
        epoch=Epoch(epoch),
        epoch_changed=bool(changed),
        last_seq=max(Seq(last), late.get(session_id, _NO_END)[0]),
        closed=bool(closed),
        unsettled=bool(unsettled),
        opened_at=opened_at,
    )
