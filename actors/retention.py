"""What is stored goes again: sessions that are too old, and those whose owner asked for it."""

from __future__ import annotations

from typing import Final, Protocol

import structlog
import trio
from attrs import define, field

from bargein.actors.clock import Clock, utc_ms_of, utc_text
from bargein.protocol.ids import Seq, SessionId
from bargein.timeline.archive import Archive, Listed
from bargein.timeline.audit import AuditEntry
from bargein.timeline.store import StoreError, TimelineCorrupt

LOOK_S: Final = 2.0
"""How soon a running server erases what `bargein sessions erase` asks for."""

SWEEP_S: Final = 600.0
"""How often old sessions are looked for; a day's worth of age is not measured in minutes."""

PAGE_SESSIONS: Final = 200
"""Looked at with one read, which takes a few milliseconds."""

BY_AGE: Final = "retention"

_log = structlog.get_logger()


class Residents(Protocol):
    """Says which sessions are in memory, and can make them leave it."""

    def holds(self, session_id: SessionId) -> bool:
        """Say whether a session is in memory, so that it must not be erased."""
        ...

    async def is_ours(self, session_id: SessionId) -> bool:
        """Say whether no other process has a session, so that this one may erase it.

        Raises:
            StoreError: If that can't be known now.
        """
        ...

    async def dismiss(self, session_id: SessionId) -> None:
        """End a session for its clients (4104), and wait until it has left memory."""
        ...


@define(eq=False)
class Retention:
    """Erases sessions in the background, one after the other.  Lives as long as the process.

    A session is old when its newest event is: neither closed nor open ones stay for
    ever. One that is in memory is not touched for its age; one that somebody asked to
    have erased is dismissed first.

    Attributes:
        most_age_s: Age of the newest event from which on a session goes; None keeps all.
        _next_sweep_s: When old sessions are looked for again.
    """

    _store: Archive
    _clock: Clock
    _residents: Residents
    most_age_s: float | None
    _next_sweep_s: float = field(default=float("-inf"), init=False)

    def keep_for(self, most_age_s: float | None) -> None:
        """Let sessions become that old from now on, and look for older ones soon."""
        if most_age_s != self.most_age_s:
            self.most_age_s, self._next_sweep_s = most_age_s, float("-inf")

    async def run(self) -> None:
        """Erase until cancelled; a store that can't be written now is tried again later."""
        while True:
            try:
                await self._store.until_sound()
                await self.fulfil()
                if self._clock.now_s() >= self._next_sweep_s:
                    self._next_sweep_s = self._clock.now_s() + SWEEP_S
                    await self.sweep()
            except StoreError as error:
                _log.warning("retention.put_off", error=str(error))
            await trio.sleep(LOOK_S)

    async def fulfil(self) -> int:
        """Erase what somebody has asked to have erased; return how many were there.

        Raises:
            StoreError: If it can't be done now; what is left stays asked for.
        """
        count = 0
        for asked in await self._store.erasures_asked():
            if not await self._residents.is_ours(asked.session_id):
                continue  # whose it is erases it
            await self._residents.dismiss(asked.session_id)
            count += await erase(self._store, self._clock, asked.session_id, asked.by)
        return count

    async def sweep(self) -> int:
        """Erase all sessions that are too old; return how many.

        It stops where another age is asked for meanwhile: what is erased does not come back.

        Raises:
            StoreError: If it can't be done now; the next sweep goes on with it.
        """
        most_age_s = self.most_age_s
        if most_age_s is None:
            return 0
        count, after = 0, 0
        before = utc_text(self._clock.utc_ms() - round(most_age_s * 1000))
        while page := await self._store.sessions(after, limit=PAGE_SESSIONS):
            for listed in page:
                is_old = await self._is_old(listed, before)
                if self.most_age_s != most_age_s:
                    break
                if is_old:
                    count += await erase(self._store, self._clock, listed.row.session_id, BY_AGE)
            after = page[-1].place
            if self.most_age_s != most_age_s or page[-1].row.opened_at > before:
                break  # they are in the order of opening: none behind it can be old
        if count:
            _log.info("sessions.erased", count=count)
        return count

    async def _is_old(self, listed: Listed, before: str) -> bool:
        row = listed.row
        if not _is_earlier(listed.last_at, before) or self._residents.holds(row.session_id):
            return False
        # The list is unchecked, and a damaged byte must not be what makes a session old.
        try:
            newest = await self._store.read(
                row.session_id, Seq(row.last_seq - 1), limit=1, most_bytes=0
            )
        except TimelineCorrupt as error:
            _log.warning("session.kept_damaged", session=row.session_id, error=str(error))
            return False
        is_left = bool(newest) and await self._residents.is_ours(row.session_id)
        return is_left and not self._residents.holds(row.session_id)


async def erase(store: Archive, clock: Clock, session_id: SessionId, by: str) -> bool:
    """Erase a session, and say so in the audit; return whether it was there.

    Raises:
        StoreError: If it can't be done now; it is still there, and whole.
    """
    try:
        row = await store.row(session_id)
    except TimelineCorrupt:
        row = None  # whose it was can't be told, and it goes all the same
    entry = AuditEntry(
        ts=utc_text(clock.utc_ms()),
        act="session.erased",
        session_id=session_id,
        seq=None if row is None else row.last_seq,
        principal=None if row is None else row.principal,
        tenant=None if row is None else row.tenant,
        by=by,
    )
    return await store.erase(session_id, (entry,))


def _is_earlier(ts: str, limit: str) -> bool:
    try:
        return utc_ms_of(ts) < utc_ms_of(limit)
    except ValueError:
        return False  # whatever this is, it is no age
