"""What a group of appends comes to in SQLite: one transaction, of few statements."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from attrs import define, field

from bargein.protocol.ids import Seq, SessionId
from bargein.timeline.audit import AuditEntry
from bargein.timeline.checksum import event_crc
from bargein.timeline.journal import COLUMNS, Journal
from bargein.timeline.places import Place
from bargein.timeline.store import Append
from bargein.timeline.titles import is_title

EXACT: Final = 64
"""Up to so many events take one statement of just their number: most groups do."""

BLOCK: Final = 256
"""Larger groups are cut into statements of this many events, and a rest."""


@define(eq=False)
class Draft:
    """What a group comes to: one transaction.

    Attributes:
        rows: Of events that go among those of their sessions, one after the other.
        noted: Likewise of those that go into the journal, by session.
        settled: Sessions of which nothing is left in the journal alone.
        changed: Places whose index row is to be written, by key.
        titles: Where the newest title of a session is, by key.
    """

    _journal: Journal
    _journalled: bool = field(alias="journalled", kw_only=True)
    _titled: bool = field(alias="titled", kw_only=True)
    rows: list[Any] = field(factory=list[Any], init=False)
    noted: dict[SessionId, list[Any]] = field(factory=dict[SessionId, list[Any]], init=False)
    settled: set[SessionId] = field(factory=set[SessionId], init=False)
    changed: dict[int, Place] = field(factory=dict[int, Place], init=False)
    titles: dict[int, Seq] = field(factory=dict[int, Seq], init=False)
    audit: list[AuditEntry] = field(factory=list[AuditEntry], init=False)

    @property
    def is_one_statement(self) -> bool:
        """Whether it needs no transaction around it."""
        if self.changed or self.titles or self.audit:
            return False
        return not self.rows or (not self.noted and len(self.rows) <= EXACT * COLUMNS)

    def put(self, append: Append, place: Place) -> None:
        """Say where the events of *append* go; *place* is behind them then."""
        name = append.session_id
        values, titles = _values(append, place)
        place.last = append.last_seq
        if self._titled:
            self.titles.update(titles)
        self.audit += append.audit
        turned = _turn_flags(append, place)
        if turned:
            self.changed[place.key] = place
        late = None if name in self.settled else self._journal.late(name)
        waits = (place.unsettled and not turned) or late is not None or name in self.noted
        if waits and self._journalled and not titles and not self._journal.damaged:
            self.noted.setdefault(name, []).extend(values)
            return
        # A session's events go among its rows in order, so those before go with it.
        if late is not None:
            self.rows += late.values
            self.settled.add(name)
        self.rows += self.noted.pop(name, ())
        self.rows += values
        place.stored = place.last


def _values(append: Append, place: Place) -> tuple[list[Any], dict[int, Seq]]:
    key, shared = place.key, place.crc
    values: list[Any] = []
    titles: dict[int, Seq] = {}
    for seq, frame in enumerate(append.frames, append.first_seq):
        values += (key, seq, frame, event_crc(shared, seq, frame))
        if is_title(frame):
            titles[key] = Seq(seq)
    return values, titles


def _turn_flags(append: Append, place: Place) -> bool:
    closed = place.closed or append.closed
    if (place.unsettled, place.closed) == (append.unsettled, closed):
        return False
    place.unsettled, place.closed = append.unsettled, closed
    return True


def blocks(values: list[Any]) -> Iterator[list[Any]]:
    """Cut the rows of events into what one statement takes."""
    start, size = 0, len(values)
    for events in (BLOCK, EXACT):
        step = events * COLUMNS
        while size - start >= step:
            yield values[start : start + step]
            start += step
    if start < size:
        yield values[start:]


@cache
def marks(events: int) -> str:
    """Return the place holders of so many rows."""
    return ", ".join(["(?, ?, ?, ?)"] * events)


@cache
def insert_statement(events: int) -> str:
    """Return what puts so many rows of events where they belong."""
    return f"INSERT INTO events (session, seq, frame, crc) VALUES {marks(events)}"  # noqa: S608
