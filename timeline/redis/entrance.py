"""How a session's row is read by whoever may append to it next."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from attrs import define

from bargein.protocol.ids import SessionId
from bargein.timeline.outcomes import Refusals
from bargein.timeline.redis.changes import Changes
from bargein.timeline.redis.keys import is_storable
from bargein.timeline.redis.known import Known
from bargein.timeline.redis.lease import Lease, lives
from bargein.timeline.redis.owners import Owners
from bargein.timeline.redis.reads import Reads
from bargein.timeline.redis.rows import StoredRow
from bargein.timeline.store import SessionRow, StoreUnavailable, TakenOver

MOST_LOOKS: Final = 8
"""How often a row is read until it stays as it was read."""

CHANGING: Final = "what is read and what is written to are not the same Redis"


@define(eq=False)
class Entrance:
    """Lets sessions in: with their fence, and with another epoch where they may have lost events.

    Attributes:
        lease: That of this server; None for a visitor, who changes nothing.
        history: Says in which life of the Redis server claims are made.
        history_read: Likewise rows are read.
        may_write: Says whether the store still takes appends.
    """

    reads: Reads
    changes: Changes
    owners: Owners
    known: Known
    refusals: Refusals
    lease: Lease | None
    history: Callable[[], str]
    history_read: Callable[[], str]
    may_write: Callable[[], bool]

    async def row(self, session_id: SessionId) -> SessionRow | None:
        """Read a session's index row; see `RedisStore.row`."""
        refusal = self.refusals.of(session_id)
        if refusal is not None and not isinstance(refusal, TakenOver):
            await self._readmit(session_id)
            self.owners.fresh(session_id)  # read before the fence was raised
        for _ in range(MOST_LOOKS):
            found, history = self.owners.fresh(session_id), self.history()
            if found is None:
                found, history = await self.reads.row(session_id), self.history_read()
            if found is None:
                self.known.forget(session_id)
                return None
            if self._has_lost_nothing(found, history) or await self._is_anothers(found):
                self._let_in(found)
                return found.row
            await self.changes.renew(found)
        raise StoreUnavailable(CHANGING)

    async def _readmit(self, session_id: SessionId) -> None:
        """Take appends of a session again, if it can be fenced."""
        with suppress(StoreUnavailable):
            if self.lease is not None and self.may_write() and is_storable(session_id):
                grant = await self.changes.fence(session_id)
                if grant is None:
                    self.known.disown(session_id)
                else:
                    self.known.replace(session_id, grant)
            self.refusals.lift(session_id)

    def _has_lost_nothing(self, found: StoredRow, history: str) -> bool:
        """Say whether all that was acknowledged of a session is there.

        What this process has written it knows, as long as nobody else can have claimed the session
        since. Of the others it knows that they were written in this life of the Redis server; after
        another one the newest events may be gone, and with them who wrote them.
        """
        if self.lease is None:
            return True
        known = self.known.acknowledged(found.row.session_id, found.grant)
        if known is not None and (known.is_all(history) or known.seq > found.row.last_seq):
            return known.seq <= found.row.last_seq
        return found.history == history

    async def _is_anothers(self, found: StoredRow) -> bool:
        """Say whether a living server owns a session, whose part it is to know what is lost."""
        if self.lease is None or found.owner is None or found.owner == self.lease.me:
            return False
        return not self.lease.is_sure or await lives(self.reads.ask, found.owner)

    def _let_in(self, found: StoredRow) -> None:
        """Note the grant of a session that is nobody's, and how far one of our own is there.

        Only a claim changes the grant of our own.
        """
        name = found.row.session_id
        is_free = self.lease is None or found.owner in {None, self.lease.me}
        if is_free and self.known.held(name) is None:
            self.known.let_in(name, found.grant)
        elif self.known.grant(name).text == found.grant.text:
            self.known.note(name, found.row.last_seq)
        if found.row.unsettled:
            self.known.suspect(name)
