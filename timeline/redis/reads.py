"""What is read back from Redis: by pages, and checked before anybody sees it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import trio
from attrs import define, evolve, field

from bargein.protocol.ids import NOTHING, Seq, SessionId
from bargein.timeline.archive import Listed
from bargein.timeline.checksum import event_crc, session_crc
from bargein.timeline.recent import MOST_RECENT, Asked, Recent, RecentPage, page_of, recent_of
from bargein.timeline.redis.cold import Cold
from bargein.timeline.redis.cold_file import ColdMissing
from bargein.timeline.redis.cold_folder import UNNAMED, ColdFolder
from bargein.timeline.redis.keys import (
    ALL,
    UNSETTLED,
    events_key,
    is_storable,
    owner_key,
    row_key,
)
from bargein.timeline.redis.link import Link, LinkLost, Refused
from bargein.timeline.redis.rows import StoredRow, read_row, row_command
from bargein.timeline.redis.scripts import PAGE, Command
from bargein.timeline.store import Stored, StoreUnavailable, TimelineCorrupt

MOST_EVENTS: Final = 1024
"""Read with one call: Redis does nothing else meanwhile, for about a millisecond."""

MOST_BYTES: Final = 1024 * 1024
"""The same for large events."""

MOST_ROWS: Final = 256
"""Rows asked for together."""

MOST_NAMES: Final = 1000
"""Names asked for together."""

MOST_ONES_S: Final = 1.0
"""How long a list of sessions waits for titles and first words that are in files."""

MOST_AT_ONCE: Final = 32
"""Reads under way; more of them wait here instead of in Redis."""


@define(eq=False)
class Reads:
    """Reads through one connection, and what is in files from there.

    Attributes:
        wait_s: How long a read waits for a lost connection to come back.
        folder: Where the files are.
    """

    link: Link
    wait_s: float
    folder: ColdFolder | None = None
    _turns: trio.CapacityLimiter = field(
        factory=lambda: trio.CapacityLimiter(MOST_AT_ONCE), init=False
    )

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Ask what may be asked twice; see `Link.ask`.

        Raises:
            StoreUnavailable: If there is no answer.
        """
        lost = LinkLost(self.link.reason)
        if not self.link.runs:
            raise StoreUnavailable(lost.reason)
        with trio.move_on_after(self.wait_s):
            async with self._turns:
                while True:
                    await self.link.until_up()
                    try:
                        answers = await self.link.ask(commands)
                    except LinkLost as again:
                        lost = again
                    else:
                        break
            for answer in answers:
                if isinstance(answer, Refused):
                    raise StoreUnavailable(answer.text)
            return answers
        raise StoreUnavailable(lost.reason)

    async def row(self, session_id: SessionId) -> StoredRow | None:
        """Read the row of a session.

        Raises:
            TimelineCorrupt: If it is damaged, or events are missing.
            StoreUnavailable: If there is no answer.
        """
        if not is_storable(session_id):
            return None
        before: StoredRow | None = None
        while True:
            # The count behind the row: it may be higher by what was appended between the two.
            look = (row_command(session_id), (b"XLEN", events_key(session_id)))
            columns, kept = await self.ask(look)
            found = read_row(session_id, columns)
            if found is None or kept >= found.row.last_seq - found.moved:
                return found
            # Or lower by what was moved between the two: then the row names another file now.
            if before is not None and before.cold == found.cold:
                first = await self._first_missing(session_id, found.moved + kept)
                raise TimelineCorrupt(session_id, first)
            before = found

    async def page(
        self, session_id: SessionId, after: Seq, limit: int, most_bytes: int
    ) -> list[Stored]:
        """Read the events behind *after*; see `Store.read`."""
        events: list[Stored] = []
        is_end = limit < 1 or not is_storable(session_id)
        missing: Cold | None = None
        while not is_end:
            room = max(min(MOST_BYTES, most_bytes), 0)
            most = min(MOST_EVENTS, limit - len(events))
            keys = [row_key(session_id), events_key(session_id)]
            (answer,) = await self.ask((PAGE.call(keys, after, most, room),))
            cold = _cold_in(session_id, answer)
            if cold is None or after >= cold.last:
                more, is_end = _checked(session_id, after, answer)
            elif cold == missing:
                raise TimelineCorrupt(session_id, Seq(after + 1))
            else:
                try:
                    more = await self._from_file(session_id, cold, after, most, room)
                except ColdMissing:
                    missing = cold  # erased or moved once more, or else it is lost
                    continue
            if events and more and len(more[0].frame) > most_bytes:
                break  # of each call the first event comes whatever its size
            events += more
            most_bytes -= sum(len(event.frame) for event in more)
            if not more or len(events) >= limit or most_bytes <= 0:
                break
            after = more[-1].seq
        return events

    async def rows(self, names: Iterable[SessionId]) -> list[StoredRow]:
        """Read the rows of many sessions, in order; without missing and damaged ones."""
        found: list[StoredRow] = []
        wanted = list(names)
        for start in range(0, len(wanted), MOST_ROWS):
            some = wanted[start : start + MOST_ROWS]
            answers = await self.ask([row_command(name) for name in some])
            for name, columns in zip(some, answers, strict=True):
                try:
                    row = read_row(name, columns)
                except TimelineCorrupt:
                    continue
                if row is not None:
                    found.append(row)
        return found

    async def unsettled(self) -> list[SessionId]:
        """List the sessions to recover; see `Store.unsettled`."""
        rows = await self.rows(await self.names(b"ZRANGE", UNSETTLED, 0, -1))
        return [found.row.session_id for found in rows if found.row.unsettled]

    async def of_owner(self, principal: str, tenant: str | None, limit: int) -> list[StoredRow]:
        """Read the rows of a principal's sessions, newest first."""
        names = await self.names(b"ZREVRANGE", owner_key(principal, tenant), 0, limit - 1)
        rows = await self.rows(names)
        owner = (principal, tenant)
        return [found for found in rows if (found.row.principal, found.row.tenant) == owner]

    async def listed(self, after: int, limit: int) -> list[Listed]:
        """List all sessions; see `Archive.sessions`."""
        while True:
            (flat,) = await self.ask((_places(after, limit),))
            places = {_name(name): int(score) for name, score in _pairs(flat)}
            if not places:
                return []
            rows = await self.rows(places)
            if rows:
                return [Listed(places[r.row.session_id], r.row, r.active_at) for r in rows]
            after = max(places.values())

    async def recent(self, asked: Asked) -> RecentPage:
        """List a principal's sessions by activity; see `Archive.recent_of`."""
        rows = await self.of_owner(asked.principal, asked.tenant, MOST_RECENT)
        found = {stored.row.session_id: stored for stored in rows}
        bare = (Recent(stored.row, stored.active_at, None, None) for stored in rows)
        page = page_of(bare, asked)
        shown = [found[each.row.session_id] for each in page.sessions]
        commands = [_one(r.row.session_id, seq) for r in shown for seq in (r.title, r.said)]
        answers = await self.ask(commands) if commands else []
        await self._fill_in(answers, shown)
        told = (
            recent_of(r.row, (r.active_at, *_event(title), *_event(said)))
            for r, title, said in zip(shown, answers[::2], answers[1::2], strict=True)
        )
        return evolve(page, sessions=tuple(told))

    async def names(self, command: bytes, key: str, *bounds: int) -> list[SessionId]:
        """Read names in the order of a list of sessions."""
        (answer,) = await self.ask(((command, key, *bounds),))
        return [_name(name) for name in answer]

    async def all_names(self) -> list[SessionId]:
        """Read the names of all sessions, oldest first."""
        names: list[SessionId] = []
        after = 0
        while True:
            page, after = await self.names_behind(after)
            if not page:
                return names
            names += page

    async def names_behind(self, after: int) -> tuple[list[SessionId], int]:
        """Read some names of sessions behind place *after*, and the place of the last of them."""
        (flat,) = await self.ask((_places(after, MOST_NAMES),))
        return [_name(name) for name, _ in _pairs(flat)], int(flat[-1][1]) if flat else after

    async def _from_file(
        self, session_id: SessionId, cold: Cold, after: Seq, limit: int, most_bytes: int
    ) -> list[Stored]:
        if self.folder is None:
            raise StoreUnavailable(UNNAMED)
        return await self.folder.read(session_id, cold, after, limit, most_bytes)

    async def _fill_in(self, answers: list[Any], shown: Sequence[StoredRow]) -> None:
        """Put in place of *answers* those events of two for each session that are in its file.

        Where the directory hangs they are left out: a list of sessions can do without.
        """
        wanted = [(r.row.session_id, r.cold, seq) for r in shown for seq in (r.title, r.said)]
        cold = [
            (place, (name, file, seq))
            for place, (name, file, seq) in enumerate(wanted)
            if file is not None and 0 < seq <= file.last
        ]
        if cold and self.folder is not None:
            with suppress(StoreUnavailable):
                ones = await self.folder.ones([one for _, one in cold], MOST_ONES_S)
                for (place, _), one in zip(cold, ones, strict=True):
                    answers[place] = one

    async def _first_missing(self, session_id: SessionId, kept: int) -> Seq:
        after = NOTHING
        try:
            while page := await self.page(session_id, after, MOST_EVENTS, MOST_BYTES):
                after = page[-1].seq
        except TimelineCorrupt as error:
            return error.seq
        return Seq(kept + 1)


