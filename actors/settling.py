"""Settles what a process that has died, or a store that has failed, left unsettled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final

import structlog
import trio
from attrs import field, frozen

from bargein.actors.limits import Limits
from bargein.actors.ownership import OwnedElsewhere, OwnerInDoubt
from bargein.actors.session import Session
from bargein.protocol.ids import NodeId, SessionId
from bargein.timeline.store import Store, StoreError, StoreUnavailable

AT_ONCE: Final = 8
"""Sessions that are read at the same time: each waits for the store mostly."""

MOST_LATE: Final = 1000
"""Sessions that are tried again until they are settled; others wait until they are wanted."""

AGAIN_S: Final = 1.0
"""How long after a revival has failed the next is tried; each time twice as long."""

MOST_AGAIN_S: Final = 30.0

_log = structlog.get_logger()


@frozen(eq=False)
class Settling:
    """Lives as long as the process.

    Attributes:
        _live: The sessions in memory.
        _reviving: Those that somebody is about to enter, which settles them, too.
        _revive: Brings a session into memory, if no living process owns it.
        _lives: Says whether a process that owns something is known to live.
    """

    _store: Store
    _limits: Callable[[], Limits]
    _live: Mapping[SessionId, Session]
    _reviving: Mapping[SessionId, trio.Event]
    _revive: Callable[[SessionId], Awaitable[Session]]
    _lives: Callable[[NodeId], Awaitable[bool]]
    _late: set[SessionId] = field(factory=set[SessionId], init=False)

    async def all_left(self, *, insist: bool) -> int:
        """Settle every session that nobody living owns; return how many; see `Sessions.recover`.

        Raises:
            OwnerInDoubt: If it isn't known of some whether their owner lives; try again.
            StoreError: If the store can't say which sessions these are.
        """
        unsettled = await self._store.unsettled()
        ours: list[SessionId] = []
        troubles: list[StoreUnavailable] = []
        doubts: list[OwnerInDoubt] = []

        async def settle(session_id: SessionId) -> None:
            async with at_once:
                try:
                    if await self._settle(session_id):
                        ours.append(session_id)
                except OwnerInDoubt as doubt:
                    doubts.append(doubt)
                except StoreUnavailable as error:
                    troubles.append(error)
                    ours.append(session_id)
                    if not insist:
                        _unrecoverable(session_id, error)

        at_once = trio.CapacityLimiter(AT_ONCE)
        async with trio.open_nursery() as tasks:
            for session_id in unsettled:
                tasks.start_soon(settle, session_id)
        await self._until_stored(ours)
        if insist and troubles:
            raise troubles[0]
        if doubts:
            raise doubts[0]
        return len(ours)

    async def one(self, session_id: SessionId) -> None:
        """Settle a session that the store has failed, now that it can."""
        try:
            row = await self._store.row(session_id)
            if row is not None and row.unsettled:
                await self._settle(session_id)
        except OwnerInDoubt:
            await self.in_the_end(session_id)
        except StoreError as error:
            _unrecoverable(session_id, error)

    async def in_the_end(self, session_id: SessionId) -> None:
        """Settle a session whose revival has failed, however often that takes.

        Returns at once if that is tried already.
        """
        if session_id in self._late or len(self._late) >= MOST_LATE:
            return
        self._late.add(session_id)
        wait_s = AGAIN_S
        try:
            while not await self._is_done_with(session_id, wait_s):
                wait_s = min(2 * wait_s, MOST_AGAIN_S)
        finally:
            self._late.discard(session_id)

    async def _is_done_with(self, session_id: SessionId, after_s: float) -> bool:
        await trio.sleep(after_s)
        try:
            row = await self._store.row(session_id)
            if row is not None and row.unsettled:
                await self._settle(session_id)
        except StoreUnavailable:
            return False
        except StoreError as error:
            _unrecoverable(session_id, error)
        return True

    async def _settle(self, session_id: SessionId) -> bool:
        """Settle a session, unless a living process owns it; return whether it is ours.

        Raises:
            OwnerInDoubt: If it isn't known whether its owner lives.
            StoreUnavailable: If it can't be read now.
        """
        while (reviving := self._reviving.get(session_id)) is not None:
            await reviving.wait()  # whether that settles it is seen when it is over
        if session_id in self._live:
            return True  # somebody attached first, which has settled it
        try:
            session = await self._revive(session_id)
        except OwnedElsewhere as elsewhere:
            if await self._lives(elsewhere.owner):
                return False
            raise OwnerInDoubt(session_id, elsewhere.owner) from elsewhere
        except StoreUnavailable:
            raise
        except StoreError as error:
            _unrecoverable(session_id, error)
            return True
        if not session.state.unsettled:
            session.end()
        return True

    async def _until_stored(self, session_ids: Iterable[SessionId]) -> None:
        """Wait until what settled these sessions is in the store: then alone it can be seen."""
        timelines = [self._live[i].timeline for i in session_ids if i in self._live]
        with trio.move_on_after(self._limits().flush_s):
            for timeline in timelines:
                with suppress(StoreError):
                    await timeline.until_durable(timeline.head)


def _unrecoverable(session_id: SessionId, error: StoreError) -> None:
    _log.error("session.unrecoverable", session=session_id, error=str(error))
