"""Which server owns a session: one at a time, with a fence that shuts out all before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import structlog
import trio
from attrs import define, evolve, field

from bargein.protocol.ids import NOTHING, NodeId, SessionId
from bargein.timeline.outcomes import Refusals
from bargein.timeline.redis.keys import events_key, is_storable, row_key
from bargein.timeline.redis.known import Grant, Known, drawn_by, new_token
from bargein.timeline.redis.lease import Lease, lives
from bargein.timeline.redis.link import Link, LinkLost, Refused
from bargein.timeline.redis.rows import StoredRow, read_row, row_command
from bargein.timeline.redis.scripts import CLAIM, RELEASE
from bargein.timeline.store import StoreUnavailable, TakenOver, TimelineCorrupt

log = structlog.get_logger(__name__)

FRESH_S: Final = 0.25
"""How long a row that was read with a claim spares whoever claimed another look."""

MOST_FRESH: Final = 1000
MOST_TOGETHER: Final = 500
"""Sessions given up with one round trip."""


@define(eq=False)
class Owners:
    """Claims sessions for this server, and gives them up; see `Ownership`.

    Lives as long as its store. A claim takes one round trip where a session is ours or nobody's,
    and three where it has to be taken from a server that has gone.

    Attributes:
        link: The connection that writes.
        wait_s: How long a claim waits for a lost connection.
        history: Says in which life of the Redis server claims are made.
    """

    link: Link
    lease: Lease
    known: Known
    refusals: Refusals
    wait_s: float
    history: Callable[[], str]
    _fresh: dict[SessionId, tuple[float, StoredRow]] = field(
        factory=dict[SessionId, tuple[float, StoredRow]], init=False
    )
    _leaving: dict[SessionId, str] = field(factory=dict[SessionId, str], init=False)
    _under_way: set[SessionId] = field(factory=set[SessionId], init=False)
    _some: trio.Event = field(factory=trio.Event, init=False)

    async def claim(self, session_id: SessionId) -> NodeId | None:
        """Make this server the owner, unless a living one is; see `Ownership.claim`.

        A session that is not there is nobody's, and its first append makes it ours.

        Raises:
            StoreUnavailable: If Redis doesn't answer or refuses it; try again.
        """
        if not is_storable(session_id):
            return None
        self._leaving.pop(session_id, None)
        return await self.link.persist(lambda: self._claimed(session_id, None), self.wait_s)

    async def hold(self, session_id: SessionId) -> NodeId | None:
        """Stay the owner of a session of ours, if nobody else was; see `Ownership.hold`.

        Raises:
            StoreUnavailable: If Redis doesn't answer or refuses it; try again.
        """
        if not is_storable(session_id):
            return None
        held = self.known.held(session_id)
        return await self.link.persist(lambda: self._claimed(session_id, held), self.wait_s)

    async def lives(self, node: NodeId) -> bool:
        """Say whether a server is known to live; see `Ownership.lives`.

        Raises:
            StoreUnavailable: If Redis doesn't answer or refuses it; try again.
        """
        return await self.link.persist(lambda: lives(self.link.ask, node), self.wait_s)

    def release(self, session_id: SessionId) -> None:
        """Leave a session of ours to whoever wants it, soon; see `Ownership.release`."""
        if is_storable(session_id):
            self._leaving[session_id] = self.known.grant(session_id).text
            self.known.disown(session_id)
            self._fresh.pop(session_id, None)
            self._some.set()

    def distrust(self) -> None:
        """Forget what was read with claims: Redis may have lost that."""
        self._fresh.clear()

    def fresh(self, session_id: SessionId) -> StoredRow | None:
        """Return the row as it was read with the claim, once, if that was a moment ago."""
        read_s, row = self._fresh.pop(session_id, (0.0, None))
        return row if trio.current_time() - read_s <= FRESH_S else None

    async def run(self) -> None:
        """Give up what is released, as many sessions together as there are, until cancelled."""
        while True:
            await self._some.wait()
            await self.link.until_up()
            await self.flush()

    async def close(self) -> None:
        """Give up all that is ours, so that nobody has to ask whether this server lives."""
        for session_id in self.known.owned:
            self.release(session_id)
        await self.flush()

    async def flush(self) -> None:
        """Give up what is released, as far as Redis is there."""
        self._some = trio.Event()
        while self._leaving and self.link.is_up:
            some = list(self._leaving.items())[:MOST_TOGETHER]
            for name, _ in some:
                del self._leaving[name]
                self._under_way.add(name)
                self.known.doubt(name, self.history())
            me = self.lease.me
            try:
                await self.link.ask(
                    [RELEASE.call([row_key(name)], me, grant) for name, grant in some]
                )
            except LinkLost:
                # It may have been done, or be done yet. Whoever claims one meanwhile raises its
                # fence; the others are given up again.
                for name, grant in some:
                    if name in self._under_way:
                        self._leaving.setdefault(name, grant)
                self._some.set()
            else:
                self._under_way.difference_update(name for name, _ in some)

    async def _claimed(self, session_id: SessionId, held: Grant | None) -> NodeId | None:
        owner, is_lost = await self._ask(session_id, "", held)
        if is_lost or owner is None:
            return owner
        if not self.lease.is_sure or await lives(self.link.ask, owner):
            return owner
        now, _ = await self._ask(session_id, owner, held)
        if now is None:
            log.info("session.taken_over", session=session_id, former=owner, me=self.lease.me)
            return None
        return now

    async def _ask(
        self, session_id: SessionId, gone: NodeId | str, held: Grant | None
    ) -> tuple[NodeId | None, bool]:
        """Claim a session, unless it was *held* and others have had it since.

        Return who else has it, None where it is ours or is not there; and whether others have
        had it since.
        """
        me = self.lease.me
        is_leaving = int(session_id in self._under_way)
        with_what = (new_token(me), "" if held is None else held.text)
        claim = CLAIM.call([row_key(session_id)], me, gone, is_leaving, *with_what)
        answer, columns, kept = await self.link.ask(
            (claim, row_command(session_id), (b"XLEN", events_key(session_id)))
        )
        match answer:
            case []:
                return None, False
            case [0, bytes() as name, bytes() as token]:
                who = NodeId(name.decode()) or drawn_by(token.decode()) or me
                # What is in memory of it must not be written behind what others have done.
                self.known.forget(session_id)
                self.refusals.add(session_id, TakenOver(session_id, NOTHING, NOTHING, who))
                return who, True
            case [bytes() as name, int() as fence, bytes() as token, *replaced]:
                owner, grant = NodeId(name.decode()), Grant(fence, token.decode())
                before = replaced[0].decode() if replaced else None
            case Refused():
                raise StoreUnavailable(answer.text)
            case _:
                raise StoreUnavailable(f"Redis gave an odd answer: {answer!r}"[:200])
        if owner != me:
            return owner, False
        self._under_way.discard(session_id)
        self._take(session_id, evolve(grant, replaced=before), columns, kept)
        return None, False

    def _take(self, session_id: SessionId, grant: Grant, columns: list[Any], kept: int) -> None:
        held = self.known.held(session_id)
        if held is not None and grant.replaced is None and held.text == grant.text:
            return  # it was ours all the time
        before = grant.token if grant.replaced is None else grant.replaced
        if self.known.grant(session_id).token == before:
            self.known.replace(session_id, grant)
        else:
            # Others have owned it since: what we know of it may be less than was acknowledged.
            self.known.forget(session_id)
        self.known.own(session_id, grant)
        if isinstance(self.refusals.of(session_id), TakenOver):
            self.refusals.lift(session_id)
        try:
            row = read_row(session_id, columns)
        except TimelineCorrupt:
            return  # whoever reads it is told
        if row is not None and kept >= row.row.last_seq - row.moved:
            self._fresh[session_id] = (trio.current_time(), row)
            if len(self._fresh) > MOST_FRESH:
                del self._fresh[next(iter(self._fresh))]