def _checked(session_id: SessionId, after: Seq, answer: list[Any]) -> tuple[list[Stored], bool]:
    """Check a page; return its events, and whether the timeline ends with it."""
    if not answer:
        return [], True
    noted, is_end, _, *flat = answer
    shared = session_crc(session_id)
    events: list[Stored] = []
    columns = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    for seq, (name, frame, checksum) in enumerate(columns, after + 1):
        sound = isinstance(frame, bytes) and name == b"%d-0" % seq
        if not sound or checksum != b"%d" % event_crc(shared, seq, frame):
            raise TimelineCorrupt(session_id, Seq(seq))
        events.append(Stored(Seq(seq), frame))
    if not (isinstance(noted, bytes) and noted.isdigit()):
        raise TimelineCorrupt(session_id, NOTHING)
    end = after + len(events)
    if is_end and end < int(noted):
        raise TimelineCorrupt(session_id, Seq(end + 1))
    return events, bool(is_end)


def _cold_in(session_id: SessionId, answer: list[Any]) -> Cold | None:
    if not answer or not answer[2]:
        return None
    try:
        return Cold.of(answer[2].decode())
    except ValueError:
        raise TimelineCorrupt(session_id, NOTHING) from None


def _places(after: int, limit: int) -> Command:
    return (b"ZRANGEBYSCORE", ALL, f"({after}", "+inf", "WITHSCORES", "LIMIT", 0, limit)


def _one(session_id: SessionId, seq: Seq) -> Command:
    return (b"XRANGE", events_key(session_id), seq, seq, "COUNT", 1)


def _event(answer: Any) -> tuple[int | None, int | None, bytes | None]:
    """Return seq, checksum and frame of the one event that was asked for, if it was there."""
    match answer:
        case [[bytes() as name, [b"f", bytes() as frame, b"c", bytes() as checksum]]]:
            seq = name.removesuffix(b"-0")
            if seq.isdigit() and checksum.isdigit():
                return int(seq), int(checksum), frame
        case (int() as place, int() as crc, bytes() as frame):
            return place, crc, frame
        case _:
            pass
    return None, None, None


def _pairs(flat: list[Any]) -> Iterable[tuple[Any, Any]]:
    # By RESP3 each member comes with its score in a list of two.
    return ((member, score) for member, score in flat)


def _name(raw: bytes) -> SessionId:
    return SessionId(raw.decode(errors="replace"))
